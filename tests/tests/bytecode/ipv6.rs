//! IPv6 that is forwarded: the bytes that leave, in both directions, compared as a whole; and what
//! stays on its link.

use bridgefwd_common::Reason;
use bridgefwd_common::contract::{Family, FlowState, NatMode};
use bridgefwd_tests::needs_root;
use bridgefwd_tests::packets::{Transport, flags};
use bridgefwd_tests::packets6::Packet6;
use bridgefwd_tests::view6::{View6, assert_checksums6, at6, translated6};

use crate::bench::{A, A2, B, Bench, bench};

/// A port that is kept: outside the host's `ip_local_port_range`.
const KEPT: u16 = 10_000;

/// Both NAT modes that need nothing else, with the source that the server sees.
fn modes(test: impl Fn(&mut Bench<'_>, std::net::Ipv6Addr) + Sync) {
    bench(|bench| {
        let gateway = bench.gateway6();
        test(bench, gateway);
    });
    bench(|bench| {
        bench.allow(NatMode::None, None);
        let client = bench.a().address6;
        test(bench, client);
    });
}

#[test]
fn tcp_both_ways() {
    needs_root!();
    modes(|bench, source| {
        let (client, server, out) = (bench.a().at6(KEPT), bench.b().at6(80), at6(source, KEPT));
        let open = Packet6::tcp(client, server, flags::SYN);
        bench.forwards6(A, &open, Reason::FlowCreated, out, server);
        let answer = Packet6::tcp(server, out, flags::SYN | flags::ACK);
        bench.forwards6(B, &answer, Reason::ForwardedReply, server, client);
        for length in [0, 1, 2, 3, 100, 1439, 1440] {
            let data = Packet6::tcp(client, server, flags::ACK).payload(&vec![0xa5; length]);
            bench.forwards6(A, &data, Reason::Forwarded, out, server);
            let back = Packet6::tcp(server, out, flags::ACK).payload(&vec![0x5a; length]);
            bench.forwards6(B, &back, Reason::ForwardedReply, server, client);
        }
        let flow = bench.program.flow();
        assert_eq!(flow.state, FlowState::TcpEstablished as u8);
        assert_eq!((flow.original().family(), flow.translated().src), (Family::V6, source.into()));
        bench.program.assert_consistent();
    });
}

#[test]
fn udp_both_ways() {
    needs_root!();
    modes(|bench, source| {
        let (client, server, out) = (bench.a().at6(KEPT), bench.b().at6(53), at6(source, KEPT));
        let ask = Packet6::udp(client, server);
        bench.forwards6(A, &ask, Reason::FlowCreated, out, server);
        for length in [0, 1, 2, 511, 1452] {
            let ask = ask.clone().payload(&vec![3; length]);
            bench.forwards6(A, &ask, Reason::Forwarded, out, server);
            let answer = Packet6::udp(server, out).payload(&vec![9; length]);
            bench.forwards6(B, &answer, Reason::ForwardedReply, server, client);
        }
        assert_eq!(bench.program.flow().state, FlowState::UdpTwoWay as u8);
    });
}

#[test]
fn a_udp_checksum_that_comes_to_zero_is_sent_as_ffff() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at6(KEPT), bench.b().at6(53));
        let out = at6(bench.gateway6(), KEPT);
        let found = (0..=u16::MAX).find_map(|word| {
            let packet = Packet6::udp(client, server).payload(&word.to_be_bytes());
            let wanted = translated6(&bench.frame(bench.a(), &packet), out, server);
            (wanted[14 + 46..14 + 48] == [0xff, 0xff]).then_some(packet)
        });
        let packet = found.expect("one payload in 65536 sums to zero");
        bench.forwards6(A, &packet, Reason::FlowCreated, out, server);
    });
}

#[test]
fn queries_both_ways() {
    needs_root!();
    modes(|bench, source| {
        let (client, server) = (bench.a().address6, bench.b().address6);
        for id in [0, 1, 0x1234, u16::MAX] {
            let request = Packet6::echo_request(client, server, id);
            let (out, to) = (at6(source, id), at6(server, id));
            bench.forwards6(A, &request, Reason::FlowCreated, out, to);
            bench.forwards6(A, &request, Reason::Forwarded, out, to);
            let answer = Packet6::echo_reply(server, source, id);
            bench.forwards6(B, &answer, Reason::ForwardedReply, to, at6(client, id));
        }
        // Node information has its own answers.
        let [request, answer] =
            [139, 140].map(|kind| move |src, dst| Packet6::icmp(src, dst, kind, 0, [0, 7, 0, 0]));
        let out = bench.expect(A, &request(client, server), Reason::FlowCreated);
        assert_checksums6(&out.frame);
        let back = bench.expect(B, &answer(server, source), Reason::ForwardedReply);
        assert_checksums6(&back.frame);
        assert_eq!(bench.program.flows().len(), 5);
        // An answer that nobody asked for.
        let stray = bench.send(A, &Packet6::echo_reply(client, server, 99)).reason;
        assert_eq!(stray, Reason::IcmpUnsupported);
    });
}

#[test]
fn two_pings_with_one_identifier() {
    needs_root!();
    bench(|bench| {
        let server = bench.b().address6;
        let one = Packet6::echo_request(bench.a().address6, server, 7);
        let two = Packet6::echo_request(bench.a2().address6, server, 7);
        let id = |frame: &[u8]| View6::of(frame).expect("IPv6").dst.port();
        assert_eq!(id(&bench.expect(A, &one, Reason::FlowCreated).frame), 7);
        let outcome = bench.expect(A2, &two, Reason::FlowCreated);
        assert_checksums6(&outcome.frame);
        let other = id(&outcome.frame);
        assert_ne!(other, 7);
        let answer = Packet6::echo_reply(server, bench.gateway6(), other);
        let client = at6(bench.a2().address6, 7);
        bench.forwards6(B, &answer, Reason::ForwardedReply, at6(server, 7), client);
    });
}

#[test]
fn other_protocols() {
    needs_root!();
    modes(|bench, source| {
        let (client, server) = (bench.a().address6, bench.b().address6);
        // Behind "no next header" is nothing that an answer could be told by.
        bench.expect(A, &Packet6::other(client, server, 59), Reason::MalformedTransport);
        // GRE, ESP, SCTP, IPv4 in IPv6, and one that nobody has.
        for protocol in [47, 50, 132, 4, 253] {
            let (out, to) = (at6(source, 0), at6(server, 0));
            let there = Packet6::other(client, server, protocol);
            bench.forwards6(A, &there, Reason::FlowCreated, out, to);
            let back = Packet6::other(server, source, protocol);
            bench.forwards6(B, &back, Reason::ForwardedReply, to, at6(client, 0));
        }
    });
}

#[test]
fn class_label_and_hop_limit() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at6(KEPT), bench.b().at6(53));
        let out = at6(bench.gateway6(), KEPT);
        bench.expect(A, &Packet6::udp(client, server), Reason::FlowCreated);
        for (class, label, hops) in
            [(0, 0, 255), (0xff, 0xf_ffff, 64), (0xb8, 1, 3), (3, 0x8_0000, 2)]
        {
            let packet = Packet6::udp(client, server).with(|packet| {
                (packet.traffic_class, packet.flow_label, packet.hop_limit) = (class, label, hops);
            });
            bench.forwards6(A, &packet, Reason::Forwarded, out, server);
        }
    });
}

#[test]
fn large_packets_that_will_be_cut_into_segments() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at6(KEPT), bench.b().at6(80));
        let out = at6(bench.gateway6(), KEPT);
        bench.expect(A, &Packet6::tcp(client, server, flags::SYN), Reason::FlowCreated);
        let answer = Packet6::tcp(server, out, flags::SYN | flags::ACK);
        bench.expect(B, &answer, Reason::ForwardedReply);
        let data = Packet6::tcp(client, server, flags::ACK).payload(&[7; 2800]);
        let frame = bench.frame(bench.a(), &data);
        let port = bench.a().port_index;
        let outcome = bench.program.run_gso(port, &frame, 1400);
        assert_eq!(outcome.reason, Reason::Forwarded);
        assert_eq!(outcome.frame, translated6(&frame, out, server));
        bench.router.ns.ip("link set br-b mtu 1400\n");
        let outcome = bench.program.run_gso(port, &frame, 1400);
        assert_eq!((outcome.reason, outcome.frame), (Reason::ThroughKernel, frame.clone()));
        assert_eq!(bench.program.run_gso(port, &frame, 1340).reason, Reason::Forwarded);
    });
}

#[test]
fn padding_stays_and_is_no_part_of_the_packet() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at6(KEPT), bench.b().at6(53));
        let tiny = Packet6::udp(client, server).payload(b"").with(|packet| packet.padding = 7);
        let out = at6(bench.gateway6(), KEPT);
        bench.forwards6(A, &tiny, Reason::FlowCreated, out, server);
    });
}

#[test]
fn what_stays_on_its_link() {
    needs_root!();
    bench(|bench| {
        let (a, b) = (bench.a().address6, bench.b().address6);
        let address = |text: &str| text.parse::<std::net::Ipv6Addr>().expect("an address");
        let (local, all_nodes, global_group) =
            (address("fe80::1"), address("ff02::1"), address("ff0e::1"));
        for (src, dst) in [
            (local, b),
            (a, local),
            (local, all_nodes),
            (a, all_nodes),
            (a, global_group),
            (address("::"), address("ff02::1:ff00:2")),
        ] {
            bench.expect(A, &Packet6::udp(at6(src, 9), at6(dst, 9)), Reason::NeighbourDiscovery);
            // Listener reports, solicitations, advertisements, redirects.
            for kind in [130, 131, 132, 133, 134, 135, 136, 137, 143] {
                let message =
                    Packet6::icmp(src, dst, kind, 0, [0; 4]).with(|packet| packet.hop_limit = 255);
                bench.expect(A, &message, Reason::NeighbourDiscovery);
            }
        }
        // To the router itself, as hosts ask whether it is still there.
        let router = bench.router.bridge("br-a").address6;
        let solicitation =
            Packet6::icmp(a, router, 135, 0, [0; 4]).with(|packet| packet.hop_limit = 255);
        bench.expect(A, &solicitation, Reason::NotForwarded);
        assert_eq!(bench.program.flows(), []);
    });
}

#[test]
fn what_is_not_for_a_pair() {
    needs_root!();
    bench(|bench| {
        let (a, b) = (bench.a().at6(KEPT), bench.b().at6(53));
        bench.expect(A, &Packet6::udp(a, bench.a2().at6(53)), Reason::SameEnd);
        bench.expect(A, &Packet6::udp(a, bench.c().at6(53)), Reason::TargetNotManaged);
        bench.expect(A, &Packet6::udp(a, at6(bench.gateway6(), 53)), Reason::NotForwarded);
        bench.expect(B, &Packet6::udp(b, a), Reason::NotListed);
        bench.expect(A, &Packet6::tcp(a, b, flags::ACK), Reason::TcpNotOpening);
        let of_b = at6(bench.b2().address6, KEPT);
        bench.expect(A, &Packet6::udp(of_b, b), Reason::SourceNotOfEnd);
        bench.router.ns.sysctl("net/ipv6/conf/all/forwarding", "0");
        let reason = bench.send(A, &Packet6::udp(a, b)).reason;
        assert_eq!(reason, Reason::ForwardingDisabled);
        assert_eq!(bench.program.flows(), []);
    });
}

#[test]
fn malformed_headers() {
    needs_root!();
    bench(|bench| {
        let (a, b) = (bench.a().at6(KEPT), bench.b().at6(53));
        let macs = (bench.a().mac, bench.router.bridge("br-a").mac);
        let udp = Packet6::udp(a, b).macs(macs.0, macs.1);
        let tcp = Packet6::tcp(a, b, flags::SYN).macs(macs.0, macs.1);
        for frame in [
            udp.broken(|frame| frame[14] = 0x40),
            udp.broken(|frame| frame[14 + 4] = 1),
            udp.broken(|frame| frame[14 + 5] += 1),
        ] {
            bench.expect_frame(A, &frame, Reason::MalformedIp);
        }
        for frame in [
            udp.broken(|frame| frame[14 + 5] = 7),
            udp.broken(|frame| frame[14 + 40 + 5] = 7),
            udp.broken(|frame| frame[14 + 40 + 5] = 99),
            tcp.broken(|frame| frame[14 + 40 + 12] = 0x40),
            tcp.broken(|frame| frame[14 + 40 + 12] = 0x60),
        ] {
            bench.expect_frame(A, &frame, Reason::MalformedTransport);
        }
        assert_eq!(bench.program.flows(), []);
    });
}

#[test]
fn addresses_that_stand_for_ipv4_ones() {
    needs_root!();
    bench(|bench| {
        // Both look like tuples of IPv4 flows, and must never be taken for one.
        bench.router.ns.ip("route add ::ffff:0:0/96 via fd00:2::3 dev br-b\n");
        bench.allow(NatMode::None, None);
        let mapped = |address: std::net::Ipv4Addr| at6(address.to_ipv6_mapped(), 53);
        let (client, server) = (bench.a().at6(KEPT), mapped(bench.b().address));
        bench.expect(A, &Packet6::udp(client, server), Reason::NotForwarded);
        let client = mapped(bench.a().address);
        bench.expect(A, &Packet6::udp(client, bench.b().at6(53)), Reason::Martian);
        bench.expect(A, &Packet6::udp(client, server), Reason::Martian);
        bench.program.assert_consistent();
        assert_eq!(bench.program.flows(), []);
    });
}

#[test]
fn udp_without_a_checksum_is_left_without() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at6(KEPT), bench.b().at6(53));
        // Only tunnels may (RFC 6935); it is no business of a router.
        let bare = Packet6::udp(client, server).with(|packet| match &mut packet.transport {
            Transport::Udp { checksum, .. } => *checksum = false,
            other => panic!("{other:?} is not UDP"),
        });
        let outcome = bench.expect(A, &bare, Reason::FlowCreated);
        assert_eq!(outcome.frame[14 + 46..14 + 48], [0, 0]);
    });
}
