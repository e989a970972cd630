//! TCP, UDP and ping between hosts, with every kind of NAT, and the captured frames field by field.

use std::net::{Ipv4Addr, SocketAddrV4};

use bridgefwd_tests::capture::{Capture, Frame};
use bridgefwd_tests::needs_root;
use bridgefwd_tests::topology::{Host, Options};
use bridgefwd_tests::traffic::{listen, pair_up, ping, say, udp, udp_exchange};
use bridgefwd_tests::view::{View, assert_checksums, at, translated};
use bridgefwd_tests::wait::{PATIENCE, poll};

use crate::rig::{Rig, with_and_without_offloads, without_offloads};

/// TCP, UDP and ping from a to b; the server must see `source` as the client, and `port` if the
/// port is to be kept.
#[track_caller]
fn exchange(rig: &Rig, source: Ipv4Addr, port_kept: bool) {
    let (a, b) = (rig.a(), rig.b());
    let listener = listen(&b.ns, b.at(80));
    let (mut near, mut far, seen) = pair_up(&a.ns, 10_000, &listener);
    for text in ["hello", "how are you"] {
        say(&mut near, &mut far, text);
        say(&mut far, &mut near, text);
    }
    let (server, client) = (udp(&b.ns, b.at(53)), udp(&a.ns, a.at(10_000)));
    let seen_udp = udp_exchange(&client, &server, "what is the time");
    for seen in [seen, seen_udp] {
        assert_eq!(*seen.ip(), source, "what the server sees");
        assert_eq!(seen.port() == 10_000, port_kept);
    }
    assert_eq!(ping(&a.ns, b.address, 77, 3, PATIENCE), 3);
    assert_eq!(rig.forwarded_by_kernel(), 0, "all of it went our way");
}

#[test]
fn masquerade() {
    needs_root!();
    for options in with_and_without_offloads() {
        exchange(&Rig::allowed(options, &[]), Ipv4Addr::new(10, 2, 0, 1), true);
    }
}

#[test]
fn no_nat() {
    needs_root!();
    for options in with_and_without_offloads() {
        let rig = Rig::new(options, &[]);
        rig.ok(&["pair", "allow", "br-a", "br-b", "--nat", "none"]);
        exchange(&rig, rig.a().address, true);
    }
}

#[test]
fn a_chosen_address() {
    needs_root!();
    let router =
        bridgefwd_tests::topology::Router::new(Options::default(), &["br-a", "br-a", "br-b"]);
    router.ns.ip("addr add 10.2.0.77/24 dev br-b\n");
    let bridgefwd = bridgefwd_tests::bridgefwd::Bridgefwd::run(&router.ns, &crate::rig::BRIDGES);
    let rig = Rig { bridgefwd, router };
    rig.ok(&["pair", "allow", "br-a", "br-b", "--nat", "10.2.0.77"]);
    exchange(&rig, Ipv4Addr::new(10, 2, 0, 77), true);
}

#[test]
fn without_bridge_netfilter() {
    needs_root!();
    let options = Options { bridge_nf: false, ..Options::default() };
    exchange(&Rig::allowed(options, &[]), Ipv4Addr::new(10, 2, 0, 1), true);
}

#[test]
fn past_the_rules_that_docker_makes() {
    needs_root!();
    let rig = Rig::allowed(Options::default(), &[]);
    let (ns, b) = (&rig.router.ns, rig.b().address.to_string());
    // In br_netfilter, on the port, before the bridge sees the frame.
    let raw = ["-t", "raw", "-A", "PREROUTING", "-d", &b, "!", "-i", "br-b", "-j", "DROP"];
    ns.command("iptables", &raw);
    ns.command("iptables", &["-P", "FORWARD", "DROP"]);
    exchange(&rig, Ipv4Addr::new(10, 2, 0, 1), true);
}

#[test]
fn ports_of_the_hosts_own_range_are_kept_too() {
    needs_root!();
    let rig = Rig::allowed(Options::default(), &[]);
    let (a, b) = (rig.a(), rig.b());
    let listener = listen(&b.ns, b.at(80));
    let (mut near, mut far, seen) = pair_up(&a.ns, 40_000, &listener);
    say(&mut near, &mut far, "hello");
    say(&mut far, &mut near, "hello");
    assert_eq!(seen.port(), 40_000);
    let flow = rig.flow("tcp");
    assert_eq!(flow["original"]["src_port"], 40_000);
    assert_eq!(flow["translated"]["src_port"], seen.port());
}

#[test]
fn two_clients_with_one_port() {
    needs_root!();
    let rig = Rig::allowed(Options::default(), &[]);
    let b = rig.b();
    let listener = listen(&b.ns, b.at(80));
    let mut one = pair_up(&rig.a().ns, 10_000, &listener);
    let mut two = pair_up(&rig.a2().ns, 10_000, &listener);
    assert_eq!(one.2.ip(), two.2.ip());
    assert_ne!(one.2.port(), two.2.port());
    say(&mut one.0, &mut one.1, "first");
    say(&mut two.1, &mut two.0, "second");
    say(&mut one.1, &mut one.0, "third");
}

/// What one end sent, translated to `ends`, must be what `to` received, frame for frame, byte for
/// byte, with the router's and the receiver's MACs. The first difference there is.
fn difference(
    sent: &[(Frame, View)],
    received: &[(Frame, View)],
    ends: (SocketAddrV4, SocketAddrV4),
    router_mac: [u8; 6],
    to: &Host,
) -> Option<String> {
    let mut left: Vec<_> = received.iter().collect();
    for (frame, _) in sent {
        let wanted = translated(&frame.bytes, ends.0, ends.1);
        // Frames of one flow may overtake each other between CPUs.
        let position = left.iter().position(|(got, _)| got.bytes[12..] == wanted[12..]);
        let Some(position) = position else { return Some(format!("missing: {wanted:02x?}")) };
        let (got, view) = left.remove(position);
        assert_checksums(&got.bytes);
        if (view.ttl, view.mac_src, view.mac_dst) != (63, router_mac, to.mac) {
            return Some(format!("TTL or MACs: {view:?}"));
        }
    }
    left.first().map(|(got, _)| format!("nobody sent: {:02x?}", got.bytes))
}

/// Waits until there is no [`difference`] between at least `count` frames of `protocol` that were
/// captured on both sides; the last ones may still be on their way.
#[track_caller]
fn compare(
    (from, to): (&Capture, &Capture),
    (protocol, count): (u8, usize),
    ends: (SocketAddrV4, SocketAddrV4),
    router_mac: [u8; 6],
    receiver: &Host,
) {
    let way = |outgoing| {
        move |frame: &Frame, view: &View| frame.outgoing == outgoing && view.protocol == protocol
    };
    from.wait_for(count, way(true));
    let mut found = None;
    let equal = poll(PATIENCE, || {
        let (sent, received) = (from.picked(way(true)), to.picked(way(false)));
        found = difference(&sent, &received, ends, router_mac, receiver);
        found.is_none().then_some(())
    });
    assert!(equal.is_some(), "{}", found.unwrap_or_default());
}

#[test]
fn every_frame_of_a_connection_field_by_field() {
    needs_root!();
    let rig = Rig::allowed(without_offloads(), &[]);
    let (a, b) = (rig.a(), rig.b());
    let (at_a, at_b) = (Capture::start(&a.ns, "eth0"), Capture::start(&b.ns, "eth0"));
    let listener = listen(&b.ns, b.at(80));
    let (near, far, out) = pair_up(&a.ns, 10_000, &listener);
    bridgefwd_tests::traffic::transfer(near, far, 20_000);
    let (client, server) = (a.at(10_000), b.at(80));
    let macs = |name| rig.router.bridge(name).mac;
    // 20000 bytes take that many segments at least.
    let way = (6, 14);
    compare((&at_a, &at_b), way, (out, server), macs("br-b"), b);
    compare((&at_b, &at_a), way, (server, client), macs("br-a"), a);
}

#[test]
fn every_frame_of_datagrams_and_pings_field_by_field() {
    needs_root!();
    let rig = Rig::allowed(without_offloads(), &[]);
    let (a, b) = (rig.a(), rig.b());
    let (at_a, at_b) = (Capture::start(&a.ns, "eth0"), Capture::start(&b.ns, "eth0"));
    let (server, client) = (udp(&b.ns, b.at(53)), udp(&a.ns, a.at(10_000)));
    for length in [0, 1, 2, 17, 18, 19, 1000, 1472] {
        udp_exchange(&client, &server, &"x".repeat(length));
    }
    assert_eq!(ping(&a.ns, b.address, 77, 5, PATIENCE), 5);
    let gateway = rig.router.bridge("br-b").address;
    let macs = |name| rig.router.bridge(name).mac;
    for (protocol, count, client, out, server) in [
        (17, 8, a.at(10_000), at(gateway, 10_000), b.at(53)),
        (1, 5, at(a.address, 77), at(gateway, 77), at(b.address, 77)),
    ] {
        let way = (protocol, count);
        compare((&at_a, &at_b), way, (out, server), macs("br-b"), b);
        compare((&at_b, &at_a), way, (server, client), macs("br-a"), a);
    }
}
