//! The installed program, as a user runs it: the `bridgefwd` binary, its daemon and its commands.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::namespaces::{BPFFS, Namespace, unique_name};
use crate::wait::{PATIENCE, poll};

/// What a command gave.
#[derive(Clone, Debug)]
pub struct Output {
    /// Exit status; -1 where a signal ended it.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// One bridgefwd in one namespace: a socket and a pin directory of its own, and maybe a running
/// daemon. When it is dropped the daemon is stopped and `down` is run; pins that are left then are
/// a failure.
pub struct Bridgefwd {
    ns: Arc<Namespace>,
    folder: TempDir,
    /// The pin directory.
    pub pin_dir: PathBuf,
    netns: Option<String>,
    environment: Vec<(String, String)>,
    program: PathBuf,
    daemon: Option<Daemon>,
}

struct Daemon {
    child: Child,
    stdout: Receiver<String>,
    stderr: Arc<Mutex<String>>,
    stderr_reader: Option<JoinHandle<()>>,
    /// The line that says that it is ready.
    ready: String,
}

/// The binary under test: `BRIDGEFWD_BIN`, else the one that lies beside the tests.
#[must_use]
pub fn binary() -> PathBuf {
    let beside = || {
        let test = std::env::current_exe().expect("path of the test");
        test.parent().and_then(Path::parent).expect("cargo's folder").join("bridgefwd")
    };
    let path = std::env::var_os("BRIDGEFWD_BIN").map_or_else(beside, PathBuf::from);
    assert!(path.exists(), "{} is not there: set BRIDGEFWD_BIN, or build it", path.display());
    path
}

impl Bridgefwd {
    /// Nothing is started yet.
    #[must_use]
    pub fn new(ns: &Arc<Namespace>) -> Self {
        let folder = tempfile::Builder::new().prefix("bfwt-").tempdir().expect("folder");
        let pin_dir = Path::new(BPFFS).join(unique_name("pins"));
        Self {
            ns: Arc::clone(ns),
            folder,
            pin_dir,
            netns: None,
            environment: Vec::new(),
            program: binary(),
            daemon: None,
        }
    }

    /// With `--netns` on every command line.
    #[must_use]
    pub fn in_netns(mut self, netns: &str) -> Self {
        self.netns = Some(netns.to_owned());
        self
    }

    /// With a variable in the environment of every command.
    #[must_use]
    pub fn with_environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Has another program be run from now on, as after an upgrade; a daemon that runs goes on.
    pub fn use_program(&mut self, program: &Path) {
        self.program = program.to_owned();
    }

    /// With a daemon running, see [`Bridgefwd::start`].
    #[must_use]
    #[track_caller]
    pub fn run(ns: &Arc<Namespace>, args: &[&str]) -> Self {
        let mut this = Self::new(ns);
        this.start(args);
        this
    }

    /// The control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("bridgefwd.sock")
    }

    /// A folder for the test's files; it goes away with this value.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts `run ARGS` and waits until it is ready. Returns how long that took. Panics with its
    /// errors where it ends instead.
    #[track_caller]
    pub fn start(&mut self, args: &[&str]) -> Duration {
        match self.try_start(args) {
            Ok(took) => took,
            Err(output) => panic!("run {args:?} did not become ready: {output:?}"),
        }
    }

    /// Starts `run ARGS` and waits until it is ready or has ended.
    pub fn try_start(&mut self, args: &[&str]) -> Result<Duration, Output> {
        self.try_start_within(PATIENCE, args)
    }

    /// As [`Bridgefwd::try_start`], for at most `patience`.
    pub fn try_start_within(
        &mut self,
        patience: Duration,
        args: &[&str],
    ) -> Result<Duration, Output> {
        assert!(self.daemon.is_none(), "a daemon runs already");
        let begin = Instant::now();
        let mut daemon = Daemon::spawn(&self.ns, self.command_line("run").args(args));
        let mut said = String::new();
        loop {
            match daemon.stdout.recv_timeout(patience.saturating_sub(begin.elapsed())) {
                Ok(line) if line.starts_with("ready") => {
                    daemon.ready = line;
                    break;
                }
                Ok(line) => said += &(line + "\n"),
                // It has closed its output, or taken too long.
                Err(_) => {
                    let _ = daemon.child.kill();
                    let status = daemon.child.wait().expect("ended");
                    let stderr = daemon.last_errors();
                    return Err(Output { status: code(status), stdout: said, stderr });
                }
            }
        }
        self.daemon = Some(daemon);
        Ok(begin.elapsed())
    }

    /// What the running daemon printed when it was ready.
    #[must_use]
    #[track_caller]
    pub fn ready_line(&self) -> &str {
        &self.daemon.as_ref().expect("a daemon").ready
    }

    /// Process id of the running daemon.
    #[must_use]
    #[track_caller]
    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().expect("a daemon").child.id()
    }

    /// What the daemon has written to its standard error.
    #[must_use]
    pub fn errors(&self) -> String {
        self.daemon.as_ref().map(Daemon::errors).unwrap_or_default()
    }

    /// `kill -9`.
    #[track_caller]
    pub fn kill(&mut self) {
        let mut daemon = self.daemon.take().expect("a daemon");
        daemon.child.kill().expect("killed");
        daemon.child.wait().expect("ended");
    }

    /// Waits until the daemon has ended by itself, and returns its exit status.
    #[track_caller]
    pub fn wait_end(&mut self) -> i32 {
        let mut daemon = self.daemon.take().expect("a daemon");
        let ended = poll(PATIENCE, || daemon.child.try_wait().expect("status"));
        code(ended.unwrap_or_else(|| {
            let _ = daemon.child.kill();
            let _ = daemon.child.wait();
            panic!("the daemon did not end; it said: {}", daemon.errors())
        }))
    }

    /// Runs a command to its end.
    #[must_use]
    #[track_caller]
    pub fn cli(&self, args: &[&str]) -> Output {
        let mut command = self.command_line(args[0]);
        command.args(&args[1..]);
        output_in(&self.ns, &mut command)
    }

    /// Runs a command that must succeed, without a word on standard error. Returns its output.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.cli(args);
        assert_eq!((output.status, &output.stderr[..]), (0, ""), "{args:?}: {}", output.stdout);
        output.stdout
    }

    /// IPv4 packets that the kernel itself has forwarded in a router; the copies that it only has to
    /// say that a neighbour is not there do not count.
    #[must_use]
    #[track_caller]
    pub fn forwarded_by_kernel(&self, router: &Namespace) -> u64 {
        // With no daemon it is read from the pins, and with none of those nothing was copied.
        let output = self.cli(&["stats", "--json"]).stdout;
        let stats = serde_json::from_str::<Value>(&output).unwrap_or_default();
        let copies = stats["reasons"]["neighbour_asked"]["packets"].as_u64().unwrap_or_default();
        router.snmp("Ip", "ForwDatagrams").saturating_sub(copies)
    }

    /// Runs a reading command with `--json` and returns the document.
    #[must_use]
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        let text = self.ok(&[args, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{args:?}: {error}: {text}"))
    }

    /// The managed ends, as `bridges` tells of them.
    #[must_use]
    #[track_caller]
    pub fn managed(&self) -> Vec<Value> {
        let Value::Array(mut ends) = self.json(&["bridges"]) else { panic!("not a list") };
        ends.retain(|end| end["managed"] == true);
        ends
    }

    /// The command line of one of its commands, for whoever starts it by hand.
    #[must_use]
    pub fn command_line(&self, command: &str) -> Command {
        let mut line = Command::new(&self.program);
        line.env_remove("DOCKER_HOST").envs(self.environment.iter().cloned());
        if let Some(netns) = &self.netns {
            line.args(["--netns", netns]);
        }
        line.arg("--socket").arg(self.socket()).arg("--pin-dir").arg(&self.pin_dir).arg(command);
        line
    }
}

/// Runs a command line in a namespace to its end.
#[must_use]
#[track_caller]
pub fn output_in(ns: &Namespace, command: &mut Command) -> Output {
    let output = ns.run(|| command.stdin(Stdio::null()).output().expect("started"));
    Output {
        status: code(output.status),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Daemon {
    fn spawn(ns: &Namespace, command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A child inherits the namespace of the thread that starts it.
        let mut child = ns.run(|| command.spawn().expect("started"));
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (line, stdout) = channel();
        std::thread::spawn(move || {
            for text in BufReader::new(out).lines().map_while(Result::ok) {
                // Nobody waits for a line any more: read on, so that the daemon never blocks.
                let _ = line.send(text);
            }
        });
        let stderr = Arc::new(Mutex::new(String::new()));
        let theirs = Arc::clone(&stderr);
        let stderr_reader = std::thread::spawn(move || {
            let mut reader = BufReader::new(err);
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]);
                theirs.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
            }
        });
        Self { child, stdout, stderr, stderr_reader: Some(stderr_reader), ready: String::new() }
    }

    /// All that it said, once it has ended.
    fn last_errors(&mut self) -> String {
        if let Some(reader) = self.stderr_reader.take() {
            let _ = reader.join();
        }
        self.errors()
    }

    fn errors(&self) -> String {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Bridgefwd {
    fn drop(&mut self) {
        let failing = std::thread::panicking();
        let down = self.pin_dir.exists().then(|| self.cli(&["down"]));
        if let Some(mut daemon) = self.daemon.take() {
            let gone = down.is_some()
                && poll(PATIENCE, || daemon.child.try_wait().expect("status")).is_some();
            if !gone {
                let _ = daemon.child.kill();
                let _ = daemon.child.wait();
            }
            if failing {
                eprintln!("the daemon said:\n{}", daemon.errors());
            }
        }
        let left = self.pin_dir.exists();
        if left {
            let _ = std::fs::remove_dir_all(&self.pin_dir);
        }
        if !failing {
            assert!(!left, "{} is left after down: {down:?}", self.pin_dir.display());
        }
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or(-1)
}
