//! What is forwarded: the bytes that leave, in both directions, compared as a whole.

use bridgefwd_common::Reason;
use bridgefwd_common::contract::{Direction, FlowState, IndexEntry};
use bridgefwd_tests::needs_root;
use bridgefwd_tests::packets::{Packet, Transport, flags};
use bridgefwd_tests::view::{ETHERNET, assert_same_packet, at, translated};

use crate::bench::{A, B, bench};

/// A port that is kept: outside the host's `ip_local_port_range`.
const KEPT: u16 = 10_000;

#[test]
fn tcp_both_ways() {
    needs_root!();
    bench(|bench| {
        let (client, server, out) =
            (bench.a().at(KEPT), bench.b().at(80), at(bench.gateway(), KEPT));
        let open = Packet::tcp(client, server, flags::SYN);
        bench.forwards(A, &open, Reason::FlowCreated, out, server);
        assert_eq!(bench.program.flow().state, FlowState::TcpOpening as u8);
        let answer = Packet::tcp(server, out, flags::SYN | flags::ACK);
        bench.forwards(B, &answer, Reason::ForwardedReply, server, client);
        assert_eq!(bench.program.flow().state, FlowState::TcpAnswered as u8);
        let data = |length: usize| {
            Packet::tcp(client, server, flags::ACK | flags::PSH).payload(&vec![0xa5; length])
        };
        for length in [0, 1, 2, 3, 100, 1459, 1460] {
            bench.forwards(A, &data(length), Reason::Forwarded, out, server);
            let back = Packet::tcp(server, out, flags::ACK).payload(&vec![0x5a; length]);
            bench.forwards(B, &back, Reason::ForwardedReply, server, client);
        }
        assert_eq!(bench.program.flow().state, FlowState::TcpEstablished as u8);
    });
}

#[test]
fn both_directions_are_found_by_the_tuple_they_arrive_with() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at(KEPT), bench.b().at(80));
        bench.expect(A, &Packet::tcp(client, server, flags::SYN), Reason::FlowCreated);
        let [(slot, flow)] = bench.program.flows()[..] else { panic!("one flow") };
        let index = bench.program.index();
        assert_eq!(index.len(), 2);
        for direction in [Direction::Original, Direction::Reply] {
            let entry = IndexEntry::new(slot, direction, flow.generation);
            assert_eq!(index.get(&flow.arriving(direction)), Some(&entry));
        }
        assert_eq!(flow.original().src, (*client.ip()).into());
        assert_eq!(flow.original().src_port, KEPT.to_be_bytes());
        assert_eq!(flow.translated().src, bench.gateway().into());
        assert_eq!(
            (flow.original().dst, flow.translated().dst),
            ((*server.ip()).into(), flow.original().dst)
        );
        assert_eq!((flow.from, flow.to), (bench.key().from, bench.key().to));
    });
}

#[test]
fn on_the_bridge_as_on_the_port() {
    needs_root!();
    bench(|bench| {
        let (client, server, out) =
            (bench.a().at(KEPT), bench.b().at(80), at(bench.gateway(), KEPT));
        let frame = bench.frame(bench.a(), &Packet::tcp(client, server, flags::SYN));
        let outcome = bench.program.run(bench.key().from, &frame);
        assert_eq!(outcome.reason, Reason::FlowCreated);
        assert_same_packet(&outcome.frame, &translated(&frame, out, server));
        let frame = bench.frame(bench.b(), &Packet::tcp(server, out, flags::SYN | flags::ACK));
        let outcome = bench.program.run(bench.key().to, &frame);
        assert_eq!(outcome.reason, Reason::ForwardedReply);
        assert_same_packet(&outcome.frame, &translated(&frame, server, client));
    });
}

#[test]
fn udp_both_ways() {
    needs_root!();
    bench(|bench| {
        let (client, server, out) =
            (bench.a().at(KEPT), bench.b().at(53), at(bench.gateway(), KEPT));
        let ask = Packet::udp(client, server);
        bench.forwards(A, &ask, Reason::FlowCreated, out, server);
        assert_eq!(bench.program.flow().state, FlowState::UdpOneWay as u8);
        bench.forwards(A, &ask.clone().payload(b""), Reason::Forwarded, out, server);
        for length in [0, 1, 2, 511, 1472] {
            let answer = Packet::udp(server, out).payload(&vec![9; length]);
            bench.forwards(B, &answer, Reason::ForwardedReply, server, client);
        }
        assert_eq!(bench.program.flow().state, FlowState::UdpTwoWay as u8);
    });
}

#[test]
fn udp_without_a_checksum_gets_none() {
    needs_root!();
    bench(|bench| {
        let (client, server, out) =
            (bench.a().at(KEPT), bench.b().at(53), at(bench.gateway(), KEPT));
        let bare = |packet: Packet| {
            packet.with(|packet| match &mut packet.transport {
                Transport::Udp { checksum, .. } => *checksum = false,
                other => panic!("{other:?} is not UDP"),
            })
        };
        let ask = bare(Packet::udp(client, server));
        let outcome = bench.expect(A, &ask, Reason::FlowCreated);
        assert_eq!(outcome.frame[ETHERNET + 26..ETHERNET + 28], [0, 0]);
        bench.forwards(A, &ask, Reason::Forwarded, out, server);
        let answer = bare(Packet::udp(server, out));
        bench.forwards(B, &answer, Reason::ForwardedReply, server, client);
    });
}

#[test]
fn a_udp_checksum_that_comes_to_zero_is_sent_as_ffff() {
    needs_root!();
    bench(|bench| {
        let (client, server, out) =
            (bench.a().at(KEPT), bench.b().at(53), at(bench.gateway(), KEPT));
        let found = (0..=u16::MAX).find_map(|word| {
            let packet = Packet::udp(client, server).payload(&word.to_be_bytes());
            let wanted = translated(&bench.frame(bench.a(), &packet), out, server);
            (wanted[ETHERNET + 26..ETHERNET + 28] == [0xff, 0xff]).then_some(packet)
        });
        let packet = found.expect("one payload in 65536 sums to zero");
        bench.forwards(A, &packet, Reason::FlowCreated, out, server);
    });
}

#[test]
fn echo_both_ways() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().address, bench.b().address);
        for id in [0, 1, 0x1234, u16::MAX] {
            let (out, to) = (at(bench.gateway(), id), at(server, id));
            let request = Packet::echo_request(client, server, id);
            bench.forwards(A, &request, Reason::FlowCreated, out, to);
            bench.forwards(A, &request, Reason::Forwarded, out, to);
            let answer = Packet::echo_reply(server, bench.gateway(), id);
            bench.forwards(B, &answer, Reason::ForwardedReply, to, at(client, id));
        }
        assert_eq!(bench.program.flows().len(), 4);
    });
}

#[test]
fn padding_stays_and_is_no_part_of_the_packet() {
    needs_root!();
    bench(|bench| {
        let (client, server, out) =
            (bench.a().at(KEPT), bench.b().at(80), at(bench.gateway(), KEPT));
        let padded = |packet: Packet| packet.with(|packet| packet.padding = 18);
        let open = padded(Packet::tcp(client, server, flags::SYN));
        bench.forwards(A, &open, Reason::FlowCreated, out, server);
        let tiny = padded(Packet::udp(client, server).payload(b"x"));
        bench.forwards(A, &tiny, Reason::FlowCreated, out, server);
    });
}

#[test]
fn each_ttl_goes_down_by_one() {
    needs_root!();
    bench(|bench| {
        let (client, server, out) =
            (bench.a().at(KEPT), bench.b().at(53), at(bench.gateway(), KEPT));
        let ask = |ttl| Packet::udp(client, server).with(|packet| packet.ttl = ttl);
        bench.forwards(A, &ask(2), Reason::FlowCreated, out, server);
        for ttl in [255, 128, 64, 3, 2] {
            bench.forwards(A, &ask(ttl), Reason::Forwarded, out, server);
        }
        // The kernel answers; an answer it would take for its own, as it arrives.
        for ttl in [1, 0] {
            bench.through_kernel(A, &ask(ttl));
            let answer = Packet::udp(server, out).with(|packet| packet.ttl = ttl);
            bench.handed_over(B, &answer, client);
        }
    });
}

#[test]
fn large_packets_that_will_be_cut_into_segments() {
    needs_root!();
    bench(|bench| {
        let (client, server, out) =
            (bench.a().at(KEPT), bench.b().at(80), at(bench.gateway(), KEPT));
        bench.expect(A, &Packet::tcp(client, server, flags::SYN), Reason::FlowCreated);
        let answer = Packet::tcp(server, out, flags::SYN | flags::ACK);
        bench.expect(B, &answer, Reason::ForwardedReply);
        let data = Packet::tcp(client, server, flags::ACK).payload(&[7; 2800]);
        let frame = bench.frame(bench.a(), &data);
        let port = bench.a().port_index;
        let outcome = bench.program.run_gso(port, &frame, 1400);
        assert_eq!(outcome.reason, Reason::Forwarded);
        assert_same_packet(&outcome.frame, &translated(&frame, out, server));
        // Segments larger than the way out allows are the kernel's to refuse.
        bench.router.ns.ip("link set br-b mtu 1400\n");
        let outcome = bench.program.run_gso(port, &frame, 1400);
        assert_eq!((outcome.reason, outcome.frame), (Reason::ThroughKernel, frame.clone()));
        assert_eq!(bench.program.run_gso(port, &frame, 1360).reason, Reason::Forwarded);
    });
}
