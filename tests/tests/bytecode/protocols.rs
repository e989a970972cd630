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
        // Redirect, timestamp, and an echo request with a code.
        for (kind, code) in [(5, 1), (13, 0), (8, 1)] {
            bench.expect(A, &Packet::icmp(a, b, kind, code, [0; 4]), Reason::IcmpUnsupported);
        }
        // An answer that nobody asked for.
        bench.expect(A, &Packet::echo_reply(a, b, 7), Reason::IcmpUnsupported);
        assert_eq!(bench.program.flows(), []);
    });
}
