//! What goes on as if we were absent.

use std::net::Ipv4Addr;

use bridgefwd_tests::capture::Capture;
use bridgefwd_tests::inject::Injector;
use bridgefwd_tests::needs_root;
use bridgefwd_tests::packets::{Packet, arp_request, flags};
use bridgefwd_tests::topology::Options;
use bridgefwd_tests::traffic::{listen, pair_up, ping, say, udp, udp_exchange};
use bridgefwd_tests::view::at;
use bridgefwd_tests::wait::{PATIENCE, until};

use crate::rig::{Rig, without_offloads};

#[test]
fn traffic_within_a_bridge() {
    needs_root!();
    let rig = Rig::allowed(without_offloads(), &["--unlisted", "deny"]);
    let (a, a2) = (rig.a(), rig.a2());
    let capture = Capture::start(&a2.ns, "eth0");
    let (server, client) = (udp(&a2.ns, a2.at(53)), udp(&a.ns, a.at(10_000)));
    assert_eq!(udp_exchange(&client, &server, "neighbour"), a.at(10_000));
    let listener = listen(&a2.ns, a2.at(80));
    let (mut near, mut far, seen) = pair_up(&a.ns, 10_001, &listener);
    say(&mut near, &mut far, "hello");
    assert_eq!(seen, a.at(10_001));
    let heard = capture.wait_for(1, |frame, view| !frame.outgoing && view.protocol == 17);
    let view = &heard[0].1;
    assert_eq!((view.mac_src, view.mac_dst, view.ttl), (a.mac, a2.mac, 64));
    assert_eq!(rig.flows("udp"), [] as [serde_json::Value; 0]);
    assert!(rig.counted("not_for_router") > 0);
}

#[test]
fn arp_between_hosts_and_with_the_router() {
    needs_root!();
    let rig = Rig::allowed(Options::default(), &["--unlisted", "deny"]);
    let (a, a2) = (rig.a(), rig.a2());
    let (near, far) = (Capture::start(&a.ns, "eth0"), Capture::start(&a2.ns, "eth0"));
    let injector = Injector::new(&a.ns, "eth0");
    for wanted in [a2.address, Ipv4Addr::new(10, 1, 0, 1)] {
        let request = arp_request(a.mac, a.address, wanted);
        injector.send(&request);
        until("the request is heard, as it was", || {
            far.frames().iter().any(|frame| frame.bytes.starts_with(&request))
        });
        until("it is answered", || {
            near.frames().iter().any(|frame| {
                let bytes = &frame.bytes;
                bytes[12..14] == [8, 6] && bytes[21] == 2 && bytes[28..32] == wanted.octets()
            })
        });
    }
}

#[test]
fn services_of_the_host_on_its_gateway_addresses() {
    needs_root!();
    let rig = Rig::allowed(Options::default(), &["--unlisted", "deny"]);
    let a = rig.a();
    for gateway in [[10, 1, 0, 1], [10, 2, 0, 1]].map(Ipv4Addr::from) {
        let listener = listen(&rig.router.ns, at(gateway, 8080));
        let (mut near, mut far, seen) = pair_up(&a.ns, 0, &listener);
        say(&mut near, &mut far, "hello, host");
        say(&mut far, &mut near, "hello, guest");
        assert_eq!(*seen.ip(), a.address);
        let (server, client) = (udp(&rig.router.ns, at(gateway, 53)), udp(&a.ns, a.at(0)));
        udp_exchange(&client, &server, "name?");
        assert_eq!(ping(&a.ns, gateway, 7, 2, PATIENCE), 2);
    }
    rig.ok(&["pair", "deny", "br-a", "br-b"]);
    assert_eq!(ping(&a.ns, Ipv4Addr::new(10, 2, 0, 1), 8, 1, PATIENCE), 1);
    assert!(rig.counted("not_forwarded") > 0);
}

#[test]
fn connections_that_the_host_opens() {
    needs_root!();
    let rig = Rig::allowed(Options::default(), &["--unlisted", "deny"]);
    for host in [rig.a(), rig.b()] {
        let listener = listen(&host.ns, host.at(80));
        let (mut near, mut far, _) = pair_up(&rig.router.ns, 0, &listener);
        say(&mut near, &mut far, "hello");
        say(&mut far, &mut near, "hello");
        assert_eq!(ping(&rig.router.ns, host.address, 7, 1, PATIENCE), 1);
    }
}

#[test]
fn the_kernel_answers_the_last_hop() {
    needs_root!();
    let rig = Rig::allowed(Options::default(), &[]);
    let (a, b) = (rig.a(), rig.b());
    let capture = Capture::start(&a.ns, "eth0");
    let packet = Packet::udp(a.at(10_000), b.at(33_434))
        .macs(a.mac, rig.router.bridge("br-a").mac)
        .with(|packet| packet.ttl = 1);
    Injector::new(&a.ns, "eth0").send(&packet.build());
    // Time exceeded.
    let heard = capture.wait_for(1, |frame, view| !frame.outgoing && view.protocol == 1);
    assert_eq!((heard[0].1.src.port(), heard[0].1.src.ip().octets()), (11, [10, 1, 0, 1]));
    assert_eq!(rig.counted("ttl_expired"), 1);
}

#[test]
fn the_kernel_answers_what_is_too_big() {
    needs_root!();
    let rig = Rig::allowed(Options::default(), &[]);
    let (a, b) = (rig.a(), rig.b());
    rig.router.ns.ip("link set br-b mtu 1000\n");
    let capture = Capture::start(&a.ns, "eth0");
    let packet = Packet::udp(a.at(10_000), b.at(53))
        .macs(a.mac, rig.router.bridge("br-a").mac)
        .payload(&[7; 1200]);
    Injector::new(&a.ns, "eth0").send(&packet.build());
    // Destination unreachable.
    let heard = capture.wait_for(1, |frame, view| !frame.outgoing && view.protocol == 1);
    assert_eq!(heard[0].1.src.port(), 3);
    let bytes = &heard[0].0.bytes;
    assert_eq!(bytes[35], 4, "fragmentation needed");
    assert_eq!(u16::from_be_bytes([bytes[40], bytes[41]]), 1000, "and how much");
    // Which of the two depends on whether the daemon has heard of the new MTU.
    assert_eq!(rig.counted("too_big") + rig.counted("through_kernel"), 1);
}

#[test]
fn tagged_frames() {
    needs_root!();
    let rig = Rig::allowed(Options::default(), &["--unlisted", "deny"]);
    let (a, b) = (rig.a(), rig.b());
    let packet = Packet::tcp(a.at(10_000), b.at(80), flags::SYN)
        .macs(a.mac, rig.router.bridge("br-a").mac)
        .with(|packet| packet.vlan = Some(7));
    Injector::new(&a.ns, "eth0").send(&packet.build());
    until("it is counted", || rig.counted("vlan_tagged") > 0);
    assert_eq!(rig.flows("tcp"), [] as [serde_json::Value; 0]);
}

#[test]
fn bridges_that_are_not_managed() {
    needs_root!();
    let mut rig = Rig::allowed(Options::default(), &["--unlisted", "deny"]);
    let c = rig.router.plug("br-c");
    let c = &rig.router.hosts[c];
    let (server, client) = (udp(&c.ns, c.at(53)), udp(&rig.a().ns, rig.a().at(10_000)));
    assert_eq!(udp_exchange(&client, &server, "hello"), rig.a().at(10_000));
    assert!(rig.forwarded_by_kernel() > 0);
    assert!(rig.counted("target_not_managed") > 0);
}

#[test]
fn frames_cut_off_in_the_ipv4_header() {
    needs_root!();
    // A test run of the program refuses such frames; a wire does not.
    let rig = Rig::allowed(Options::default(), &[]);
    let (a, b) = (rig.a(), rig.b());
    let packet = Packet::tcp(a.at(10_000), b.at(80), flags::SYN)
        .macs(a.mac, rig.router.bridge("br-a").mac)
        .build();
    let injector = Injector::new(&a.ns, "eth0");
    for length in [15, 20, 33] {
        injector.send(&packet[..length]);
    }
    until("they are counted", || rig.counted("malformed_ip") == 3);
    assert_eq!(rig.flows("tcp"), [] as [serde_json::Value; 0]);
}
