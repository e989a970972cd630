//! Network namespaces by name, kept as iproute2 keeps them: `ip netns list` shows ours, and we
//! take those that it made.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

use crate::failure::{Failure, Result};
use crate::instance::NETNS_DIR;

/// The calling thread's own network namespace.
const OF_THREAD: &str = "/proc/thread-self/ns/net";

/// The file that stands for the namespace of that name.
#[must_use]
pub fn path_of(name: &str) -> PathBuf {
    Path::new(NETNS_DIR).join(name)
}

/// Moves the calling thread into the network namespace that `path` stands for. Threads that it
/// starts later are there too, those that run already are not: call it before any runtime starts.
///
/// # Errors
/// No such file, no namespace, or no permission.
pub fn enter(path: &Path) -> Result<()> {
    let file = File::open(path).map_err(|error| cannot_enter(path, &error))?;
    rustix::thread::move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|errno| cannot_enter(path, &errno.into()))
}

/// Does `work` on a thread of its own inside the network namespace that `path` stands for; the
/// calling thread stays where it is and waits. A panic in `work` goes on in the caller.
///
/// # Errors
/// As [`enter`], or no thread could be started.
pub fn run_in<T: Send>(path: &Path, work: impl FnOnce() -> T + Send) -> Result<T> {
    on_own_thread(|| {
        enter(path)?;
        Ok(work())
    })
}

/// Does `work` on a thread of its own inside a new network namespace, which goes away with it; only
/// `lo` is there, and it is down.
///
/// # Errors
/// No permission, or no thread could be started.
pub fn run_in_new<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    on_own_thread(|| {
        // SAFETY: CLONE_NEWNET alone changes the thread's network namespace; file descriptors
        // stay shared with the other threads.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }
            .map_err(|errno| cannot_make("for a trial", &errno.into()))?;
        Ok(work())
    })
}

/// Makes a network namespace of that name, with its loopback interface up, as `ip netns add` does.
///
/// # Errors
/// The name is no file name or is taken, or there is no permission. Nothing is left then.
pub fn create(name: &str) -> Result<()> {
    check_name(name)?;
    prepare_dir().map_err(|error| {
        Failure::failed(format!("cannot prepare {NETNS_DIR} for network namespaces: {error}"))
    })?;
    let path = path_of(name);
    OpenOptions::new().read(true).write(true).create_new(true).open(&path).map_err(|error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            Failure::failed(format!("network namespace {name} exists already"))
        } else {
            Failure::failed(format!("cannot create {}: {error}", path.display()))
        }
    })?;
    let made = on_own_thread(|| {
        // SAFETY: CLONE_NEWNET alone changes the thread's network namespace; file descriptors
        // stay shared with the other threads.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }
            .map_err(|errno| cannot_make(name, &errno.into()))?;
        raise_loopback().map_err(|error| cannot_make(name, &error))?;
        rustix::mount::mount_bind(OF_THREAD, &path)
            .map_err(|errno| cannot_make(name, &errno.into()))
    });
    if made.is_err() {
        // Only the empty file is there; what matters to the user is why.
        let _ = fs::remove_file(&path);
    }
    made
}

/// Takes the name away; the namespace ends with its last process. Fine where there is none.
///
/// # Errors
/// The name is no file name, or there is no permission.
pub fn delete(name: &str) -> Result<()> {
    check_name(name)?;
    let path = path_of(name);
    let failed = |error: io::Error| {
        Failure::failed(format!("cannot delete network namespace {name}: {error}"))
    };
    match rustix::mount::unmount(&path, UnmountFlags::DETACH) {
        // EINVAL: a file that nothing is mounted on, left by an interrupted `create`.
        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
        Err(errno) => return Err(failed(errno.into())),
    }
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
        _ => Ok(()),
    }
}

/// Is there a network namespace, or what is left of one, of that name?
#[must_use]
pub fn exists(name: &str) -> bool {
    check_name(name).is_ok() && path_of(name).symlink_metadata().is_ok()
}

/// Inode number of the namespace that `path` stands for: equal for the same namespace, however it
/// is named, as long as it lives.
///
/// # Errors
/// No such file.
pub fn inode(path: &Path) -> Result<u64> {
    fs::metadata(path)
        .map(|metadata| metadata.ino())
        .map_err(|error| Failure::failed(format!("cannot look at {}: {error}", path.display())))
}

/// A name must be one component of a path.
fn check_name(name: &str) -> Result<()> {
    if name.is_empty()
        || name.len() > 255
        || name.contains(['/', '\0'])
        || matches!(name, "." | "..")
    {
        return Err(Failure::usage(format!(
            "{name:?} cannot name a network namespace: use a plain file name"
        )));
    }
    Ok(())
}

/// Makes the folder of namespaces and shares its mounts with other mount namespaces, without which
/// a namespace deleted here would live on there. iproute2 does the same, under the same lock.
fn prepare_dir() -> io::Result<()> {
    fs::create_dir_all(NETNS_DIR)?;
    let dir = File::open(NETNS_DIR)?;
    rustix::fs::flock(&dir, FlockOperation::LockExclusive)?;
    let share = || {
        let flags = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
        rustix::mount::mount_change(NETNS_DIR, flags)
    };
    match share() {
        // Not a mount point yet.
        Err(Errno::INVAL) => {
            rustix::mount::mount_bind_recursive(NETNS_DIR, NETNS_DIR)?;
            share()?;
        }
        other => other?,
    }
    Ok(())
}

/// Brings `lo` of the calling thread's namespace up.
fn raise_loopback() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        let up = rtnetlink::LinkUnspec::new_with_name("lo").up().build();
        handle.link().set(up).execute().await.map_err(io::Error::other)
    })
}

/// Runs `work` on a new thread and waits for it.
fn on_own_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("netns".into())
            .spawn_scoped(scope, work)
            .map_err(|error| Failure::failed(format!("cannot start a thread: {error}")))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn cannot_enter(path: &Path, error: &io::Error) -> Failure {
    let why = match error.kind() {
        io::ErrorKind::NotFound => "there is no such namespace (see `ip netns list`)".into(),
        io::ErrorKind::InvalidInput => "it is not a network namespace".into(),
        io::ErrorKind::PermissionDenied => "no permission: run it as root".into(),
        _ => error.to_string(),
    };
    Failure::failed(format!("cannot enter the network namespace {}: {why}", path.display()))
}

fn cannot_make(name: &str, error: &io::Error) -> Failure {
    let hint =
        if error.kind() == io::ErrorKind::PermissionDenied { ": run it as root" } else { "" };
    Failure::failed(format!("cannot make network namespace {name}: {error}{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_single_path_components() {
        for bad in ["", ".", "..", "a/b", "/run/netns/a", "a\0b"] {
            assert!(matches!(create(bad), Err(Failure::Usage(_))), "{bad:?}");
            assert!(matches!(delete(bad), Err(Failure::Usage(_))), "{bad:?}");
            assert!(!exists(bad));
        }
    }

    #[test]
    fn what_is_no_namespace_cannot_be_entered() {
        let missing = run_in(Path::new("/run/netns/bridgefwd-no-such-namespace"), || ());
        assert!(missing.unwrap_err().to_string().contains("no such namespace"));
        assert!(run_in(Path::new("/proc/self/status"), || ()).is_err());
    }

    #[test]
    fn a_namespace_lives_from_create_to_delete() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: making network namespaces takes root");
            return;
        }
        let name = format!("bridgefwd-unit-{}", std::process::id());
        let path = path_of(&name);
        let own = inode(Path::new(OF_THREAD)).unwrap();
        create(&name).unwrap();
        let inside = run_in(&path, || {
            let flags = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
            (inode(Path::new(OF_THREAD)).unwrap(), flags)
        });
        let twice = create(&name);
        let seen = inode(&path).unwrap();
        delete(&name).unwrap();
        delete(&name).unwrap();
        assert!(!exists(&name));
        let (inode_inside, devices) = inside.unwrap();
        assert!(devices.contains("lo:"));
        assert_eq!(inode_inside, seen);
        assert_ne!(inode_inside, own);
        assert_eq!(inode(Path::new(OF_THREAD)).unwrap(), own);
        assert!(twice.unwrap_err().to_string().contains("exists already"));
    }
}
