//! What leaves by an end: packets of flows that the kernel forwards are translated, the host's own are
//! left alone.

use std::net::SocketAddrV4;

use bridgefwd_common::Reason;
use bridgefwd_common::contract::NatMode;
use bridgefwd_tests::packets::{Packet, arp_request, flags};
use bridgefwd_tests::packets6::{Extension, Packet6};
use bridgefwd_tests::program::{Buffer, Change};
use bridgefwd_tests::view::{assert_same_packet, at, translated};
use bridgefwd_tests::view6::{assert_checksums6, at6, translated6};
use bridgefwd_tests::{needs_root, needs_what_came_in};

use crate::bench::{A, B, Bench, bench};

/// `tc_index` of a packet that we have sent ourselves.
const DONE: u32 = 0xb420;
/// Of a copy that is for the kernel alone.
const ASKED: u32 = 0xb41f;

/// A packet that came in by `br-a` and leaves by `br-b`.
fn there(bench: &Bench<'_>) -> Buffer {
    Buffer { came_by: bench.key().from, ..Buffer::at(bench.key().to) }
}

/// `packet`, whose TTL the kernel has seen to, leaves from `src`, byte for byte.
#[track_caller]
fn leaves_as(bench: &mut Bench<'_>, packet: &Packet, src: SocketAddrV4, dst: SocketAddrV4) {
    let frame = bench.frame(bench.a(), packet);
    let one_more = packet.clone().with(|packet| packet.ttl += 1);
    let one_more = bench.frame(bench.a(), &one_more);
    let left = bench.program.leave(&there(bench), &frame);
    assert_eq!(left.dropped, None);
    assert_same_packet(&left.frame, &translated(&one_more, src, dst));
}

#[track_caller]
fn leaves_untouched(bench: &mut Bench<'_>, buffer: &Buffer, frame: &[u8]) {
    let left = bench.program.leave(buffer, frame);
    assert_eq!(left.dropped, None);
    assert!(left.frame == frame, "not untouched: {:02x?} became {:02x?}", frame, left.frame);
}

#[test]
fn packets_of_a_flow_are_translated() {
    needs_root!();
    needs_what_came_in!();
    bench(|bench| {
        let (client, server) = (bench.a().at(10_000), bench.b().at(80));
        let (a, b, gateway) = (*client.ip(), *server.ip(), bench.gateway());
        let out = at(gateway, 10_000);
        bench.expect(A, &Packet::tcp(client, server, flags::SYN), Reason::FlowCreated);
        bench.expect(A, &Packet::udp(client, server), Reason::FlowCreated);
        bench.expect(A, &Packet::echo_request(a, b, 7), Reason::FlowCreated);
        let before = bench.program.flows();
        for options in [vec![], vec![1; 4], vec![1; 40]] {
            let with = |packet: Packet| packet.with(|packet| packet.options.clone_from(&options));
            for length in [0, 1, 1000] {
                let data = Packet::tcp(client, server, flags::ACK).payload(&vec![1; length]);
                leaves_as(bench, &with(data), out, server);
                let data = Packet::udp(client, server).payload(&vec![1; length]);
                leaves_as(bench, &with(data), out, server);
            }
            let echo = with(Packet::echo_request(a, b, 7));
            leaves_as(bench, &echo, at(gateway, 7), at(b, 7));
        }
        // They were counted as they came in.
        assert_eq!(bench.program.flows(), before);
    });
}

#[test]
fn ipv6_with_extension_headers() {
    needs_root!();
    needs_what_came_in!();
    bench(|bench| {
        let (client, server) = (bench.a().at6(10_000), bench.b().at6(80));
        let out = at6(bench.gateway6(), 10_000);
        bench.expect(A, &Packet6::tcp(client, server, flags::SYN), Reason::FlowCreated);
        for extensions in [
            vec![],
            vec![Extension::hop_by_hop(&[])],
            vec![Extension::destination(&[]), Extension::fragment(0, false, 7)],
        ] {
            let packet = Packet6::tcp(client, server, flags::ACK).with(|packet| {
                packet.extensions.clone_from(&extensions);
                packet.hop_limit = 9;
            });
            let frame = bench.frame(bench.a(), &packet);
            let one_more = bench.frame(bench.a(), &packet.with(|packet| packet.hop_limit = 10));
            let left = bench.program.leave(&there(bench), &frame);
            assert_eq!(left.dropped, None);
            assert_checksums6(&left.frame);
            assert_eq!(left.frame, translated6(&one_more, out, server));
        }
    });
}

#[test]
fn pieces_that_the_kernel_has_cut() {
    needs_root!();
    needs_what_came_in!();
    bench(|bench| {
        let (client, server) = (bench.a().at(40_000), bench.b().at(53));
        bench.expect(A, &Packet::udp(client, server), Reason::FlowCreated);
        let source = bench.program.flow().translated();
        let payload: Vec<u8> = (0..1000).map(|byte| byte as u8).collect();
        let whole = |id, client| {
            Packet::udp(client, server)
                .payload(&payload)
                .with(|packet| (packet.dont_fragment, packet.id) = (false, id))
        };
        let frame = bench.frame(bench.a(), &whole(7, client));
        let out = at(bench.gateway(), u16::from_be_bytes(source.src_port));
        let pieces = crate::fragments::cut(&frame, 400);
        let mut left = Vec::new();
        for piece in &pieces {
            let outcome = bench.program.leave(&there(bench), piece);
            assert_eq!(outcome.dropped, None);
            left.push(outcome.frame);
        }
        let one_more = whole(7, client).with(|packet| packet.ttl += 1);
        let one_more = bench.frame(bench.a(), &one_more);
        let joined = crate::fragments::join(&left);
        assert_same_packet(&joined, &translated(&one_more, out, server));
        // Pieces of nobody's flow: another packet, and another client's.
        for stranger in [whole(8, client), whole(7, bench.a2().at(40_000))] {
            let pieces = crate::fragments::cut(&bench.frame(bench.a(), &stranger), 400);
            for piece in &pieces[1..] {
                leaves_untouched(bench, &there(bench), piece);
            }
        }
    });
}

#[test]
fn whatever_else_leaves_is_left_alone() {
    needs_root!();
    needs_what_came_in!();
    bench(|bench| {
        let (client, server) = (bench.a().at(10_000), bench.b().at(80));
        bench.expect(A, &Packet::tcp(client, server, flags::SYN), Reason::FlowCreated);
        let gateway = bench.gateway();
        let host = Buffer::at(bench.key().to);
        // The host's own, and what the kernel forwards without a flow.
        for packet in [
            Packet::tcp(at(gateway, 40_000), server, flags::SYN),
            Packet::udp(at(gateway, 40_000), server),
            Packet::echo_request(gateway, *server.ip(), 7),
            Packet::icmp(gateway, *server.ip(), 3, 3, [0; 4]).payload(&[0x45; 40]),
            Packet::other(gateway, *server.ip(), 47),
            Packet::udp(client, server),
            Packet::tcp(at(*client.ip(), 10_001), server, flags::ACK),
        ] {
            let frame = bench.frame(bench.a(), &packet);
            leaves_untouched(bench, &host, &frame);
            leaves_untouched(bench, &there(bench), &frame);
        }
        let back = Buffer { came_by: bench.key().to, ..Buffer::at(bench.key().from) };
        // A reply was translated as it came in.
        let frame = bench.frame(bench.b(), &Packet::tcp(server, client, flags::ACK));
        leaves_untouched(bench, &back, &frame);
        leaves_untouched(bench, &host, &arp_request(bench.b().mac, gateway, *server.ip()));
        leaves_untouched(bench, &host, &[0; 60]);
        let mut cut_off = bench.frame(bench.a(), &Packet::tcp(client, server, flags::ACK));
        cut_off.truncate(14 + 20 + 3);
        leaves_untouched(bench, &there(bench), &cut_off);
    });
}

#[test]
fn flows_without_translation_are_left_alone() {
    needs_root!();
    needs_what_came_in!();
    bench(|bench| {
        bench.allow(NatMode::None, None);
        let (client, server) = (bench.a().at(10_000), bench.b().at(80));
        let packet = Packet::tcp(client, server, flags::SYN);
        bench.expect(A, &packet, Reason::FlowCreated);
        let frame = bench.frame(bench.a(), &packet);
        leaves_untouched(bench, &there(bench), &frame);
        let elsewhere = Buffer::at(bench.key().from);
        leaves_untouched(bench, &elsewhere, &frame);
    });
}

#[test]
fn a_flow_does_not_leave_by_another_end() {
    needs_root!();
    needs_what_came_in!();
    bench(|bench| {
        let packet = Packet::udp(bench.a().at(10_000), bench.b().at(53));
        bench.expect(A, &packet, Reason::FlowCreated);
        let frame = bench.frame(bench.a(), &packet);
        // It would show its inner source there.
        let elsewhere = Buffer { came_by: bench.key().from, ..Buffer::at(bench.key().from) };
        let left = bench.program.leave(&elsewhere, &frame);
        assert_eq!(left.dropped, Some(Reason::EgressUntranslated));
    });
}

#[test]
fn what_we_have_marked() {
    needs_root!();
    needs_what_came_in!();
    bench(|bench| {
        let packet = Packet::udp(bench.a().at(10_000), bench.b().at(53));
        bench.expect(A, &packet, Reason::FlowCreated);
        let frame = bench.frame(bench.a(), &packet);
        let buffer = there(bench);
        let behind = |bench: &mut Bench<'_>, tc_index| {
            bench.program.leave_behind(Change { tc_index, ..Change::default() }, &buffer, &frame)
        };
        // Sent on by us: one look, even where it is as a packet that has to be translated.
        let left = behind(bench, DONE);
        assert_eq!((left.dropped, &left.frame), (None, &frame));
        // A copy that the kernel was to find the neighbour by.
        assert_eq!(behind(bench, ASKED).dropped, Some(Reason::NeighbourAsked));
        // Somebody else's marks say nothing.
        for tc_index in [0, 1, DONE + 1, 0xb41d, 0xffff] {
            let left = behind(bench, tc_index);
            assert_eq!(left.dropped, None, "{tc_index:#x}");
            assert_ne!(left.frame, frame, "{tc_index:#x}");
        }
    });
}

#[test]
fn the_hosts_own_errors_quote_what_was_sent() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at(10_000), bench.b().at(53));
        let (b, gateway) = (*server.ip(), bench.gateway());
        bench.expect(A, &Packet::udp(client, server), Reason::FlowCreated);
        // A reply at its last hop was translated for the kernel, which answers with what it saw.
        let last = Packet::udp(server, at(gateway, 10_000)).with(|packet| packet.ttl = 1);
        let sent = bench.frame(bench.b(), &last)[14..].to_vec();
        let seen = bench.expect(B, &last, Reason::ThroughKernel).frame[14..].to_vec();
        let error = |quote: &[u8]| Packet::icmp(gateway, b, 11, 0, [0; 4]).payload(quote);
        for length in [28, seen.len()] {
            let frame = bench.frame(bench.b(), &error(&seen[..length]));
            let wanted = bench.frame(bench.b(), &error(&sent[..length]));
            let left = bench.program.leave(&Buffer::at(bench.key().to), &frame);
            assert_eq!(left.dropped, None);
            assert_same_packet(&left.frame, &wanted);
        }
    });
}
