//! Keeping up with a Docker engine: its networks and containers as it last told them.
//!
//! An engine that is away, being restarted or upgraded, changes nothing: bridges and containers may
//! well go on without it, and the interfaces say what of them is still there. It is tried again until
//! it is back.

use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::api::bridges::DockerStatus;
use crate::failure::{Failure, Result};
use crate::host::docker::{Engine, Network, usual_socket};
use crate::host::names::Names;
use crate::host::netlink::Snapshot;
use crate::policy::DockerChoice;

/// Pause before the first new attempt to reach an engine; twice as long before each next one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause: rules by name hold again within a second of an engine's return.
const LONGEST_PAUSE: Duration = Duration::from_millis(400);
/// News that come closer together are one, ...
const SETTLED: Duration = Duration::from_millis(10);
/// ... for at most so long.
const LONGEST_UNSETTLED: Duration = Duration::from_millis(100);
/// How long a start waits for the first word of an engine.
const FIRST_WORD: Duration = Duration::from_secs(10);

/// What is known of an engine.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Known {
    /// The socket; `None` where no engine is asked.
    pub socket: Option<PathBuf>,
    /// Its networks, as it last told them; `None` where it never has.
    pub networks: Option<Vec<Network>>,
    /// Why it does not answer now; `None` where it does.
    pub problem: Option<String>,
}

impl Known {
    /// The networks that are known of.
    #[must_use]
    pub fn networks(&self) -> &[Network] {
        self.networks.as_deref().unwrap_or_default()
    }

    /// What `status` shows of an engine that was ever heard of.
    #[must_use]
    pub fn status(&self) -> Option<DockerStatus> {
        let (socket, networks) = (self.socket.as_ref()?, self.networks.as_ref()?);
        Some(DockerStatus {
            socket: socket.display().to_string(),
            networks: networks.len() as u64,
            problem: self.problem.clone(),
        })
    }
}

/// Begins to follow an engine, and waits for what it says first.
///
/// # Errors
///
/// Where an engine is named, and does not answer.
pub async fn follow(choice: &DockerChoice) -> Result<watch::Receiver<Known>> {
    let socket = match choice {
        DockerChoice::No => return Ok(watch::channel(Known::default()).1),
        DockerChoice::Auto => usual_socket(),
        DockerChoice::Socket(path) => path.clone(),
    };
    let known = Known { socket: Some(socket.clone()), ..Known::default() };
    let (sender, mut receiver) = watch::channel(known);
    tracing::debug!("asking the Docker engine on {}", socket.display());
    tokio::spawn(keep_up(socket.clone(), sender));
    let spoken = |known: &Known| known.networks.is_some() || known.problem.is_some();
    let problem = match timeout(FIRST_WORD, receiver.wait_for(spoken)).await {
        Ok(Ok(known)) => known.problem.clone(),
        Ok(Err(_)) | Err(_) => Some("it does not answer".into()),
    };
    let socket = socket.display();
    match (problem, choice) {
        (Some(problem), DockerChoice::Socket(_)) => Err(Failure::failed(format!(
            "no Docker engine can be asked on {socket}: {problem}; start it, name another socket, or \
             go without (--docker no)"
        ))),
        (Some(problem), _) => {
            tracing::debug!("no Docker engine on {socket} ({problem}): ends go by bridges' names");
            Ok(receiver)
        }
        (None, _) => Ok(receiver),
    }
}

/// What an engine says at the moment, without following it; nothing where there is none.
pub async fn ask_once(choice: &DockerChoice) -> Known {
    let socket = match choice {
        DockerChoice::No => return Known::default(),
        DockerChoice::Auto => usual_socket(),
        DockerChoice::Socket(path) => path.clone(),
    };
    let asked = async { Engine::connect(&socket).await?.networks().await };
    match asked.await {
        Ok(networks) => Known { socket: Some(socket), networks: Some(networks), problem: None },
        Err(problem) => Known { socket: Some(socket), networks: None, problem: Some(problem) },
    }
}

/// The names of things as they are now in this network namespace, for what is read without a daemon.
///
/// # Errors
///
/// The interfaces cannot be listed.
pub async fn names(choice: &DockerChoice) -> Result<Names> {
    let snapshot = Snapshot::take()
        .map_err(|error| Failure::failed(format!("cannot list network interfaces: {error}")))?;
    Ok(Names::new(&snapshot, ask_once(choice).await.networks()))
}

/// Follows the engine for as long as anybody listens.
async fn keep_up(socket: PathBuf, known: watch::Sender<Known>) {
    let mut pause = FIRST_PAUSE;
    while !known.is_closed() {
        let (problem, spoke) = match Engine::connect(&socket).await {
            Ok(engine) => listen(&engine, &known).await,
            Err(problem) => (problem.to_string(), false),
        };
        if spoke {
            pause = FIRST_PAUSE;
        }
        known.send_if_modified(|known| {
            let changed = known.problem.as_ref() != Some(&problem);
            known.problem = Some(problem);
            changed
        });
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Publishes the networks, and again each time that something changes, until the engine is gone: why,
/// and whether it has said anything at all.
async fn listen(engine: &Engine, known: &watch::Sender<Known>) -> (String, bool) {
    let mut spoke = false;
    // Listened to from before the first look on, so that no change falls between.
    let mut news = pin!(engine.news());
    loop {
        let networks = match engine.networks().await {
            Ok(networks) => networks,
            Err(problem) => return (problem, spoke),
        };
        spoke = true;
        tracing::debug!("the Docker engine has {} networks", networks.len());
        known.send_if_modified(|known| {
            let changed = known.problem.is_some() || known.networks.as_ref() != Some(&networks);
            known.problem = None;
            known.networks = Some(networks);
            changed
        });
        tokio::select! {
            some = news.next() => match some {
                Some(()) => settle(&mut news).await,
                None => return ("it has gone".into(), spoke),
            },
            () = known.closed() => return (String::new(), spoke),
        }
    }
}

/// Takes what comes right after.
async fn settle(news: &mut (impl Stream<Item = ()> + Unpin)) {
    let end = Instant::now() + LONGEST_UNSETTLED;
    while Instant::now() < end {
        let quiet = (Instant::now() + SETTLED).min(end);
        if !matches!(timeout_at(quiet, news.next()).await, Ok(Some(()))) {
            return;
        }
    }
}
