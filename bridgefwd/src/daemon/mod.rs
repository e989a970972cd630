//! The daemon: brings the data path up, keeps it in step with the host, and serves the API.
//!
//! Everything that can be wrong is checked before anything is changed. Then: maps, attachments,
//! socket, and the line that starts with `ready`. The data path outlives the daemon, unless it is
//! told to take it down.

mod checks;
pub mod docker;
mod ends;
mod health;
mod limited;
mod log;
mod reconcile;
mod route_mtus;
mod shared;
pub mod state;

mod server;
mod socket;
mod web;

use std::io::Write as _;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bridgefwd_common::contract::AttachKind;
pub use bridgefwd_common::contract::Unlisted;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::api::types::{PairChange, PairState};
pub use crate::datapath::AttachChoice;
use crate::datapath::offline::Reader;
use crate::datapath::{Change, Datapath, Plan, Wanted, is_end};
use crate::failure::{Failure, Result};
use crate::host::names::Names;
use crate::host::netlink::{Changes, Events};
use crate::instance::Instance;
use crate::policy::config::Config;
use crate::policy::timers::{self, TimerChanges};
pub use docker::DockerChoice;
use health::Health;
use route_mtus::RouteWatch;
pub use shared::Shared;
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
    /// Bridges to manage, besides those of the configuration; where none is named, all that can be ends.
    pub bridges: Vec<String>,
    /// Uplinks to manage.
    pub uplinks: Vec<String>,
    /// The Docker engine that knows networks by name.
    pub docker: DockerChoice,
    /// What happens to pairs that are not listed; goes before the configuration.
    pub unlisted: Option<Unlisted>,
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// How to attach.
    pub attach: AttachChoice,
    /// Are the bridges' ports attached to as well? Goes before the configuration; where neither says
    /// anything, they are.
    pub ports: Option<bool>,
    /// How many flows there can be.
    pub max_flows: Option<u32>,
    /// How many of them one source can have; goes before the configuration.
    pub flows_per_source: Option<u32>,
    /// Where metrics are served by TCP; nowhere where it is absent.
    pub metrics: Option<SocketAddr>,
    /// Names by which they may be asked for there.
    pub metrics_hosts: Vec<String>,
    /// Timers to set; the configuration's where it says nothing.
    pub timers: TimerChanges,
}

/// Runs the daemon until it is stopped or told to take the data path down. The calling thread, and
/// with it the runtime, is inside the network namespace already.
///
/// # Errors
///
/// Where it cannot be started, or not everything be taken down; each says what to do.
pub async fn run(options: Options) -> Result<()> {
    log::init();
    let (options, config) = with_config(options)?;
    let wanted = Wanted {
        unlisted: options.unlisted,
        max_flows: options.max_flows,
        flows_per_source: options.flows_per_source,
        timers: options.timers,
    };
    let plan = Plan::make(&options.instance.pin_dir, wanted)?;
    let mut docker = docker::follow(&options.docker).await?;
    let known = docker.borrow_and_update().clone();
    let snapshot = reconcile::snapshot()?;
    let names = Names::new(&snapshot, known.networks());
    checks::ends(&names, &snapshot, &known, &options.bridges, &options.uplinks)?;
    checks::pairs(&config, &names, &snapshot, &options)?;
    socket::check(&options.instance.socket).await?;
    let metrics = options.metrics.map(web::bind).transpose()?;

    // Before the first look at the interfaces, so that no change falls between.
    let mut events = listen()?;
    let mut routes = watch_routes()?;
    let mut terminate = on_signal(SignalKind::terminate())?;
    let mut interrupt = on_signal(SignalKind::interrupt())?;
    let datapath = Datapath::start(&plan, options.attach)?;
    let ports = options.ports.unwrap_or(true);
    let (bridges, uplinks) = (options.bridges.clone(), options.uplinks.clone());
    let mut state = State::new(datapath, bridges, uplinks, ports, (names, known));
    state.route_mtus = routes.known().clone();
    let (shared, servers, socket, mut down) = match bring_up(&mut state, &config, &options) {
        Ok((reader, listener, socket)) => {
            let (sender, receiver) = watch::channel(false);
            let shared = Arc::new(Shared {
                state: Mutex::new(state),
                instance: options.instance.clone(),
                reader,
                ready: Instant::now(),
                health: Health::begin(),
                down: sender,
            });
            let app = server::all(shared.clone());
            let mut servers = JoinSet::new();
            servers.spawn(server::serve(listener, app, receiver.clone()));
            if let Some(listener) = metrics {
                let names = options.metrics_hosts.clone();
                servers.spawn(web::serve(listener, shared.clone(), names, receiver.clone()));
            }
            (shared, servers, socket, receiver)
        }
        Err(error) => return Err(roll_back(state, error)),
    };
    print_ready(&shared, &options);

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
            Ok(()) = docker.changed() => {
                shared.state().docker = docker.borrow_and_update().clone();
                keep_up(&shared, &Changes::default());
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
            _ = down.changed() => break true,
            _ = terminate.recv() => break false,
            _ = interrupt.recv() => break false,
        }
    };
    // Lets requests under way be answered; new ones find no socket.
    drop(socket);
    shared.take_down();
    if tokio::time::timeout(LAST_ANSWER, servers.join_all()).await.is_err() {
        tracing::debug!("a client kept its connection open");
    }
    finish(shared, taken_down, &options.instance)
}

/// The configuration's bridges first, then those of the options.
fn with_config(mut options: Options) -> Result<(Options, Config)> {
    let config = options.config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
    let mut bridges = config.bridges.clone();
    bridges.append(&mut options.bridges);
    options.bridges = bridges;
    let mut uplinks = config.uplinks.clone();
    uplinks.append(&mut options.uplinks);
    options.uplinks = uplinks;
    options.unlisted = options.unlisted.or(config.unlisted);
    options.ports = options.ports.or(config.ports);
    options.flows_per_source =
        options.flows_per_source.or(config.flows_per_source.map(NonZero::get));
    options.timers = options.timers.or(config.timers);
    Ok((options, config))
}

/// Fills the maps, attaches, and listens.
fn bring_up(
    state: &mut State,
    config: &Config,
    options: &Options,
) -> Result<(Reader, tokio::net::UnixListener, socket::SocketFile)> {
    let adopted = state.datapath.is_adopted();
    reconcile::reconcile(state, &Changes::default(), true)?;
    for pair in &config.pairs {
        let nat = pair.nat();
        let change = PairChange {
            nat: Some(nat.v4.to_string()),
            nat6: Some(nat.v6.to_string()),
            mapping: Some(nat.mapping.to_string()),
            ..PairChange::to(pair.state)
        };
        if state.end(&pair.from).is_ok() && state.end(&pair.to).is_ok() {
            state.put_pair(&pair.from, &pair.to, &change)?;
        } else {
            let allow = pair.state == PairState::Allowed;
            state.expect_pair(&pair.from, &pair.to, Change { allow, nat, drain: false });
        }
    }
    // An interface that cannot be attached now is a mistake to be told; later it is a warning.
    if let Some((_, failure)) = state.failures.pop_first() {
        return Err(failure);
    }
    if adopted {
        tracing::info!(
            "took over the data path that was in {}, with its pairs and flows",
            options.instance.pin_dir.display()
        );
    }
    let reader = Reader::open(&options.instance.pin_dir)?
        .ok_or_else(|| Failure::failed("the pins are gone already"))?;
    let (listener, socket) = socket::bind(&options.instance.socket)?;
    log::forward(&mut state.datapath);
    Ok((reader, listener, socket))
}

/// Takes a start back. What an earlier daemon left stays in place: it works.
fn roll_back(state: State, error: Failure) -> Failure {
    if state.datapath.is_adopted() {
        return error;
    }
    match state.datapath.remove() {
        Ok(()) => error,
        Err(more) => Failure::failed(format!("{error}; and taking it back failed: {more}")),
    }
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

fn print_ready(shared: &Shared, options: &Options) {
    let state = shared.state();
    let interfaces = state.datapath.interfaces();
    let ports = interfaces.values().filter(|interface| !is_end(interface)).count();
    let with = match (state.ports, ports) {
        (false, _) => "without their ports".into(),
        (true, 1) => "with 1 port".into(),
        (true, ports) => format!("with {ports} ports"),
    };
    let by_tcx = interfaces.values().all(|interface| interface.attached == AttachKind::Tcx as u8);
    let metrics = options.metrics.map(|at| format!(", metrics and page at http://{at}/"));
    let metrics = metrics.unwrap_or_default();
    let ends = state.names_of_ends().join(", ");
    let ends = if ends.is_empty() { "no bridge yet" } else { &ends };
    println!(
        "ready: {} {with}, by {}, control socket {}{metrics}",
        ends,
        if by_tcx { "tcx" } else { "clsact" },
        options.instance.socket.display()
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

fn on_signal(kind: SignalKind) -> Result<tokio::signal::unix::Signal> {
    signal(kind).map_err(|error| Failure::failed(format!("cannot wait for signals: {error}")))
}
