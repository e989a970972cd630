//! `bridgefwd down`: ends the daemon, and removes what it or one that was killed left behind.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::{ask_daemon, enter_netns, output};
use crate::api::bridges::Bridge;
use crate::datapath::removal;
use crate::failure::{Failure, Result};
use crate::instance::Instance;

/// How long the daemon may take to go once it said that it will, and beside that for each program that it
/// has to take off: the kernel waits for every CPU after most of them.
const PATIENCE: Duration = Duration::from_secs(10);
const PATIENCE_A_PROGRAM: Duration = Duration::from_millis(100);
/// From so many on somebody may wonder why it takes seconds.
const MANY: u32 = 100;
/// The folder of the default sockets, removed with the last of them.
const SOCKET_DIR: &str = "/run/bridgefwd";

pub(super) fn run(instance: &Instance) -> Result<()> {
    let asked = ask_daemon(instance, async |client| {
        // Where it cannot say what it has, it shall go all the same.
        let attachments = client.bridges().await.map_or(0, |bridges| attachments(&bridges));
        Ok((client.down().await?, attachments))
    });
    let ended = match asked {
        Ok((pid, attachments)) => {
            if attachments >= MANY {
                output::note(&format!("taking {attachments} programs off, one after the other"));
            }
            wait_until_gone(pid, PATIENCE + PATIENCE_A_PROGRAM.saturating_mul(attachments))?;
            Some(pid)
        }
        Err(Failure::NoDaemon(_)) => None,
        Err(failure) => return Err(failure),
    };
    enter_netns_or_none(instance)?;
    let unpinned = removal::remove(&instance.pin_dir)?;
    let unlinked = remove_socket(&instance.socket)?;
    output::print(&match ended {
        Some(pid) => format!("the daemon (pid {pid}) has gone; nothing is attached or pinned\n"),
        None if unpinned || unlinked => format!(
            "no daemon was running; removed what was left in {}\n",
            instance.pin_dir.display()
        ),
        None => "nothing to remove\n".into(),
    })
}

/// Enters the instance's namespace. Where that was deleted before us and pins or a socket are left
/// over, an empty one: interface numbers that the pins tell must not be looked up in another.
fn enter_netns_or_none(instance: &Instance) -> Result<()> {
    let gone = instance.netns_path().is_some_and(|path| !path.exists());
    if !gone || !(instance.pin_dir.exists() || instance.socket.exists()) {
        return enter_netns(instance);
    }
    // SAFETY: CLONE_NEWNET alone changes the thread's network namespace; descriptors and memory
    // are shared as before.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.map_err(|errno| {
        Failure::failed(format!(
            "cannot clear up after the network namespace that is gone: {errno}; run this as root"
        ))
    })
}

/// How many programs are attached: two to an end, one to a port.
fn attachments(bridges: &[Bridge]) -> u32 {
    let managed = bridges.iter().filter(|bridge| bridge.managed);
    u32::try_from(managed.map(|end| 2 + end.ports.len()).sum::<usize>()).unwrap_or(u32::MAX)
}

/// Waits for the end of a process that need not be our child.
fn wait_until_gone(pid: u32, patience: Duration) -> Result<()> {
    let failed = |why: &str| {
        Failure::failed(format!(
            "the daemon (pid {pid}) {why}: end it with `kill -9 {pid}`, then run `bridgefwd down` \
             again"
        ))
    };
    let process = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| failed("answered with an impossible process id"))?;
    let process = match pidfd_open(process, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(Errno::SRCH) => return Ok(()),
        Err(errno) => return Err(failed(&format!("cannot be waited for ({errno})"))),
    };
    let timeout = Timespec {
        tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: patience.subsec_nanos().into(),
    };
    // A pidfd is readable once the process has ended.
    match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&timeout)) {
        Ok(0) => Err(failed(&format!("has not gone within {} s", patience.as_secs()))),
        Ok(_) => Ok(()),
        Err(errno) => Err(failed(&format!("cannot be waited for ({errno})"))),
    }
}

/// Removes the socket of a daemon that is gone, and the folder of the default sockets where it is
/// empty then. Anything but a socket is left alone. True where there was one.
fn remove_socket(socket: &Path) -> Result<bool> {
    let failed = |error: io::Error| {
        Failure::failed(format!("cannot remove the socket {}: {error}", socket.display()))
    };
    let removed = match fs::symlink_metadata(socket) {
        Ok(found) if found.file_type().is_socket() => {
            fs::remove_file(socket).map_err(failed)?;
            true
        }
        Ok(_) => false,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(failed(error)),
    };
    if socket.parent() == Some(Path::new(SOCKET_DIR)) {
        // Other instances may have theirs there.
        let _ = fs::remove_dir(SOCKET_DIR);
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_is_waited_for() {
        let mut cat = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = cat.id();
        let waiter = std::thread::spawn(move || wait_until_gone(pid, PATIENCE));
        drop(cat.stdin.take());
        waiter.join().unwrap().unwrap();
        cat.wait().unwrap();
        // Gone already.
        wait_until_gone(pid, PATIENCE).unwrap();
        assert!(wait_until_gone(0, PATIENCE).is_err());
    }

    #[test]
    fn one_that_does_not_go_is_given_up() {
        let mut cat = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let stuck = wait_until_gone(cat.id(), Duration::from_millis(20)).unwrap_err();
        assert!(stuck.to_string().contains("has not gone within"), "{stuck}");
        drop(cat.stdin.take());
        cat.wait().unwrap();
    }

    #[test]
    fn ends_have_two_programs_and_ports_one() {
        let end = |managed, ports: &[&str]| Bridge {
            managed,
            ports: ports.iter().map(ToString::to_string).collect(),
            ..Bridge::default()
        };
        let ends = [end(true, &["veth1", "veth2"]), end(true, &[]), end(false, &["veth3"])];
        assert_eq!(attachments(&ends), 6);
    }

    #[test]
    fn only_sockets_are_removed() {
        let path = std::env::temp_dir().join(format!("bridgefwd-down-{}", std::process::id()));
        assert!(!remove_socket(&path).unwrap());
        fs::write(&path, "precious").unwrap();
        assert!(!remove_socket(&path).unwrap());
        fs::remove_file(&path).unwrap();
        drop(UnixListener::bind(&path).unwrap());
        assert!(remove_socket(&path).unwrap());
        assert!(!path.exists());
    }
}
