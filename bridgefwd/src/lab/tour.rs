//! The tour: the lab, bridgefwd in it, the steps, and nothing left afterwards, however it ends.

use std::io::{self, IsTerminal};

use tokio::signal::unix::{SignalKind, signal};

use super::build;
use super::daemon::Daemon;
use super::live;
use super::report::{self, Report};
use super::steps::{self, Steps};
use super::topology::{BRIDGES, HOSTS};
use crate::failure::{Failure, Result};

/// Takes the tour. At a terminal the lab then stays live until the user ends it.
///
/// # Errors
/// A step did not hold, or the tour could not be taken.
pub fn run() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start a runtime: {error}")))?;
    runtime.block_on(async {
        // Whichever ends first: what the tour holds is dropped with it, and that cleans up.
        tokio::select! {
            biased;
            interrupted = interrupted() => Err(interrupted),
            outcome = tour() => outcome,
        }
    })
}

async fn tour() -> Result<()> {
    let mut report = Report::to_stdout();
    let mut lab = Lab::up(&mut report)?;
    steps::without_bridgefwd(&mut report).await?;
    let mut daemon = Daemon::start().await?;
    let mut steps = Steps::nothing_allowed(&mut report, &daemon).await?;
    steps.one_allowed().await?;
    steps.others_refused().await?;
    let mut conversation = steps.toggled().await?;
    steps.other_protocols().await?;
    steps.tables(conversation.as_mut()).await?;
    steps.fast_path().await?;
    drop(conversation);
    if io::stdout().is_terminal() && io::stdin().is_terminal() && report.all_held() {
        live::run(&daemon.client(), report.colour()).await?;
    }
    report.part("bridgefwd down, bridgefwd lab down");
    let ended = daemon.end();
    report.step(ended.is_ok(), in_words("the daemon ended; no socket and no pin is left", ended));
    let removed = lab.down();
    report.step(removed.is_ok(), in_words("the lab's namespaces are gone", removed));
    report.finish()
}

/// The tour's lab. Dropped, it is taken down.
struct Lab {
    up: bool,
}

impl Lab {
    fn up(report: &mut Report) -> Result<Self> {
        if build::down()? {
            report.line("A lab was up; it makes way for a new one.");
        }
        build::up()?;
        let hosts = HOSTS.iter().map(|host| format!("{} {}", host.name, host.address));
        let bridges = BRIDGES.iter().map(|b| format!("{} {}", b.name, b.gateway));
        report.line("A lab in network namespaces of its own:");
        report.line(&format!("  bridges  {}", bridges.collect::<Vec<_>>().join(", ")));
        report.line(&format!("  hosts    {}", hosts.collect::<Vec<_>>().join(", ")));
        Ok(Self { up: true })
    }

    fn down(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.up, false) { build::down().map(drop) } else { Ok(()) }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Err(failure) = self.down() {
            report::complain(&failure);
        }
    }
}

/// Waits for a signal that asks to end.
async fn interrupted() -> Failure {
    let listen = |kind| {
        signal(kind).map_err(|error| Failure::failed(format!("cannot await signals: {error}")))
    };
    let (interrupt, terminate, hangup) = (
        listen(SignalKind::interrupt()),
        listen(SignalKind::terminate()),
        listen(SignalKind::hangup()),
    );
    match (interrupt, terminate, hangup) {
        (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) => {
            let name = tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
                _ = hangup.recv() => "SIGHUP",
            };
            Failure::failed(format!("ended by {name}; the lab was taken down"))
        }
        (Err(failure), ..) | (_, Err(failure), _) | (_, _, Err(failure)) => failure,
    }
}

fn in_words(good: &str, outcome: Result<()>) -> String {
    outcome.map_or_else(|failure| failure.to_string(), |()| good.into())
}
