//! Pairs that translate to addresses named one by one, and ends whose addresses change.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};

use bridgefwd_tests::needs_root;
use bridgefwd_tests::pins::pinned_pools;
use bridgefwd_tests::topology::Options;
use bridgefwd_tests::traffic::{udp, udp_exchange};
use bridgefwd_tests::wait::until;
use serde_json::json;

use crate::rig::{A, A2, BRIDGES, Rig};

/// The address that the server sees client number `client` under, from `port`.
#[track_caller]
fn seen(rig: &Rig, client: usize, port: u16) -> Ipv4Addr {
    let (client, b) = (&rig.router.hosts[client], rig.b());
    let server = udp(&b.ns, b.at(53));
    let client = udp(&client.ns, SocketAddrV4::new(client.address, port));
    *udp_exchange(&client, &server, "who am I?").ip()
}

#[test]
fn a_client_has_one_address_of_the_pool_and_changes_cut() {
    needs_root!();
    let mut rig = Rig::new(Options::default(), &[]);
    rig.router.ns.ip("addr add 10.2.0.21/24 dev br-b\naddr add 10.2.0.22/24 dev br-b\n");
    let addresses = || rig.bridgefwd.json(&["bridges"])[1]["addresses"].as_array().map(Vec::len);
    until("the addresses are known", || addresses() == Some(4));
    let pools = || pinned_pools(&rig.bridgefwd.pin_dir);
    let allow = |nat: &str| rig.ok(&["pair", "allow", "br-a", "br-b", "--nat", nat]);
    allow("10.2.0.21-10.2.0.22");
    let [pool] = &pools()[..] else { panic!("one pool, not {:?}", pools()) };
    assert_eq!((pool.1.count, pool.1.count_v6), (2, 0));
    let first = seen(&rig, A, 10_000);
    let inside = BTreeSet::from([21, 22].map(|last| Ipv4Addr::new(10, 2, 0, last)));
    assert!(inside.contains(&first) && inside.contains(&seen(&rig, A2, 10_000)));
    for port in 10_001..10_020 {
        assert_eq!(seen(&rig, A, port), first, "a client keeps its address");
    }
    let key = pool.0;
    allow("10.2.0.22,10.2.0.21");
    assert_eq!(rig.flows("udp"), [] as [serde_json::Value; 0], "another pool cuts");
    until("the old pool is gone", || pools().iter().all(|(other, _)| *other != key));
    assert_eq!(pools().len(), 1);
    seen(&rig, A, 10_000);
    allow("10.2.0.22,10.2.0.21");
    assert_eq!((pools().len(), rig.flows("udp").len()), (1, 1), "the same pool stays");

    // The next daemon goes on with it.
    let before = pinned_pools(&rig.bridgefwd.pin_dir);
    rig.bridgefwd.kill();
    rig.bridgefwd.start(&BRIDGES);
    assert_eq!(pinned_pools(&rig.bridgefwd.pin_dir), before);
    assert_eq!(rig.bridgefwd.json(&["pair", "list"])[0]["nat"], "10.2.0.22,10.2.0.21");
    assert_eq!(rig.flows("udp").len(), 1);
    rig.ok(&["pair", "clear", "br-a", "br-b"]);
    until("no pool is left", || pinned_pools(&rig.bridgefwd.pin_dir).is_empty());
}

#[test]
fn a_warning_names_an_address_that_went() {
    needs_root!();
    let rig = Rig::new(Options::default(), &[]);
    rig.router.ns.ip("addr add 10.2.0.21/24 dev br-b\n");
    until("the address can be used", || {
        rig.bridgefwd.cli(&["pair", "allow", "br-a", "br-b", "--nat", "10.2.0.21"]).status == 0
    });
    rig.router.ns.ip("addr del 10.2.0.21/24 dev br-b\n");
    let warnings = || rig.bridgefwd.json(&["status"])["warnings"].to_string();
    until("it is missed", || warnings().contains("10.2.0.21"));
    assert!(warnings().contains("br-a -> br-b"), "{}", warnings());
}

#[test]
fn ipv6_addresses_come_and_go() {
    needs_root!();
    let rig = Rig::new(Options::default(), &[]);
    let addresses = || rig.bridgefwd.json(&["bridges"])[1]["addresses"].clone();
    assert_eq!(addresses(), json!(["10.2.0.1/24", "fd00:2::1/64"]));
    rig.router.ns.ip("addr add 2001:db8::9/64 dev br-b nodad\n");
    until("the new one is there", || addresses().to_string().contains("2001:db8::9/64"));
    // One that is not to be used for new conversations comes last.
    rig.router.ns.ip("addr change 2001:db8::9/64 dev br-b preferred_lft 0 valid_lft 60\n");
    let last = json!(["10.2.0.1/24", "fd00:2::1/64", "2001:db8::9/64"]);
    until("it is last", || addresses() == last);
    rig.router.ns.ip("addr del 2001:db8::9/64 dev br-b\n");
    until("it is gone", || addresses() == json!(["10.2.0.1/24", "fd00:2::1/64"]));
    let text = rig.bridgefwd.ok(&["bridges"]);
    assert!(text.contains("fd00:2::1/64") && !text.contains("fe80"), "{text}");
}

#[test]
fn a_family_that_is_not_forwarded_is_told() {
    needs_root!();
    let options = Options { forwarding6: false, ..Options::default() };
    let rig = Rig::new(options, &[]);
    let warnings = || rig.bridgefwd.json(&["status"])["warnings"].to_string();
    assert!(warnings().contains("net.ipv6.conf.all.forwarding"), "{}", warnings());
    assert!(!warnings().contains("ip_forward"), "{}", warnings());
    rig.router.ns.sysctl("net/ipv6/conf/all/forwarding", "1");
    assert!(!warnings().contains("forwarding"), "{}", warnings());
}

#[test]
fn flows_of_an_address_that_goes_end_at_once() {
    needs_root!();
    let rig = Rig::new(Options::default(), &["--max-flows", "65536"]);
    rig.router.ns.ip("addr add 10.2.9.1/24 dev br-b\n");
    rig.router.ns.ip("addr del 10.2.0.1/24 dev br-b\nroute add 10.2.0.0/24 dev br-b\n");
    let addresses = || rig.bridgefwd.json(&["bridges"])[1]["addresses"].to_string();
    until("only the other is there", || !addresses().contains("10.2.0.1/"));
    rig.ok(&["pair", "allow", "br-a", "br-b"]);
    rig.b().ns.ip("route add 10.2.9.0/24 dev eth0\n");
    assert_eq!(seen(&rig, A, 10_000), Ipv4Addr::new(10, 2, 9, 1));
    assert_eq!(rig.flows("udp").len(), 1);
    rig.router.ns.ip("addr add 10.2.0.1/24 dev br-b\naddr del 10.2.9.1/24 dev br-b\n");
    until("its flow is gone", || rig.flows("udp").is_empty());
}

#[test]
fn one_source_has_its_share_and_is_told() {
    needs_root!();
    let mut rig = Rig::allowed(Options::default(), &["--flows-per-source", "4"]);
    assert_eq!(rig.bridgefwd.json(&["status"])["flows_per_source"], 4);
    let (a, b) = (rig.a(), rig.b());
    let server = udp(&b.ns, b.at(53));
    for port in 10_000..10_003 {
        udp_exchange(&udp(&a.ns, a.at(port)), &server, "mine");
    }
    let stats = rig.bridgefwd.json(&["stats"]);
    let shape = json!([{
        "source": a.port, "bridge": "br-a", "flows": 3, "limit": 4, "refused": 0
    }]);
    assert_eq!(stats["sources"], shape);
    assert!(rig.bridgefwd.ok(&["stats"]).contains(&a.port));
    rig.bridgefwd.kill();
    rig.bridgefwd.start(&BRIDGES);
    assert_eq!(rig.bridgefwd.json(&["status"])["flows_per_source"], 4, "as it was");
    rig.bridgefwd.kill();
    rig.bridgefwd.start(&[&BRIDGES[..], &["--flows-per-source", "7"]].concat());
    assert_eq!(rig.bridgefwd.json(&["status"])["flows_per_source"], 7);
}
