//! What is dropped, under its reason.

use bridgefwd_common::Reason;
use bridgefwd_common::contract::{COLD_OPEN, COLD_V6, PairState, Unlisted};
use bridgefwd_tests::needs_root;
use bridgefwd_tests::packets::{Packet, flags};
use bridgefwd_tests::packets6::Packet6;
use bridgefwd_tests::view::{ETHERNET, at};
use bridgefwd_tests::view6::at6;

use crate::bench::{A, A_TO_B, B, Bench, GENERATION, bench, policy};

const L4: usize = ETHERNET + 20;

fn one_of_each(bench: &Bench<'_>) -> [Packet; 5] {
    let (client, server) = (bench.a().at(10_000), bench.b().at(80));
    [
        Packet::tcp(client, server, flags::SYN),
        Packet::udp(client, server),
        Packet::echo_request(*client.ip(), *server.ip(), 7),
        Packet::other(*client.ip(), *server.ip(), 47),
        Packet::tcp(client, server, flags::ACK),
    ]
}

#[test]
fn whatever_a_denied_pair_sends() {
    needs_root!();
    bench(|bench| {
        bench.set(policy(PairState::Denied), GENERATION);
        let packets = one_of_each(bench);
        for packet in &packets {
            bench.expect(A, packet, Reason::PairDenied);
        }
        assert_eq!(bench.program.flows(), []);
        let refused = bench.program.pair_counters(A_TO_B).refused;
        assert_eq!(refused.packets, packets.len() as u64);
    });
}

#[test]
fn a_denied_pair_leaves_the_hosts_own_addresses_alone() {
    needs_root!();
    bench(|bench| {
        bench.set(policy(PairState::Denied), GENERATION);
        let packet = Packet::tcp(bench.a().at(10_000), at(bench.gateway(), 80), flags::SYN);
        bench.expect(A, &packet, Reason::NotForwarded);
    });
}

#[test]
fn what_is_not_listed_where_that_is_denied() {
    needs_root!();
    bench(|bench| {
        bench.program.settings(|settings| settings.unlisted = Unlisted::Deny as u32);
        let (client, server) = (bench.b().at(10_000), bench.a().at(80));
        for packet in [
            Packet::tcp(client, server, flags::SYN),
            Packet::udp(client, server),
            Packet::echo_request(*client.ip(), *server.ip(), 7),
            Packet::other(*client.ip(), *server.ip(), 47),
        ] {
            bench.expect(B, &packet, Reason::UnlistedDenied);
        }
        // Of pairs, and not of what is no pair at all.
        let to_c = Packet::udp(bench.b().at(10_000), bench.c().at(53));
        bench.expect(B, &to_c, Reason::TargetNotManaged);
        let host = Packet::udp(bench.b().at(10_000), at(bench.gateway(), 53));
        bench.expect(B, &host, Reason::NotForwarded);
    });
}

#[test]
fn connections_from_before_we_started_where_unlisted_is_denied() {
    needs_root!();
    bench(|bench| {
        bench.program.settings(|settings| settings.unlisted = Unlisted::Deny as u32);
        let (client, server) = (bench.a().at(10_000), bench.b().at(80));
        for flags in [flags::ACK, flags::SYN | flags::ACK, flags::RST] {
            let packet = Packet::tcp(client, server, flags);
            bench.expect(A, &packet, Reason::TcpNotOpeningDenied);
        }
        bench.expect(A, &Packet::tcp(client, server, flags::SYN), Reason::FlowCreated);
    });
}

#[test]
fn source_addresses_of_another_end() {
    needs_root!();
    bench(|bench| {
        let server = bench.b().at(80);
        for src in [[10, 2, 0, 9], [10, 3, 0, 2], [192, 0, 2, 7], [10, 1, 0, 1]] {
            let client = at(src.into(), 10_000);
            bench.expect(A, &Packet::tcp(client, server, flags::SYN), Reason::SourceNotOfEnd);
            bench.expect(A, &Packet::udp(client, server), Reason::SourceNotOfEnd);
        }
        assert_eq!(bench.program.flows(), []);
    });
}

#[test]
fn malformed_ipv4_headers() {
    needs_root!();
    bench(|bench| {
        let packet = Packet::tcp(bench.a().at(10_000), bench.b().at(80), flags::SYN)
            .macs(bench.a().mac, bench.router.bridge("br-a").mac);
        let frames = [
            ("version 5", packet.edited(|ip| ip[0] = 0x55)),
            ("header of 16 bytes", packet.edited(|ip| ip[0] = 0x44)),
            ("header of 0 bytes", packet.edited(|ip| ip[0] = 0x40)),
            ("longer than the frame", packet.edited(|ip| ip[3] = 41)),
            ("much longer than the frame", packet.edited(|ip| ip[2] = 0xff)),
            ("shorter than its header", packet.edited(|ip| ip[3] = 19)),
            ("length 0", packet.edited(|ip| ip[2..4].fill(0))),
            ("wrong checksum", packet.broken(|frame| frame[ETHERNET + 10] ^= 1)),
            ("changed TTL", packet.broken(|frame| frame[ETHERNET + 8] -= 1)),
        ];
        for (what, frame) in &frames {
            let reason = bench.program.run(bench.a().port_index, frame).reason;
            assert_eq!(reason, Reason::MalformedIp, "{what}");
        }
        assert_eq!(bench.program.flows(), []);
    });
}

#[test]
fn malformed_transport_headers() {
    needs_root!();
    bench(|bench| {
        let (a, b) = (bench.a().at(10_000), bench.b().at(80));
        let macs = |packet: Packet| packet.macs(bench.a().mac, bench.router.bridge("br-a").mac);
        let tcp = macs(Packet::tcp(a, b, flags::SYN));
        let udp = macs(Packet::udp(a, b));
        let echo = macs(Packet::echo_request(*a.ip(), *b.ip(), 7));
        let frames = [
            ("TCP header of 16 bytes", tcp.broken(|frame| frame[L4 + 12] = 0x40)),
            ("TCP header longer than the packet", tcp.broken(|frame| frame[L4 + 12] = 0x60)),
            ("TCP header cut off", tcp.edited(|ip| ip[3] = 39)),
            ("TCP ports cut off", tcp.edited(|ip| ip[3] = 23)),
            ("no TCP header", tcp.edited(|ip| ip[3] = 20)),
            ("UDP length below its header", udp.broken(|frame| frame[L4 + 5] = 7)),
            ("UDP length beyond the packet", udp.broken(|frame| frame[L4 + 5] = 17)),
            ("UDP header cut off", udp.edited(|ip| ip[3] = 27)),
            ("ICMP header cut off", echo.edited(|ip| ip[3] = 27)),
        ];
        let port = bench.a().port_index;
        for (what, frame) in &frames {
            let reason = bench.program.run(port, frame).reason;
            assert_eq!(reason, Reason::MalformedTransport, "{what}");
        }
        assert_eq!(bench.program.flows(), []);
    });
}

#[test]
fn addresses_that_no_wire_has() {
    needs_root!();
    bench(|bench| {
        let server = bench.b().at(80);
        for src in [[0, 0, 0, 0], [0, 1, 2, 3], [127, 0, 0, 1], [224, 0, 0, 9], [255; 4]] {
            let client = at(src.into(), 10_000);
            bench.expect(A, &Packet::tcp(client, server, flags::SYN), Reason::Martian);
            bench.expect(A, &Packet::udp(client, server), Reason::Martian);
        }
        let server = bench.b().at6(80);
        let of = |src: &str| at6(src.parse().expect("an address"), 10_000);
        bench.expect(A, &Packet6::udp(of("::"), server), Reason::Martian);
        // The look-up refuses these before us, and so does the kernel's stack.
        for src in ["::1", "ff0e::1"] {
            bench.expect(A, &Packet6::udp(of(src), server), Reason::NotForwarded);
        }
        assert_eq!(bench.program.flows(), []);
        bench.program.assert_consistent();
    });
}

#[test]
fn what_says_itself_by_which_way_it_goes() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at(10_000), bench.b().at(80));
        // Loose and strict source routes by 10.2.0.1, also behind other options.
        for (kind, before) in [(131, 0), (137, 0), (131, 1), (137, 4), (131, 32)] {
            let mut options = vec![1; before];
            options.extend([kind, 7, 4, 10, 2, 0, 1]);
            options.resize(options.len().next_multiple_of(4), 0);
            let routed = |flags| {
                let options = options.clone();
                Packet::tcp(client, server, flags).with(|packet| packet.options = options)
            };
            bench.expect(A, &routed(flags::SYN), Reason::SourceRouted);
            assert_eq!(bench.program.flows(), []);
        }
        // Nor in a flow.
        bench.expect(A, &Packet::tcp(client, server, flags::SYN), Reason::FlowCreated);
        let routed = Packet::tcp(client, server, flags::ACK)
            .with(|packet| packet.options = vec![131, 7, 4, 10, 2, 0, 1, 0]);
        bench.expect(A, &routed, Reason::SourceRouted);
    });
}

#[test]
fn a_program_that_is_not_loaded() {
    needs_root!();
    bench(|bench| {
        let open = Packet::tcp(bench.a().at(10_000), bench.b().at(80), flags::SYN);
        bench.program.without_program(COLD_OPEN);
        bench.expect(A, &open, Reason::ProgramMissing);
        bench.program.without_program(COLD_V6);
        let six = Packet6::udp(bench.a().at6(10_000), bench.b().at6(53));
        bench.expect(A, &six, Reason::ProgramMissing);
        assert_eq!(bench.program.flows(), []);
    });
}
