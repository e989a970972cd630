//! A start: everything that can be wrong is found first, then all is brought up, or taken back.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::docker::{self, Known};
use super::journal::Journal;
use super::state::State;
use super::{Options, checks, ends, log, reconcile, socket, transition, web};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::api::events::{Event, What};
use crate::audit::Log;
use crate::datapath::events::{Counts, Ring};
use crate::datapath::offline::Reader;
use crate::datapath::{Datapath, Plan, Wanted};
use crate::failure::{Failure, Result};
use crate::host::names::Names;
use crate::host::netlink::Changes;
use crate::host::routes::RouteMtus;
use crate::policy::config::Config;
use crate::policy::setup::{Setup, default_flows_per_source};
use crate::policy::timers::TimerChanges;

/// Where metrics are served by TCP.
pub struct Metrics {
    pub at: SocketAddr,
    pub listener: TcpListener,
    /// Names by which they may be asked for.
    pub hosts: Vec<String>,
}

/// What will be brought up.
pub struct Start {
    setup: Setup,
    names: Names,
    docker: watch::Receiver<Known>,
    metrics: Option<Metrics>,
    plan: Plan,
    wanted: Wanted,
    /// The audit log.
    audit: Option<Log>,
    /// Who may use the socket, beside its owner.
    group: Option<socket::Group>,
    /// Is there a file? Then pairs are those that it lists, whatever an earlier daemon had.
    declared: bool,
}

/// All that runs.
pub struct Running {
    pub setup: Setup,
    pub state: State,
    /// What the Docker engine tells; what it has told so far is in `state`.
    pub docker: watch::Receiver<Known>,
    pub reader: Reader,
    pub listener: tokio::net::UnixListener,
    pub socket: socket::SocketFile,
    pub metrics: Option<Metrics>,
    /// What the program tells.
    pub told: (Ring, Counts),
}

impl Start {
    /// Finds whatever is wrong, and changes nothing.
    ///
    /// # Errors
    ///
    /// Says what is wrong and what to do.
    pub async fn check(options: &Options) -> Result<Self> {
        let overrides = &options.overrides;
        let file = options.config.as_deref();
        let config = file.map(|path| Config::read(path, overrides)).transpose()?;
        let in_file = config.as_ref().and_then(|config| config.max_flows);
        let plan = Plan::make(&options.instance.pin_dir, overrides.max_flows, in_file)?;
        let declared = config.is_some();
        let config = config.unwrap_or_default();
        let mut setup = Setup::of(&config, overrides, plan.max_flows());
        if setup.max_flows != plan.max_flows() {
            tracing::warn!(
                "max_flows stays {}: the data path that is there was made for that many; \
                 `bridgefwd down` ends it, with its flows",
                plan.max_flows()
            );
            setup.max_flows = plan.max_flows();
            if overrides.flows_per_source.is_none() && config.flows_per_source.is_none() {
                setup.flows_per_source = default_flows_per_source(setup.max_flows);
            }
        }
        let docker = docker::follow(&setup.docker).await?;
        let known = docker.borrow().clone();
        let snapshot = reconcile::snapshot()?;
        let names = Names::new(&snapshot, known.networks());
        if setup.bridges.is_empty() {
            checks::any_end(&names, &known)?;
        }
        checks::ends(&names, &snapshot, &setup.bridges, &setup.uplinks)?;
        let setup = ends::known_as(setup, &names);
        checks::pairs(&setup, &BTreeMap::new(), &names, &snapshot)?;
        socket::check(&options.instance.socket).await?;
        let group = options.socket_group.as_deref().map(socket::group).transpose()?;
        let metrics = setup
            .metrics
            .map(|at| {
                let hosts = setup.metrics_hosts.clone();
                Ok::<_, Failure>(Metrics { at, listener: web::bind(at)?, hosts })
            })
            .transpose()?;
        let audit = setup.audit.clone().map(Log::open).transpose()?;
        // Without a file, what nothing is said of is as an earlier daemon had it.
        let wanted = if declared {
            Wanted {
                unlisted: Some(setup.unlisted),
                flows_per_source: Some(setup.flows_per_source),
                timers: TimerChanges::all(&setup.timeouts_s),
            }
        } else {
            Wanted {
                unlisted: overrides.unlisted,
                flows_per_source: overrides.flows_per_source,
                timers: overrides.timers,
            }
        };
        Ok(Self { setup, names, docker, metrics, plan, wanted, audit, group, declared })
    }

    /// Fills the maps, attaches, and listens. The namespace's routes have `route_mtus`.
    ///
    /// # Errors
    ///
    /// Where something cannot be done; it is taken back then, but for what an earlier daemon left.
    pub fn bring_up(mut self, options: &Options, route_mtus: &RouteMtus) -> Result<Running> {
        let mut datapath = Datapath::start(&self.plan, self.wanted, options.attach)?;
        let (ring, control, counts) = datapath.take_events()?;
        let Setup { bridges, uplinks, ports, direct, .. } = &self.setup;
        let known = (self.names.clone(), self.docker.borrow_and_update().clone());
        let mut state = State::new(datapath, bridges.clone(), uplinks.clone(), *ports, known);
        state.route_mtus = route_mtus.clone();
        state.direct.wanted = *direct;
        state.journal = Journal::new(Some(control), self.audit.take());
        state.journal.note(&[Event::now(What::Started { pid: std::process::id() })]);
        match self.fill(&mut state, options) {
            Ok((reader, listener, socket)) => {
                let Self { setup, docker, metrics, .. } = self;
                let told = (ring, counts);
                Ok(Running { setup, state, docker, reader, listener, socket, metrics, told })
            }
            Err(error) => Err(roll_back(state, error)),
        }
    }

    fn fill(
        &self,
        state: &mut State,
        options: &Options,
    ) -> Result<(Reader, tokio::net::UnixListener, socket::SocketFile)> {
        let adopted = state.datapath.is_adopted();
        reconcile::reconcile(state, &Changes::default(), true)?;
        if self.declared {
            transition::set_pairs(state, &self.setup.pairs)?;
        }
        // An interface that cannot be attached now is a mistake to be told; later it is a warning.
        if let Some((_, failure)) = state.failures.pop_first() {
            return Err(failure);
        }
        let pin_dir = &options.instance.pin_dir;
        if adopted {
            tracing::info!(
                "took over the data path that was in {}, with its pairs and flows",
                pin_dir.display()
            );
        }
        let reader =
            Reader::open(pin_dir)?.ok_or_else(|| Failure::failed("the pins are gone already"))?;
        let (listener, socket) = socket::bind(&options.instance.socket, self.group)?;
        log::forward(&mut state.datapath);
        Ok((reader, listener, socket))
    }
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
