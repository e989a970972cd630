//! Bridges out of the ordinary: they keep VLANs apart, share a subnet, are called otherwise all of a
//! sudden, or change faster than anybody can listen.

use std::process::Command;
use std::time::Duration;

use bridgefwd_tests::bridgefwd::output_in;
use bridgefwd_tests::skip::skipped;
use bridgefwd_tests::topology::Options;
use bridgefwd_tests::traffic::ping;
use bridgefwd_tests::wait::{PATIENCE, until};
use bridgefwd_tests::{command, needs_root};
use serde_json::json;

use crate::rig::Rig;

/// What takes longer is refused.
const ATTEMPT: Duration = Duration::from_millis(300);

fn warnings(rig: &Rig) -> String {
    rig.bridgefwd.json(&["status"])["warnings"].to_string()
}

#[test]
fn a_bridge_that_keeps_vlans_apart_says_which_come_to_it() {
    needs_root!();
    let rig = Rig::allowed(Options::default(), &["--unlisted", "deny"]);
    let (a, a2, b) = (rig.a(), rig.a2(), rig.b());
    for host in [a, a2] {
        assert_eq!(ping(&host.ns, b.address, 7, 1, PATIENCE), 1);
    }
    // Both are in VLAN 1 still, and so is the bridge.
    let filtering = ["link", "set", "br-a", "type", "bridge", "vlan_filtering", "1"];
    let set = output_in(&rig.router.ns, Command::new("ip").args(filtering));
    if set.stderr.contains("not supported") {
        return skipped("this kernel is without CONFIG_BRIDGE_VLAN_FILTERING");
    }
    assert_eq!(set.status, 0, "{set:?}");
    let ports = || rig.bridgefwd.managed()[0]["ports"].clone();
    until("its ports are left alone", || ports() == json!([]));
    assert_eq!(rig.bridgefwd.managed()[0]["ports_not_attached"], json!([a.port, a2.port]));
    assert_eq!(ping(&a.ns, b.address, 8, 1, PATIENCE), 1);
    // One moves to a VLAN that the bridge itself is not in: it has no router any more.
    let vlan = |args: &[&str]| rig.router.ns.command("bridge", &[&["vlan"], args].concat());
    vlan(&["del", "dev", &a2.port, "vid", "1"]);
    vlan(&["add", "dev", &a2.port, "vid", "10", "pvid", "untagged"]);
    assert_eq!(ping(&a2.ns, b.address, 9, 2, ATTEMPT), 0);
    assert_eq!(ping(&a.ns, b.address, 9, 1, PATIENCE), 1);
    rig.router.ns.ip("link set br-a type bridge vlan_filtering 0\n");
    until("its ports are attached to again", || ports() == json!([a.port, a2.port]));
    assert_eq!(ping(&a2.ns, b.address, 10, 1, PATIENCE), 1);
}

#[test]
fn of_two_bridges_with_one_subnet_the_kernels_route_decides() {
    needs_root!();
    let rig = Rig::allowed(Options::default(), &["--bridge", "br-c"]);
    rig.ok(&["pair", "allow", "br-c", "br-b"]);
    let mut rig = rig;
    assert!(!warnings(&rig).contains("overlap"));
    rig.router.ns.ip("addr add 10.1.0.254/24 dev br-c\n");
    until("status warns", || {
        let warnings = warnings(&rig);
        ["overlap", "br-a", "br-c", "10.1.0.254/24"].iter().all(|word| warnings.contains(word))
    });
    let c = rig.router.plug("br-c");
    let (a, b, c) = (rig.a(), rig.b(), &rig.router.hosts[c]);
    assert_eq!(ping(&a.ns, b.address, 7, 1, PATIENCE), 1, "the first one has the route");
    assert_eq!(ping(&c.ns, b.address, 7, 1, PATIENCE), 1, "and so has the other one for its own");
    c.ns.ip("addr add 10.1.0.77/24 dev eth0\nroute del default\nroute add default via 10.1.0.254 src 10.1.0.77\n");
    assert_eq!(ping(&c.ns, b.address, 8, 1, ATTEMPT), 0);
    assert!(rig.counted("source_not_of_end") > 0);
    rig.router.ns.ip("addr del 10.1.0.254/24 dev br-c\n");
    until("there is nothing to warn of", || !warnings(&rig).contains("overlap"));
}

#[test]
fn a_bridge_that_is_called_otherwise_is_gone_until_it_is_called_so_again() {
    needs_root!();
    let rig = Rig::allowed(Options::default(), &["--unlisted", "deny"]);
    let rename = |from: &str, to: &str| {
        rig.router
            .ns
            .ip(&format!("link set {from} down\nlink set {from} name {to}\nlink set {to} up\n"));
    };
    assert_eq!(ping(&rig.a().ns, rig.b().address, 7, 1, PATIENCE), 1);
    rename("br-b", "br-x");
    until("it is gone", || warnings(&rig).contains("br-b is gone"));
    assert_eq!(rig.bridgefwd.json(&["pair", "list"])[0]["present"], false);
    rename("br-x", "br-b");
    until("its pair holds again", || ping(&rig.a().ns, rig.b().address, 8, 1, ATTEMPT) == 1);
    let warnings = warnings(&rig);
    assert!(!warnings.contains("br-b"), "{warnings}");
}

#[test]
fn news_that_were_lost_are_made_up_for() {
    needs_root!();
    let mut rig = Rig::allowed(Options::default(), &[]);
    let resyncs = |rig: &Rig| -> u64 {
        let metrics = rig.bridgefwd.ok(&["metrics"]);
        let line = metrics.lines().find(|line| line.starts_with("bridgefwd_netlink_resyncs_total"));
        let value = line.and_then(|line| line.rsplit(' ').next()).expect("the counter");
        value.parse::<f64>().expect("a number") as u64
    };
    assert_eq!(resyncs(&rig), 0);
    let pid = rig.bridgefwd.pid().to_string();
    command::run("kill", &["-STOP", &pid]);
    // More than its socket holds.
    let changes = (0..3000).map(|number| format!("link set br-c mtu {}\n", 1400 + number % 2));
    rig.router.ns.ip(&changes.collect::<String>());
    let new = rig.router.plug("br-a");
    command::run("kill", &["-CONT", &pid]);
    until("it has noticed", || resyncs(&rig) > 0);
    assert_eq!(ping(&rig.router.hosts[new].ns, rig.b().address, 7, 1, PATIENCE), 1);
    assert_eq!(rig.forwarded_by_kernel(), 0);
}
