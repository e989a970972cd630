//! The unit by a real systemd: started, reloaded, restarted, found hanging, stopped and purged, while a
//! flow goes on.

use bridgefwd_tests::attached;
use bridgefwd_tests::booted::Booted;
use bridgefwd_tests::installed::made;
use bridgefwd_tests::topology::{Options, Router};
use bridgefwd_tests::traffic::{listen, pair_up, say};
use bridgefwd_tests::wait::until;
use bridgefwd_tests::{needs_programs, needs_root};

const UNIT: &str = "bridgefwd";
const PACKAGE: &str = "/tmp/it.deb";
const CONFIG: &str = "/etc/bridgefwd/bridgefwd.toml";
const SOCKET: &str = "/run/bridgefwd/bridgefwd.sock";
/// `CAP_NET_ADMIN` (12), `CAP_PERFMON` (38) and `CAP_BPF` (39).
const CAPABILITIES: &str = "000000c000001000";
/// Ours beside the package's own unit: a hanging daemon is noticed in seconds rather than half a minute.
const DROP_IN: &str = "/run/systemd/system/bridgefwd.service.d/sooner.conf";

/// The configuration, with `more` after the pair.
fn config(more: &str) -> String {
    format!("bridges = [\"br-a\", \"br-b\"]\n[[pair]]\nfrom = \"br-a\"\nto = \"br-b\"\n{more}")
}

/// `systemctl ARGS`, which must succeed; else all that the unit has said.
#[track_caller]
fn systemctl(system: &Booted, args: &[&str]) {
    let output = system.systemctl(args);
    assert_eq!(output.status, 0, "{args:?}: {}{}", output.stderr, system.journal(UNIT));
}

#[track_caller]
fn is(system: &Booted, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        let found = system.property(UNIT, name);
        assert_eq!(&found, value, "{name}: {}", system.journal(UNIT));
    }
}

/// The daemon has the rights that the unit says, and no others.
#[track_caller]
fn is_confined(system: &Booted, pid: &str) {
    let status = system.ok("cat", &[&format!("/proc/{pid}/status")]);
    let value = |key: &str| {
        let mut fields = status.lines().filter_map(|line| line.split_once(":\t"));
        fields.find(|(name, _)| *name == key).map(|(_, value)| value.to_owned()).expect(key)
    };
    for (key, expected) in [
        ("CapBnd", CAPABILITIES),
        ("CapEff", CAPABILITIES),
        ("CapAmb", "0000000000000000"),
        ("NoNewPrivs", "1"),
        // It has a filter of system calls.
        ("Seccomp", "2"),
    ] {
        assert_eq!(value(key), expected, "{key}: {status}");
    }
    let namespace = format!("--mount=/proc/{pid}/ns/mnt");
    let can_write = |folder: &str| {
        let file = format!("{folder}/bridgefwd-was-here");
        let written = system.run("nsenter", &[&namespace, "mkdir", &file]);
        let removed = system.run("nsenter", &[&namespace, "rmdir", &file]);
        let refused = written.stderr.contains("Read-only file system");
        assert_eq!((written.status == 0, removed.status == 0), (!refused, !refused), "{written:?}");
        !refused
    };
    for folder in ["/usr", "/etc", "/var/lib", "/run", "/sys/fs/cgroup"] {
        assert!(!can_write(folder), "{folder} can be written to");
    }
    for folder in ["/sys/fs/bpf", "/run/bridgefwd", "/var/log/bridgefwd", "/tmp"] {
        assert!(can_write(folder), "{folder} cannot be written to");
    }
    // By the group that the package's sysusers.d has made.
    let socket = system.ok("stat", &["-c", "%U:%G %a", SOCKET]);
    assert_eq!(socket, "root:bridgefwd 660\n");
}

#[test]
fn its_life() {
    needs_root!();
    needs_programs!("dpkg");
    let router = Router::new(Options::default(), &["br-a", "br-b"]);
    let ns = &router.ns;
    router.learn_neighbours();
    let [a, b] = &router.hosts[..] else { panic!("two hosts") };
    let clean = attached::all(ns);
    let Some(system) = Booted::new(ns) else { return };
    system.copy(&made(".deb"), PACKAGE);
    system.ok("dpkg", &["--no-triggers", "--install", PACKAGE]);
    is(&system, &[("LoadState", "loaded"), ("ActiveState", "inactive")]);
    system.write(CONFIG, config("").as_bytes());
    system.ok("mkdir", &["-p", DROP_IN.rsplit_once('/').unwrap().0]);
    system.write(DROP_IN, b"[Service]\nWatchdogSec=2s\nRestartSec=100ms\n");
    systemctl(&system, &["daemon-reload"]);

    // Once `start` is back, all is attached, for the daemon has said so.
    systemctl(&system, &["enable", "--now", UNIT]);
    is(&system, &[("Type", "notify"), ("ActiveState", "active"), ("SubState", "running")]);
    let status = system.property(UNIT, "StatusText");
    assert!(status.contains("2 of 2 ends and 2 ports attached"), "{status}");
    let at_work = attached::all(ns);
    assert_eq!(at_work.len(), 6, "two at each end, one at each port: {at_work:?}");
    let listener = listen(&b.ns, b.at(80));
    let (mut near, mut far, seen) = pair_up(&a.ns, 0, &listener);
    say(&mut near, &mut far, "hello");
    assert_eq!(*seen.ip(), router.bridge("br-b").address);
    is_confined(&system, &system.property(UNIT, "MainPID"));

    // Once `reload` is back, the file rules; one that is wrong changes nothing, and that is said.
    let main_pid = || system.property(UNIT, "MainPID");
    let first = main_pid();
    system.write(CONFIG, config("[[pair]]\nfrom = \"br-b\"\nto = \"br-a\"\n").as_bytes());
    systemctl(&system, &["reload", UNIT]);
    let pairs = system.ok("bridgefwd", &["pair", "list"]);
    assert!(
        pairs.lines().any(|line| line.starts_with("br-b ") && line.contains("br-a")),
        "{pairs}"
    );
    system.write(CONFIG, b"bridges = 7\n");
    assert_ne!(system.systemctl(&["reload", UNIT]).status, 0);
    assert!(system.journal(UNIT).contains("bridges"), "{}", system.journal(UNIT));
    is(&system, &[("ActiveState", "active"), ("MainPID", &first), ("NRestarts", "0")]);
    assert_eq!(system.ok("bridgefwd", &["pair", "list"]), pairs);
    system.write(CONFIG, config("").as_bytes());
    say(&mut far, &mut near, "reloaded");

    // The next daemon takes over what the one before has left.
    systemctl(&system, &["restart", UNIT]);
    let second = main_pid();
    assert_ne!(second, first);
    say(&mut near, &mut far, "restarted");

    // A daemon that hangs is replaced; the flow does not wait for that.
    system.ok("kill", &["-STOP", &second]);
    say(&mut far, &mut near, "hanging");
    until("the watchdog has it restarted", || {
        system.property(UNIT, "NRestarts") == "1" && system.property(UNIT, "SubState") == "running"
    });
    assert_ne!(main_pid(), second);
    let journal = system.journal(UNIT);
    assert!(journal.contains("bridgefwd.service: Watchdog timeout"), "{journal}");
    say(&mut near, &mut far, "replaced");

    // Stopped, the kernel goes on by what is pinned.
    let before = attached::all(ns);
    systemctl(&system, &["stop", UNIT]);
    is(&system, &[("ActiveState", "inactive"), ("Result", "success")]);
    assert_eq!(attached::all(ns), before);
    say(&mut far, &mut near, "stopped");
    assert_eq!(ns.snmp("Ip", "ForwDatagrams"), 0, "the kernel's own forwarding had a part in it");

    // Purged while it runs, nothing of it is left.
    systemctl(&system, &["start", UNIT]);
    system.ok("rm", &["-r", DROP_IN.rsplit_once('/').unwrap().0]);
    system.ok("dpkg", &["--no-triggers", "--purge", UNIT]);
    assert_eq!(attached::all(ns), clean);
    systemctl(&system, &["daemon-reload"]);
    is(&system, &[("LoadState", "not-found"), ("ActiveState", "inactive")]);
    // What ends with .debug the kernel puts there itself.
    let pins = ["/sys/fs/bpf", "-mindepth", "1", "-not", "-name", "*.debug"];
    assert_eq!(system.ok("find", &pins), "");
    assert_eq!(system.traces(UNIT), Vec::<String>::new());
}
