//! What goes with a flow beside its everyday packets: large datagrams in pieces, ICMP errors, and the
//! host's own conversations.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4};

use bridgefwd_tests::needs_root;
use bridgefwd_tests::sockets::uninterrupted;
use bridgefwd_tests::topology::Options;
use bridgefwd_tests::traffic::{listen, pair_up, say, udp};

use crate::rig::{Rig, with_and_without_offloads};

/// A datagram of 5,000 bytes and its echo: four pieces each way.
fn large_datagram_both_ways(rig: &Rig) {
    let (a, b) = (rig.a(), rig.b());
    let (client, server) = (udp(&a.ns, a.at(10_000)), udp(&b.ns, b.at(53)));
    let question: Vec<u8> = (0..5_000u32).map(|byte| (byte * 7) as u8).collect();
    let mut buffer = [0; 8_192];
    client.send_to(&question, b.at(53)).unwrap();
    let (len, seen) = uninterrupted(|| server.recv_from(&mut buffer)).unwrap();
    assert_eq!(buffer[..len], question);
    assert_eq!(seen, SocketAddrV4::new(Ipv4Addr::new(10, 2, 0, 1), 10_000).into());
    server.send_to(&question, seen).unwrap();
    let (len, from) = uninterrupted(|| client.recv_from(&mut buffer)).unwrap();
    assert_eq!((&buffer[..len], from), (&question[..], b.at(53).into()));
}

#[test]
fn large_datagrams() {
    needs_root!();
    for options in with_and_without_offloads() {
        for bridge_nf in [false, true] {
            let rig = Rig::allowed(Options { bridge_nf, ..options }, &["--unlisted", "deny"]);
            large_datagram_both_ways(&rig);
            if !bridge_nf {
                // With it, br_netfilter may have put the pieces together before the bridge.
                // The first of all opened the flow.
                assert_eq!(rig.counted("fragment_held"), 8);
                assert_eq!(rig.counted("forwarded_fragment"), 7);
            }
            assert_eq!(rig.counted("fragment_unknown"), 0);
            assert_eq!(rig.forwarded_by_kernel(), 0);
        }
    }
}

#[test]
fn a_port_where_nobody_listens() {
    needs_root!();
    let rig = Rig::allowed(Options::default(), &["--unlisted", "deny"]);
    let (a, b) = (rig.a(), rig.b());
    let client = udp(&a.ns, a.at(40_000));
    client.connect(b.at(53)).unwrap();
    client.send(b"is anybody there?").unwrap();
    // The server's kernel answers port unreachable, and the client's knows whom it is for.
    let refused = uninterrupted(|| client.recv(&mut [0; 64])).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(rig.counted("forwarded_icmp_error"), 1);
    assert_eq!(rig.flow("udp")["state"], "one_way");
}

#[test]
fn a_connection_of_the_host_from_the_same_port() {
    needs_root!();
    let rig = Rig::allowed(Options::default(), &["--unlisted", "deny"]);
    let (a, b) = (rig.a(), rig.b());
    let listener = listen(&b.ns, b.at(80));
    let (mut own, mut own_far, own_seen) = pair_up(&rig.router.ns, 10_000, &listener);
    let (mut near, mut far, seen) = pair_up(&a.ns, 10_000, &listener);
    assert_eq!(own_seen, SocketAddrV4::new(Ipv4Addr::new(10, 2, 0, 1), 10_000));
    assert_eq!(seen.ip(), own_seen.ip());
    assert_ne!(seen.port(), own_seen.port());
    for (one, other) in [(&mut own, &mut own_far), (&mut near, &mut far)] {
        say(one, other, "hello");
        say(other, one, "hello");
    }
}

#[test]
fn new_flows_while_the_daemon_is_dead() {
    needs_root!();
    let mut rig = Rig::allowed(Options::default(), &["--unlisted", "deny"]);
    let listener = listen(&rig.b().ns, rig.b().at(80));
    rig.bridgefwd.kill();
    let (mut near, mut far, _) = pair_up(&rig.a().ns, 10_000, &listener);
    say(&mut near, &mut far, "hello");
    // And after the next daemon has put its programs in the place of the old ones.
    rig.bridgefwd.start(&crate::rig::BRIDGES);
    let (mut near, mut far, _) = pair_up(&rig.a().ns, 10_001, &listener);
    say(&mut near, &mut far, "hello again");
    let pins = std::fs::read_dir(rig.bridgefwd.pin_dir.join("programs")).unwrap();
    let names = pins.map(|pin| pin.unwrap().file_name().to_string_lossy().into_owned());
    assert_eq!(names.filter(|name| name.starts_with("COLD_PATHS")).count(), 1);
    assert_eq!(rig.counted("program_missing"), 0);
}
