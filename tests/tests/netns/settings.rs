//! What can be set about flows, and what of the host is followed while the daemon runs.

use bridgefwd_tests::needs_root;
use bridgefwd_tests::pins::pinned_settings;
use bridgefwd_tests::topology::Options;
use bridgefwd_tests::traffic::{udp, udp_exchange};
use bridgefwd_tests::wait::until;
use serde_json::json;

use crate::rig::{BRIDGES, Rig};

#[test]
fn a_timer_ends_flows_and_a_changed_one_holds_for_those_that_exist() {
    needs_root!();
    let mut rig = Rig::allowed(Options::default(), &["--timer", "udp_two_way=2h"]);
    let (server, client) = (udp(&rig.b().ns, rig.b().at(53)), udp(&rig.a().ns, rig.a().at(5_000)));
    udp_exchange(&client, &server, "hello");
    let expires = rig.flow("udp")["expires_s"].as_u64().expect("seconds");
    assert!((7_100..=7_200).contains(&expires), "{expires}");
    rig.bridgefwd.kill();
    rig.bridgefwd.start(&[&BRIDGES[..], &["--timer", "udp_two_way=1"]].concat());
    let status = rig.bridgefwd.json(&["status"]);
    assert_eq!(status["timers"]["udp_two_way"], 1);
    assert_eq!(status["timers"]["established"], 7_440, "the others are as they were");
    let warnings = status["warnings"].to_string();
    assert!(warnings.contains("udp_two_way") && warnings.contains("RFC 4787"), "{warnings}");
    until("the flow is over", || rig.flows("udp").is_empty());
}

#[test]
fn the_ports_of_the_host_are_followed() {
    needs_root!();
    let rig = Rig::allowed(Options::default(), &[]);
    rig.router.ns.sysctl("net/ipv4/ip_local_port_range", "20000 30000");
    let settings = || pinned_settings(&rig.bridgefwd.pin_dir);
    until("the new range is in the map", || {
        let settings = settings();
        (settings.local_port_first, settings.local_port_last) == (20_000, 30_000)
    });
    // The generation of pairs is in the same value: it still only grows.
    let before = settings().pair_generation;
    rig.ok(&["pair", "allow", "br-b", "br-a"]);
    assert!(settings().pair_generation > before);
    rig.router.ns.sysctl("net/ipv4/ip_local_port_range", "32768 60999");
    until("the old range is back", || settings().local_port_first == 32_768);
    assert!(settings().pair_generation > before);
}

#[test]
fn pairs_are_listed_while_their_end_is_away() {
    needs_root!();
    let rig = Rig::allowed(Options::default(), &[]);
    let list = || rig.bridgefwd.json(&["pair", "list"]);
    assert_eq!(list()[0]["present"], true);
    rig.router.ns.ip("link del br-b\n");
    until("the pair is known to be without its end", || list()[0]["present"] == false);
    let pair = &list()[0];
    assert_eq!((&pair["from"], &pair["to"]), (&json!("br-a"), &json!("br-b")));
    assert_eq!((&pair["state"], &pair["nat"]), (&json!("allowed"), &json!("masquerade")));
    assert!(rig.bridgefwd.ok(&["pair", "list"]).contains("allowed, end away"));
    rig.router
        .ns
        .ip("link add br-b type bridge\naddr add 10.2.0.1/24 dev br-b\nlink set br-b up\n");
    until("the pair holds again", || list()[0]["present"] == true);
    assert_eq!(list().as_array().map(Vec::len), Some(1));
}
