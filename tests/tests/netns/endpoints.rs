//! Endpoint-independent mapping (RFC 4787, section 4.1) and hairpins, with real sockets.

use std::net::{SocketAddr, UdpSocket};

use bridgefwd_tests::needs_root;
use bridgefwd_tests::sockets::{tcp_listen, tcp_pair, udp_ask, udp_bind, udp_receive};
use bridgefwd_tests::topology::{Host, Options};
use bridgefwd_tests::traffic::say;

use crate::rig::Rig;

fn rig() -> Rig {
    let rig = Rig::new(Options::default(), &["--unlisted", "deny"]);
    let mapping = ["--mapping", "endpoint-independent", "--nat6", "masquerade"];
    rig.ok(&[&["pair", "allow", "br-a", "br-b"], &mapping[..]].concat());
    rig
}

/// Two servers on one host, of either family.
fn servers(b: &Host, v6: bool) -> [UdpSocket; 2] {
    [53, 54].map(|port| udp_bind(&b.ns, at(b, v6, port)))
}

fn at(host: &Host, v6: bool, port: u16) -> SocketAddr {
    if v6 { SocketAddr::new(host.address6.into(), port) } else { host.at(port).into() }
}

#[test]
fn a_client_is_seen_alike_by_all_servers() {
    needs_root!();
    let rig = rig();
    for v6 in [false, true] {
        let servers = servers(rig.b(), v6);
        let seen = [rig.a(), rig.a2()].map(|client| {
            let socket = udp_bind(&client.ns, at(client, v6, 5_000));
            let [one, two] =
                servers.each_ref().map(|server| udp_ask(&socket, server, b"who am I?"));
            assert_eq!(one, two, "one port for all servers");
            one
        });
        assert_eq!(seen[0].ip(), seen[1].ip());
        assert_ne!(seen[0].port(), seen[1].port(), "and nobody else's");
        assert_eq!(seen[0].port(), 5_000, "the first keeps it");
    }
}

#[test]
fn clients_meet_by_their_outer_endpoints() {
    needs_root!();
    let rig = rig();
    let [server, _] = servers(rig.b(), false);
    let [(one, one_seen), (two, two_seen)] = [rig.a(), rig.a2()].map(|client| {
        let socket = udp_bind(&client.ns, client.at(6_000).into());
        let seen = udp_ask(&socket, &server, b"who am I?");
        (socket, seen)
    });
    one.send_to(b"hello", two_seen).unwrap();
    assert_eq!(udp_receive(&two), (b"hello".to_vec(), one_seen));
    two.send_to(b"hello yourself", one_seen).unwrap();
    assert_eq!(udp_receive(&one), (b"hello yourself".to_vec(), two_seen));
}

#[test]
fn a_connection_between_clients_by_their_outer_endpoints() {
    needs_root!();
    let rig = rig();
    let (a, a2, b) = (rig.a(), rig.a2(), rig.b());
    let listener = tcp_listen(&b.ns, b.at(80).into());
    // What a2 listens on has a mapping as long as a connection of that port does.
    let (mut near, mut far, outer) = tcp_pair(&a2.ns, Some(a2.at(7_000).into()), &listener);
    say(&mut near, &mut far, "hello");
    let inside = tcp_listen(&a2.ns, a2.at(7_000).into());
    let (mut one, mut two, seen) = {
        let to = outer;
        let stream =
            bridgefwd_tests::sockets::tcp_connect(&a.ns, None, to, bridgefwd_tests::wait::PATIENCE)
                .unwrap_or_else(|error| panic!("connect to {to}: {error}"));
        let (far, seen) = inside.accept().unwrap();
        (stream, far, seen)
    };
    assert_eq!(seen.ip(), outer.ip(), "from an outer address");
    say(&mut one, &mut two, "by the router and back");
    say(&mut two, &mut one, "likewise");
}
