//! bridgefwd itself in the lab's router: finds one that runs.

use crate::failure::Result;
use crate::host::netns;
use crate::instance::Instance;

use super::processes;
use super::topology::{self, ROUTER};

/// The instance that `bridgefwd --netns bridgefwd-lab-router` means, so that commands in another
/// terminal reach the tour's daemon.
#[must_use]
pub fn instance() -> Instance {
    Instance::new(Some(ROUTER.into()), None, None)
}

/// Process id of a daemon in the router's namespace, whoever started it.
///
/// # Errors
/// Processes cannot be listed.
pub fn running() -> Result<Option<i32>> {
    if !netns::exists(ROUTER) {
        return Ok(None);
    }
    let found = processes::in_namespace(netns::inode(&topology::router_path())?)?;
    let daemon = found.iter().find(|process| process.args.iter().any(|arg| arg == "run"));
    Ok(daemon.map(|process| process.pid.as_raw_nonzero().get()))
}

/// Removes what a daemon that did not end in order left outside of the namespace.
///
/// # Errors
/// Something could not be removed.
pub fn remove_leftovers() -> Result<()> {
    Ok(())
}
