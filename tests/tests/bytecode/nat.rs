//! Which source a flow leaves with: the modes, and the choice of the port.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use bridgefwd_common::Reason;
use bridgefwd_common::contract::{Address, InterfaceAddress, NatMode};
use bridgefwd_tests::needs_root;
use bridgefwd_tests::packets::{Packet, flags};
use bridgefwd_tests::program::LOCAL_PORTS;
use bridgefwd_tests::view::{View, at};

use crate::bench::{A, A2, B, Bench, bench, bench_with};

/// The source that a datagram leaves with.
#[track_caller]
fn source_of(bench: &mut Bench<'_>, sender: usize, packet: &Packet) -> (Ipv4Addr, u16) {
    let outcome = bench.expect(sender, packet, Reason::FlowCreated);
    let view = View::of(&outcome.frame).expect("IPv4");
    bridgefwd_tests::view::assert_checksums(&outcome.frame);
    (*view.src.ip(), view.src.port())
}

#[test]
fn without_nat_everything_stays() {
    needs_root!();
    bench(|bench| {
        bench.allow(NatMode::None, None);
        for port in [10_000, 40_000, 22] {
            let (client, server) = (bench.a().at(port), bench.b().at(80));
            let open = Packet::tcp(client, server, flags::SYN);
            bench.forwards(A, &open, Reason::FlowCreated, client, server);
            let answer = Packet::tcp(server, client, flags::SYN | flags::ACK);
            bench.forwards(B, &answer, Reason::ForwardedReply, server, client);
        }
        let (client, server) = (at(bench.a().address, 7), at(bench.b().address, 7));
        let echo = Packet::echo_request(*client.ip(), *server.ip(), 7);
        bench.forwards(A, &echo, Reason::FlowCreated, client, server);
    });
}

#[test]
fn a_chosen_address() {
    needs_root!();
    bench(|bench| {
        let chosen = Ipv4Addr::new(10, 2, 0, 77);
        bench.router.ns.ip("addr add 10.2.0.77/24 dev br-b\n");
        bench.allow(NatMode::Address, Some(chosen));
        let (client, server, out) = (bench.a().at(10_000), bench.b().at(80), at(chosen, 10_000));
        let open = Packet::tcp(client, server, flags::SYN);
        bench.forwards(A, &open, Reason::FlowCreated, out, server);
        let answer = Packet::tcp(server, out, flags::SYN | flags::ACK);
        bench.forwards(B, &answer, Reason::ForwardedReply, server, client);
    });
}

#[test]
fn masquerading_takes_the_address_in_the_next_hops_subnet() {
    needs_root!();
    bench(|bench| {
        let (router, gateway) = (bench.router, bench.gateway());
        bench.program.manage_bridge(router, "br-b", |entry| {
            entry.addresses[1] = entry.addresses[0];
            entry.addresses[0] = InterfaceAddress {
                address: Address::v4([192, 0, 2, 1]),
                prefix_len: 24,
                ..InterfaceAddress::default()
            };
            entry.address_count = 2;
        });
        let packet = Packet::udp(bench.a().at(10_000), bench.b().at(53));
        assert_eq!(source_of(bench, A, &packet), (gateway, 10_000));
    });
}

#[test]
fn no_address_to_masquerade_to() {
    needs_root!();
    bench(|bench| {
        let router = bench.router;
        bench.program.manage_bridge(router, "br-b", |entry| entry.address_count = 0);
        let packet = Packet::udp(bench.a().at(10_000), bench.b().at(53));
        bench.expect(A, &packet, Reason::NoNatAddress);
        assert_eq!(bench.program.flows(), []);
    });
}

#[test]
fn ports_of_the_hosts_own_range_are_kept_but_not_chosen() {
    needs_root!();
    bench(|bench| {
        let (first, last) = LOCAL_PORTS;
        for port in [first, 40_000, last] {
            let packet = Packet::udp(bench.a().at(port), bench.b().at(53));
            assert_eq!(source_of(bench, A, &packet).1, port);
            // Somebody else's that cannot have it gets one that the host does not give away.
            let packet = Packet::udp(bench.a2().at(port), bench.b().at(53));
            let (_, chosen) = source_of(bench, A2, &packet);
            assert!(chosen >= 1024 && !(first..=last).contains(&chosen), "{port} became {chosen}");
        }
        for port in [first - 1, last + 1, 1024, u16::MAX] {
            let packet = Packet::udp(bench.a().at(port), bench.b().at(53));
            assert_eq!(source_of(bench, A, &packet).1, port);
        }
    });
}

#[test]
fn well_known_ports_stay_well_known() {
    needs_root!();
    bench(|bench| {
        let packet = |host: &bridgefwd_tests::topology::Host, bench: &Bench<'_>| {
            Packet::udp(host.at(500), bench.b().at(500))
        };
        let (one, two) = (packet(bench.a(), bench), packet(bench.a2(), bench));
        assert_eq!(source_of(bench, A, &one).1, 500);
        let (_, other) = source_of(bench, A2, &two);
        assert!((1..1024).contains(&other) && other != 500, "{other}");
    });
}

#[test]
fn two_clients_with_one_port_to_one_server() {
    needs_root!();
    bench(|bench| {
        let server = bench.b().at(80);
        let clients = [bench.a().at(10_000), bench.a2().at(10_000)];
        let mut outs = Vec::new();
        for (sender, client) in [A, A2].into_iter().zip(clients) {
            let open = Packet::tcp(client, server, flags::SYN);
            let (address, port) = source_of(bench, sender, &open);
            assert_eq!(address, bench.gateway());
            outs.push(at(address, port));
        }
        assert_eq!(outs[0].port(), 10_000);
        assert_ne!(outs[1].port(), 10_000);
        // Each answer finds its own client.
        for (out, client) in outs.into_iter().zip(clients) {
            let answer = Packet::tcp(server, out, flags::SYN | flags::ACK);
            bench.forwards(B, &answer, Reason::ForwardedReply, server, client);
        }
    });
}

#[test]
fn one_port_serves_many_servers_and_protocols() {
    needs_root!();
    bench(|bench| {
        let servers = [bench.b().at(53), bench.b().at(54), bench.b2().at(53)];
        for client in [bench.a().at(10_000), bench.a2().at(10_001)] {
            let sender = if *client.ip() == bench.a().address { A } else { A2 };
            for server in servers {
                let packet = Packet::udp(client, server);
                assert_eq!(source_of(bench, sender, &packet).1, client.port());
                let packet = Packet::tcp(client, server, flags::SYN);
                assert_eq!(source_of(bench, sender, &packet).1, client.port());
            }
        }
    });
}

#[test]
fn two_pings_with_one_identifier() {
    needs_root!();
    bench(|bench| {
        let server = bench.b().address;
        let one = Packet::echo_request(bench.a().address, server, 7);
        let two = Packet::echo_request(bench.a2().address, server, 7);
        let id = |frame: &[u8]| View::of(frame).expect("IPv4").dst.port();
        assert_eq!(id(&bench.expect(A, &one, Reason::FlowCreated).frame), 7);
        let other = id(&bench.expect(A2, &two, Reason::FlowCreated).frame);
        assert_ne!(other, 7);
        let answer = Packet::echo_reply(server, bench.gateway(), other);
        bench.forwards(
            B,
            &answer,
            Reason::ForwardedReply,
            at(server, 7),
            at(bench.a2().address, 7),
        );
    });
}

#[test]
fn the_last_free_port_is_found_and_then_none() {
    needs_root!();
    bench_with(1200, |bench| {
        let server = bench.b().at(53);
        let mut used = HashSet::new();
        // Four clients on the bridge share the 1023 well-known ports.
        let clients = (0..1023u16).map(|number| {
            let address = Ipv4Addr::new(10, 1, 0, 100 + (number / 256) as u8);
            at(address, 1 + number % 256)
        });
        for client in clients {
            let (_, port) = source_of(bench, A, &Packet::udp(client, server));
            assert!((1..1024).contains(&port) && used.insert(port), "{client} got {port}");
        }
        let late = at(Ipv4Addr::new(10, 1, 0, 200), 9);
        bench.expect(A, &Packet::udp(late, server), Reason::NoPortLeft);
        // Of this server only.
        let elsewhere = Packet::udp(late, bench.b2().at(53));
        assert_eq!(source_of(bench, A, &elsewhere).1, 9);
    });
}
