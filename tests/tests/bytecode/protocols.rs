//! Protocols beside TCP, UDP and echo: those with ports and a pseudo-header, SCTP, and the rest by
//! address alone.

use bridgefwd_common::Reason;
use bridgefwd_tests::needs_root;
use bridgefwd_tests::packets::Packet;
use bridgefwd_tests::view::{View, internet_checksum};

use crate::bench::{A, A2, B, bench};

const IP: usize = 14 + 20;
const PAYLOAD: [u8; 16] = [0x9c, 0x40, 0, 53, 0, 16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];

#[test]
fn by_address_alone() {
    needs_root!();
    bench(|bench| {
        let (a, b, gateway) = (bench.a().address, bench.b().address, bench.gateway());
        // GRE, ESP, SCTP with its ports, and one that nobody has.
        for protocol in [47, 50, 132, 253] {
            let there = Packet::other(a, b, protocol).payload(&PAYLOAD);
            let outcome = bench.expect(A, &there, Reason::FlowCreated);
            let view = View::of(&outcome.frame).unwrap();
            assert_eq!((*view.src.ip(), *view.dst.ip()), (gateway, b));
            assert_eq!(outcome.frame[IP..IP + 16], PAYLOAD);

            let mut answer = PAYLOAD;
            if protocol == 132 {
                answer[..4].copy_from_slice(&[0, 53, 0x9c, 0x40]);
            }
            let back = Packet::other(b, gateway, protocol).payload(&answer);
            let outcome = bench.expect(B, &back, Reason::ForwardedReply);
            let view = View::of(&outcome.frame).unwrap();
            assert_eq!((*view.src.ip(), *view.dst.ip()), (b, a));
            assert_eq!(outcome.frame[IP..IP + 16], answer);
        }
    });
}

#[test]
fn two_clients_of_one_server_cannot_be_told_apart() {
    needs_root!();
    bench(|bench| {
        let (b, clients) = (bench.b().address, [bench.a().address, bench.a2().address]);
        bench.expect(A, &Packet::other(clients[0], b, 47).payload(&PAYLOAD), Reason::FlowCreated);
        bench.expect(A2, &Packet::other(clients[1], b, 47).payload(&PAYLOAD), Reason::NoPortLeft);
    });
}

#[test]
fn checksums_over_the_addresses_are_kept_right() {
    needs_root!();
    bench(|bench| {
        let (a, b) = (bench.a().address, bench.b().address);
        // UDP-Lite and DCCP have their checksum where UDP has it.
        for protocol in [136, 33] {
            let sum = |src: [u8; 4], payload: &[u8]| {
                internet_checksum(&[&src, &b.octets(), &[0, protocol, 0, 16], payload])
            };
            let mut payload = PAYLOAD;
            payload[6..8].fill(0);
            let check = sum(a.octets(), &payload);
            payload[6..8].copy_from_slice(&check.to_be_bytes());
            let packet = Packet::other(a, b, protocol).payload(&payload);
            let frame = bench.expect(A, &packet, Reason::FlowCreated).frame;
            let source = frame[IP - 8..IP - 4].try_into().unwrap();
            assert_eq!(source, bench.gateway().octets());
            assert_eq!(sum(source, &frame[IP..IP + 16]), 0);
        }
    });
}

#[test]
fn icmp_that_no_flow_can_be_made_of() {
    needs_root!();
    bench(|bench| {
        let (a, b) = (bench.a().address, bench.b().address);
        // Redirect, router advertisement and solicitation, and types that nobody has.
        for (kind, code) in [(5, 1), (9, 0), (10, 0), (1, 0), (42, 0), (255, 0)] {
            bench.expect(A, &Packet::icmp(a, b, kind, code, [0; 4]), Reason::IcmpUnsupported);
        }
        // Answers that nobody asked for.
        for kind in [0, 14, 16, 18] {
            bench.expect(A, &Packet::icmp(a, b, kind, 0, [0, 7, 0, 1]), Reason::IcmpUnsupported);
        }
        assert_eq!(bench.program.flows(), []);
    });
}

#[test]
fn icmp_queries_and_their_answers() {
    needs_root!();
    bench(|bench| {
        let (a, b, gateway) = (bench.a().address, bench.b().address, bench.gateway());
        // Echo, timestamp, information, address mask: each by its own kind of answer alone.
        for (request, answer) in [(8, 0), (13, 14), (15, 16), (17, 18)] {
            let body = [7; 12];
            let query =
                |src, dst, kind| Packet::icmp(src, dst, kind, 0, [0, 7, 0, 1]).payload(&body);
            let out = bench.expect(A, &query(a, b, request), Reason::FlowCreated);
            let view = View::of(&out.frame).unwrap();
            bridgefwd_tests::view::assert_checksums(&out.frame);
            assert_eq!((*view.src.ip(), *view.dst.ip(), view.dst.port()), (gateway, b, 7));
            bench.expect(A, &query(a, b, request), Reason::Forwarded);
            let wrong = if answer == 0 { 14 } else { 0 };
            let stray = bench.send(B, &query(b, gateway, wrong)).reason;
            if request == 8 {
                assert_eq!(stray, Reason::NotForwarded, "{wrong}");
            }
            let back = bench.expect(B, &query(b, gateway, answer), Reason::ForwardedReply);
            bridgefwd_tests::view::assert_checksums(&back.frame);
            let view = View::of(&back.frame).unwrap();
            assert_eq!((*view.src.ip(), *view.dst.ip(), view.dst.port()), (b, a, 7));
        }
        assert_eq!(bench.program.flows().len(), 4);
        bench.program.assert_consistent();
    });
}
