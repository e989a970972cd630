//! Pairs under traffic: allowed, denied, not listed, and changed while a connection runs.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use bridgefwd_tests::needs_root;
use bridgefwd_tests::sockets::uninterrupted;
use bridgefwd_tests::topology::Options;
use bridgefwd_tests::traffic::{
    arrives, connect_within, listen, pair_up, ping, say, udp, udp_exchange,
};
use bridgefwd_tests::wait::until;

use crate::rig::Rig;

/// How long to look whether something arrives that must not.
const A_MOMENT: Duration = Duration::from_millis(300);

#[test]
fn what_is_not_listed_is_the_kernels() {
    needs_root!();
    let rig = Rig::new(Options::default(), &["--unlisted", "kernel"]);
    let (a, b) = (rig.a(), rig.b());
    let listener = listen(&b.ns, b.at(80));
    let (mut near, mut far, seen) = pair_up(&a.ns, 10_000, &listener);
    say(&mut near, &mut far, "by the kernel");
    assert_eq!(seen, a.at(10_000), "forwarded as it is");
    assert!(rig.forwarded_by_kernel() > 0);
    assert!(rig.counted("not_listed") > 0);
    assert_eq!(rig.flows("tcp"), [] as [serde_json::Value; 0]);
}

#[test]
fn what_is_not_listed_is_denied() {
    needs_root!();
    let rig = Rig::allowed(Options::default(), &["--unlisted", "deny"]);
    let (a, b) = (rig.a(), rig.b());
    let listener = listen(&a.ns, a.at(80));
    assert!(connect_within(A_MOMENT, &b.ns, 0, a.at(80)).is_err());
    assert_eq!(ping(&b.ns, a.address, 7, 1, A_MOMENT), 0);
    assert_eq!(rig.forwarded_by_kernel(), 0);
    assert!(rig.counted("unlisted_denied") >= 2);
    drop(listener);
    // Answers to what is allowed need no rule.
    assert_eq!(ping(&a.ns, b.address, 7, 1, bridgefwd_tests::wait::PATIENCE), 1);
}

#[test]
fn a_connection_is_cut_on_the_next_packet_and_goes_on() {
    needs_root!();
    let rig = Rig::allowed(Options::default(), &[]);
    let (a, b) = (rig.a(), rig.b());
    let listener = listen(&b.ns, b.at(80));
    let (mut near, mut far, _) = pair_up(&a.ns, 10_000, &listener);
    say(&mut near, &mut far, "before");
    say(&mut far, &mut near, "before");

    rig.ok(&["pair", "deny", "br-a", "br-b"]);
    near.write_all(b"during").expect("written");
    far.set_read_timeout(Some(A_MOMENT)).expect("timeout");
    let heard = uninterrupted(|| far.read(&mut [0; 16]));
    assert!(heard.is_err(), "nothing arrives, not {heard:?}");
    assert!(rig.counted("pair_denied") > 0);
    assert_eq!(rig.forwarded_by_kernel(), 0, "and not by the kernel either");

    rig.ok(&["pair", "allow", "br-a", "br-b"]);
    far.set_read_timeout(Some(bridgefwd_tests::wait::PATIENCE)).expect("timeout");
    let mut during = [0; 6];
    far.read_exact(&mut during).expect("sent again");
    assert_eq!(&during, b"during");
    say(&mut far, &mut near, "after");
    assert_eq!(rig.flow("tcp")["state"], "established");
}

#[test]
fn the_very_next_datagram_is_dropped_in_both_directions() {
    needs_root!();
    let rig = Rig::allowed(Options::default(), &[]);
    let (a, b) = (rig.a(), rig.b());
    let (server, client) = (udp(&b.ns, b.at(53)), udp(&a.ns, a.at(10_000)));
    let seen = udp_exchange(&client, &server, "before");
    rig.ok(&["pair", "deny", "br-a", "br-b"]);
    client.send_to(b"there", b.at(53)).expect("sent");
    server.send_to(b"back", seen).expect("sent");
    until("both are counted", || rig.counted("pair_denied") == 2);
    assert!(!arrives(&server, A_MOMENT) && !arrives(&client, Duration::from_millis(1)));
    rig.ok(&["pair", "allow", "br-a", "br-b"]);
    assert_eq!(udp_exchange(&client, &server, "after"), seen, "the same flow");
}

#[test]
fn clearing_a_pair_leaves_it_to_the_unlisted_setting() {
    needs_root!();
    let rig = Rig::allowed(Options::default(), &["--unlisted", "deny"]);
    let (a, b) = (rig.a(), rig.b());
    let (server, client) = (udp(&b.ns, b.at(53)), udp(&a.ns, a.at(10_000)));
    udp_exchange(&client, &server, "before");
    rig.ok(&["pair", "clear", "br-a", "br-b"]);
    client.send_to(b"during", b.at(53)).expect("sent");
    assert!(!arrives(&server, A_MOMENT));
    assert_eq!(rig.bridgefwd.json(&["pair", "list"]), serde_json::json!([]));
    rig.ok(&["pair", "allow", "br-a", "br-b"]);
    udp_exchange(&client, &server, "after");
}

#[test]
fn a_draining_pair_finishes_what_it_began() {
    needs_root!();
    let rig = Rig::new(Options::default(), &["--unlisted", "deny"]);
    rig.ok(&["pair", "allow", "br-a", "br-b", "--drain"]);
    let (a, b) = (rig.a(), rig.b());
    let listener = listen(&b.ns, b.at(80));
    let (mut near, mut far, _) = pair_up(&a.ns, 10_000, &listener);
    say(&mut near, &mut far, "before");
    rig.ok(&["pair", "deny", "br-a", "br-b"]);
    say(&mut near, &mut far, "still there");
    say(&mut far, &mut near, "me too");
    assert!(connect_within(A_MOMENT, &a.ns, 10_001, b.at(80)).is_err(), "nothing new");
}

#[test]
fn another_nat_cuts_connections_and_serves_new_ones() {
    needs_root!();
    let rig = Rig::allowed(Options::default(), &[]);
    let (a, b) = (rig.a(), rig.b());
    let listener = listen(&b.ns, b.at(80));
    let (mut near, mut far, _) = pair_up(&a.ns, 10_000, &listener);
    say(&mut near, &mut far, "before");
    rig.ok(&["pair", "allow", "br-a", "br-b", "--nat", "none"]);
    near.write_all(b"during").expect("written");
    far.set_read_timeout(Some(A_MOMENT)).expect("timeout");
    assert!(
        uninterrupted(|| far.read(&mut [0; 16])).is_err(),
        "the server would not know the client"
    );
    let (mut near, mut far, seen) = pair_up(&a.ns, 10_001, &listener);
    say(&mut near, &mut far, "after");
    assert_eq!(seen, a.at(10_001));
}
