//! `bridgefwd run`: the daemon, in the foreground.

use std::path::{Path, PathBuf};

use tokio::runtime::Builder;

use super::enter_netns;
use crate::cli::{RunOptions, YesNo};
use crate::daemon::{self, Options};
use crate::failure::{Failure, Result};
use crate::instance::Instance;
use crate::policy::DockerChoice;
use crate::policy::config::{Config, DEFAULT_PATH, default_path};
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
        docker: options.docker.map(DockerChoice::absolute),
        unlisted: options.unlisted.map(Into::into),
        ports: options.ports.map(|choice| choice == YesNo::Yes),
        direct: options.direct.map(|choice| choice == YesNo::Yes),
        max_flows: options.max_flows,
        flows_per_source: options.flows_per_source,
        timers,
        socket,
        metrics: options.metrics,
        metrics_hosts: options.metrics_hosts,
    };
    let config = config_file(options.config, &overrides);
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
    let options = Options { instance, config, overrides, attach, socket_group };
    runtime.block_on(daemon::run(options))
}

/// The file to use: the one that is named, else, where no end is named either, the one that the
/// environment names, or the default one if it is there.
fn config_file(named: Option<PathBuf>, overrides: &Overrides) -> Option<PathBuf> {
    if named.is_some() || !(overrides.bridges.is_empty() && overrides.uplinks.is_empty()) {
        return named;
    }
    let default = default_path();
    let named = default != Path::new(DEFAULT_PATH);
    (named || default.symlink_metadata().is_ok()).then_some(default)
}
