//! bridgefwd itself in the lab's router: finds one that runs, and runs one for the tour.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags};
use tokio::sync::oneshot;

use super::processes;
use super::report;
use super::topology::{self, BRIDGES, ROUTER, RUN_DIR};
use crate::api::client::Client;
use crate::failure::{Failure, Result};
use crate::host::netns;
use crate::instance::Instance;

/// How long the daemon may take until it says that it is ready.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// How long it may take to end.
const END_WITHIN: Duration = Duration::from_secs(5);

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
    let instance = instance();
    crate::datapath::removal::remove(&instance.pin_dir)?;
    match fs::remove_file(&instance.socket) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(Failure::failed(format!(
                "cannot remove {}: {error}",
                instance.socket.display()
            )));
        }
        _ => {}
    }
    // Where other daemons have their sockets there, it stays.
    let _ = instance.socket.parent().map(fs::remove_dir);
    Ok(())
}

/// The tour's daemon. Dropped, it is told `down`; what it leaves then is removed.
pub struct Daemon {
    /// How long it took to be ready; zero before.
    pub ready_after: Duration,
    child: Child,
    instance: Instance,
    ended: bool,
}

impl Daemon {
    /// Starts it on all bridges of the lab, with whatever is not listed denied, and waits until it
    /// is ready.
    ///
    /// # Errors
    /// It could not be started or does not become ready; with what it said.
    pub async fn start() -> Result<Self> {
        let cannot = |error: io::Error| Failure::failed(format!("cannot start bridgefwd: {error}"));
        let log = Path::new(RUN_DIR).join("daemon.log");
        let instance = instance();
        let mut command = Command::new(std::env::current_exe().map_err(cannot)?);
        command.args(["--netns", ROUTER, "--socket"]).arg(&instance.socket);
        command.arg("--pin-dir").arg(&instance.pin_dir).arg("run");
        for bridge in BRIDGES {
            command.args(["--bridge", bridge.name]);
        }
        command
            .args(["--unlisted", "deny"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).map_err(cannot)?)
            // Ctrl-C is for the tour, which then ends the daemon in order.
            .process_group(0);
        let started = Instant::now();
        let mut child = command.spawn().map_err(cannot)?;
        let said_ready = child.stdout.take().map(watch);
        let mut daemon = Self { ready_after: Duration::ZERO, child, instance, ended: false };
        let ready = async { said_ready?.await.ok() };
        match tokio::time::timeout(READY_WITHIN, ready).await {
            Ok(Some(())) => {
                daemon.ready_after = started.elapsed();
                Ok(daemon)
            }
            outcome => {
                let what = if outcome.is_err() { "is not ready in time" } else { "ended" };
                daemon.ended = true;
                daemon.abandon()?;
                let said = fs::read_to_string(&log).unwrap_or_default();
                Err(Failure::failed(format!("bridgefwd {what}; it said: {}", said.trim())))
            }
        }
    }

    /// Its client.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(&self.instance.socket)
    }

    /// Tells it `down` and waits for its end; nothing of it must be left then.
    ///
    /// # Errors
    /// It did not end in order or left something, which is removed now.
    pub fn end(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        if self.ready_after.is_zero() {
            // It cannot be asked yet.
            return self.abandon();
        }
        let ended_already = matches!(self.child.try_wait(), Ok(Some(status)) if status.success());
        let asked = if ended_already { Ok(()) } else { self.go_down() };
        let outcome = asked.and_then(|()| self.nothing_left());
        if outcome.is_err() {
            self.abandon()?;
        }
        outcome
    }

    /// Ends it the hard way and removes what it left.
    fn abandon(&mut self) -> Result<()> {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        remove_leftovers()
    }

    fn go_down(&mut self) -> Result<()> {
        let client = self.client();
        // On a thread of its own, because this also runs where a runtime is being left.
        thread::scope(|scope| {
            let asked = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime = runtime.map_err(|error| Failure::failed(error.to_string()))?;
                runtime.block_on(async {
                    tokio::time::timeout(END_WITHIN, client.down())
                        .await
                        .unwrap_or_else(|_| Err(Failure::failed("no answer to `down`")))
                })
            });
            asked.join().unwrap_or_else(|_| Err(Failure::failed("cannot ask for `down`")))
        })?;
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pidfd = pid.map(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()));
        if let Some(Ok(pidfd)) = pidfd
            && !processes::ends_within(&pidfd, END_WITHIN)
        {
            return Err(Failure::failed("bridgefwd does not end after `down`"));
        }
        let status = self.child.wait().map_err(|error| Failure::failed(error.to_string()))?;
        if !status.success() {
            return Err(Failure::failed(format!("bridgefwd ended after `down` with {status}")));
        }
        Ok(())
    }

    fn nothing_left(&self) -> Result<()> {
        for path in [&self.instance.socket, &self.instance.pin_dir] {
            if path.exists() {
                return Err(Failure::failed(format!(
                    "bridgefwd left {} behind after `down`",
                    path.display()
                )));
            }
        }
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Err(failure) = self.end() {
            report::complain(&failure);
        }
    }
}

/// Tells when a line that starts with "ready" comes, and goes on reading, so that the daemon can go
/// on writing.
fn watch(stdout: ChildStdout) -> oneshot::Receiver<()> {
    let (sender, receiver) = oneshot::channel();
    thread::spawn(move || {
        let mut sender = Some(sender);
        for line in BufReader::new(stdout).lines().map_while(io::Result::ok) {
            if line.starts_with("ready")
                && let Some(sender) = sender.take()
            {
                // Whoever does not wait any more has given up already.
                let _ = sender.send(());
            }
        }
    });
    receiver
}
