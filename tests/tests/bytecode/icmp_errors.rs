//! ICMP errors: translated with the packet that they quote, or refused; never a word about the flow
//! itself.

use std::net::Ipv4Addr;

use bridgefwd_common::Reason;
use bridgefwd_tests::packets::{Packet, flags};
use bridgefwd_tests::view::{View, assert_checksums, at, internet_checksum};
use bridgefwd_tests::{needs_root, needs_what_came_in};

use crate::bench::{A, B, Bench, bench};

const ETHERNET: usize = 14;
const QUOTE: usize = ETHERNET + 20 + 8;

/// `packet` goes out from A; the IPv4 packet as A sent it, and as B got it.
fn cross(bench: &mut Bench<'_>, packet: &Packet) -> (Vec<u8>, Vec<u8>) {
    let sent = bench.frame(bench.a(), packet);
    let got = bench.send(A, packet).frame;
    (sent[ETHERNET..].to_vec(), got[ETHERNET..].to_vec())
}

fn error(src: Ipv4Addr, dst: Ipv4Addr, kind: u8, code: u8, quote: &[u8]) -> Packet {
    Packet::icmp(src, dst, kind, code, [0, 0, 5, 0xdc]).payload(quote)
}

/// The quote shows `wanted`, apart from what a router on the way changes, and every checksum holds.
#[track_caller]
fn assert_quotes(frame: &[u8], wanted: &[u8]) {
    assert_checksums(frame);
    let quote = &frame[QUOTE..];
    assert_eq!(internet_checksum(&[&quote[..20]]), 0, "quoted header of {frame:02x?}");
    assert_eq!(quote[12..20], wanted[12..20], "quoted addresses");
    assert_eq!(quote[20..24], wanted[20..24], "quoted ports");
    assert_eq!(quote[4..8], wanted[4..8], "quoted identification and flags");
}

#[test]
fn about_what_the_client_sent() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at(40_000), bench.b().at(53));
        for packet in [
            Packet::udp(client, server).payload(b"a question"),
            Packet::tcp(client, server, flags::SYN).payload(b"quick"),
            Packet::echo_request(*client.ip(), *server.ip(), 7),
        ] {
            let (sent, got) = cross(bench, &packet);
            let gateway = bench.gateway();
            let flows = bench.program.flows();
            // By the server, and by a router beyond it; what is quoted may be as short as 8 bytes.
            for source in [*server.ip(), Ipv4Addr::new(10, 2, 0, 99)] {
                for (kind, code) in [(3, 3), (3, 4), (11, 0), (12, 0), (4, 0)] {
                    for len in [28, got.len()] {
                        let error = error(source, gateway, kind, code, &got[..len]);
                        let outcome = bench.expect(B, &error, Reason::ForwardedIcmpError);
                        let view = View::of(&outcome.frame).unwrap();
                        assert_eq!((*view.src.ip(), *view.dst.ip()), (source, *client.ip()));
                        assert_quotes(&outcome.frame, &sent);
                        // The rest of ICMP's header, with the next hop's MTU, stays.
                        assert_eq!(outcome.frame[QUOTE - 4..QUOTE], [0, 0, 5, 0xdc]);
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
        let (client, server) = (bench.a().at(10_000), bench.b().at(53));
        bench.expect(A, &Packet::udp(client, server), Reason::FlowCreated);
        let answer = Packet::udp(server, at(bench.gateway(), 10_000)).payload(b"an answer");
        let sent = bench.frame(bench.b(), &answer)[ETHERNET..].to_vec();
        let got = bench.expect(B, &answer, Reason::ForwardedReply).frame[ETHERNET..].to_vec();
        // The client's own, and that of a router behind it: beyond us both are the gateway's.
        for source in [*client.ip(), Ipv4Addr::new(10, 1, 0, 99)] {
            let error = error(source, *server.ip(), 3, 3, &got);
            let outcome = bench.expect(A, &error, Reason::ForwardedIcmpError);
            let view = View::of(&outcome.frame).unwrap();
            assert_eq!((*view.src.ip(), *view.dst.ip()), (bench.gateway(), *server.ip()));
            assert_quotes(&outcome.frame, &sent);
        }
    });
}

#[test]
fn about_queries_and_other_protocols() {
    needs_root!();
    bench(|bench| {
        let (a, b, gateway) = (bench.a().address, bench.b().address, bench.gateway());
        // Timestamp, information, address mask; and ESP, of which nothing but addresses is quoted.
        let query = |kind| Packet::icmp(a, b, kind, 0, [0, 9, 0, 1]).payload(&[0; 12]);
        let esp = Packet::other(a, b, 50);
        for (packet, len) in [(query(13), 28), (query(15), 40), (query(17), 28), (esp, 20)] {
            let (sent, got) = cross(bench, &packet);
            let error = error(b, gateway, 3, 3, &got[..len]);
            let outcome = bench.expect(B, &error, Reason::ForwardedIcmpError);
            let view = View::of(&outcome.frame).unwrap();
            assert_eq!((*view.src.ip(), *view.dst.ip()), (b, a));
            assert_checksums(&outcome.frame);
            assert_eq!(outcome.frame[QUOTE + 12..], sent[12..len]);
        }
    });
}

#[test]
fn that_quote_options_and_first_fragments() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at(10_000), bench.b().at(53));
        let gateway = bench.gateway();
        bench.expect(A, &Packet::udp(client, server), Reason::FlowCreated);
        let quoted = |src, edit: fn(&mut Packet)| {
            let packet = Packet::udp(at(src, 10_000), server).with(edit);
            packet.build()[ETHERNET..].to_vec()
        };
        let options = |packet: &mut Packet| packet.options = vec![1, 1, 1, 0];
        let first = |packet: &mut Packet| packet.more_fragments = true;
        for edit in [options as fn(&mut Packet), first] {
            let error = error(*server.ip(), gateway, 11, 1, &quoted(gateway, edit));
            let outcome = bench.expect(B, &error, Reason::ForwardedIcmpError);
            assert_checksums(&outcome.frame);
            assert_eq!(outcome.frame[QUOTE..], quoted(*client.ip(), edit));
        }
        let later = |packet: &mut Packet| packet.fragment_offset = 1;
        let error = error(*server.ip(), gateway, 11, 1, &quoted(gateway, later));
        bench.expect(B, &error, Reason::NotForwarded);
    });
}

#[test]
fn that_the_kernel_has_to_see() {
    needs_root!();
    needs_what_came_in!();
    bench(|bench| {
        let (client, server) = (bench.a().at(10_000), bench.b().at(53));
        let (gateway, b) = (bench.gateway(), *server.ip());
        let (sent, got) = cross(bench, &Packet::udp(client, server).payload(b"a question"));
        let port = bench.b().port_index;
        // With options; and so large that it is cut to pieces on its way.
        let optional = error(b, gateway, 3, 3, &got).with(|packet| packet.options = vec![1; 4]);
        let large = error(b, gateway, 3, 3, &got)
            .with(|packet| packet.dont_fragment = false)
            .with(|packet| packet.payload.resize(3001, 0xa5));
        for error in [&optional, &large] {
            let frame = bench.frame(bench.b(), error);
            let passed = bench.program.run(port, &frame);
            assert_eq!(passed.reason, Reason::ThroughKernel);
            let passed = passed.frame;
            assert_checksums(&passed);
            let quote = ETHERNET + 20 + error.options.len() + 8;
            assert_eq!(passed[quote + 12..quote + sent.len()], sent[12..]);
            assert_eq!(passed[ETHERNET + 16..ETHERNET + 20], client.ip().octets());
            assert_eq!(passed[ETHERNET + 8], 64, "the kernel takes one off");
            let mut broken = frame;
            *broken.last_mut().unwrap() ^= 1;
            bench.expect_frame(B, &broken, Reason::IcmpMalformed);
        }
        // Nobody is told of one that may not be cut to pieces.
        let uncut = large.clone().with(|packet| packet.dont_fragment = true);
        bench.expect(B, &uncut, Reason::TooBigTranslated);

        // The other way it is translated when it leaves.
        let answer = Packet::udp(server, at(gateway, 10_000)).payload(b"an answer");
        let sent = bench.frame(bench.b(), &answer)[ETHERNET..].to_vec();
        let got = bench.expect(B, &answer, Reason::ForwardedReply).frame[ETHERNET..].to_vec();
        let beyond = Ipv4Addr::new(10, 1, 0, 99);
        let back = error(beyond, b, 3, 3, &got).with(|packet| packet.options = vec![1; 4]);
        bench.expect(A, &back, Reason::ThroughKernel);
        let frame = bench.frame(bench.a(), &back);
        let (from, to) = (bench.a().port_index, bench.router.bridge("br-b").ifindex);
        let left = bench.leaves(from, to, &frame);
        assert_checksums(&left);
        assert_eq!(left[ETHERNET + 12..ETHERNET + 16], gateway.octets());
        assert_eq!(left[QUOTE + 4 + 12..], sent[12..]);
    });
}

#[test]
fn that_are_not_what_they_seem() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at(10_000), bench.b().at(53));
        let (_, got) = cross(bench, &Packet::udp(client, server).payload(b"a question"));
        let (gateway, b) = (bench.gateway(), *server.ip());
        let good = error(b, gateway, 3, 3, &got);
        let router = bench.router.bridge("br-b").mac;
        let frame = good.clone().macs(bench.b().mac, router).build();
        let broken = |at: usize| {
            let mut broken = frame.clone();
            broken[at] ^= 1;
            broken
        };
        // A checksum that does not hold, whatever is damaged.
        for at in [ETHERNET + 20 + 2, frame.len() - 1, QUOTE + 30] {
            bench.expect_frame(B, &broken(at), Reason::IcmpMalformed);
        }
        // To somebody else than the sender of what it quotes.
        let stray = error(b, Ipv4Addr::new(10, 1, 0, 2), 3, 3, &got);
        bench.expect(B, &stray, Reason::IcmpError);
        // By the wrong end.
        bench.expect(A, &error(*client.ip(), gateway, 3, 3, &got), Reason::WrongEnd);
        // A redirect speaks of the sender's own network.
        bench.expect(B, &error(b, bench.a().address, 5, 1, &got), Reason::NotListed);
        // It would be the last hop's.
        bench.expect(B, &good.clone().with(|packet| packet.ttl = 1), Reason::TtlExpiredReply);
        bench.expect(B, &good, Reason::ForwardedIcmpError);
    });
}

#[test]
fn about_packets_that_nobody_sent() {
    needs_root!();
    bench(|bench| {
        let (a, b) = (bench.a().address, bench.b().address);
        let unknown = bench.frame(bench.b(), &Packet::udp(at(b, 9), at(a, 9)))[ETHERNET..].to_vec();
        bench.expect(A, &error(a, b, 3, 3, &unknown), Reason::IcmpError);
        // Less than eight bytes of the transport header, half an IPv4 header, nothing at all.
        for len in [27, 12, 0] {
            bench.expect(A, &error(a, b, 3, 3, &unknown[..len]), Reason::IcmpError);
        }
        // To the router itself: the kernel's.
        bench.expect(B, &error(b, bench.gateway(), 3, 3, &unknown), Reason::NotForwarded);
        assert_eq!(bench.program.flows(), []);
    });
}

#[test]
fn of_a_pair_that_was_turned_off() {
    needs_root!();
    bench(|bench| {
        use bridgefwd_common::contract::PairState;
        let (client, server) = (bench.a().at(10_000), bench.b().at(53));
        let (_, got) = cross(bench, &Packet::udp(client, server));
        bench.set(crate::bench::policy(PairState::Denied), crate::bench::GENERATION);
        let error = error(*server.ip(), bench.gateway(), 3, 3, &got);
        bench.expect(B, &error, Reason::PairDenied);
    });
}
