//! The daemon's log: its own on stderr, and with it what the program logs.

use std::io::IsTerminal as _;

use aya_log::EbpfLogger;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tracing_subscriber::EnvFilter;

use crate::datapath::Datapath;

/// Lets what the program logs come out with our own log, where it was built with logging.
pub fn forward(datapath: &mut Datapath) {
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

/// Begins to log to stderr, as `BRIDGEFWD_LOG` says.
pub fn init() {
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
