//! `bridgefwd run`: the daemon, in the foreground.

use tokio::runtime::Builder;

use super::enter_netns;
use crate::cli::{PortsChoice, RunOptions};
use crate::daemon::{self, Options};
use crate::failure::{Failure, Result};
use crate::instance::Instance;
use crate::policy::timers::TimerChanges;

pub(super) fn run(options: RunOptions, instance: Instance) -> Result<()> {
    let mut timers = TimerChanges::default();
    for timer in &options.timers {
        timers.add(timer)?;
    }
    // Threads start in the namespace of the thread that makes them: enter it before the runtime.
    enter_netns(&instance)?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    runtime.block_on(daemon::run(Options {
        instance,
        bridges: options.bridges,
        uplinks: options.uplinks,
        docker: options.docker.unwrap_or_default(),
        unlisted: options.unlisted.map(Into::into),
        config: options.config,
        attach: options.attach.into(),
        ports: options.ports.map(|choice| choice == PortsChoice::Yes),
        max_flows: options.max_flows,
        flows_per_source: options.flows_per_source,
        metrics: options.metrics,
        metrics_hosts: options.metrics_hosts,
        timers,
    }))
}
