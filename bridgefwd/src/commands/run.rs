//! `bridgefwd run`: the daemon, in the foreground.

use std::io;

use tokio::runtime::Builder;
use tracing_subscriber::EnvFilter;

use super::enter_netns;
use crate::cli::RunOptions;
use crate::daemon::{self, Options};
use crate::failure::{Failure, Result};
use crate::instance::Instance;

/// Sets how much is logged, in the syntax of `tracing`'s filters.
const LOG_VARIABLE: &str = "BRIDGEFWD_LOG";

pub(super) fn run(options: RunOptions, instance: Instance) -> Result<()> {
    if options.bridges.is_empty() && options.config.is_none() {
        return Err(Failure::usage(
            "run manages no bridge: name some with --bridge NAME..., or give a file that does \
             with --config FILE",
        ));
    }
    // Threads start in the namespace of the thread that makes them: enter it before the runtime.
    enter_netns(&instance)?;
    start_log()?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    runtime.block_on(daemon::run(Options {
        instance,
        bridges: options.bridges,
        uplinks: options.uplinks,
        unlisted: options.unlisted.map(Into::into),
        config: options.config,
        attach: options.attach.into(),
        max_flows: options.max_flows,
    }))
}

/// The log goes to stderr; stdout has the line that says "ready".
fn start_log() -> Result<()> {
    let filter = match std::env::var(LOG_VARIABLE) {
        Ok(filter) => EnvFilter::try_new(&filter).map_err(|error| {
            Failure::usage(format!("{LOG_VARIABLE}={filter} is no log filter: {error}"))
        })?,
        Err(_) => EnvFilter::new("info"),
    };
    // Fails only where somebody else set one up, which is then as good.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).try_init();
    Ok(())
}
