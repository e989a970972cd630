//! The package's life: installed, started as its unit starts it, used, upgraded, removed, purged.

use std::process::{Child, Stdio};

use bridgefwd_tests::attached;
use bridgefwd_tests::installed::{Root, made};
use bridgefwd_tests::namespaces::Namespace;
use bridgefwd_tests::notify::Notify;
use bridgefwd_tests::topology::{Options, Router};
use bridgefwd_tests::traffic::{listen, pair_up, say};
use bridgefwd_tests::unit::Unit;
use bridgefwd_tests::wait::{PATIENCE, poll};
use bridgefwd_tests::{needs_programs, needs_root};

const CONFIG: &str = "/etc/bridgefwd/bridgefwd.toml";
const SOCKET: &str = "/run/bridgefwd/bridgefwd.sock";
/// In the folder that both sides see.
const NOTIFY: &str = "notify";
const PACKAGE: &str = "/tmp/it.deb";

/// A configuration with one pair, in that state.
fn config(state: &str) -> String {
    format!(
        "bridges = [\"br-a\", \"br-b\"]\n[[pair]]\nfrom = \"br-a\"\nto = \"br-b\"\nstate = \"{state}\"\n"
    )
}

/// The daemon, as systemd would start it.
struct Service(Child);

impl Service {
    #[track_caller]
    fn start(root: &Root, unit: &Unit, ns: &Namespace) -> Self {
        let group = root.ok("getent", &["group", unit.get("SupplementaryGroups")]);
        let number = group.split(':').nth(2).expect("its number").to_owned();
        let watchdog = unit.get("WatchdogSec").strip_suffix('s').expect("seconds");
        let mut command = root.confined(&number, &unit.capabilities());
        command
            .args(unit.words("ExecStart"))
            .env("NOTIFY_SOCKET", root.shared().1.join(NOTIFY))
            .env("WATCHDOG_USEC", format!("{watchdog}000000"))
            .stdin(Stdio::null());
        Self(ns.run(|| command.spawn().expect("started")))
    }

    /// `systemctl stop`.
    fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it lives");
    }

    #[track_caller]
    fn wait_end(mut self) {
        let status = poll(PATIENCE, || self.0.try_wait().expect("status"));
        assert!(status.is_some_and(|status| status.success()), "{status:?}");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_package_s_life() {
    needs_root!();
    needs_programs!("dpkg", "setpriv");
    let router = Router::new(Options::default(), &["br-a", "br-b"]);
    let ns = &router.ns;
    // The kernel forwards nothing then, not even a copy to ask for a neighbour by.
    router.learn_neighbours();
    let [a, b] = &router.hosts[..] else { panic!("two hosts") };
    let clean = attached::all(ns);
    let root = Root::new();
    root.copy(&made(".deb"), PACKAGE);
    let in_ns = |program: &str, args: &[&str]| {
        let output = root.run_in(ns, program, args);
        assert_eq!(output.status, 0, "{program} {args:?}: {}{}", output.stdout, output.stderr);
        output.stdout
    };
    in_ns("dpkg", &["--no-triggers", "--install", PACKAGE]);
    assert_eq!(attached::all(ns), clean, "an installation starts nothing");
    root.write(CONFIG, config("allowed").as_bytes());
    let unit = Unit::new(root.ok("cat", &["/usr/lib/systemd/system/bridgefwd.service"]));

    let notify = Notify::listen(&root.shared().0.join(NOTIFY));
    let service = Service::start(&root, &unit, ns);
    let ready = notify.wait_for("READY=1");
    let status = ready.iter().find(|line| line.starts_with("STATUS=")).expect("a status");
    assert!(status.contains("2 of 2 ends and 2 ports attached, 1 of 1 pairs allowed"), "{status}");
    notify.wait_for("WATCHDOG=1");
    let socket = root.ok("stat", &["-c", "%U:%G %a", SOCKET]);
    assert_eq!(socket, "root:bridgefwd 660\n");

    // A packet goes through, translated: by us and not by the kernel.
    let listener = listen(&b.ns, b.at(80));
    let (mut near, mut far, seen) = pair_up(&a.ns, 0, &listener);
    say(&mut near, &mut far, "hello");
    assert_eq!(*seen.ip(), router.bridge("br-b").address);
    assert_eq!(ns.snmp("Ip", "ForwDatagrams"), 0);

    // Who is in the group may ask, who is not may not.
    let group = root.ok("getent", &["group", "bridgefwd"]);
    let group = group.split(':').nth(2).expect("its number");
    let as_nobody = |groups: &str| {
        let args = ["--reuid=65534", "--regid=65534", groups, "bridgefwd", "pair", "list"];
        root.run_in(ns, "setpriv", &args)
    };
    let inside = as_nobody(&format!("--groups={group}"));
    assert_eq!(inside.status, 0, "{}", inside.stderr);
    let outside = as_nobody("--clear-groups");
    assert_ne!(outside.status, 0, "{}", outside.stdout);
    assert!(outside.stderr.contains(SOCKET), "{}", outside.stderr);

    // Stopped, it says so, and the kernel goes on; started again, it takes over.
    service.terminate();
    notify.wait_for("STOPPING=1");
    service.wait_end();
    say(&mut far, &mut near, "still there");
    let service = Service::start(&root, &unit, ns);
    notify.wait_for("READY=1");
    say(&mut near, &mut far, "and again");

    // `systemctl reload`: once it is back, the file rules; one that is wrong changes nothing.
    let reload = unit.words("ExecReload");
    root.write(CONFIG, config("denied").as_bytes());
    in_ns(reload[0], &reload[1..]);
    let pairs = in_ns("bridgefwd", &["pair", "list"]);
    assert!(pairs.contains("denied"), "{pairs}");
    root.write(CONFIG, b"bridges = 7\n");
    let refused = root.run_in(ns, reload[0], &reload[1..]);
    assert_eq!(refused.status, 2, "{}", refused.stdout);
    assert!(refused.stderr.contains(CONFIG), "{}", refused.stderr);
    assert_eq!(in_ns("bridgefwd", &["pair", "list"]), pairs);
    root.write(CONFIG, config("allowed").as_bytes());
    in_ns(reload[0], &reload[1..]);
    say(&mut far, &mut near, "reloaded");

    // An upgrade leaves the data path alone.
    let before = attached::all(ns);
    assert_eq!(before.len(), 6, "two at each end, one at each port: {before:?}");
    in_ns("dpkg", &["--no-triggers", "--install", PACKAGE]);
    assert_eq!(attached::all(ns), before);
    say(&mut far, &mut near, "through an upgrade");

    // Removed, nothing of it is left but the configuration; purged, not even that.
    in_ns("dpkg", &["--no-triggers", "--remove", "bridgefwd"]);
    service.wait_end();
    assert_eq!(attached::all(ns), clean);
    // What ends with .debug the kernel puts there itself.
    let pins = ["/sys/fs/bpf", "-mindepth", "1", "-not", "-name", "*.debug"];
    assert_eq!(root.ok("find", &pins), "");
    assert!(root.ok("cat", &[CONFIG]).contains("br-a"));
    in_ns("dpkg", &["--no-triggers", "--purge", "bridgefwd"]);
    assert_eq!(root.traces("bridgefwd"), Vec::<String>::new());
    assert!(ns.command("tc", &["qdisc", "show"]).lines().all(|line| !line.contains("clsact")));
}
