//! The daemon: brings the data path up, keeps it in step with the host, and serves the API.
//!
//! Everything that can be wrong is checked before anything is changed. Then: maps, attachments,
//! socket, and the line that starts with `ready`. The data path outlives the daemon, unless it is
//! told to take it down.

mod configuration;
mod reconcile;
mod route_mtus;
mod server;
mod socket;
mod start;
pub mod state;
mod transition;

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aya_log::EbpfLogger;
use bridgefwd_common::contract::AttachKind;
pub use bridgefwd_common::contract::Unlisted;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tracing_subscriber::EnvFilter;

use crate::api::types::{Pair, Status};
pub use crate::datapath::AttachChoice;
use crate::datapath::offline::Reader;
use crate::datapath::{Datapath, is_end};
use crate::failure::{Failure, Result};
use crate::host::netlink::{Changes, Events};
use crate::instance::Instance;
use crate::policy::setup::Overrides;
use crate::policy::timers;
use configuration::Configuration;
use route_mtus::RouteWatch;
use start::{Running, Start};
use state::State;

/// How often expired flows are looked for, and what failed is tried again.
const TICK: Duration = Duration::from_secs(1);
/// How long clients may take for the last answer.
const LAST_ANSWER: Duration = Duration::from_secs(1);

/// What `run` was asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Socket, pins, namespace.
    pub instance: Instance,
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// What goes before the file.
    pub overrides: Overrides,
    /// How to attach.
    pub attach: AttachChoice,
}

/// What the API works on.
pub struct Shared {
    state: Mutex<State>,
    configuration: Configuration,
    instance: Instance,
    /// Reads past the lock: what it reads are the maps.
    pub reader: Reader,
    ready: Instant,
    down: watch::Sender<bool>,
}

impl Shared {
    /// The one writer's state. What it does under the lock takes well under a millisecond a pair.
    pub fn state(&self) -> MutexGuard<'_, State> {
        // After a panic in a request the maps are still the truth, and each change is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `status` shows.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn status(&self) -> Result<Status> {
        let mut warnings = self.state().warnings();
        let status = self.reader.status(&self.instance)?;
        warnings.extend(status.warnings.iter().cloned());
        Ok(Status {
            state: "running".into(),
            pid: Some(std::process::id()),
            uptime_s: Some(self.ready.elapsed().as_secs()),
            warnings,
            config: self.config_state(),
            ..status
        })
    }

    /// Every listed pair, in order of their names: also those whose ends are away.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn pairs(&self) -> Result<Vec<Pair>> {
        let state = self.state();
        let mut pairs = self.reader.pairs()?;
        pairs.extend(state.absent_pairs());
        pairs.sort_by(|a, b| (&a.from, &a.to).cmp(&(&b.from, &b.to)));
        Ok(pairs)
    }

    /// Lets [`run`] take everything down and end.
    pub fn take_down(&self) {
        self.down.send_replace(true);
    }
}

/// Runs the daemon until it is stopped or told to take the data path down. The calling thread, and
/// with it the runtime, is inside the network namespace already.
///
/// # Errors
///
/// Where it cannot be started, or not everything be taken down; each says what to do.
pub async fn run(options: Options) -> Result<()> {
    init_log();
    let start = Start::check(&options).await?;

    // Before the first look at the interfaces, so that no change falls between.
    let mut events = listen()?;
    let mut routes = watch_routes()?;
    let mut terminate = on_signal(SignalKind::terminate())?;
    let mut interrupt = on_signal(SignalKind::interrupt())?;
    let mut hang_up = on_signal(SignalKind::hangup())?;
    let Running { state, reader, listener, socket } = start.bring_up(&options, routes.known())?;
    let (sender, mut down) = watch::channel(false);
    let shared = Arc::new(Shared {
        state: Mutex::new(state),
        configuration: Configuration::new(options.config, options.overrides),
        instance: options.instance.clone(),
        reader,
        ready: Instant::now(),
        down: sender,
    });
    let server = tokio::spawn(server::serve(listener, shared.clone(), down.clone()));
    forward_log(&mut shared.state().datapath);
    print_ready(&shared, &options.instance);

    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let taken_down = loop {
        tokio::select! {
            changes = events.next() => match changes {
                Ok(changes) => {
                    routes.interfaces_changed();
                    keep_up(&shared, &changes);
                }
                Err(error) => {
                    tracing::warn!("news about interfaces broke off: {error}; listening anew");
                    events = listen()?;
                    keep_up(&shared, &Changes { lost: true, ..Changes::default() });
                }
            },
            changed = routes.next() => {
                if let Err(error) = changed {
                    tracing::warn!("news about routes broke off: {error}; listening anew");
                    routes = watch_routes()?;
                }
                if let Err(error) = route_mtus::follow(&mut shared.state(), routes.known()) {
                    tracing::warn!("{error}");
                }
            }
            _ = tick.tick() => {
                let mut state = shared.state();
                if let Err(error) = state.datapath.tick() {
                    tracing::warn!("{error}");
                }
                let failed = !state.failures.is_empty();
                drop(state);
                if failed {
                    keep_up(&shared, &Changes::default());
                }
            }
            _ = hang_up.recv() => shared.reload_logged(),
            _ = down.changed() => break true,
            _ = terminate.recv() => break false,
            _ = interrupt.recv() => break false,
        }
    };
    // Lets requests under way be answered; new ones find no socket.
    drop(socket);
    shared.take_down();
    if tokio::time::timeout(LAST_ANSWER, server).await.is_err() {
        tracing::debug!("a client kept its connection open");
    }
    finish(shared, taken_down, &options.instance)
}

fn keep_up(shared: &Shared, changes: &Changes) {
    if let Err(error) = reconcile::reconcile(&mut shared.state(), changes, false) {
        tracing::warn!("{error}");
    }
}

fn finish(shared: Arc<Shared>, take_down: bool, instance: &Instance) -> Result<()> {
    if !take_down {
        eprintln!(
            "bridgefwd: stopped; the data path stays in place and goes on forwarding. Start it \
             again to control it; `bridgefwd down` removes it (pins: {}).",
            instance.pin_dir.display()
        );
        return Ok(());
    }
    match Arc::try_unwrap(shared) {
        Ok(shared) => {
            let Shared { state, reader, .. } = shared;
            drop(reader);
            state.into_inner().unwrap_or_else(PoisonError::into_inner).datapath.remove()
        }
        // A client that does not hang up holds it, and with it the lock; pins go all the same.
        Err(shared) => shared.state().datapath.remove_pins(),
    }
}

fn print_ready(shared: &Shared, instance: &Instance) {
    let state = shared.state();
    let interfaces = state.datapath.interfaces();
    let ports = interfaces.values().filter(|interface| !is_end(interface)).count();
    let with = match (state.ports, ports) {
        (false, _) => "without their ports".into(),
        (true, 1) => "with 1 port".into(),
        (true, ports) => format!("with {ports} ports"),
    };
    let by_tcx = interfaces.values().all(|interface| interface.attached == AttachKind::Tcx as u8);
    println!(
        "ready: {} {with}, by {}, control socket {}",
        state.names_of_ends().map(String::as_str).collect::<Vec<_>>().join(", "),
        if by_tcx { "tcx" } else { "clsact" },
        instance.socket.display()
    );
    // Whoever waits for the line through a pipe gets it now; a closed pipe is no reason to stop.
    let _ = std::io::stdout().flush();
    let timers = timers::warnings(&state.datapath.settings().timeouts_s);
    for warning in state.warnings().into_iter().chain(timers) {
        tracing::warn!("{warning}");
    }
}

/// Lets what the program logs come out with our own log, where it was built with logging.
fn forward_log(datapath: &mut Datapath) {
    let Ok(logger) = EbpfLogger::init(datapath.ebpf_mut()) else { return };
    // SAFETY: the logger owns the map whose descriptor this is, and closes it only when dropped.
    let logger = unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) };
    let Ok(mut logger) = logger else { return };
    tokio::spawn(async move {
        while let Ok(mut ready) = logger.readable_mut().await {
            ready.get_inner_mut().flush();
            ready.clear_ready();
        }
    });
}

fn init_log() {
    let filter =
        EnvFilter::try_from_env("BRIDGEFWD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // Where a test set one up already, that one is used.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .try_init();
}

fn listen() -> Result<Events> {
    Events::listen()
        .map_err(|error| Failure::failed(format!("cannot listen for interface changes: {error}")))
}

fn watch_routes() -> Result<RouteWatch> {
    RouteWatch::start().map_err(|error| Failure::failed(format!("cannot list routes: {error}")))
}

fn on_signal(kind: SignalKind) -> Result<tokio::signal::unix::Signal> {
    signal(kind).map_err(|error| Failure::failed(format!("cannot wait for signals: {error}")))
}
