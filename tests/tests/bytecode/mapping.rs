//! Endpoint-independent mappings: one outer port for an inner one, whatever the destination

use std::collections::HashSet;
use std::net::Ipv4Addr;

use bridgefwd_common::Reason;
use bridgefwd_common::contract::{
    Address, Endpoint, FlowState, InterfaceAddress, MAX_POOL, Mapping, NatMode, PairKey,
    PairPolicy, PairState, Pool, Settings, SlotOwner,
};
use bridgefwd_common::decide::mapping::lock_key;
use bridgefwd_tests::needs_root;
use bridgefwd_tests::packets::{Packet, flags};
use bridgefwd_tests::packets6::Packet6;
use bridgefwd_tests::topology::Host;
use bridgefwd_tests::view::{View, assert_checksums, at};
use bridgefwd_tests::view6::{View6, assert_checksums6, at6, translated6};
use bridgefwd_tests::wait::until;

use crate::bench::{A, A2, B, Bench, GENERATION, bench, bench_with, policy};

/// The host on `br-c`.
pub const C: usize = 4;
/// Index of the pair `br-c -> br-b`.
const C_TO_B: u32 = 7;

/// Allowed, with endpoint-independent mappings.
pub fn independent() -> PairPolicy {
    PairPolicy { flags: PairPolicy::ENDPOINT_INDEPENDENT, ..policy(PairState::Allowed) }
}

/// Manages `br-c`, and has the pair `br-c -> br-b`.
pub fn third_bridge(bench: &mut Bench<'_>, policy: PairPolicy) {
    bench.program.manage_bridge(bench.router, "br-c", |_| ());
    let index = |name| bench.router.bridge(name).ifindex;
    let key = PairKey { from: index("br-c"), to: index("br-b") };
    bench.program.pair(C_TO_B, key, policy, GENERATION);
}

/// Everything in the table is over, and swept.
pub fn end_all(bench: &mut Bench<'_>) {
    bench.program.settings(|settings| settings.timeouts_s = [0; _]);
    for _ in 0..8 {
        bench.program.sweep();
    }
    bench.program.settings(|settings| settings.timeouts_s = Settings::DEFAULT_TIMEOUTS_S);
}

/// Nothing is left of any flow or mapping.
#[track_caller]
pub fn assert_nothing_left(bench: &Bench<'_>) {
    let program = &bench.program;
    assert_eq!((program.flows(), program.index().len()), (Vec::new(), 0));
    assert_eq!((program.mappings().len(), program.mapped().len()), (0, 0));
    assert_eq!(program.releasing(), Vec::<u32>::new());
}

/// The two maps say the same, and count `flows` flows in all.
#[track_caller]
fn assert_consistent(bench: &Bench<'_>, flows: u64) {
    let (mappings, mapped) = (bench.program.mappings(), bench.program.mapped());
    assert_eq!(mappings.len(), mapped.len());
    for (inner, mapping) in &mappings {
        let outer = mapping.outer(inner);
        assert_eq!(mapped[&outer].inner(&outer), *inner);
        assert_eq!(mapped[&outer].from, mapping.from);
    }
    assert_eq!(mappings.values().map(|mapping| mapping.flows).sum::<u64>(), flows);
    assert_eq!(bench.program.releasing(), Vec::<u32>::new());
}

/// Opens a flow; the source that its first packet leaves with. Of ICMP the port is the identifier.
#[track_caller]
fn opens(bench: &mut Bench<'_>, sender: usize, packet: &Packet) -> (Ipv4Addr, u16) {
    let outcome = bench.expect(sender, packet, Reason::FlowCreated);
    assert_checksums(&outcome.frame);
    let view = View::of(&outcome.frame).expect("IPv4");
    let port = if view.protocol == 1 { view.dst.port() } else { view.src.port() };
    (*view.src.ip(), port)
}

fn udp(client: &Host, port: u16, server: &Host) -> Packet {
    Packet::udp(client.at(port), server.at(53))
}

#[test]
fn one_outer_port_for_all_servers() {
    needs_root!();
    bench(|bench| {
        bench.set(independent(), GENERATION);
        let (client, gateway) = (bench.a().address, bench.gateway());
        let servers = [bench.b().at(53), bench.b().at(54), bench.b2().at(53)];
        // 40,000 is in the host's own range, and kept, too.
        for port in [10_000, 40_000, 22] {
            let of = |bench: &mut Bench<'_>, make: &dyn Fn(usize) -> Packet| {
                let all: Vec<_> = (0..3).map(|server| opens(bench, A, &make(server))).collect();
                assert!(all.iter().all(|source| *source == all[0]), "{all:?}");
                assert_eq!(all[0].0, gateway);
                all[0].1
            };
            let udp = of(bench, &|server| Packet::udp(at(client, port), servers[server]));
            let tcp = of(bench, &|to| Packet::tcp(at(client, port), servers[to], flags::SYN));
            for outer in [udp, tcp] {
                assert_eq!(outer, port);
            }
        }
        let hosts = [bench.b().address, bench.b2().address];
        let ids = hosts.map(|to| opens(bench, A, &Packet::echo_request(client, to, 7)).1);
        assert_eq!(ids, [7, 7]);
        // Three ports of two protocols, and an identifier.
        assert_eq!(bench.program.mappings().len(), 7);
        assert_consistent(bench, 20);
        end_all(bench);
        assert_nothing_left(bench);
    });
}

#[test]
fn answers_come_back_and_others_do_not() {
    needs_root!();
    bench(|bench| {
        bench.set(independent(), GENERATION);
        let (client, server) = (bench.a().at(10_000), bench.b().at(53));
        let outer = at(bench.gateway(), 10_000);
        bench.forwards(A, &Packet::udp(client, server), Reason::FlowCreated, outer, server);
        bench.forwards(B, &Packet::udp(server, outer), Reason::ForwardedReply, server, client);
        // Whom it has not asked it does not hear.
        let stranger = Packet::udp(bench.b().at(54), outer);
        bench.expect(B, &stranger, Reason::NotForwarded);
        bench.expect(3, &Packet::udp(bench.b2().at(53), outer), Reason::NotForwarded);
    });
}

#[test]
fn two_hosts_never_share_an_outer_port() {
    needs_root!();
    bench(|bench| {
        bench.set(independent(), GENERATION);
        let (one, two) = (udp(bench.a(), 10_000, bench.b()), udp(bench.a2(), 10_000, bench.b2()));
        assert_eq!(opens(bench, A, &one).1, 10_000);
        let (_, other) = opens(bench, A2, &two);
        assert_ne!(other, 10_000, "although it asks another server");
        let again = udp(bench.a2(), 10_000, bench.b());
        assert_eq!(opens(bench, A2, &again).1, other);
        let ping =
            |host: &Host| Packet::echo_request(host.address, bench.router.hosts[2].address, 7);
        let (one, two) = (ping(bench.a()), ping(bench.a2()));
        assert_ne!(opens(bench, A, &one).1, opens(bench, A2, &two).1);
        // Another protocol has ports of its own.
        let tcp = Packet::tcp(bench.a2().at(10_000), bench.b().at(80), flags::SYN);
        assert_eq!(opens(bench, A2, &tcp).1, 10_000);
        assert_consistent(bench, 6);
    });
}

#[test]
fn a_mapping_lives_as_long_as_its_last_flow() {
    needs_root!();
    bench(|bench| {
        bench.set(independent(), GENERATION);
        let first = udp(bench.a(), 40_000, bench.b());
        let (_, outer) = opens(bench, A, &first);
        let second = udp(bench.a(), 40_000, bench.b2());
        assert_eq!(opens(bench, A, &second).1, outer);
        // The first is answered and lives longer.
        let answer = Packet::udp(bench.b().at(53), at(bench.gateway(), outer));
        bench.expect(B, &answer, Reason::ForwardedReply);
        let one_way = FlowState::UdpOneWay as usize;
        bench.program.settings(|settings| settings.timeouts_s[one_way] = 0);
        bench.program.sweep();
        bench.program.settings(|settings| settings.timeouts_s = Settings::DEFAULT_TIMEOUTS_S);
        assert_eq!(bench.program.flows().len(), 1);
        assert_consistent(bench, 1);
        assert_eq!(opens(bench, A, &second).1, outer);
        assert_consistent(bench, 2);
        end_all(bench);
        assert_nothing_left(bench);
    });
}

#[test]
fn flows_without_a_mapping_leave_mapped_ports_alone() {
    needs_root!();
    bench(|bench| {
        third_bridge(bench, policy(PairState::Allowed));
        bench.set(independent(), GENERATION);
        let mine = udp(bench.a(), 10_000, bench.b());
        assert_eq!(opens(bench, A, &mine).1, 10_000);
        let others = udp(bench.c(), 10_000, bench.b2());
        assert_ne!(opens(bench, C, &others).1, 10_000);
        assert_consistent(bench, 1);
        // Not any more when it is gone.
        end_all(bench);
        assert_eq!(opens(bench, C, &others).1, 10_000);
        assert_consistent(bench, 0);
    });
}

#[test]
fn a_server_that_another_flow_has_with_that_port() {
    needs_root!();
    bench(|bench| {
        third_bridge(bench, policy(PairState::Allowed));
        bench.set(independent(), GENERATION);
        let outer = at(bench.gateway(), 10_000);
        let syn = |host: &Host, server| Packet::tcp(host.at(10_000), server, flags::SYN);
        let (busy, other) = (bench.b().at(80), bench.b2().at(80));
        let theirs = syn(bench.c(), busy);
        assert_eq!(opens(bench, C, &theirs).1, 10_000);
        let elsewhere = syn(bench.a(), other);
        assert_eq!(opens(bench, A, &elsewhere).1, 10_000);
        let same = syn(bench.a(), busy);
        bench.expect(A, &same, Reason::NoPortLeft);
        assert_consistent(bench, 1);
        assert_eq!((bench.program.flows().len(), bench.program.index().len()), (2, 4));
        // Theirs closes: its port is there for who has no other.
        let reply = |flags| Packet::tcp(busy, outer, flags);
        bench.expect(B, &reply(flags::SYN | flags::ACK), Reason::ForwardedReply);
        let fin = Packet::tcp(bench.c().at(10_000), busy, flags::FIN | flags::ACK);
        bench.expect(C, &fin, Reason::Forwarded);
        bench.expect(B, &reply(flags::FIN | flags::ACK), Reason::ForwardedReply);
        assert_eq!(opens(bench, A, &same).1, 10_000);
        assert_consistent(bench, 2);
        end_all(bench);
        assert_nothing_left(bench);
    });
}

#[test]
fn all_ports_mapped() {
    needs_root!();
    bench_with(1200, |bench| {
        bench.set(independent(), GENERATION);
        let (server, other) = (bench.b().at(53), bench.b2().at(53));
        let client =
            |number: u16| at(Ipv4Addr::new(10, 1, 0, 100 + (number / 256) as u8), 1 + number % 256);
        let used: HashSet<_> = (0..1023)
            .map(|number| opens(bench, A, &Packet::udp(client(number), server)).1)
            .collect();
        assert!(used.len() == 1023 && used.iter().all(|port| (1..1024).contains(port)));
        let late = at(Ipv4Addr::new(10, 1, 0, 200), 9);
        bench.expect(A, &Packet::udp(late, server), Reason::NoPortLeft);
        // Of any server.
        bench.expect(A, &Packet::udp(late, other), Reason::NoPortLeft);
        assert_consistent(bench, 1023);
        assert_eq!(bench.program.flows().len(), 1023);
        // Who has one can use it.
        opens(bench, A, &Packet::udp(client(77), other));
        // And other ports there are.
        let high = at(Ipv4Addr::new(10, 1, 0, 200), 9000);
        assert_eq!(opens(bench, A, &Packet::udp(high, other)).1, 9000);
        end_all(bench);
        assert_nothing_left(bench);
        // For some milliseconds nobody searches again.
        until("there is a port again", || {
            bench.send(A, &Packet::udp(late, server)).reason == Reason::FlowCreated
        });
    });
}

#[test]
fn made_and_ended_again_and_again_without_a_leak() {
    needs_root!();
    bench_with(4, |bench| {
        bench.set(independent(), GENERATION);
        for round in 0..200u16 {
            let port = 5000 + round % 7;
            for host in [bench.b().at(53), bench.b2().at(53), bench.b().at(54), bench.b2().at(54)] {
                opens(bench, A, &Packet::udp(bench.a().at(port), host));
            }
            assert_consistent(bench, 4);
            let full = udp(bench.a2(), port, bench.b());
            bench.expect(A2, &full, Reason::TableFull);
            assert_consistent(bench, 4);
            end_all(bench);
            assert_nothing_left(bench);
        }
    });
}

#[test]
fn what_is_left_over_blocks_nobody() {
    needs_root!();
    bench(|bench| {
        bench.set(independent(), GENERATION);
        let (client, gateway) = (bench.a().at(10_000), bench.gateway());
        let to = bench.key().to;
        let port = 10_000_u16.to_be_bytes();
        let outer = Endpoint { address: gateway.into(), port, protocol: 17, ..Endpoint::default() };
        let left_over = Mapping {
            address: bench.a2().address.into(),
            port,
            from: bench.key().from,
            to,
            ..Mapping::default()
        };
        bench.program.put_mapped(outer, left_over);
        // Its owner might be at work: then it is not touched.
        let owner = left_over.inner(&outer);
        bench.program.hold(lock_key(&owner), SlotOwner { generation: now() });
        let packet = Packet::udp(client, bench.b().at(53));
        assert_ne!(opens(bench, A, &packet).1, 10_000);
        end_all(bench);
        assert!(bench.program.mapped().contains_key(&outer));
        bench.program.let_go(lock_key(&owner));
        assert_eq!(opens(bench, A, &packet).1, 10_000);
        assert_consistent(bench, 1);
        end_all(bench);
        assert_nothing_left(bench);
    });
}

/// As a lock says since when it is held.
fn now() -> u32 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    ((now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64) >> 20) as u32
}

#[test]
fn another_cpu_at_the_same_mapping() {
    needs_root!();
    bench(|bench| {
        bench.set(independent(), GENERATION);
        let packet = udp(bench.a(), 10_000, bench.b());
        let inner = Endpoint {
            address: bench.a().address.into(),
            port: 10_000_u16.to_be_bytes(),
            protocol: 17,
            query: 0,
            to: bench.key().to,
        };
        let key = lock_key(&inner);
        bench.program.hold(key, SlotOwner { generation: now() });
        bench.expect(A, &packet, Reason::FlowContended);
        assert_eq!((bench.program.flows(), bench.program.index().len()), (Vec::new(), 0));
        bench.program.let_go(key);
        assert_nothing_left(bench);
        opens(bench, A, &packet);
        // Nor is a flow released meanwhile; but later it is.
        bench.program.hold(key, SlotOwner { generation: now() });
        end_all(bench);
        assert_eq!((bench.program.flows().len(), bench.program.index().len()), (1, 2));
        bench.program.let_go(key);
        assert_consistent(bench, 1);
        // One that was never taken off does not hold for ever.
        bench.program.hold(key, SlotOwner { generation: now().wrapping_sub(10_000) });
        end_all(bench);
        end_all(bench);
        assert_nothing_left(bench);
    });
}

#[test]
fn several_cpus_make_and_end_the_same_mappings() {
    needs_root!();
    bench(|bench| {
        third_bridge(bench, policy(PairState::Allowed));
        bench.set(independent(), GENERATION);
        let servers = [bench.b().at(53), bench.b2().at(53), bench.b().at(54)];
        let frames = |bench: &Bench<'_>, senders: &[usize], from: usize| -> Vec<_> {
            let all = senders.iter().flat_map(|&sender| {
                let host = &bench.router.hosts[sender];
                servers.map(|server| {
                    let packet = Packet::udp(host.at(10_000), server);
                    (host.port_index, bench.frame(host, &packet))
                })
            });
            let mut all: Vec<_> = all.collect();
            let steps = from % all.len();
            all.rotate_left(steps);
            all
        };
        // Every flow is over as soon as it is there: each packet ends one and makes one.
        bench.program.settings(|settings| settings.timeouts_s = [0; _]);
        let threads =
            [frames(bench, &[A], 0), frames(bench, &[A, A2], 1), frames(bench, &[A2, A, C], 2)];
        bench.program.storm(&threads, 3000);
        let counters = bench.program.counters();
        let created = counters.of(Reason::FlowCreated).packets;
        assert!(created > 10_000, "{created} flows");
        assert_eq!(counters.seen(), counters.sum());
        end_all(bench);
        assert_nothing_left(bench);
        // All slots are there, and every port is free.
        for (sender, port) in [(A, 10_000), (A2, 10_001), (C, 10_002)] {
            for server in servers {
                let packet = Packet::udp(bench.router.hosts[sender].at(port), server);
                assert_eq!(opens(bench, sender, &packet).1, port);
            }
        }
        assert_consistent(bench, 6);
        // With flows that stay, too, there is one outer port for each inner one.
        let busy = [frames(bench, &[A, A2], 0), frames(bench, &[A2, A], 3)];
        end_all(bench);
        bench.program.storm(&busy, 300);
        let flows = bench.program.flows();
        let outers: HashSet<_> = flows
            .iter()
            .map(|(_, flow)| (flow.translated().src, flow.translated().src_port))
            .collect();
        assert_eq!((flows.len(), outers.len()), (6, 2));
        assert_consistent(bench, 6);
    });
}

#[test]
fn another_nat_makes_another_mapping() {
    needs_root!();
    bench(|bench| {
        bench.set(independent(), GENERATION);
        let (first, second) =
            (udp(bench.a(), 40_000, bench.b()), udp(bench.a(), 40_000, bench.b2()));
        let (_, before) = opens(bench, A, &first);
        opens(bench, A, &second);
        let mut addresses = [Address::default(); MAX_POOL];
        let chosen = Ipv4Addr::new(10, 2, 0, 77);
        bench.router.ns.ip("addr add 10.2.0.77/24 dev br-b\n");
        addresses[0] = chosen.into();
        bench.program.pool(9, &Pool { count: 1, addresses, ..Pool::default() });
        let policy = PairPolicy { nat: NatMode::Address as u8, pool: 9, ..independent() };
        bench.set(policy, GENERATION + 1);
        let (address, after) = opens(bench, A, &first);
        assert_eq!(address, chosen);
        // The other flow is cut, and not counted in the new mapping: it takes nothing of it along.
        assert_eq!(bench.program.flows().len(), 2);
        assert_consistent(bench, 1);
        assert_eq!(opens(bench, A, &second), (chosen, after));
        assert_consistent(bench, 2);
        // And what it had before is free again.
        let still = |outer: &Endpoint| outer.address == bench.gateway().into();
        assert!(!bench.program.mapped().keys().any(still), "{before} is still taken");
        end_all(bench);
        assert_nothing_left(bench);
    });
}

#[test]
fn an_address_that_the_end_has_no_more() {
    needs_root!();
    bench(|bench| {
        bench.set(independent(), GENERATION);
        let (first, second) =
            (udp(bench.a(), 10_000, bench.b()), udp(bench.a(), 10_000, bench.b2()));
        assert_eq!(opens(bench, A, &first), (bench.gateway(), 10_000));
        let router = bench.router;
        let later = Ipv4Addr::new(10, 2, 0, 9);
        bench.program.manage_bridge(router, "br-b", |entry| {
            entry.addresses[0].address = later.into();
        });
        assert_eq!(opens(bench, A, &second), (later, 10_000));
        assert_consistent(bench, 1);
        // The sweep frees the other one, by itself.
        bench.program.sweep();
        assert_eq!(bench.program.flows().len(), 1);
        assert_consistent(bench, 1);
        end_all(bench);
        assert_nothing_left(bench);
    });
}

#[test]
fn a_host_keeps_its_address_of_a_pool() {
    needs_root!();
    bench(|bench| {
        let mut addresses = [Address::default(); MAX_POOL];
        let pool: Vec<_> = (0..4).map(|last| Ipv4Addr::new(10, 2, 0, 80 + last)).collect();
        for (place, address) in addresses.iter_mut().zip(&pool) {
            *place = (*address).into();
        }
        bench.program.pool(9, &Pool { count: 4, addresses, ..Pool::default() });
        let policy = PairPolicy { nat: NatMode::Address as u8, pool: 9, ..independent() };
        bench.set(policy, GENERATION);
        let servers = [bench.b().at(53), bench.b2().at(54)];
        let mut seen = HashSet::new();
        for last in 10..34 {
            let host = Ipv4Addr::new(10, 1, 0, last);
            let sources = servers.map(|server| opens(bench, A, &Packet::udp(at(host, 9), server)));
            assert_eq!(sources[0], sources[1]);
            let tcp = Packet::tcp(at(host, 80), servers[0], flags::SYN);
            assert!(
                last > 20 || opens(bench, A, &tcp).0 == sources[0].0,
                "one host, two addresses"
            );
            assert!(pool.contains(&sources[0].0));
            assert!(seen.insert(sources[0]), "{:?} twice", sources[0]);
        }
        let used: HashSet<_> = seen.iter().map(|(address, _)| address).collect();
        assert_eq!(used.len(), 4);
    });
}

#[test]
fn ipv6() {
    needs_root!();
    bench(|bench| {
        bench.set(independent(), GENERATION);
        let (router, gateway) = (bench.router, bench.router.bridge("br-b").address6);
        bench.program.manage_bridge(router, "br-b", |entry| {
            entry.addresses_v6[0] = InterfaceAddress {
                address: gateway.into(),
                prefix_len: 64,
                ..InterfaceAddress::default()
            };
            entry.address_count_v6 = 1;
        });
        let mac = router.bridge("br-a").mac;
        let send = |bench: &mut Bench<'_>, sender: usize, packet: Packet6, mac| {
            let host = &bench.router.hosts[sender];
            let frame = packet.macs(host.mac, mac).build();
            (frame.clone(), bench.program.run(host.port_index, &frame))
        };
        let mut outers = HashSet::new();
        for server in [router.hosts[2].at6(53), router.hosts[3].at6(53)] {
            let client = router.hosts[A].at6(40_000);
            let (frame, outcome) = send(bench, A, Packet6::udp(client, server), mac);
            assert_eq!(outcome.reason, Reason::FlowCreated);
            assert_checksums6(&outcome.frame);
            let outer = View6::of(&outcome.frame).expect("IPv6").src;
            assert_eq!(*outer.ip(), gateway);
            assert!(outcome.frame[12..] == translated6(&frame, outer, server)[12..]);
            outers.insert(outer);
        }
        assert_eq!(outers.len(), 1);
        let outer = *outers.iter().next().expect("one");
        // Another host with that port gets another one.
        let (client, server) = (router.hosts[A2].at6(outer.port()), router.hosts[3].at6(54));
        let (_, outcome) = send(bench, A2, Packet6::udp(client, server), mac);
        assert_eq!(outcome.reason, Reason::FlowCreated);
        let other = View6::of(&outcome.frame).expect("IPv6").src;
        assert_ne!(other.port(), outer.port());
        let reply = Packet6::udp(router.hosts[3].at6(53), at6(gateway, outer.port()));
        let (_, outcome) = send(bench, 3, reply, router.bridge("br-b").mac);
        assert_eq!(outcome.reason, Reason::ForwardedReply);
        assert_eq!(View6::of(&outcome.frame).expect("IPv6").dst, router.hosts[A].at6(40_000));
        assert_consistent(bench, 3);
        end_all(bench);
        assert_nothing_left(bench);
    });
}
