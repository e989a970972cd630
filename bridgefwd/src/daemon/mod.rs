//! The daemon: brings the data path up, keeps it in step with the host, and serves the API.
//!
//! Everything that can be wrong is checked before anything is changed. Then: maps, attachments,
//! socket, and the line that starts with `ready`. The data path outlives the daemon, unless it is
//! told to take it down.

mod health;
mod limited;
mod log;
mod reconcile;
mod route_mtus;
pub mod state;

mod server;
mod socket;
mod web;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bridgefwd_common::contract::AttachKind;
pub use bridgefwd_common::contract::Unlisted;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::api::types::{Pair, PairChange, Status};
pub use crate::datapath::AttachChoice;
use crate::datapath::offline::Reader;
use crate::datapath::{Datapath, Plan, Wanted, is_end};
use crate::failure::{Failure, Result};
use crate::host::netlink::{Changes, Events};
use crate::instance::Instance;
use crate::policy::config::Config;
use crate::policy::timers::{self, TimerChanges};
use health::Health;
use route_mtus::RouteWatch;
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
    /// Bridges to manage, besides those of the configuration.
    pub bridges: Vec<String>,
    /// Uplinks to manage.
    pub uplinks: Vec<String>,
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

/// What the API works on.
pub struct Shared {
    state: Mutex<State>,
    instance: Instance,
    /// Reads past the lock: what it reads are the maps.
    pub reader: Reader,
    ready: Instant,
    health: Health,
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
            ..status
        })
    }

    /// Every listed pair, in order of their names: also those whose ends are away.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn pairs(&self) -> Result<Vec<Pair>> {
        // Not under the lock: reading thousands takes its time.
        let mut pairs = self.reader.pairs()?;
        pairs.extend(self.state().absent_pairs());
        // One whose end came or went meanwhile may be there twice.
        pairs.sort_by(|a, b| (&a.from, &a.to, a.present).cmp(&(&b.from, &b.to, b.present)));
        pairs.dedup_by(|later, earlier| (&later.from, &later.to) == (&earlier.from, &earlier.to));
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
    log::init();
    let (options, config) = with_config(options)?;
    let wanted = Wanted {
        unlisted: options.unlisted,
        max_flows: options.max_flows,
        flows_per_source: options.flows_per_source,
        timers: options.timers,
    };
    let plan = Plan::make(&options.instance.pin_dir, wanted)?;
    reconcile::check_ends(&options.bridges, &options.uplinks)?;
    check_pairs(&config, &[&options.bridges[..], &options.uplinks].concat())?;
    socket::check(&options.instance.socket).await?;
    let metrics = options.metrics.map(web::bind).transpose()?;

    // Before the first look at the interfaces, so that no change falls between.
    let mut events = listen()?;
    let mut routes = watch_routes()?;
    let mut terminate = on_signal(SignalKind::terminate())?;
    let mut interrupt = on_signal(SignalKind::interrupt())?;
    let datapath = Datapath::start(&plan, options.attach)?;
    let ports = options.ports.unwrap_or(true);
    let mut state = State::new(datapath, options.bridges.clone(), options.uplinks.clone(), ports);
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

/// Are the configuration's pairs between bridges that will be managed?
fn check_pairs(config: &Config, ends: &[String]) -> Result<()> {
    let snapshot = reconcile::snapshot()?;
    let managed: BTreeSet<&String> = ends.iter().collect();
    for pair in &config.pairs {
        let wrong = |what: &str| {
            Failure::usage(format!("configuration, pair {} -> {}: {what}", pair.from, pair.to))
        };
        for name in [&pair.from, &pair.to] {
            if !managed.contains(name) {
                return Err(wrong(&format!(
                    "{name} is not managed; managed are: {}",
                    ends.join(", ")
                )));
            }
        }
        if pair.from == pair.to {
            return Err(wrong("a pair leads from one end to another"));
        }
        reconcile::check_nat_addresses(&pair.nat(), &pair.to, &snapshot)
            .map_err(|error| wrong(&error.to_string()))?;
    }
    Ok(())
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
        state.put_pair(&pair.from, &pair.to, &change)?;
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
    let metrics = options.metrics.map(|at| format!(", metrics http://{at}/metrics"));
    let metrics = metrics.unwrap_or_default();
    println!(
        "ready: {} {with}, by {}, control socket {}{metrics}",
        state.names_of_ends().map(String::as_str).collect::<Vec<_>>().join(", "),
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
