//! A Docker engine of the test's own: network, mount and process namespaces, folders, socket and
//! containerd of its own; nothing of it is left when it goes.
//!
//! Everything of the engine, its containers too, lives in a process namespace whose first process ends
//! when the test's end of a pipe is closed. The kernel then ends all the rest, also where the test
//! process was killed; what is left on disk and of control groups is removed by the next one.

mod image;
mod outside;
mod rules;

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Once};

use serde_json::Value;

use crate::bridgefwd::{Output, output_in};
use crate::command::{self, only_child};
use crate::namespaces::{Namespace, is_stale};
use crate::skip::skipped;
use crate::wait::{PATIENCE, poll, until};
pub use image::{IMAGE, SERVER, tar as image_as_tar};
pub use outside::Outside;
pub use rules::{block_as_newer_engines, rules};

/// Programs without which there is no engine.
const PROGRAMS: [&str; 7] =
    ["dockerd", "docker", "containerd", "runc", "iptables", "unshare", "busybox"];

/// Where control groups are.
const CGROUPS: &str = "/sys/fs/cgroup";

/// First process of the engine's process namespace: a private view of `/sys` and `/run`, then the
/// engine, until the pipe on standard input is closed. `/sys` is that of the network namespace, with
/// the control groups as they are; a `/run` of its own makes the engine start its own containerd
/// even where the system has one.
const FIRST_PROCESS: &str = r#"
set -e
mkdir -p "$FOLDER/cgroup"
mount --rbind /sys/fs/cgroup "$FOLDER/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$FOLDER/cgroup" /sys/fs/cgroup
mount -t tmpfs tmpfs /run
while :; do
    rm -f "$FOLDER/docker.pid"
    "$@" </dev/null >>"$FOLDER/log" 2>&1 && status=0 || status=$?
    echo "the engine ended with $status" >>"$FOLDER/log"
    while [ -e "$FOLDER/stopped" ]; do sleep 0.02; done
done &
read -r nothing || exit 0
"#;

/// A running engine, and the network namespace that is its host's.
pub struct Engine {
    /// The host's network namespace.
    pub ns: Arc<Namespace>,
    folder: PathBuf,
    child: Child,
    /// Held open for as long as the engine shall live.
    life: Option<ChildStdin>,
}

/// How an engine is started.
#[derive(Clone, Copy, Debug)]
pub struct EngineOptions {
    /// `bridge-nf-call-iptables` in the host's namespace.
    pub bridge_netfilter: bool,
    /// Arguments for `dockerd` beside its own.
    pub args: &'static [&'static str],
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self { bridge_netfilter: true, args: &[] }
    }
}

/// May this test run? Prints why where it may not; in CI that is a failure of the set-up.
#[must_use]
pub fn is_possible() -> bool {
    if !crate::skip::has_root() {
        return false;
    }
    let missing: Vec<_> = PROGRAMS.into_iter().filter(|name| find(name).is_none()).collect();
    if missing.is_empty() {
        return true;
    }
    let reason =
        format!("there is no {}: apt-get install docker.io busybox-static", missing.join(", "));
    assert!(std::env::var_os("CI").is_none(), "CI must have what this layer needs: {reason}");
    skipped(&reason);
    false
}

/// Returns from the calling test where there can be no engine.
#[macro_export]
macro_rules! needs_docker {
    () => {
        if !$crate::docker::is_possible() {
            return;
        }
    };
}

impl Engine {
    /// Starts one, with [`IMAGE`] in it.
    #[must_use]
    #[track_caller]
    pub fn start(options: EngineOptions) -> Self {
        static SWEPT: Once = Once::new();
        SWEPT.call_once(remove_stale);
        let ns = Arc::new(Namespace::new("docker"));
        let name = ns.name().to_owned();
        let value = if options.bridge_netfilter { "1" } else { "0" };
        for table in ["iptables", "ip6tables", "arptables"] {
            ns.sysctl(&format!("net/bridge/bridge-nf-call-{table}"), value);
        }
        let folder = std::env::temp_dir().join(&name);
        fs::create_dir(&folder).expect("folder");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("its mode");
        fs::write(folder.join("daemon.json"), "{}").expect("configuration");
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"])
            .args(["--mount-proc", "sh", "-c", FIRST_PROCESS, "sh"])
            .env("FOLDER", &folder)
            .arg(find("dockerd").expect("dockerd"))
            .args([format!("--config-file={}", folder.join("daemon.json").display())])
            .args([format!("--data-root={}", folder.join("data").display())])
            .args([format!("--exec-root={}", folder.join("exec").display())])
            .args([format!("--pidfile={}", folder.join("docker.pid").display())])
            .args([format!("--host=unix://{}", folder.join("docker.sock").display())])
            .args([format!("--cgroup-parent=/{name}"), "--log-level=warn".into()])
            .args(options.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = ns.run(|| command.spawn().expect("unshare"));
        let life = child.stdin.take();
        let engine = Self { ns, folder, child, life };
        engine.wait_ready();
        engine.docker_with_input(
            &["import", "-c", r#"CMD ["sleep","86400"]"#, "-", IMAGE],
            image::tar(),
        );
        engine
    }

    /// The engine's socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join("docker.sock")
    }

    /// `docker ARGS`, which must succeed. Returns what it printed, without the last newline.
    #[track_caller]
    pub fn docker(&self, args: &[&str]) -> String {
        let output = self.try_docker(args);
        assert_eq!(output.status, 0, "docker {args:?}: {output:?}\n{}", self.log());
        output.stdout.trim_end().to_owned()
    }

    /// `docker ARGS`.
    #[must_use]
    pub fn try_docker(&self, args: &[&str]) -> Output {
        output_in(&self.ns, self.client().args(args))
    }

    #[track_caller]
    fn docker_with_input(&self, args: &[&str], input: &[u8]) {
        use std::io::Write as _;
        let mut child = self
            .client()
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker");
        child.stdin.take().expect("its input").write_all(input).expect("written");
        let output = child.wait_with_output().expect("ended");
        assert!(output.status.success(), "docker {args:?}: {output:?}\n{}", self.log());
    }

    fn client(&self) -> Command {
        self.client_of("docker")
    }

    /// A program that is to ask this engine, by the environment that such programs go by.
    #[must_use]
    #[track_caller]
    pub fn client_of(&self, program: &str) -> Command {
        let mut command = Command::new(find(program).unwrap_or_else(|| panic!("no {program}")));
        command
            .env("DOCKER_HOST", format!("unix://{}", self.socket().display()))
            .env("DOCKER_CONFIG", &self.folder)
            .env_remove("DOCKER_CONTEXT");
        command
    }

    /// A command line that finds the engine as one finds it on a host of one's own: in its namespaces
    /// of processes, mounts and network, with `docker` talking to it.
    #[must_use]
    pub fn on_its_host(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.first_process().to_string()]);
        command.args(["--pid", "--mount", "--net"]).arg(program);
        command
            .env("DOCKER_HOST", format!("unix://{}", self.socket().display()))
            .env("DOCKER_CONFIG", &self.folder)
            .env_remove("DOCKER_CONTEXT");
        command
    }

    /// Makes a network of the driver `bridge`, with `more` on the command line. Returns the name of
    /// its bridge.
    #[track_caller]
    pub fn network(&self, name: &str, more: &[&str]) -> String {
        let id = self.docker(&[&["network", "create"], more, &[name]].concat());
        format!("br-{}", &id[..12])
    }

    /// Starts a container with the server of [`IMAGE`] in it.
    #[track_caller]
    pub fn container(&self, name: &str, network: &str, more: &[&str]) {
        let run = ["run", "--detach", "--init", "--name", name, "--network", network];
        self.docker(&[&run, more, &[IMAGE], &image::SERVER].concat());
    }

    /// What `docker inspect` says of something.
    #[must_use]
    #[track_caller]
    pub fn inspect(&self, what: &str) -> Value {
        let text = self.docker(&["inspect", what]);
        serde_json::from_str::<Value>(&text).expect("JSON")[0].take()
    }

    /// The IPv4 address of a container in a network.
    #[must_use]
    #[track_caller]
    pub fn address(&self, container: &str, network: &str) -> Ipv4Addr {
        let text = &self.inspect(container)["NetworkSettings"]["Networks"][network]["IPAddress"];
        let text = text.as_str().unwrap_or_else(|| panic!("{container} is not in {network}"));
        text.parse().unwrap_or_else(|_| panic!("{container} has no address in {network}"))
    }

    /// The network namespace of a running container.
    #[must_use]
    #[track_caller]
    pub fn inside(&self, container: &str) -> Namespace {
        let pid = self.inspect(container)["State"]["Pid"].as_u64().expect("a pid");
        // The number is of the engine's process namespace, as its own /proc has it.
        let root = PathBuf::from(format!("/proc/{}/root", self.first_process()));
        Namespace::of(&root.join(format!("proc/{pid}/ns/net")))
    }

    /// Fetches the page of a server from a container: the address that the server saw, or `None` where
    /// there was no answer within a second.
    #[must_use]
    pub fn fetch(&self, from: &str, server: Ipv4Addr) -> Option<String> {
        let output = self.try_docker(&["exec", from, "fetch", &server.to_string()]);
        assert_eq!(output.status, 0, "{output:?}");
        let answer = output.stdout.trim();
        (!answer.is_empty()).then(|| answer.to_owned())
    }

    /// Ends the engine's daemon, and leaves its containers to be what they are.
    #[track_caller]
    pub fn stop_daemon(&self) {
        fs::write(self.folder.join("stopped"), "").expect("noted");
        self.end_daemon();
    }

    /// Lets the daemon run again.
    #[track_caller]
    pub fn start_daemon(&self) {
        fs::remove_file(self.folder.join("stopped")).expect("noted");
        self.wait_ready();
    }

    /// Ends the daemon; another one starts at once.
    #[track_caller]
    pub fn restart_daemon(&self) {
        self.stop_daemon();
        self.start_daemon();
    }

    #[track_caller]
    fn end_daemon(&self) {
        let pid = fs::read_to_string(self.folder.join("docker.pid")).expect("a running daemon");
        let inside = format!("--target={}", self.first_process());
        command::run("nsenter", &[&inside, "--pid", "--mount", "kill", "-TERM", pid.trim()]);
        let said = |engine: &Self| engine.log().matches("the engine ended with").count();
        let before = said(self);
        until("the daemon has ended", || {
            said(self) > before || !self.folder.join("docker.pid").exists()
        });
    }

    #[track_caller]
    fn wait_ready(&self) {
        let ready = || {
            let mut ping = self.client();
            let ping = ping.args(["version"]).stdin(Stdio::null()).output().expect("docker");
            ping.status.success().then_some(())
        };
        let ready = self
            .folder
            .join("stopped")
            .exists()
            .then_some(())
            .or_else(|| poll(PATIENCE * 3, ready));
        assert!(ready.is_some(), "the engine did not get ready:\n{}", self.log());
    }

    /// Process id of the first process of its process namespace.
    fn first_process(&self) -> u32 {
        only_child(self.child.id()).expect("one child of unshare")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the engine said:\n{}", self.log());
        }
        drop(self.life.take());
        if poll(PATIENCE, || self.child.try_wait().expect("status")).is_none() {
            // The kernel then ends all that is in its process namespace.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        clear(self.ns.name());
        assert!(
            std::thread::panicking() || !self.folder.exists(),
            "{} is left",
            self.folder.display()
        );
    }
}

/// Removes what an engine has left on disk and of control groups.
fn clear(name: &str) {
    // Busy for as long as processes that were killed are not gone.
    let gone = poll(PATIENCE, || remove_cgroups(Path::new(CGROUPS), name, 3).then_some(()));
    if gone.is_none() {
        eprintln!("control groups of {name} are left");
    }
    let _ = fs::remove_dir_all(std::env::temp_dir().join(name));
}

/// Removes the groups of that name below `dir`; are they all gone?
fn remove_cgroups(dir: &Path, name: &str, depth: usize) -> bool {
    let found = dir.join(name);
    let mut gone = !found.exists() || remove_tree(&found);
    let inner = fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in inner.filter(|_| depth > 0) {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) && entry.file_name() != *name {
            gone &= remove_cgroups(&entry.path(), name, depth - 1);
        }
    }
    gone
}

/// Control groups are removed from the leaves on; the files in them are the kernel's.
fn remove_tree(group: &Path) -> bool {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    fs::remove_dir(group).is_ok()
}

/// What engines of tests that were killed have left.
fn remove_stale() {
    let folders = fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    let names = folders.filter_map(|entry| entry.file_name().into_string().ok());
    for name in names.filter(|name| name.ends_with("-docker") && is_stale(name)) {
        clear(&name);
    }
}

/// A program in `PATH` or in the system's own folders. The engine's own client goes before another
/// one, which may be too new for it.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    ["/usr/sbin", "/usr/bin"]
        .map(PathBuf::from)
        .into_iter()
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}
