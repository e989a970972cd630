//! Finds the lab's processes by where they run and what they are, and ends them.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};

use crate::failure::{Failure, Result};
use crate::host::netns;

/// How long a killed process may take to go.
const END_WITHIN: Duration = Duration::from_secs(5);

/// A process of ours. Its id cannot come to mean another one while this lives.
pub struct Process {
    /// Its id.
    pub pid: Pid,
    /// Its command line without the program's name.
    pub args: Vec<String>,
    handle: OwnedFd,
}

/// Processes of bridgefwd's own executable in the network namespace of that inode number.
///
/// # Errors
/// /proc cannot be read.
pub fn in_namespace(inode: u64) -> Result<Vec<Process>> {
    let entries = fs::read_dir("/proc")
        .map_err(|error| Failure::failed(format!("cannot list processes in /proc: {error}")))?;
    let pids = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok().and_then(Pid::from_raw));
    // One that ends while we look is none.
    Ok(pids.filter_map(|pid| look_at(pid, inode)).collect())
}

fn look_at(pid: Pid, inode: u64) -> Option<Process> {
    let proc = Path::new("/proc").join(pid.as_raw_nonzero().to_string());
    // Before the look, so that the looked-at is the held one.
    let handle = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
    if netns::inode(&proc.join("ns/net")).ok()? != inode {
        return None;
    }
    let program = fs::read_link(proc.join("exe")).ok()?;
    if !is_bridgefwd(&program) {
        return None;
    }
    let args = arguments(&fs::read(proc.join("cmdline")).ok()?);
    Some(Process { pid, args, handle })
}

/// Is that our executable, or one of another build?
fn is_bridgefwd(program: &Path) -> bool {
    // The kernel says so of a program that was replaced since it was started.
    let name = |path: &Path| {
        path.file_name()
            .map(|name| name.to_string_lossy().trim_end_matches(" (deleted)").to_owned())
    };
    let own = std::env::current_exe().ok();
    program.file_name() == Some(OsStr::new("bridgefwd"))
        || name(program).as_deref() == Some("bridgefwd")
        || own.is_some_and(|own| name(&own) == name(program))
}

/// The arguments in a `/proc/PID/cmdline`, without the first.
fn arguments(cmdline: &[u8]) -> Vec<String> {
    let cmdline = cmdline.strip_suffix(&[0]).unwrap_or(cmdline);
    let words = cmdline.split(|byte| *byte == 0).skip(1);
    words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

impl Process {
    /// Kills it and waits until it is gone.
    ///
    /// # Errors
    /// No permission, or it does not go.
    pub fn kill(self) -> Result<()> {
        let failed = |why: &str| Failure::failed(format!("cannot end process {}: {why}", self.pid));
        match rustix::process::pidfd_send_signal(&self.handle, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => return Err(failed(&errno.to_string())),
        }
        if !ends_within(self.handle.as_fd(), END_WITHIN) {
            return Err(failed("it does not react to SIGKILL"));
        }
        // Where it is a child of ours it would stay as a zombie; where it is not this is refused.
        let _ = rustix::process::waitpid(Some(self.pid), WaitOptions::NOHANG);
        Ok(())
    }
}

/// Waits for the end of the process that `pidfd` stands for.
pub fn ends_within(pidfd: impl AsFd, time: Duration) -> bool {
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    let timeout = Timespec::try_from(time).ok();
    matches!(rustix::event::poll(&mut fds, timeout.as_ref()), Ok(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_split_at_zeros() {
        assert_eq!(arguments(b"/bin/bridgefwd\0lab\0serve\0--name\0db1\0")[..2], ["lab", "serve"]);
        assert_eq!(arguments(b"x\0\0y\0"), ["", "y"]);
        assert!(arguments(b"").is_empty());
    }

    #[test]
    fn a_replaced_executable_is_still_ours() {
        assert!(is_bridgefwd(Path::new("/usr/bin/bridgefwd")));
        assert!(is_bridgefwd(Path::new("/usr/bin/bridgefwd (deleted)")));
        assert!(!is_bridgefwd(Path::new("/usr/bin/bridgefwd-other")));
    }

    #[test]
    fn the_own_namespace_holds_this_process() {
        let inode = netns::inode(Path::new("/proc/self/ns/net")).unwrap();
        let own = rustix::process::getpid();
        assert!(in_namespace(inode).unwrap().iter().any(|process| process.pid == own));
        assert!(in_namespace(1).unwrap().is_empty());
    }
}
