//! ICMPv6 errors: translated with the packet that they quote, or refused.

use std::net::Ipv6Addr;

use bridgefwd_common::Reason;
use bridgefwd_common::contract::{NatMode, PairPolicy, PairState};
use bridgefwd_tests::packets::{Transport, flags};
use bridgefwd_tests::packets6::{Extension, Packet6};
use bridgefwd_tests::program::Outcome;
use bridgefwd_tests::view6::{assert_checksums6, at6};
use bridgefwd_tests::{needs_root, needs_what_came_in};

use crate::bench::{A, B, Bench, GENERATION, bench, policy};

const ETHERNET: usize = 14;
const HEADER: usize = 40;
/// Destination unreachable, packet too big, time exceeded, parameter problem, and one that nobody has
/// defined.
const KINDS: [(u8, u8); 5] = [(1, 4), (2, 0), (3, 0), (4, 1), (100, 0)];
const REST: [u8; 4] = [0, 0, 5, 0xdc];
/// A router somewhere behind the server, and one behind the client.
const BEYOND_B: Ipv6Addr = Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 0x99);
const BEYOND_A: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 0x99);

fn gateway(bench: &Bench<'_>) -> Ipv6Addr {
    bench.router.bridge("br-b").address6
}

fn frame(bench: &Bench<'_>, sender: usize, packet: &Packet6) -> Vec<u8> {
    let host = &bench.router.hosts[sender];
    packet.clone().macs(host.mac, bench.router.bridge(host.bridge).mac).build()
}

#[track_caller]
fn expect(bench: &mut Bench<'_>, sender: usize, packet: &Packet6, reason: Reason) -> Outcome {
    let frame = frame(bench, sender, packet);
    let outcome = bench.program.run(bench.router.hosts[sender].port_index, &frame);
    assert_eq!(outcome.reason, reason, "{packet:?}");
    outcome
}

/// `packet` goes out from A; the IPv6 packet as A sent it, and as B got it.
#[track_caller]
fn cross(bench: &mut Bench<'_>, packet: &Packet6) -> (Vec<u8>, Vec<u8>) {
    let sent = packet.quoted();
    let got = expect(bench, A, packet, Reason::FlowCreated).frame;
    (sent, got[ETHERNET..].to_vec())
}

/// The first `len` bytes of `sent`, with the hop limit that it has in `got`.
fn quote(sent: &[u8], got: &[u8], len: usize) -> Vec<u8> {
    let mut quote = sent[..len.min(sent.len())].to_vec();
    quote[7] = got[7];
    quote
}

/// The frame is `wanted` one hop later, apart from the MACs, and its checksum holds.
#[track_caller]
fn assert_is(frame: &[u8], wanted: &Packet6) {
    assert_checksums6(frame);
    let wanted = wanted.clone().with(|packet| packet.hop_limit -= 1).build();
    assert_same(frame, &wanted);
}

#[track_caller]
fn assert_same(frame: &[u8], wanted: &[u8]) {
    let (frame, wanted) = (&frame[12..], &wanted[12..]);
    assert!(frame == wanted, "not the packet it should be\n{frame:02x?}\n{wanted:02x?}");
}

/// A packet of each kind that a flow can be found by.
fn packets(bench: &Bench<'_>) -> [Packet6; 4] {
    let (client, server) = (bench.a().at6(40_000), bench.b().at6(53));
    [
        Packet6::udp(client, server).payload(b"a question"),
        Packet6::tcp(client, server, flags::SYN).payload(b"quick"),
        Packet6::echo_request(*client.ip(), *server.ip(), 7),
        Packet6::other(*client.ip(), *server.ip(), 50),
    ]
}

#[test]
fn about_what_the_client_sent() {
    needs_root!();
    bench(|bench| {
        let (a, b, gateway) = (bench.a().address6, bench.b().address6, gateway(bench));
        for packet in packets(bench) {
            let (sent, got) = cross(bench, &packet);
            assert_eq!(got[8..24], gateway.octets(), "not translated");
            let flows = bench.program.flows();
            for source in [b, BEYOND_B] {
                for kind in KINDS {
                    for len in [HEADER + 8, HEADER + 19, got.len()] {
                        let len = len.min(got.len());
                        let error = Packet6::error(source, gateway, kind, REST, &got[..len]);
                        let outcome = expect(bench, B, &error, Reason::ForwardedIcmpError);
                        let quote = quote(&sent, &got, len);
                        let wanted = Packet6::error(source, a, kind, REST, &quote);
                        assert_is(&outcome.frame, &wanted);
                    }
                }
            }
            assert_eq!(bench.program.flows(), flows, "an error changed the flow");
        }
    });
}

#[test]
fn about_what_the_server_answered() {
    needs_root!();
    bench(|bench| {
        let (a, b, gateway) = (bench.a().address6, bench.b().address6, gateway(bench));
        let (client, server) = (bench.a().at6(10_000), bench.b().at6(53));
        cross(bench, &Packet6::udp(client, server));
        cross(bench, &Packet6::echo_request(a, b, 7));
        for answer in [
            Packet6::udp(server, at6(gateway, 10_000)).payload(b"an answer"),
            Packet6::echo_reply(b, gateway, 7),
        ] {
            let got = expect(bench, B, &answer, Reason::ForwardedReply).frame[ETHERNET..].to_vec();
            assert_eq!(got[24..40], a.octets());
            // The client's own, and that of a router behind it: beyond us both are the gateway's.
            for source in [a, BEYOND_A] {
                for kind in KINDS {
                    let error = Packet6::error(source, b, kind, REST, &got);
                    let outcome = expect(bench, A, &error, Reason::ForwardedIcmpError);
                    let quote = quote(&answer.quoted(), &got, got.len());
                    let wanted = Packet6::error(gateway, b, kind, REST, &quote);
                    assert_is(&outcome.frame, &wanted);
                }
            }
        }
    });
}

#[test]
fn of_a_pair_that_does_not_translate() {
    needs_root!();
    bench(|bench| {
        let nat = NatMode::None as u8;
        bench.set(PairPolicy { nat, nat_v6: nat, ..policy(PairState::Allowed) }, GENERATION);
        let (a, b) = (bench.a().address6, bench.b().address6);
        let (client, server) = (bench.a().at6(10_000), bench.b().at6(53));
        let (_, got) = cross(bench, &Packet6::udp(client, server));
        for source in [b, BEYOND_B] {
            let error = Packet6::error(source, a, (1, 4), REST, &got);
            let outcome = expect(bench, B, &error, Reason::ForwardedIcmpError);
            assert_is(&outcome.frame, &error);
        }
        let answer = Packet6::udp(server, client);
        let got = expect(bench, B, &answer, Reason::ForwardedReply).frame[ETHERNET..].to_vec();
        for source in [a, BEYOND_A] {
            let error = Packet6::error(source, b, (1, 4), REST, &got);
            let outcome = expect(bench, A, &error, Reason::ForwardedIcmpError);
            assert_is(&outcome.frame, &error);
            let broken =
                error.macs(bench.a().mac, bench.router.bridge("br-a").mac).broken(|frame| {
                    frame[ETHERNET + HEADER + 8 + HEADER + 10] ^= 1;
                });
            bench.expect_frame(A, &broken, Reason::IcmpMalformed);
        }
    });
}

#[test]
fn that_quote_extension_headers_and_first_fragments() {
    needs_root!();
    bench(|bench| {
        let (a, b, gateway) = (bench.a().address6, bench.b().address6, gateway(bench));
        let sent = Packet6::udp(bench.a().at6(10_000), bench.b().at6(53)).payload(&[5; 64]);
        cross(bench, &sent);
        let extended = |packet: &Packet6| {
            let packet = packet.clone().with(|packet| packet.hop_limit = 63);
            packet
                .extension(Extension::hop_by_hop(&[]))
                .extension(Extension::destination(&[0x1e, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]))
        };
        let as_b_got_it = sent.clone().with(|packet| {
            packet.src = gateway;
            packet.transport = Transport::Udp { src_port: 10_000, dst_port: 53, checksum: true };
        });
        let pieces = |packet: &Packet6| {
            let frames = extended(packet).pieces(99, &[(0, 32), (32, 40)]);
            frames.into_iter().map(|frame| frame[ETHERNET..].to_vec()).collect::<Vec<_>>()
        };
        let (got, sent_pieces) = (pieces(&as_b_got_it), pieces(&sent));
        for (quote, wanted) in [
            (extended(&as_b_got_it).quoted(), extended(&sent).quoted()),
            (got[0].clone(), sent_pieces[0].clone()),
        ] {
            let error = Packet6::error(BEYOND_B, gateway, (2, 0), REST, &quote);
            let outcome = expect(bench, B, &error, Reason::ForwardedIcmpError);
            assert_is(&outcome.frame, &Packet6::error(BEYOND_B, a, (2, 0), REST, &wanted));
        }
        // No flow can be found by what follows in a later fragment, nor where the chain has no end.
        let crossing = |quote: &[u8]| Packet6::error(b, a, (3, 1), REST, quote);
        expect(bench, B, &crossing(&got[1]), Reason::NotListed);
        let error = Packet6::error(BEYOND_B, gateway, (3, 1), REST, &got[1]);
        expect(bench, B, &error, Reason::NotForwarded);
        let cut = Packet6::error(BEYOND_B, gateway, (3, 1), REST, &got[0][..HEADER + 8]);
        expect(bench, B, &cut, Reason::NotForwarded);
    });
}

#[test]
fn that_are_not_what_they_seem() {
    needs_root!();
    bench(|bench| {
        let (a, b, gateway) = (bench.a().address6, bench.b().address6, gateway(bench));
        let (client, server) = (bench.a().at6(10_000), bench.b().at6(53));
        let (_, got) = cross(bench, &Packet6::udp(client, server).payload(b"a question"));
        let good = Packet6::error(b, gateway, (1, 4), REST, &got);
        let whole = frame(bench, B, &good);
        // A checksum that does not hold, whatever is damaged.
        for at in [ETHERNET + HEADER + 2, whole.len() - 1, ETHERNET + HEADER + 8 + HEADER + 10] {
            let mut broken = whole.clone();
            broken[at] ^= 1;
            bench.expect_frame(B, &broken, Reason::IcmpMalformed);
        }
        // To somebody else than the sender of what it quotes.
        let stray = Packet6::error(b, a, (1, 4), REST, &got);
        expect(bench, B, &stray, Reason::IcmpError);
        // By the wrong end.
        expect(bench, A, &Packet6::error(a, gateway, (1, 4), REST, &got), Reason::WrongEnd);
        // It would be the last hop's.
        let last = good.clone().with(|packet| packet.hop_limit = 1);
        expect(bench, B, &last, Reason::TtlExpiredReply);
        // Larger than the way out: nobody is told.
        let large = good.clone().with(|packet| packet.payload.resize(1500, 0));
        expect(bench, B, &large, Reason::TooBigTranslated);
        // Too little is quoted, or an error.
        let short = Packet6::error(b, gateway, (1, 4), REST, &got[..HEADER + 7]);
        expect(bench, B, &short, Reason::NotForwarded);
        let nested = Packet6::error(b, gateway, (1, 4), REST, &good.quoted());
        expect(bench, B, &nested, Reason::NotForwarded);
        expect(bench, B, &good, Reason::ForwardedIcmpError);
    });
}

#[test]
fn about_packets_that_nobody_sent() {
    needs_root!();
    bench(|bench| {
        let (a, b) = (bench.a().address6, bench.b().address6);
        let unknown = Packet6::udp(at6(b, 9), at6(a, 9)).quoted();
        for len in [unknown.len(), HEADER + 7, 12, 0] {
            let error = Packet6::error(a, b, (1, 4), REST, &unknown[..len]);
            expect(bench, A, &error, Reason::IcmpError);
        }
        let own = Packet6::error(b, gateway(bench), (1, 4), REST, &unknown);
        expect(bench, B, &own, Reason::NotForwarded);
        // Neighbour discovery, listener reports and redirects speak of one link.
        for kind in [133, 134, 135, 136, 137, 130, 131, 132, 143] {
            let message = Packet6::icmp(a, b, kind, 0, [0; 4]).payload(&unknown);
            expect(bench, A, &message, Reason::IcmpUnsupported);
        }
        assert_eq!(bench.program.flows(), []);
    });
}

#[test]
fn with_extension_headers_of_their_own() {
    needs_root!();
    needs_what_came_in!();
    bench(|bench| {
        let (a, b, gateway) = (bench.a().address6, bench.b().address6, gateway(bench));
        let (client, server) = (bench.a().at6(10_000), bench.b().at6(53));
        let (sent, got) = cross(bench, &Packet6::udp(client, server));
        let error = |src, dst, quote: &[u8]| {
            let error = Packet6::error(src, dst, (1, 4), REST, quote);
            error.extension(Extension::destination(&[]))
        };
        // The kernel sees to whom it goes, and takes one off the hop limit.
        let there = frame(bench, B, &error(BEYOND_B, gateway, &got));
        let port = bench.b().port_index;
        let passed = bench.program.run(port, &there);
        assert_eq!(passed.reason, Reason::ThroughKernel);
        let passed = passed.frame;
        assert_checksums6(&passed);
        let quote_there = quote(&sent, &got, got.len());
        assert_same(&passed, &error(BEYOND_B, a, &quote_there).build());

        // The other way it is translated when it leaves.
        let answer = Packet6::udp(server, at6(gateway, 10_000)).payload(b"an answer");
        let got = expect(bench, B, &answer, Reason::ForwardedReply).frame[ETHERNET..].to_vec();
        let back = error(BEYOND_A, b, &got);
        expect(bench, A, &back, Reason::ThroughKernel);
        let (from, to) = (bench.a().port_index, bench.router.bridge("br-b").ifindex);
        let left = bench.leaves(from, to, &frame(bench, A, &back));
        assert_checksums6(&left);
        let quote_back = quote(&answer.quoted(), &got, got.len());
        assert_same(&left, &error(gateway, b, &quote_back).build());
    });
}

#[test]
fn of_the_host_itself_quote_what_was_sent() {
    needs_root!();
    bench(|bench| {
        let (b, gateway) = (bench.b().address6, gateway(bench));
        let (client, server) = (bench.a().at6(10_000), bench.b().at6(53));
        for open in [Packet6::udp(client, server), Packet6::tcp(client, server, flags::SYN)] {
            cross(bench, &open);
        }
        let to = at6(gateway, 10_000);
        for answer in [
            Packet6::udp(server, to).payload(&[9; 1200]),
            Packet6::tcp(server, to, flags::SYN | flags::ACK),
        ] {
            let (sent, got) =
                (answer.quoted(), answer.clone().with(|packet| packet.dst = *client.ip()));
            // At most 1280 bytes in all (RFC 4443, section 2.4).
            let cut = |bytes: &[u8]| bytes[..bytes.len().min(1232)].to_vec();
            let own = Packet6::error(gateway, b, (3, 0), [0; 4], &cut(&got.quoted())).build();
            let left = bench.leaves(0, bench.router.bridge("br-b").ifindex, &own);
            let wanted = Packet6::error(gateway, b, (3, 0), [0; 4], &cut(&sent)).build();
            assert_checksums6(&left);
            assert_same(&left, &wanted);
        }
        // About a packet of the original direction: the kernel saw it as it was sent.
        let own =
            Packet6::error(gateway, b, (3, 0), [0; 4], &Packet6::udp(client, server).quoted());
        let left = bench.leaves(0, bench.router.bridge("br-a").ifindex, &own.build());
        assert_same(&left, &own.build());
    });
}
