//! `bridgefwd run`: the daemon, in the foreground.

use std::path::PathBuf;

use tokio::runtime::Builder;

use super::enter_netns;
use crate::cli::{PortsChoice, RunOptions};
use crate::daemon::{self, Options};
use crate::failure::{Failure, Result};
use crate::instance::Instance;
use crate::policy::config::{Config, default_path};
use crate::policy::setup::Overrides;
use crate::policy::timers::TimerChanges;

pub(super) fn run(
    options: RunOptions,
    socket: Option<PathBuf>,
    mut instance: Instance,
) -> Result<()> {
    let mut timers = TimerChanges::default();
    for timer in &options.timers {
        timers.add(timer)?;
    }
    let overrides = Overrides {
        bridges: options.bridges,
        uplinks: options.uplinks,
        unlisted: options.unlisted.map(Into::into),
        ports: options.ports.map(|choice| choice == PortsChoice::Yes),
        max_flows: options.max_flows,
        flows_per_source: options.flows_per_source,
        timers,
        socket,
        metrics: options.metrics,
        metrics_hosts: options.metrics_hosts,
    };
    let config = config_file(options.config, &overrides)?;
    if let Some(path) = &config
        && overrides.socket.is_none()
        && let Some(socket) = Config::read(path, &overrides)?.socket
    {
        instance.socket = socket;
    }
    // Threads start in the namespace of the thread that makes them: enter it before the runtime.
    enter_netns(&instance)?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    let attach = options.attach.into();
    let socket_group = options.socket_group;
    runtime.block_on(daemon::run(Options { instance, config, overrides, attach, socket_group }))
}

/// The file to use: the one that is named, else the default one where no end is named either.
fn config_file(named: Option<PathBuf>, overrides: &Overrides) -> Result<Option<PathBuf>> {
    if named.is_some() || !(overrides.bridges.is_empty() && overrides.uplinks.is_empty()) {
        return Ok(named);
    }
    let default = default_path();
    match default.symlink_metadata() {
        Ok(_) => Ok(Some(default)),
        Err(_) => Err(Failure::usage(format!(
            "run manages no bridge: name some with --bridge NAME..., or write a configuration \
             file, {} or another one that you name with --config FILE",
            default.display()
        ))),
    }
}
