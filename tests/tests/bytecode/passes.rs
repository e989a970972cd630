//! What is the kernel's: passed untouched (which [`Program::run`] checks each time), under its
//! reason, without a flow.
//!
//! [`Program::run`]: bridgefwd_tests::program::Program::run

use std::net::Ipv4Addr;

use bridgefwd_common::Reason;
use bridgefwd_tests::needs_root;
use bridgefwd_tests::packets::{self, Packet, flags};
use bridgefwd_tests::program::{Buffer, Change};
use bridgefwd_tests::view::{assert_same_packet, at, translated};

use crate::bench::{A, B, Bench, bench};

/// Each is passed under the reason, and leaves no flow behind.
fn all_pass(bench: &mut Bench<'_>, reason: Reason, packets: &[Packet]) {
    for packet in packets {
        bench.expect(A, packet, reason);
    }
    assert_eq!(bench.program.flows(), []);
}

fn syn(bench: &Bench<'_>, dst: Ipv4Addr) -> Packet {
    Packet::tcp(bench.a().at(10_000), at(dst, 80), flags::SYN)
}

fn datagram(bench: &Bench<'_>, dst: Ipv4Addr) -> Packet {
    Packet::udp(bench.a().at(10_000), at(dst, 53))
}

#[test]
fn frames_to_other_macs() {
    needs_root!();
    bench(|bench| {
        let packet = syn(bench, bench.b().address);
        for mac in [bench.a2().mac, [0xff; 6], [1, 0, 0x5e, 0, 0, 1]] {
            let frame = packet.clone().macs(bench.a().mac, mac).build();
            bench.expect_frame(A, &frame, Reason::NotForRouter);
        }
        assert_eq!(bench.program.flows(), []);
    });
}

#[test]
fn frames_that_are_not_ip() {
    needs_root!();
    bench(|bench| {
        let (mac, router) = (bench.a().mac, bench.router.bridge("br-a").mac);
        let mut arp = packets::arp_request(mac, bench.a().address, Ipv4Addr::new(10, 1, 0, 1));
        bench.expect_frame(A, &arp, Reason::NotForRouter);
        arp[..6].copy_from_slice(&router);
        bench.expect_frame(A, &arp, Reason::NotIp);
        bench.expect_frame(A, &packets::ipv6_udp(mac, router), Reason::NeighbourDiscovery);
    });
}

#[test]
fn tags() {
    needs_root!();
    bench(|bench| {
        let packet = syn(bench, bench.b().address);
        let frame = bench.frame(bench.a(), &packet);
        let buffer = Buffer::at(bench.a().port_index);
        for vlan in [1, 7, 0x2007, 0xffff] {
            let tagged = Change { vlan: Some(vlan), ..Change::default() };
            let outcome = bench.program.run_tagged(tagged, &buffer, &frame);
            assert_eq!(outcome.reason, Reason::VlanTagged, "{vlan:#x}");
        }
        // One more in the frame is no IP packet.
        let packet = packet.with(|packet| packet.vlan = Some(0));
        bench.expect(A, &packet, Reason::NotIp);
        assert_eq!(bench.program.flows(), []);
    });
}

#[test]
fn a_tag_that_says_nothing_but_a_priority_ends_here() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at(10_000), bench.b().at(80));
        let buffer = Buffer::at(bench.a().port_index);
        for vlan in [0, 0x2000, 0xe000] {
            let tagged = Change { vlan: Some(vlan), ..Change::default() };
            let port = 10_000 + (vlan >> 13);
            let (client, out) = (at(*client.ip(), port), at(bench.gateway(), port));
            for (flags, reason) in
                [(flags::SYN, Reason::FlowCreated), (flags::SYN, Reason::Forwarded)]
            {
                let frame = bench.frame(bench.a(), &Packet::tcp(client, server, flags));
                let outcome = bench.program.run_tagged(tagged, &buffer, &frame);
                assert_eq!(outcome.reason, reason, "{vlan:#x}");
                assert_same_packet(&outcome.frame, &translated(&frame, out, server));
            }
        }
    });
}

#[test]
fn the_hosts_own_addresses() {
    needs_root!();
    bench(|bench| {
        for own in [[10, 1, 0, 1], [10, 2, 0, 1], [10, 3, 0, 1]].map(Ipv4Addr::from) {
            let packets = [
                syn(bench, own),
                datagram(bench, own),
                Packet::echo_request(bench.a().address, own, 7),
            ];
            all_pass(bench, Reason::NotForwarded, &packets);
        }
    });
}

#[test]
fn broadcast_and_multicast_addresses() {
    needs_root!();
    bench(|bench| {
        for other in [[10, 2, 0, 255], [255, 255, 255, 255], [224, 0, 0, 251]].map(Ipv4Addr::from) {
            let outcome = bench.send(A, &datagram(bench, other));
            let reason = outcome.reason;
            assert!(
                matches!(reason, Reason::NotForwarded | Reason::Unreachable | Reason::NotForRouter),
                "{other}: {reason:?}"
            );
        }
    });
}

#[test]
fn back_to_where_it_came_from() {
    needs_root!();
    bench(|bench| {
        let packets = [syn(bench, bench.a2().address), datagram(bench, bench.a2().address)];
        all_pass(bench, Reason::SameEnd, &packets);
    });
}

#[test]
fn to_an_interface_that_is_not_managed() {
    needs_root!();
    bench(|bench| {
        let packets = [syn(bench, bench.c().address), datagram(bench, bench.c().address)];
        all_pass(bench, Reason::TargetNotManaged, &packets);
    });
}

#[test]
fn on_an_interface_that_is_not_managed() {
    needs_root!();
    bench(|bench| {
        let frame = bench.frame(bench.c(), &syn(bench, bench.b().address));
        let ifindex = bench.c().port_index;
        assert_eq!(bench.program.run(ifindex, &frame).reason, Reason::NotManaged);
    });
}

#[test]
fn pairs_that_are_not_listed() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.b().at(10_000), bench.a().at(80));
        bench.expect(B, &Packet::tcp(client, server, flags::SYN), Reason::NotListed);
        bench.expect(B, &Packet::udp(client, server), Reason::NotListed);
        let echo = Packet::echo_request(*client.ip(), *server.ip(), 7);
        bench.expect(B, &echo, Reason::NotListed);
        assert_eq!(bench.program.flows(), []);
    });
}

#[test]
fn no_route() {
    needs_root!();
    bench(|bench| {
        let packets = [syn(bench, Ipv4Addr::new(192, 0, 2, 1))];
        // The kernel's look-up has one answer for "nowhere" and for "here".
        all_pass(bench, Reason::NotForwarded, &packets);
    });
}

#[test]
fn routes_that_refuse() {
    needs_root!();
    bench(|bench| {
        let packets = [syn(bench, Ipv4Addr::new(192, 0, 2, 1))];
        bench.router.ns.ip("route add unreachable 192.0.2.1\n");
        all_pass(bench, Reason::Unreachable, &packets);
        for kind in ["blackhole", "prohibit"] {
            bench.router.ns.ip(&format!("route replace {kind} 192.0.2.1\n"));
            all_pass(bench, Reason::Unreachable, &packets);
        }
    });
}

#[test]
fn a_host_that_does_not_forward() {
    needs_root!();
    bench(|bench| {
        bench.router.ns.sysctl("net/ipv4/ip_forward", "0");
        let packets = [syn(bench, bench.b().address)];
        all_pass(bench, Reason::ForwardingDisabled, &packets);
        bench.router.ns.sysctl("net/ipv4/ip_forward", "1");
        bench.expect(A, &packets[0], Reason::FlowCreated);
    });
}

#[test]
fn the_last_hop() {
    needs_root!();
    bench(|bench| {
        let b = bench.b().address;
        let echo = Packet::echo_request(bench.a().address, b, 7);
        for ttl in [1, 0] {
            let packets = [syn(bench, b), datagram(bench, b), echo.clone()];
            let packets = packets.map(|packet| packet.with(|packet| packet.ttl = ttl));
            all_pass(bench, Reason::TtlExpired, &packets);
        }
    });
}

#[test]
fn too_big_with_dont_fragment() {
    needs_root!();
    bench(|bench| {
        bench.router.ns.ip("link set br-b mtu 1000\n");
        bench.program.manage_bridge(bench.router, "br-b", |entry| entry.mtu = 1000);
        let big =
            |bench: &Bench<'_>, size| datagram(bench, bench.b().address).payload(&vec![7; size]);
        all_pass(bench, Reason::TooBig, &[big(bench, 1200), big(bench, 973)]);
        // Exactly the MTU, with 20 bytes of IPv4 and 8 of UDP.
        bench.expect(A, &big(bench, 972), Reason::FlowCreated);
    });
}

#[test]
fn connections_from_before_we_started() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at(10_000), bench.b().at(80));
        let all = [
            flags::ACK,
            flags::SYN | flags::ACK,
            flags::FIN | flags::ACK,
            flags::RST,
            flags::PSH | flags::ACK,
        ];
        let packets = all.map(|flags| Packet::tcp(client, server, flags));
        all_pass(bench, Reason::TcpNotOpening, &packets);
        // What no connection has is not one's from before, either.
        for flags in [flags::SYN | flags::FIN, flags::SYN | flags::RST, 0, 0xff] {
            bench.expect(A, &Packet::tcp(client, server, flags), Reason::TcpFlagsInvalid);
        }
        assert_eq!(bench.program.flows(), []);
    });
}
