//! Hairpins: hosts inside that talk to each other by their outer endpoints

use bridgefwd_common::Reason;
use bridgefwd_common::contract::{NatMode, PairKey, PairPolicy, PairState};
use bridgefwd_tests::needs_root;
use bridgefwd_tests::packets::{Packet, flags};
use bridgefwd_tests::packets6::Packet6;
use bridgefwd_tests::view::{ETHERNET, View, assert_checksums, at};
use bridgefwd_tests::view6::{at6, translated6};

use crate::bench::{A, A_TO_B, A2, Bench, GENERATION, bench, policy};
use crate::mapping::{C, assert_nothing_left, end_all, independent, third_bridge};

/// The port that the one who is called has, inside and outside.
const CALLED: u16 = 7000;
/// The port of the caller, inside; outside it is another one.
const CALLER: u16 = 40_000;

/// The host under that number gets a mapping, by talking to a server.
#[track_caller]
fn registers(bench: &mut Bench<'_>, number: usize, port: u16) -> u16 {
    let client = bench.router.hosts[number].at(port);
    let ask = Packet::udp(client, bench.b().at(53));
    let outcome = bench.expect(number, &ask, Reason::FlowCreated);
    View::of(&outcome.frame).expect("IPv4").src.port()
}

/// `caller` calls `called`, both by outer endpoints, and is answered.
fn talk(bench: &mut Bench<'_>, caller: usize, called: usize) {
    let outer = at(bench.gateway(), registers(bench, called, CALLED));
    assert_eq!(outer.port(), CALLED);
    let own = at(bench.gateway(), registers(bench, caller, CALLER));
    let (caller_at, called_at) =
        (bench.router.hosts[caller].at(CALLER), bench.router.hosts[called].at(CALLED));
    let there = Packet::udp(caller_at, outer);
    bench.forwards(caller, &there, Reason::FlowCreated, own, called_at);
    bench.forwards(called, &Packet::udp(called_at, own), Reason::ForwardedReply, outer, caller_at);
    bench.forwards(caller, &there, Reason::Forwarded, own, called_at);
    let flow = bench.program.flows().into_iter().find(|(_, flow)| flow.turns_back());
    let (_, flow) = flow.expect("a flow that turns back");
    let end = |number: usize| bench.router.bridge(bench.router.hosts[number].bridge).ifindex;
    assert_eq!((flow.from, flow.to), (end(caller), end(called)));
    assert_eq!(flow.mapped_to, bench.key().to);
    assert_eq!((flow.sides[0].packets, flow.sides[1].packets), (2, 1));
    // The sweep sees nothing wrong with it.
    bench.program.sweep();
    assert_eq!(bench.program.flows().len(), 3);
    bench.forwards(called, &Packet::udp(called_at, own), Reason::ForwardedReply, outer, caller_at);
    end_all(bench);
    assert_nothing_left(bench);
}

#[test]
fn between_two_hosts_of_one_bridge() {
    needs_root!();
    bench(|bench| {
        bench.set(independent(), GENERATION);
        talk(bench, A, A2);
        talk(bench, A2, A);
    });
}

#[test]
fn between_hosts_of_two_bridges() {
    needs_root!();
    bench(|bench| {
        bench.set(independent(), GENERATION);
        third_bridge(bench, independent());
        talk(bench, A, C);
        talk(bench, C, A);
    });
}

#[test]
fn a_connection() {
    needs_root!();
    bench(|bench| {
        bench.set(independent(), GENERATION);
        let called = bench.a2().at(CALLED);
        let outer = at(bench.gateway(), CALLED);
        let syn = Packet::tcp(called, bench.b().at(80), flags::SYN);
        bench.expect(A2, &syn, Reason::FlowCreated);
        // The caller has no mapping yet: it gets one.
        let (caller, own) = (bench.a().at(9000), at(bench.gateway(), 9000));
        let there = |flags| Packet::tcp(caller, outer, flags);
        let back = |flags| Packet::tcp(called, own, flags);
        bench.forwards(A, &there(flags::SYN), Reason::FlowCreated, own, called);
        let answer = back(flags::SYN | flags::ACK);
        bench.forwards(A2, &answer, Reason::ForwardedReply, outer, caller);
        bench.forwards(A, &there(flags::ACK), Reason::Forwarded, own, called);
        bench.forwards(A2, &back(flags::FIN | flags::ACK), Reason::ForwardedReply, outer, caller);
        // It is the port that it has outside, too.
        let elsewhere = Packet::tcp(caller, bench.b2().at(80), flags::SYN);
        bench.forwards(A, &elsewhere, Reason::FlowCreated, own, bench.b2().at(80));
    });
}

#[test]
fn an_error() {
    needs_root!();
    bench(|bench| {
        bench.set(independent(), GENERATION);
        let outer = at(bench.gateway(), registers(bench, A2, CALLED));
        let (caller, called) = (bench.a().at(9000), bench.a2().at(CALLED));
        let own = at(bench.gateway(), 9000);
        let there = Packet::udp(caller, outer);
        let got = bench.expect(A, &there, Reason::FlowCreated).frame;
        // The one who was called has nobody at that port.
        let error = Packet::icmp(*called.ip(), *own.ip(), 3, 3, [0; 4]).payload(&got[ETHERNET..]);
        let outcome = bench.expect(A2, &error, Reason::ForwardedIcmpError);
        assert_checksums(&outcome.frame);
        let view = View::of(&outcome.frame).expect("IPv4");
        assert_eq!((*view.src.ip(), *view.dst.ip()), (*outer.ip(), *caller.ip()));
        let sent = &bench.frame(bench.a(), &there)[ETHERNET..];
        assert_eq!(view.payload[12..24], sent[12..24], "quoted addresses and ports");
    });
}

#[test]
fn both_call_each_other() {
    needs_root!();
    bench(|bench| {
        bench.set(independent(), GENERATION);
        let (one, two) = (registers(bench, A, 7001), registers(bench, A2, 7002));
        let (one, two) = (at(bench.gateway(), one), at(bench.gateway(), two));
        let (a, a2) = (bench.a().at(7001), bench.a2().at(7002));
        bench.forwards(A, &Packet::udp(a, two), Reason::FlowCreated, one, a2);
        // The other's call is an answer to it.
        bench.forwards(A2, &Packet::udp(a2, one), Reason::ForwardedReply, two, a);
        assert_eq!(bench.program.flows().len(), 3);
    });
}

#[test]
fn who_may_not() {
    needs_root!();
    bench(|bench| {
        bench.set(independent(), GENERATION);
        let outer = at(bench.gateway(), registers(bench, A2, CALLED));
        let flows = bench.program.flows().len();
        // From outside.
        let stranger = Packet::udp(bench.b().at(99), outer);
        bench.expect(2, &stranger, Reason::NotForwarded);
        // Another port, or another protocol.
        let port = Packet::udp(bench.a().at(9000), at(bench.gateway(), CALLED + 1));
        bench.expect(A, &port, Reason::NotForwarded);
        let tcp = Packet::tcp(bench.a().at(9000), outer, flags::SYN);
        bench.expect(A, &tcp, Reason::NotForwarded);
        // From an end without a pair, with one that has no such mappings, one that is denied.
        let call = Packet::udp(bench.c().at(9000), outer);
        bench.program.manage_bridge(bench.router, "br-c", |_| ());
        bench.expect(C, &call, Reason::NotForwarded);
        for policy in [
            policy(PairState::Allowed),
            PairPolicy { state: PairState::Denied as u8, ..independent() },
            PairPolicy { nat: NatMode::None as u8, ..independent() },
        ] {
            third_bridge(bench, policy);
            bench.expect(C, &call, Reason::NotForwarded);
        }
        // Where it may, but not to that end.
        third_bridge(bench, independent());
        let index = |name| bench.router.bridge(name).ifindex;
        let between = PairKey { from: index("br-c"), to: index("br-a") };
        bench.program.pair(9, between, policy(PairState::Denied), GENERATION);
        bench.expect(C, &call, Reason::PairDenied);
        // Nor to one whose own pair is not as it was.
        bench.program.pair(9, between, policy(PairState::NotListed), GENERATION);
        bench.set(independent(), GENERATION + 1);
        bench.expect(C, &call, Reason::NotForwarded);
        assert_eq!(bench.program.flows().len(), flows);
        bench.set(independent(), GENERATION);
        bench.expect(C, &call, Reason::FlowCreated);
    });
}

#[test]
fn nothing_of_it_is_left_to_the_kernel() {
    needs_root!();
    bench(|bench| {
        bench.set(independent(), GENERATION);
        let outer = at(bench.gateway(), registers(bench, A2, CALLED));
        let (caller, called) = (bench.a().at(9000), bench.a2().at(CALLED));
        let own = at(bench.gateway(), 9000);
        let there = Packet::udp(caller, outer);
        // The kernel would take it for its own.
        let last_hop = there.clone().with(|packet| packet.ttl = 1);
        bench.expect(A, &last_hop, Reason::TtlExpiredReply);
        bench.forwards(A, &there, Reason::FlowCreated, own, called);
        bench.expect(A, &last_hop, Reason::TtlExpiredReply);
        let back = Packet::udp(called, own).with(|packet| packet.ttl = 1);
        bench.expect(A2, &back, Reason::TtlExpiredReply);
        bench.router.ns.ip("link set br-a mtu 1000\n");
        let big = there.clone().payload(&[7; 1200]);
        bench.expect(A, &big, Reason::TooBigTranslated);
        let first = Packet::udp(bench.a().at(9001), outer).payload(&[7; 1200]);
        bench.expect(A, &first, Reason::TooBigTranslated);
        bench.router.ns.ip("link set br-a mtu 1500\n");
        // It waits for its neighbour by itself: the kernel gets no copy that it would deliver.
        bench.router.ns.ip(&format!("neigh del {} dev br-a\n", called.ip()));
        bench.forwards(A, &there, Reason::Forwarded, own, called);
        // With options it is sent on as it is.
        let options = there.with(|packet| packet.options = vec![7, 3, 4, 0]);
        let outcome = bench.expect(A, &options, Reason::Forwarded);
        let view = View::of(&outcome.frame).expect("IPv4");
        assert_eq!((view.src, view.dst, view.ttl), (own, called, 63));
        assert_checksums(&outcome.frame);
    });
}

#[test]
fn the_hosts_own_service_comes_first() {
    needs_root!();
    bench(|bench| {
        bench.set(independent(), GENERATION);
        let outer = at(bench.gateway(), CALLED);
        let syn = Packet::tcp(bench.a2().at(CALLED), bench.b().at(80), flags::SYN);
        bench.expect(A2, &syn, Reason::FlowCreated);
        let call = Packet::tcp(bench.a().at(9000), outer, flags::SYN);
        let service = std::net::TcpListener::bind(outer).expect("a service of the router");
        bench.expect(A, &call, Reason::NotForwarded);
        drop(service);
        bench.expect(A, &call, Reason::FlowCreated);
        assert_eq!(bench.program.pair_counters(A_TO_B).flows_created, 2);
    });
}

#[test]
fn ipv6() {
    needs_root!();
    bench(|bench| {
        bench.set(independent(), GENERATION);
        let (router, gateway) = (bench.router, bench.router.bridge("br-b").address6);
        bench.program.manage_bridge(router, "br-b", |entry| {
            entry.addresses_v6[0].address = gateway.into();
            entry.addresses_v6[0].prefix_len = 64;
            entry.address_count_v6 = 1;
        });
        let mac = router.bridge("br-a").mac;
        let sent = |sender: usize, packet: Packet6, reason, src, dst| {
            let host = &router.hosts[sender];
            let frame = packet.macs(host.mac, mac).build();
            let outcome = bench.program.run(host.port_index, &frame);
            assert_eq!(outcome.reason, reason);
            assert!(outcome.frame[12..] == translated6(&frame, src, dst)[12..]);
        };
        let (caller, called) = (router.hosts[A].at6(9000), router.hosts[A2].at6(CALLED));
        let (own, outer) = (at6(gateway, 9000), at6(gateway, CALLED));
        let server = router.hosts[2].at6(53);
        sent(A2, Packet6::udp(called, server), Reason::FlowCreated, outer, server);
        sent(A, Packet6::udp(caller, outer), Reason::FlowCreated, own, called);
        sent(A2, Packet6::udp(called, own), Reason::ForwardedReply, outer, caller);
        sent(A, Packet6::udp(caller, outer), Reason::Forwarded, own, called);
    });
}
