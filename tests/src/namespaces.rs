//! Network namespaces that belong to one test.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::command;

/// What every name made by these fixtures begins with; the process id follows.
pub const PREFIX: &str = "bfwt-";
/// Where pins of the tests live.
pub const BPFFS: &str = "/sys/fs/bpf";

const NETNS_DIR: &str = "/run/netns";

/// A network namespace with a unique name, deleted with this value.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    handle: File,
    /// Not ours to delete.
    borrowed: bool,
}

/// A name that nobody else has: `bfwt-PID-NUMBER-LABEL`.
#[must_use]
pub fn unique_name(label: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{PREFIX}{}-{number}-{label}", std::process::id())
}

impl Namespace {
    /// Makes a namespace, with its loopback interface up and without IPv6: nothing is sent in it
    /// that the test did not ask for.
    #[must_use]
    #[track_caller]
    pub fn new(label: &str) -> Self {
        static SWEPT: Once = Once::new();
        SWEPT.call_once(remove_stale);
        let name = unique_name(label);
        command::run("ip", &["netns", "add", &name]);
        let handle = File::open(Path::new(NETNS_DIR).join(&name)).expect("namespace file");
        let namespace = Self { name, handle, borrowed: false };
        namespace.run(|| {
            for scope in ["all", "default"] {
                // Absent where the kernel has no IPv6, which is as good.
                let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "1");
            }
        });
        namespace.ip("link set lo up");
        namespace
    }

    /// The namespace that `path` stands for, which somebody else has made, and which stays when this
    /// value goes.
    #[must_use]
    #[track_caller]
    pub fn of(path: &Path) -> Self {
        let handle = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { name: path.display().to_string(), handle, borrowed: true }
    }

    /// Its name, as `ip netns` shows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for it.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        Path::new(NETNS_DIR).join(&self.name)
    }

    /// Runs `work` on a thread of its own inside the namespace. Sockets opened there stay in the
    /// namespace wherever they are used later. A panic goes on in the caller.
    #[track_caller]
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let result = std::thread::scope(|scope| {
            std::thread::Builder::new()
                .name(std::thread::current().name().unwrap_or("in namespace").to_owned())
                .spawn_scoped(scope, || {
                    move_into_link_name_space(
                        self.handle.as_fd(),
                        Some(LinkNameSpaceType::Network),
                    )
                    .expect("setns");
                    work()
                })
                .expect("thread")
                .join()
        });
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Runs a command inside and returns its standard output.
    #[track_caller]
    pub fn command(&self, program: &str, args: &[&str]) -> String {
        self.run(|| command::run(program, args))
    }

    /// Runs the lines as `ip` commands inside, as one batch.
    #[track_caller]
    pub fn ip(&self, batch: &str) {
        self.run(|| command::run_with_input("ip", &["-batch", "-"], batch));
    }

    /// Sets a kernel setting of the namespace: `net/ipv4/ip_forward`.
    #[track_caller]
    pub fn sysctl(&self, key: &str, value: &str) {
        let path = format!("/proc/sys/{key}");
        self.run(|| fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}")));
    }

    /// A counter of the namespace's IPv4 stack, as in `/proc/net/snmp`: `Ip`, `ForwDatagrams`.
    #[must_use]
    pub fn snmp(&self, table: &str, counter: &str) -> u64 {
        self.statistic("snmp", table, counter)
    }

    /// As [`Namespace::snmp`], of `/proc/net/netstat`: `TcpExt`, `TCPSynRetrans`.
    #[must_use]
    pub fn netstat(&self, table: &str, counter: &str) -> u64 {
        self.statistic("netstat", table, counter)
    }

    fn statistic(&self, file: &str, table: &str, counter: &str) -> u64 {
        // /proc/net is the namespace of the process; only thread-self follows the thread.
        let path = format!("/proc/thread-self/net/{file}");
        let text = self.run(|| fs::read_to_string(path).unwrap());
        let mut lines =
            text.lines().filter_map(|line| line.strip_prefix(table)?.strip_prefix(": "));
        let names = lines.next().expect("names of the counters").split(' ');
        let values = lines.next().expect("values of the counters").split(' ');
        let value = names.zip(values).find(|(name, _)| *name == counter).expect("the counter").1;
        value.parse().expect("a number")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if !self.borrowed {
            delete(&self.name);
        }
    }
}

fn delete(name: &str) {
    let done = std::process::Command::new("ip").args(["netns", "del", name]).output();
    if !done.as_ref().is_ok_and(|output| output.status.success()) {
        eprintln!("namespace {name} could not be deleted: {done:?}");
    }
}

/// Removes what test processes that were killed have left: their namespaces, what still runs in
/// them, and their pins.
fn remove_stale() {
    for name in stale_names(NETNS_DIR) {
        let pids = std::process::Command::new("ip").args(["netns", "pids", &name]).output();
        let pids = pids.map(|output| output.stdout).unwrap_or_default();
        for pid in String::from_utf8_lossy(&pids).lines().filter_map(|line| line.parse().ok()) {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        delete(&name);
    }
    for name in stale_names(BPFFS) {
        let pin = Path::new(BPFFS).join(name);
        let _ = fs::remove_dir_all(&pin).or_else(|_| fs::remove_file(&pin));
    }
}

/// Names of ours in `dir` whose process is gone.
fn stale_names(dir: &str) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| is_stale(name)).collect()
}

/// Is it a name of ours whose process is gone?
pub(crate) fn is_stale(name: &str) -> bool {
    let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
    pid.is_some_and(|pid| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists())
}
