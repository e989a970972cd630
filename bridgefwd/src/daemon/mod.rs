//! The daemon: brings the data path up, keeps it in step with the host, and serves the API.
//!
//! Everything that can be wrong is checked before anything is changed. Then: maps, attachments,
//! socket, and the line that starts with `ready`. The data path outlives the daemon, unless it is
//! told to take it down.

mod checks;
mod configuration;
mod direct;
pub mod docker;
mod ends;
mod health;
mod journal;
mod limited;
mod listener;
mod log;
mod reconcile;
mod route_mtus;
mod server;
mod service;
mod shared;
mod socket;
mod start;
pub mod state;
mod tell;
mod traced;
mod transition;
mod web;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bridgefwd_common::contract::AttachKind;
pub use bridgefwd_common::contract::Unlisted;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

pub use crate::datapath::AttachChoice;
use crate::datapath::is_end;
use crate::failure::{Failure, Result};
use crate::host::neighbours::NeighbourEvents;
use crate::host::netlink::{Changes, Events};
use crate::instance::Instance;
use crate::policy::setup::Overrides;
use crate::policy::timers;
use configuration::Configuration;
use health::Health;
use route_mtus::RouteWatch;
use service::Service;
pub use shared::Shared;
use start::{Metrics, Running, Start};

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
    /// The group that may use the control socket, by name or number; its owner's where `None`.
    pub socket_group: Option<String>,
}

/// Runs the daemon until it is stopped or told to take the data path down. The calling thread, and
/// with it the runtime, is inside the network namespace already.
///
/// # Errors
///
/// Where it cannot be started, or not everything be taken down; each says what to do.
pub async fn run(options: Options) -> Result<()> {
    log::init();
    let start = Start::check(&options).await?;

    // Before the first look at the interfaces, so that no change falls between.
    let mut events = listen()?;
    let mut routes = watch_routes()?;
    let mut neighbours = watch_neighbours()?;
    let mut terminate = on_signal(SignalKind::terminate())?;
    let mut interrupt = on_signal(SignalKind::interrupt())?;
    let mut hang_up = on_signal(SignalKind::hangup())?;
    let Running { setup, state, mut docker, reader, listener, socket, metrics, told } =
        start.bring_up(&options, routes.known())?;
    let (sender, mut down) = watch::channel(false);
    let Options { instance, config, overrides, .. } = options;
    let shared = Arc::new(Shared {
        state: Mutex::new(state),
        configuration: Configuration::new(config, overrides, setup),
        instance,
        reader,
        ready: Instant::now(),
        health: Health::begin(),
        down: sender,
    });
    let app = server::all(shared.clone());
    let mut servers = JoinSet::new();
    servers.spawn(server::serve(listener, app, down.clone()));
    let at = metrics.as_ref().map(|metrics| metrics.at);
    if let Some(Metrics { listener, hosts, .. }) = metrics {
        servers.spawn(web::serve(listener, shared.clone(), hosts, down.clone()));
    }
    let (ring, counts) = told;
    servers.spawn(tell::follow(shared.clone(), ring, counts, down.clone()));
    print_ready(&shared, at);
    let mut service = Service::find();
    let serving = servers.len();
    service.ready(|| shared.state().summary());

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
                    shared.health.resynced();
                    routes = watch_routes()?;
                }
                if let Err(error) = route_mtus::follow(&mut shared.state(), routes.known()) {
                    tracing::warn!("{error}");
                }
            }
            changed = neighbours.changed() => {
                if let Err(error) = changed {
                    tracing::warn!("news about neighbours broke off: {error}; listening anew");
                    shared.health.resynced();
                    neighbours = watch_neighbours()?;
                }
                shared.state().datapath.routes_changed();
            }
            Ok(()) = docker.changed() => {
                shared.state().docker = docker.borrow_and_update().clone();
                keep_up(&shared, &Changes::default());
            }
            _ = tick.tick() => {
                // Whoever watches us hears that all is well only where all of it is: the lock was to
                // be had, the data path does what it is asked, and nothing that is served broke off.
                while servers.try_join_next().is_some() {}
                if tick_all(&shared) && servers.len() == serving {
                    service.alive(|| shared.state().summary());
                }
            }
            _ = hang_up.recv() => {
                service.reloading();
                shared.reload_logged();
                service.ready(|| shared.state().summary());
            }
            _ = down.changed() => break true,
            _ = terminate.recv() => break false,
            _ = interrupt.recv() => break false,
        }
    };
    service.stopping();
    // Lets requests under way be answered; new ones find no socket.
    drop(socket);
    shared.take_down();
    if tokio::time::timeout(LAST_ANSWER, servers.join_all()).await.is_err() {
        tracing::debug!("a client kept its connection open");
    }
    finish(shared, taken_down)
}

/// What is done every second. `true` where it went well; what fails for one interface is a warning.
fn tick_all(shared: &Shared) -> bool {
    let mut state = shared.state();
    let ticked = state.datapath.tick().and_then(|()| direct::follow(&mut state));
    if let Err(error) = &ticked {
        tracing::warn!("{error}");
    }
    let failed = !state.failures.is_empty();
    drop(state);
    if failed {
        keep_up(shared, &Changes::default());
    }
    ticked.is_ok()
}

fn keep_up(shared: &Shared, changes: &Changes) {
    let begun = Instant::now();
    let mut state = shared.state();
    let done = reconcile::reconcile(&mut state, changes, false);
    let complete = done.is_ok() && state.failures.is_empty();
    drop(state);
    if changes.lost {
        shared.health.resynced();
    }
    shared.health.reconciled(begun.elapsed(), complete);
    if let Err(error) = done {
        tracing::warn!("{error}");
    }
}

fn finish(shared: Arc<Shared>, take_down: bool) -> Result<()> {
    if !take_down {
        eprintln!(
            "bridgefwd: stopped; the data path stays in place and goes on forwarding. Start it \
             again to control it; `bridgefwd down` removes it (pins: {}).",
            shared.instance.pin_dir.display()
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

fn print_ready(shared: &Shared, metrics: Option<SocketAddr>) {
    let state = shared.state();
    let interfaces = state.datapath.interfaces();
    let ports = interfaces.values().filter(|interface| !is_end(interface)).count();
    let with = match (state.ports, ports) {
        (false, _) => "without their ports".into(),
        (true, 1) => "with 1 port".into(),
        (true, ports) => format!("with {ports} ports"),
    };
    let by_tcx = interfaces.values().all(|interface| interface.attached == AttachKind::Tcx as u8);
    let metrics = metrics.map(|at| format!(", metrics and page at http://{at}/"));
    let metrics = metrics.unwrap_or_default();
    let ends = state.names_of_ends().join(", ");
    println!(
        "ready: {} {with}, by {}, control socket {}{metrics}",
        if ends.is_empty() { "no bridge yet" } else { &ends },
        if by_tcx { "tcx" } else { "clsact" },
        shared.instance.socket.display()
    );
    // Whoever waits for the line through a pipe gets it now; a closed pipe is no reason to stop.
    let _ = std::io::stdout().flush();
    let timers = timers::warnings(&state.datapath.settings().timeouts_s);
    for warning in state.warnings().into_iter().chain(timers) {
        tracing::warn!("{warning}");
    }
}

fn listen() -> Result<Events> {
    Events::listen()
        .map_err(|error| Failure::failed(format!("cannot listen for interface changes: {error}")))
}

fn watch_routes() -> Result<RouteWatch> {
    RouteWatch::start().map_err(|error| Failure::failed(format!("cannot list routes: {error}")))
}

fn watch_neighbours() -> Result<NeighbourEvents> {
    NeighbourEvents::listen()
        .map_err(|error| Failure::failed(format!("cannot listen for neighbours: {error}")))
}

fn on_signal(kind: SignalKind) -> Result<tokio::signal::unix::Signal> {
    signal(kind).map_err(|error| Failure::failed(format!("cannot wait for signals: {error}")))
}
