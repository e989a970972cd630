//! Coming and going: what outlives the daemon, and what is left after `down`.

use bridgefwd_tests::attached;
use bridgefwd_tests::bridgefwd::Bridgefwd;
use bridgefwd_tests::namespaces::Namespace;
use bridgefwd_tests::needs_root;
use bridgefwd_tests::topology::{Options, Router};
use bridgefwd_tests::traffic::{listen, pair_up, ping, say};
use bridgefwd_tests::wait::{PATIENCE, until};

use crate::rig::{BRIDGES, Rig};

/// Everything of ours that could be in a namespace: qdiscs, filters, attached programs, processes.
pub fn traces(ns: &Namespace) -> String {
    format!(
        "{}\n{:#?}\n{}",
        ns.command("tc", &["qdisc", "show"]),
        attached::all(ns),
        bridgefwd_tests::command::run("ip", &["netns", "pids", ns.name()]),
    )
}

#[test]
fn down_leaves_nothing_behind() {
    needs_root!();
    for args in [&[][..], &["--attach", "clsact"]] {
        let router = Router::new(Options::default(), &["br-a", "br-a", "br-b"]);
        let before = traces(&router.ns);
        let mut rig = Rig { bridgefwd: Bridgefwd::new(&router.ns), router };
        rig.bridgefwd.start(&[&BRIDGES, args].concat());
        rig.ok(&["pair", "allow", "br-a", "br-b"]);
        assert_eq!(ping(&rig.a().ns, rig.b().address, 7, 1, PATIENCE), 1);
        assert_ne!(traces(&rig.router.ns), before, "{args:?}");
        rig.ok(&["down"]);
        assert_eq!(rig.bridgefwd.wait_end(), 0, "{args:?}");
        assert_eq!(traces(&rig.router.ns), before, "{args:?}");
        assert!(!rig.bridgefwd.pin_dir.exists() && !rig.bridgefwd.socket().exists());
        // The kernel goes on, without us.
        assert_eq!(ping(&rig.a().ns, rig.b().address, 8, 1, PATIENCE), 1);
        assert!(rig.forwarded_by_kernel() > 0);
    }
}

#[test]
fn down_without_a_daemon_clears_what_one_has_left() {
    needs_root!();
    for args in [&[][..], &["--attach", "clsact"]] {
        let router = Router::new(Options::default(), &["br-a", "br-b"]);
        let before = traces(&router.ns);
        let mut bridgefwd = Bridgefwd::run(&router.ns, &[&BRIDGES, args].concat());
        bridgefwd.kill();
        assert!(bridgefwd.pin_dir.exists());
        bridgefwd.ok(&["down"]);
        assert_eq!(traces(&router.ns), before, "{args:?}");
        assert!(!bridgefwd.pin_dir.exists() && !bridgefwd.socket().exists());
    }
}

#[test]
fn the_data_path_outlives_the_daemon_and_is_taken_over() {
    needs_root!();
    for args in [&[][..], &["--attach", "clsact"]] {
        let mut rig = Rig::allowed(Options::default(), args);
        let (a, b) = (&rig.router.hosts[0], &rig.router.hosts[2]);
        let listener = listen(&b.ns, b.at(80));
        let (mut near, mut far, _) = pair_up(&a.ns, 10_000, &listener);
        say(&mut near, &mut far, "with a daemon");
        let before = rig.flow("tcp");
        let packets = |flow: &serde_json::Value| flow["packets"]["original"].as_u64().unwrap();

        rig.bridgefwd.kill();
        say(&mut near, &mut far, "without one");
        say(&mut far, &mut near, "still without");
        let output = rig.bridgefwd.cli(&["flows", "--json"]);
        assert_eq!(output.status, 0, "{output:?}");
        let flows: serde_json::Value = serde_json::from_str(&output.stdout).expect("JSON");
        let during = flows[0].clone();
        assert!(packets(&during) > packets(&before), "counters are read from the pins");

        let args = [&BRIDGES, args].concat();
        rig.bridgefwd.start(&args);
        say(&mut near, &mut far, "with a new one");
        let after = rig.flow("tcp");
        assert!(packets(&after) > packets(&during), "the same flow, and its counters");
        assert_eq!(
            (&after["original"], &after["translated"]),
            (&before["original"], &before["translated"])
        );
        let pairs = rig.bridgefwd.json(&["pair", "list"]);
        assert_eq!(pairs[0]["state"], "allowed", "{pairs}");
        assert_eq!(rig.forwarded_by_kernel(), 0);
        rig.ok(&["pair", "deny", "br-a", "br-b"]);
        until("the new daemon governs the old data path", || {
            let _ = std::io::Write::write_all(&mut near, b"x");
            rig.counted("pair_denied") > 0
        });
    }
}

#[test]
fn sigterm_leaves_the_data_path() {
    needs_root!();
    let mut rig = Rig::allowed(Options::default(), &[]);
    let pid = rig.bridgefwd.pid().to_string();
    bridgefwd_tests::command::run("kill", &["-TERM", &pid]);
    assert_eq!(rig.bridgefwd.wait_end(), 0);
    assert!(rig.bridgefwd.pin_dir.exists(), "the data path outlives the daemon");
    assert_eq!(ping(&rig.a().ns, rig.b().address, 7, 1, PATIENCE), 1);
    assert_eq!(rig.forwarded_by_kernel(), 0);
}

#[test]
fn a_daemon_in_a_namespace_by_name_and_by_path() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a", "br-b"]);
    let outside = std::sync::Arc::new(Namespace::new("outside"));
    for netns in [router.ns.name().to_owned(), router.ns.path().display().to_string()] {
        let mut bridgefwd = Bridgefwd::new(&outside).in_netns(&netns);
        bridgefwd.start(&BRIDGES);
        bridgefwd.ok(&["pair", "allow", "br-a", "br-b"]);
        let (a, b) = (&router.hosts[0], &router.hosts[1]);
        let before = router.ns.snmp("Ip", "ForwDatagrams");
        assert_eq!(ping(&a.ns, b.address, 7, 1, PATIENCE), 1);
        assert_eq!(bridgefwd.forwarded_by_kernel(&router.ns), before);
    }
}

#[test]
fn connections_from_before_stay_with_the_kernel() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a", "br-a", "br-b"]);
    let (a, b) = (&router.hosts[0], &router.hosts[2]);
    let listener = listen(&b.ns, b.at(80));
    let (mut near, mut far, seen) = pair_up(&a.ns, 10_000, &listener);
    say(&mut near, &mut far, "before");
    let rig = Rig { bridgefwd: Bridgefwd::run(&router.ns, &BRIDGES), router };
    rig.ok(&["pair", "allow", "br-a", "br-b"]);
    say(&mut near, &mut far, "after");
    say(&mut far, &mut near, "after");
    assert_eq!(seen, rig.a().at(10_000));
    assert!(rig.counted("tcp_not_opening") > 0);
    // New ones are ours.
    let (mut near, mut far, seen) = pair_up(&rig.a().ns, 10_001, &listener);
    say(&mut near, &mut far, "new");
    assert_eq!(seen.ip().octets(), [10, 2, 0, 1]);
}
