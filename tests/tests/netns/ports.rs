//! Ports that come and go while we run, and bridges that change.

use std::time::{Duration, Instant};

use bridgefwd_tests::needs_root;
use bridgefwd_tests::topology::Options;
use bridgefwd_tests::traffic::{listen, pair_up, ping, say};
use bridgefwd_tests::wait::{PATIENCE, poll, until};

use crate::rig::{Rig, without_offloads};

fn has_port(rig: &Rig, bridge: &str, port: &str) -> bool {
    let bridges = rig.bridgefwd.json(&["bridges"]);
    let bridges = bridges.as_array().expect("a list");
    let found = bridges.iter().find(|entry| entry["name"] == bridge).expect("the bridge");
    found["ports"].as_array().expect("a list").iter().any(|name| name == port)
}

#[test]
fn a_new_port_is_followed_within_a_second() {
    needs_root!();
    let mut rig = Rig::allowed(Options::default(), &[]);
    // Only the port sees its packets: see the rules that Docker makes.
    let b = rig.b().address.to_string();
    let raw = ["-t", "raw", "-A", "PREROUTING", "-d", &b, "!", "-i", "br-b", "-j", "DROP"];
    rig.router.ns.command("iptables", &raw);
    let begin = Instant::now();
    let new = rig.router.plug("br-a");
    let plugged = Instant::now();
    let port = rig.router.hosts[new].port.clone();
    let second = Duration::from_secs(1);
    let attached = poll(second, || has_port(&rig, "br-a", &port).then(Instant::now));
    let attached = attached.expect("attached within a second");
    println!("attached {:?} after it was made", attached.duration_since(begin));
    assert!(attached.duration_since(plugged) < second);
    assert_eq!(ping(&rig.router.hosts[new].ns, rig.b().address, 7, 1, PATIENCE), 1);
    assert_eq!(rig.forwarded_by_kernel(), 0);
}

#[test]
fn a_new_server_is_reached() {
    needs_root!();
    let mut rig = Rig::allowed(Options::default(), &[]);
    let new = rig.router.plug("br-b");
    let server = &rig.router.hosts[new];
    let listener = listen(&server.ns, server.at(80));
    let (mut near, mut far, _) = pair_up(&rig.a().ns, 10_000, &listener);
    say(&mut near, &mut far, "hello");
    say(&mut far, &mut near, "hello");
    assert_eq!(rig.forwarded_by_kernel(), 0);
}

#[test]
fn a_port_that_is_gone_is_forgotten() {
    needs_root!();
    let rig = Rig::allowed(Options::default(), &[]);
    let port = rig.a2().port.clone();
    assert!(has_port(&rig, "br-a", &port));
    rig.router.ns.ip(&format!("link del {port}\n"));
    until("the port is gone", || !has_port(&rig, "br-a", &port));
    assert_eq!(ping(&rig.a().ns, rig.b().address, 7, 1, PATIENCE), 1);
}

#[test]
fn a_bridge_whose_mac_changes() {
    needs_root!();
    let options = Options { fixed_macs: false, ..without_offloads() };
    let rig = Rig::allowed(options, &["--unlisted", "deny"]);
    assert_eq!(ping(&rig.a().ns, rig.b().address, 7, 1, PATIENCE), 1);
    for bridge in ["br-a", "br-b"] {
        let before = rig.router.mac_now(bridge);
        rig.router
            .ns
            .ip(&format!("link set {bridge} address 02:bf:77:00:00:0{}\n", &before[5] % 9));
        assert_ne!(rig.router.mac_now(bridge), before);
    }
    // Its hosts have to learn it first.
    rig.a().ns.ip("neigh flush dev eth0\n");
    rig.b().ns.ip("neigh flush dev eth0\n");
    until("pings go on", || {
        ping(&rig.a().ns, rig.b().address, 8, 1, Duration::from_millis(200)) == 1
    });
    assert_eq!(rig.forwarded_by_kernel(), 0);
}

#[test]
fn an_address_that_comes_later_is_used() {
    needs_root!();
    let rig = Rig::new(Options::default(), &[]);
    rig.router.ns.ip("addr add 10.2.0.88/24 dev br-b\n");
    until("the address is known", || {
        rig.bridgefwd.cli(&["pair", "allow", "br-a", "br-b", "--nat", "10.2.0.88"]).status == 0
    });
    let b = rig.b();
    let listener = listen(&b.ns, b.at(80));
    let (_near, _far, seen) = pair_up(&rig.a().ns, 10_000, &listener);
    assert_eq!(seen.ip().octets(), [10, 2, 0, 88]);
}

#[test]
fn a_bridge_that_goes_and_comes_back() {
    needs_root!();
    let mut rig = Rig::allowed(Options::default(), &["--unlisted", "deny"]);
    assert_eq!(ping(&rig.a().ns, rig.b().address, 7, 1, PATIENCE), 1);
    rig.router.ns.ip("link del br-b\n");
    let managed = |rig: &Rig| {
        let bridges = rig.bridgefwd.json(&["bridges"]);
        bridges.as_array().expect("a list").iter().any(|bridge| bridge["name"] == "br-b")
    };
    until("it is gone", || !managed(&rig));
    rig.router.ns.ip(
        "link add br-b address 02:bf:00:02:00:01 type bridge forward_delay 0 stp_state 0\n\
         addr add 10.2.0.1/24 dev br-b\n\
         link set br-b up\n",
    );
    until("it is managed again", || managed(&rig));
    let new = rig.router.plug("br-b");
    let server = rig.router.hosts[new].address;
    until("its pair holds again", || {
        ping(&rig.a().ns, server, 8, 1, Duration::from_millis(200)) == 1
    });
    assert_eq!(rig.forwarded_by_kernel(), 0);
}
