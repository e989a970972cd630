//! Runs a lesson's commands as a shell would: to their end, beside another one, or to stay.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::MemfdFlags;
use rustix::process::{Pid, Signal};

use super::outcome::Ran;
use crate::failure::{Failure, Result};

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Time between two looks at it.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A command that runs, in a process group of its own. Dropped, it is ended.
pub struct Running {
    command: String,
    child: Child,
    /// Takes what it prints; one that stays can go on printing when we are gone.
    output: File,
    keep: bool,
}

impl Running {
    /// Starts a line of shell. `bridgefwd` in it is this program.
    ///
    /// # Errors
    /// There is no shell, or no more processes may be made.
    pub fn start(line: &str) -> Result<Self> {
        let start = || {
            let output = File::from(rustix::fs::memfd_create("output", MemfdFlags::CLOEXEC)?);
            let mut shell = Command::new("sh");
            shell.args(["-c", line]).stdin(Stdio::null()).process_group(0);
            shell.env("LC_ALL", "C").env("NO_COLOR", "1").env_remove("BRIDGEFWD_NETNS");
            shell.env("PATH", path()?).stdout(output.try_clone()?).stderr(output.try_clone()?);
            let child = shell.spawn()?;
            Ok(Self { command: line.into(), child, output, keep: false })
        };
        start().map_err(|error: io::Error| Failure::failed(format!("cannot run `{line}`: {error}")))
    }

    /// What it has printed so far.
    pub fn output(&self) -> String {
        let length = self.output.metadata().map_or(0, |metadata| metadata.len());
        let mut text = vec![0; usize::try_from(length).unwrap_or(0)];
        // It is memory, and does not shrink.
        let _ = self.output.read_exact_at(&mut text, 0);
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Waits until it has printed that.
    ///
    /// # Errors
    /// It ended before, or did not print it in time.
    pub fn prints(&mut self, text: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.output().contains(text) {
            if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                return Err(self.failed("it has ended"));
            }
            if Instant::now() > deadline {
                return Err(self.failed(&format!("it does not say \"{text}\"")));
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Waits for its end, for so long; then it is asked to end, as `kill` does:
    /// what was started in the background may ignore Ctrl-C's signal.
    ///
    /// # Errors
    /// It does not end.
    pub fn end(mut self, within: Duration) -> Result<Ran> {
        let status = match self.wait(within)? {
            Some(status) => status,
            None => {
                self.signal(Signal::TERM);
                self.wait(PATIENCE)?.ok_or_else(|| self.failed("it does not end"))?
            }
        };
        Ok(Ran { command: self.command.clone(), output: self.output(), status: status.code() })
    }

    /// Leaves it running.
    pub fn stay(mut self) -> Ran {
        self.keep = true;
        Ran { command: self.command.clone(), output: self.output(), status: None }
    }

    fn wait(&mut self, within: Duration) -> Result<Option<ExitStatus>> {
        let deadline = Instant::now() + within;
        loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < deadline => thread::sleep(LOOK_EVERY),
                Ok(status) => return Ok(status),
                Err(error) => return Err(self.failed(&error.to_string())),
            }
        }
    }

    /// To all of its processes.
    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // One that has just ended needs none.
            let _ = rustix::process::kill_process_group(pid, signal);
        }
    }

    fn failed(&self, why: &str) -> Failure {
        Failure::failed(format!("`{}`: {why}:\n{}", self.command, self.output().trim_end()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.keep && self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.signal(Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// Runs a command to its end.
///
/// # Errors
/// It cannot be run, or takes too long.
pub fn run(line: &str) -> Result<Ran> {
    Running::start(line)?.end(PATIENCE)
}

/// Is there such a program?
#[must_use]
pub fn is_there(program: &str) -> bool {
    path().is_ok_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

/// Where commands are found: first of all beside this program, so that `bridgefwd` is this one; and in
/// the folders of the administrator's commands, which not everybody has.
fn path() -> io::Result<std::ffi::OsString> {
    let own = std::env::current_exe()?;
    let given = std::env::var_os("PATH").unwrap_or_default();
    let dirs = own.parent().map(std::path::Path::to_path_buf).into_iter();
    let dirs = dirs.chain(std::env::split_paths(&given));
    let dirs = dirs.chain(["/usr/sbin", "/sbin"].map(Into::into));
    std::env::join_paths(dirs).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_status_are_those_of_the_shell() {
        let ran = run("echo out; echo err >&2; exit 3").unwrap();
        assert_eq!((ran.output.as_str(), ran.status), ("out\nerr\n", Some(3)));
    }

    #[test]
    fn what_does_not_end_is_told_to_with_all_of_its_processes() {
        let mut running =
            Running::start("trap 'echo bye; exit 0' TERM; echo on; while :; do sleep 0.05; done")
                .unwrap();
        running.prints("on").unwrap();
        let ran = running.end(Duration::ZERO).unwrap();
        // The shell may also say that its sleep was ended.
        assert!(ran.output.starts_with("on\n") && ran.output.ends_with("bye\n"), "{ran:?}");
        assert_eq!(ran.status, Some(0));
    }

    #[test]
    fn one_that_ends_too_early_is_told() {
        let error = Running::start("echo alas").unwrap().prints("ready").unwrap_err().to_string();
        assert!(error.contains("it has ended") && error.contains("alas"), "{error}");
    }

    #[test]
    fn programs_are_found() {
        assert!(is_there("sh") && !is_there("no-such-program"));
    }
}
