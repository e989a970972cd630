//! The BPF filesystem, where maps and links outlive the daemon.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open, statfs};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};

use crate::failure::{Failure, Result};

/// Where it is mounted by convention.
const USUAL_PLACE: &str = "/sys/fs/bpf";
/// `BPF_FS_MAGIC`.
const MAGIC: u32 = 0xcafe_4a11;

/// Sees to it that `dir` can be made on a BPF filesystem: mounts one at its usual place where that
/// is needed, and says so.
///
/// # Errors
///
/// Where `dir` would be on another filesystem, with what to do.
pub fn ensure(dir: &Path) -> Result<()> {
    if is_on_bpffs(dir) {
        return Ok(());
    }
    if !dir.starts_with(USUAL_PLACE) {
        return Err(Failure::failed(format!(
            "{} is not on a BPF filesystem: choose a --pin-dir below {USUAL_PLACE}, or mount one \
             there (mount -t bpf bpf DIR)",
            dir.display()
        )));
    }
    mount("bpf", USUAL_PLACE, "bpf", MountFlags::NOSUID | MountFlags::NODEV, None).map_err(
        |error| {
            Failure::failed(format!(
                "no BPF filesystem is mounted at {USUAL_PLACE}, and it cannot be mounted: \
                 {error}. Is this a namespace with a /sys of its own (ip netns exec makes one)? \
                 Use --netns, or nsenter --net=FILE instead"
            ))
        },
    )?;
    tracing::info!("mounted a BPF filesystem at {USUAL_PLACE}");
    Ok(())
}

/// Is `path`, or where it is not there yet the nearest folder above it, on a BPF filesystem?
#[must_use]
pub fn is_on_bpffs(path: &Path) -> bool {
    path.ancestors()
        .find(|ancestor| ancestor.exists())
        .and_then(|ancestor| statfs(ancestor).ok())
        .is_some_and(|stat| stat.f_type as u32 == MAGIC)
}

/// The right to write to the maps below a folder; gone with the process, however it ends.
#[derive(Debug)]
pub struct WriterLock(#[expect(dead_code, reason = "the lock is held while this is open")] OwnedFd);

impl WriterLock {
    /// Takes the lock of `dir`, which must exist. `None` where another process holds it.
    ///
    /// # Errors
    ///
    /// Where the folder cannot be opened or locked.
    pub fn take(dir: &Path) -> Result<Option<Self>> {
        let failed = |error: Errno| {
            Failure::failed(format!("cannot lock the pin folder {}: {error}", dir.display()))
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = open(dir, flags, Mode::empty()).map_err(failed)?;
        match flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self(fd))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }
}

/// Removes a folder of pins with all below it, as far as it goes. What is pinned lives on while
/// something else holds it.
///
/// # Errors
///
/// The first thing that could not be removed.
pub fn remove_tree(dir: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
