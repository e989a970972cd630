//! Each source's share of the flow table: what it is, how it comes back, and that nothing leaks.

use std::time::{Duration, Instant};

use bridgefwd_common::Reason;
use bridgefwd_common::contract::{Settings, SourceKey};
use bridgefwd_tests::needs_root;
use bridgefwd_tests::packets::{Packet, flags};
use bridgefwd_tests::packets6::Packet6;
use bridgefwd_tests::program::{Buffer, REDIRECT};
use bridgefwd_tests::view::at;

use crate::bench::{A, A_TO_B, A2, B, Bench, bench, bench_with};

const SHARE: u32 = 4;

fn ask(bench: &Bench<'_>, sender: usize, port: u16) -> Packet {
    Packet::udp(bench.router.hosts[sender].at(port), bench.b().at(53))
}

/// One source's flows, as they are counted; `None` where it is not known.
fn counted(bench: &Bench<'_>, key: SourceKey) -> Option<u64> {
    bench.program.sources().get(&key).map(|source| source.flows)
}

fn of_port(bench: &Bench<'_>, sender: usize) -> SourceKey {
    SourceKey::new(bench.a().address.into(), bench.router.hosts[sender].port_index)
}

fn with_share(test: impl FnOnce(&mut Bench<'_>) + Send) {
    bench(|bench| {
        bench.program.settings(|settings| settings.max_flows_per_source = SHARE);
        test(bench);
    });
}

#[test]
fn one_that_has_had_its_share_refuses_nobody_else() {
    needs_root!();
    with_share(|bench| {
        for port in 0..SHARE as u16 {
            bench.expect(A, &ask(bench, A, 10_000 + port), Reason::FlowCreated);
        }
        for port in 0..20 {
            bench.expect(A, &ask(bench, A, 11_000 + port), Reason::SourceOverQuota);
        }
        // Whatever address it says it has, and whatever family.
        let other = Packet::udp(at([10, 1, 0, 99].into(), 9), bench.b().at(53));
        bench.expect(A, &other, Reason::SourceOverQuota);
        let six = Packet6::udp(bench.a().at6(9), bench.b().at6(53));
        bench.expect(A, &six, Reason::SourceOverQuota);
        // What it has goes on, and others have theirs.
        bench.expect(A, &ask(bench, A, 10_000), Reason::Forwarded);
        for port in 0..SHARE as u16 {
            bench.expect(A2, &ask(bench, A2, 10_000 + port), Reason::FlowCreated);
        }
        bench.expect(A2, &ask(bench, A2, 12_000), Reason::SourceOverQuota);
        let source = bench.program.sources()[&of_port(bench, A)];
        assert_eq!((source.flows, source.refused), (u64::from(SHARE), 22));
        assert_eq!(bench.program.pair_counters(A_TO_B).refused.packets, 23);
        bench.program.assert_consistent();
    });
}

#[test]
fn on_the_bridge_alone_a_source_is_an_address() {
    needs_root!();
    with_share(|bench| {
        let bridge = bench.key().from;
        let send = |host: [u8; 4], port| {
            let packet = Packet::udp(at(host.into(), port), bench.b().at(53));
            let frame = bench.frame(bench.a(), &packet);
            bench.program.run(bridge, &frame).reason
        };
        for port in 0..SHARE as u16 {
            assert_eq!(send([10, 1, 0, 2], 10_000 + port), Reason::FlowCreated);
        }
        assert_eq!(send([10, 1, 0, 2], 11_000), Reason::SourceOverQuota);
        assert_eq!(send([10, 1, 0, 3], 11_000), Reason::FlowCreated);
        let key = |host: [u8; 4]| SourceKey::new(std::net::Ipv4Addr::from(host).into(), 0);
        assert_eq!(counted(bench, key([10, 1, 0, 2])), Some(u64::from(SHARE)));
        assert_eq!(counted(bench, key([10, 1, 0, 3])), Some(1));
        bench.program.assert_consistent();
    });
}

#[test]
fn its_own_closed_connections_make_room_for_it() {
    needs_root!();
    with_share(|bench| {
        let (client, server) = (bench.a().at(10_000), bench.b().at(80));
        let out = at(bench.gateway(), 10_000);
        // A neighbour's closed connection is no room for this one.
        let (other, other_out) = (bench.a2().at(20_000), at(bench.gateway(), 20_000));
        for (sender, client, out) in [(A, client, out), (A2, other, other_out)] {
            bench.expect(sender, &Packet::tcp(client, server, flags::SYN), Reason::FlowCreated);
            let reset = Packet::tcp(server, out, flags::RST | flags::ACK);
            bench.expect(B, &reset, Reason::ForwardedReply);
        }
        for port in 1..SHARE as u16 {
            bench.expect(A, &ask(bench, A, 10_000 + port), Reason::FlowCreated);
        }
        bench.expect(A, &ask(bench, A, 11_000), Reason::FlowCreated);
        bench.expect(A, &ask(bench, A, 11_001), Reason::SourceOverQuota);
        assert_eq!(counted(bench, of_port(bench, A)), Some(u64::from(SHARE)));
        assert_eq!(counted(bench, of_port(bench, A2)), Some(1));
        bench.program.assert_consistent();
    });
}

#[test]
fn one_that_was_refused_may_again_soon_after_a_flow_of_its_own_is_over() {
    needs_root!();
    with_share(|bench| {
        for port in 0..SHARE as u16 {
            bench.expect(A, &ask(bench, A, 10_000 + port), Reason::FlowCreated);
        }
        bench.expect(A, &ask(bench, A, 11_000), Reason::SourceOverQuota);
        let [(slot, _), ..] = bench.program.flows()[..] else { panic!("no flow") };
        bench.program.edit_flow(slot, |flow| flow.last_seen = 0);
        bench.program.settings(|settings| settings.timeouts_s = [1; _]);
        // It is not searched for at each packet, but every few milliseconds.
        let deadline = Instant::now() + Duration::from_secs(5);
        while bench.send(A, &ask(bench, A, 11_000)).reason == Reason::SourceOverQuota {
            assert!(Instant::now() < deadline, "refused for good");
        }
        bench.program.assert_consistent();
    });
}

#[test]
fn one_of_the_flows_that_are_over_makes_room_and_the_rest_are_counted_on() {
    needs_root!();
    with_share(|bench| {
        for port in 0..SHARE as u16 {
            bench.expect(A, &ask(bench, A, 10_000 + port), Reason::FlowCreated);
        }
        bench.program.settings(|settings| settings.timeouts_s = [0; _]);
        bench.expect(A, &ask(bench, A, 11_000), Reason::FlowCreated);
        bench.program.settings(|settings| settings.timeouts_s = Settings::DEFAULT_TIMEOUTS_S);
        assert_eq!(counted(bench, of_port(bench, A)), Some(u64::from(SHARE)));
        bench.program.assert_consistent();
    });
}

#[test]
fn nothing_is_left_of_a_source_without_flows() {
    needs_root!();
    with_share(|bench| {
        for sender in [A, A2] {
            for port in 0..SHARE as u16 {
                bench.expect(sender, &ask(bench, sender, 10_000 + port), Reason::FlowCreated);
            }
        }
        assert_eq!(bench.program.sources().len(), 2);
        bench.program.settings(|settings| settings.timeouts_s = [0; _]);
        bench.program.sweep();
        assert!(bench.program.sources().is_empty());
        bench.program.settings(|settings| settings.timeouts_s = Settings::DEFAULT_TIMEOUTS_S);
        // What is refused for want of something else takes nothing.
        let router = bench.router;
        bench.program.manage_bridge(router, "br-b", |entry| entry.address_count = 0);
        bench.expect(A, &ask(bench, A, 10_000), Reason::NoNatAddress);
        assert!(bench.program.sources().is_empty());
        bench.program.assert_consistent();
    });
}

#[test]
fn a_hundred_thousand_flows_leave_nothing_behind() {
    needs_root!();
    bench_with(512, |bench| {
        bench.program.settings(|settings| settings.timeouts_s = [0; _]);
        let (a, b) = (bench.a().at(0), bench.b().at(53));
        let ports = [A, A2].map(|sender| bench.router.hosts[sender].port_index);
        let base = bench.frame(bench.a(), &Packet::udp(a, b));
        for number in 0..100_000_u32 {
            let mut frame = base.clone();
            // Another client, another port; no checksum, so that it need not be computed.
            let client = 1000 + (number % 60_000) as u16;
            frame[34..36].copy_from_slice(&client.to_be_bytes());
            frame[40..42].fill(0);
            let buffer = Buffer::at(ports[(number % 2) as usize]);
            assert_eq!(bench.program.run_unjudged(&buffer, &frame), REDIRECT, "flow {number}");
            if number % 10_000 == 0 {
                bench.program.assert_consistent();
            }
        }
        let counters = bench.program.counters();
        assert_eq!(counters.of(Reason::FlowCreated).packets, 100_000);
        assert_eq!(counters.seen(), counters.sum());
        bench.program.assert_consistent();
        for _ in 0..4 {
            bench.program.sweep();
        }
        assert_eq!(bench.program.flows(), []);
        assert!(bench.program.sources().is_empty() && bench.program.index().is_empty());
        bench.program.assert_consistent();
    });
}
