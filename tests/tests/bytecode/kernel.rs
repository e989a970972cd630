//! What the kernel forwards or answers and we translate: a packet of the original direction passes
//! untouched, and is translated when it leaves; a reply is translated before it passes.

use bridgefwd_common::Reason;
use bridgefwd_common::contract::{Direction, FlowState, NatMode};
use bridgefwd_tests::needs_root;
use bridgefwd_tests::packets::{Packet, flags};
use bridgefwd_tests::packets6::{Extension, Packet6};
use bridgefwd_tests::view::at;
use bridgefwd_tests::view6::at6;

use crate::bench::{A, A_TO_B, B, Bench, bench};

fn with_options(packet: Packet, options: &[u8]) -> Packet {
    packet.with(|packet| packet.options = options.to_vec())
}

/// The flow counts as many packets of each direction.
#[track_caller]
fn assert_counted(bench: &mut Bench<'_>, original: u64, reply: u64) {
    let sides = bench.program.flow().sides;
    assert_eq!((sides[0].packets, sides[1].packets), (original, reply));
    bench.program.assert_consistent();
}

#[test]
fn options_of_a_connection() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at(10_000), bench.b().at(80));
        let out = at(bench.gateway(), 10_000);
        // No-operations, a time stamp request, a router alert, and as much as there can be.
        let all: [&[u8]; 4] = [&[1; 4], &[68, 8, 5, 0, 0, 0, 0, 0], &[148, 4, 0, 0], &[1; 40]];
        bench.through_kernel(A, &with_options(Packet::tcp(client, server, flags::SYN), all[0]));
        assert_eq!(bench.program.flow().state, FlowState::TcpOpening as u8);
        let answer = Packet::tcp(server, out, flags::SYN | flags::ACK);
        bench.handed_over(B, &with_options(answer, all[0]), client);
        assert_eq!(bench.program.flow().state, FlowState::TcpAnswered as u8);
        bench.forwards(A, &Packet::tcp(client, server, flags::ACK), Reason::Forwarded, out, server);
        for options in all {
            for length in [0, 1, 100] {
                let payload = vec![0xa5; length];
                let there = Packet::tcp(client, server, flags::ACK).payload(&payload);
                bench.through_kernel(A, &with_options(there, options));
                let back = Packet::tcp(server, out, flags::ACK).payload(&payload);
                bench.handed_over(B, &with_options(back, options), client);
            }
        }
        assert_counted(bench, 2 + 12, 1 + 12);
        let pair = bench.program.pair_counters(A_TO_B);
        assert_eq!((pair.original.packets, pair.reply.packets), (14, 13));
    });
}

#[test]
fn options_of_datagrams_and_echoes() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at(10_000), bench.b().at(53));
        let (a, b, gateway) = (*client.ip(), *server.ip(), bench.gateway());
        let options = |packet| with_options(packet, &[1; 8]);
        bench.through_kernel(A, &options(Packet::udp(client, server)));
        bench.handed_over(B, &options(Packet::udp(server, at(gateway, 10_000))), client);
        bench.through_kernel(A, &options(Packet::echo_request(a, b, 7)));
        bench.handed_over(B, &options(Packet::echo_reply(b, gateway, 7)), at(a, 7));
        bench.through_kernel(A, &options(Packet::other(a, b, 47)));
        assert_eq!(bench.program.flows().len(), 3);
        bench.program.assert_consistent();
    });
}

#[test]
fn options_that_end_early_or_cannot_be_read() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at(10_000), bench.b().at(53));
        // What follows the end is no option; one of length 0 or 1, or beyond the header, is for the
        // kernel to complain about.
        for (port, options) in
            (1..).zip([[0, 131, 7, 4], [7, 0, 131, 7], [7, 1, 131, 7], [7, 44, 4, 0], [1, 1, 1, 7]])
        {
            let packet = Packet::udp(at(*client.ip(), 10_000 + port), server);
            bench.through_kernel(A, &with_options(packet, &options));
        }
        assert_eq!(bench.program.flows().len(), 5);
    });
}

#[test]
fn options_of_what_may_not_pass() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at(10_000), bench.b().at(80));
        let options = |packet| with_options(packet, &[1; 4]);
        // Judged as any other packet.
        let stray = options(Packet::tcp(client, server, flags::ACK));
        bench.expect(A, &stray, Reason::TcpNotOpening);
        let to_c = options(Packet::udp(client, bench.c().at(53)));
        bench.expect(A, &to_c, Reason::TargetNotManaged);
        let own = options(Packet::udp(client, at(bench.gateway(), 53)));
        bench.expect(A, &own, Reason::NotForwarded);
        let other_end = options(Packet::udp(at([10, 2, 0, 9].into(), 10_000), server));
        bench.expect(A, &other_end, Reason::SourceNotOfEnd);
        let expired = options(Packet::udp(client, server)).with(|packet| packet.ttl = 1);
        bench.expect(A, &expired, Reason::TtlExpired);
        assert_eq!(bench.program.flows(), []);
        bench.expect(A, &Packet::tcp(client, server, flags::SYN), Reason::FlowCreated);
        let before = bench.program.flow();
        bench.expect(B, &options(Packet::tcp(client, server, flags::ACK)), Reason::WrongEnd);
        assert_eq!(bench.program.flow(), before);
    });
}

/// Where the look-up says too big, but the device could send it: what the host itself has found out about
/// the way is nothing to the kernel's forwarding, so what it lets go must be translated.
#[test]
fn too_big_for_the_host_but_not_for_the_device() {
    needs_root!();
    bench(|bench| {
        bench.router.ns.ip("link set br-b mtu 1000\n");
        let packet = Packet::udp(bench.a().at(10_000), bench.b().at(53)).payload(&[7; 1200]);
        assert!(packet.dont_fragment);
        bench.through_kernel(A, &packet);
        assert_eq!(bench.program.flows().len(), 1);
    });
}

#[test]
fn too_big_where_it_may_be_cut() {
    needs_root!();
    bench(|bench| {
        bench.router.ns.ip("link set br-a mtu 1000\nlink set br-b mtu 1000\n");
        let (client, server) = (bench.a().at(10_000), bench.b().at(53));
        let whole = |packet: Packet| packet.payload(&[7; 1200]);
        bench.program.manage_bridge(bench.router, "br-b", |entry| entry.mtu = 1000);
        // With don't-fragment nothing is opened: the kernel answers.
        bench.expect(A, &whole(Packet::udp(client, server)), Reason::TooBig);
        assert_eq!(bench.program.flows(), []);
        let may = |packet: Packet| whole(packet).with(|packet| packet.dont_fragment = false);
        bench.through_kernel(A, &may(Packet::udp(client, server)));
        bench.through_kernel(A, &may(Packet::udp(client, server)));
        // In a flow the kernel answers the one, and cuts the other.
        bench.through_kernel(A, &whole(Packet::udp(client, server)));
        let back = Packet::udp(server, at(bench.gateway(), 10_000));
        bench.handed_over(B, &may(back.clone()), client);
        bench.handed_over(B, &whole(back), client);
        assert_counted(bench, 3, 2);
    });
}

#[test]
fn without_translation_a_reply_stays_as_it_is() {
    needs_root!();
    bench(|bench| {
        bench.allow(NatMode::None, None);
        let (client, server) = (bench.a().at(10_000), bench.b().at(53));
        bench.through_kernel(A, &with_options(Packet::udp(client, server), &[1; 4]));
        bench.through_kernel(B, &with_options(Packet::udp(server, client), &[1; 4]));
        let last = Packet::udp(server, client).with(|packet| packet.ttl = 1);
        bench.through_kernel(B, &last);
        assert_counted(bench, 1, 2);
    });
}

#[test]
fn extension_headers() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at6(10_000), bench.b().at6(80));
        let out = at6(bench.gateway6(), 10_000);
        let visited = "fd00:9::9".parse().expect("an address");
        let chains = [
            vec![Extension::hop_by_hop(&[5, 2, 0, 0])],
            vec![Extension::destination(&[])],
            // Routing headers, with and without somewhere to go: only whom they address looks at them.
            vec![Extension::routing(0, 0, &[visited])],
            vec![Extension::routing(0, 1, &[visited])],
            vec![Extension::routing(2, 1, &[visited])],
            vec![Extension::hop_by_hop(&[]), Extension::routing(253, 1, &[visited])],
            vec![Extension::routing(4, 0, &[visited])],
            vec![Extension::authentication(1, 2)],
            // An atomic fragment is a whole packet.
            vec![Extension::fragment(0, false, 77)],
            vec![
                Extension::hop_by_hop(&[]),
                Extension::destination(&[1, 60]),
                Extension::routing(0, 0, &[visited]),
                Extension::fragment(0, false, 78),
                Extension::destination(&[]),
            ],
        ];
        let with = |packet: Packet6, chain: &Vec<Extension>| {
            packet.with(|packet| packet.extensions.clone_from(chain))
        };
        bench.through_kernel(A, &with(Packet6::tcp(client, server, flags::SYN), &chains[0]));
        assert_eq!(bench.program.flow().arriving(Direction::Original).dst, (*server.ip()).into());
        for (count, chain) in (1..).zip(&chains) {
            let back = with(Packet6::tcp(server, out, flags::SYN | flags::ACK), chain);
            bench.handed_over6(B, &back, server, client);
            bench.through_kernel(A, &with(Packet6::tcp(client, server, flags::ACK), chain));
            assert_counted(bench, 1 + count, count);
        }
        for (port, chain) in (1..).zip(&chains) {
            let client = at6(*client.ip(), 20_000 + port);
            bench.through_kernel(A, &with(Packet6::udp(client, server), chain));
        }
        assert_eq!(bench.program.flows().len(), 1 + chains.len());
    });
}

#[test]
fn extension_headers_that_refuse_a_packet() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at6(10_000), bench.b().at6(80));
        let packet = |extension| Packet6::udp(client, server).extension(extension);
        // Longer than the packet, and more of them than anybody looks at.
        let long = packet(Extension { number: 60, body: vec![200, 0, 0, 0, 0, 0, 0] });
        bench.expect(A, &long, Reason::MalformedIp);
        let many = (0..9).fold(Packet6::udp(client, server), |packet, _| {
            packet.extension(Extension::destination(&[]))
        });
        bench.expect(A, &many, Reason::MalformedIp);
        assert_eq!(bench.program.flows(), []);
    });
}

#[test]
fn the_last_hop_and_too_big_of_ipv6() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at6(10_000), bench.b().at6(53));
        let out = at6(bench.gateway6(), 10_000);
        let last = |packet: Packet6| packet.with(|packet| packet.hop_limit = 1);
        bench.expect(A, &last(Packet6::udp(client, server)), Reason::TtlExpired);
        bench.expect(A, &Packet6::udp(client, server), Reason::FlowCreated);
        bench.through_kernel(A, &last(Packet6::udp(client, server)));
        bench.handed_over6(B, &last(Packet6::udp(server, out)), server, client);
        bench.router.ns.ip("link set br-a mtu 1300\nlink set br-b mtu 1300\n");
        let big = |packet: Packet6| packet.payload(&[7; 1400]);
        bench.through_kernel(A, &big(Packet6::udp(client, server)));
        bench.handed_over6(B, &big(Packet6::udp(server, out)), server, client);
        // No router cuts IPv6: nothing is opened.
        bench.program.manage_bridge(bench.router, "br-b", |entry| entry.mtu = 1300);
        bench.expect(A, &big(Packet6::udp(at6(*client.ip(), 9), server)), Reason::TooBig);
        assert_counted(bench, 3, 2);
    });
}
