//! Which source a flow leaves with, and that no two clients share one.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, UdpSocket};

use bridgefwd_tests::for_both;
use bridgefwd_tests::for_both_families;
use bridgefwd_tests::raw::Raw;
use bridgefwd_tests::site::{By, Family, Site};
use bridgefwd_tests::sockets::{
    accept, allow_many_files, tcp_connect_here, tcp_listen, tcp_pair, udp_ask, udp_bind,
    udp_bind_here, udp_receive,
};
use bridgefwd_tests::traffic::say;
use bridgefwd_tests::wait::PATIENCE;

for_both_families!(the_source_port_is_kept, one_port_of_two_clients, one_ping_of_two_clients);
for_both!(ports_below_1024_stay_there, thousands_of_connections, thousands_of_datagram_sockets);

/// Ports that a client may have chosen itself, or been given by its kernel.
const PORTS: [u16; 6] = [5, 700, 1024, 10_000, 40_000, 65_535];

fn the_source_port_is_kept(by: By, family: Family) {
    let site = Site::new(by);
    let (a, b) = (site.a(), site.b());
    let listener = tcp_listen(&b.ns, family.at(b, 80));
    let server = udp_bind(&b.ns, family.at(b, 53));
    for port in PORTS {
        let wanted = SocketAddr::new(family.seen(a), port);
        let (_near, _far, seen) = tcp_pair(&a.ns, Some(family.at(a, port)), &listener);
        assert_eq!(seen, wanted, "TCP");
        let client = udp_bind(&a.ns, family.at(a, port));
        assert_eq!(udp_ask(&client, &server, b"who am I?"), wanted, "UDP");
    }
    let (pinger, pinged) = (Raw::icmp(&a.ns, family), Raw::icmp(&b.ns, family));
    for id in [0, 1, 40_000, 65_535] {
        assert!(pinger.ping(family.of(b), id, 7, b"hello", PATIENCE), "{}", site.reasons());
        let seen = pinged.wait("the request", |it| Some((it.echo_request()?, it.from)));
        assert_eq!(seen, ((id, 7), family.seen(a)), "ping");
    }
}

fn one_port_of_two_clients(by: By, family: Family) {
    let site = Site::new(by);
    let (a, a2, b) = (site.a(), site.a2(), site.b());
    let listener = tcp_listen(&b.ns, family.at(b, 80));
    let server = udp_bind(&b.ns, family.at(b, 53));
    for port in [700, 10_000, 40_000] {
        let (mut near, mut far, seen) = tcp_pair(&a.ns, Some(family.at(a, port)), &listener);
        let (mut near2, mut far2, seen2) = tcp_pair(&a2.ns, Some(family.at(a2, port)), &listener);
        assert_eq!((seen.ip(), seen2.ip()), (family.seen(a), family.seen(a2)));
        assert_ne!(seen, seen2);
        for (near, far) in [(&mut near, &mut far), (&mut near2, &mut far2)] {
            say(near, far, "question");
            say(far, near, "answer");
        }
        let client = udp_bind(&a.ns, family.at(a, port));
        let client2 = udp_bind(&a2.ns, family.at(a2, port));
        let seen = udp_ask(&client, &server, b"one");
        let seen2 = udp_ask(&client2, &server, b"two");
        assert_ne!(seen, seen2);
        assert_eq!(udp_ask(&client, &server, b"one again"), seen);
        assert_eq!(udp_ask(&client2, &server, b"two again"), seen2);
    }
}

fn one_ping_of_two_clients(by: By, family: Family) {
    let site = Site::new(by);
    let b = site.b();
    let pinged = Raw::icmp(&b.ns, family);
    let pingers = [site.a(), site.a2()].map(|client| (client, Raw::icmp(&client.ns, family)));
    let mut seen = Vec::new();
    for sequence in 1..=3 {
        for (client, pinger) in &pingers {
            let payload = client.port.as_bytes();
            assert!(
                pinger.ping(family.of(b), 77, sequence, payload, PATIENCE),
                "{}",
                site.reasons()
            );
            let (id, from) = pinged.wait("the request", |it| Some((it.echo_request()?.0, it.from)));
            assert_eq!(from, family.seen(client));
            seen.push((id, from));
        }
    }
    assert_eq!(seen[0].0, 77);
    assert_ne!(seen[0], seen[1]);
    assert!(seen.chunks(2).all(|pair| pair == &seen[..2]), "{seen:?}");
}

fn ports_below_1024_stay_there(by: By) {
    let site = Site::new(by);
    let (a, a2, b) = (site.a(), site.a2(), site.b());
    let listener = tcp_listen(&b.ns, b.at(80).into());
    let server = udp_bind(&b.ns, b.at(53).into());
    for port in [5, 511, 1023] {
        let (_near, _far, seen) = tcp_pair(&a.ns, Some(a.at(port).into()), &listener);
        let (_near2, _far2, seen2) = tcp_pair(&a2.ns, Some(a2.at(port).into()), &listener);
        assert_eq!(seen.port(), port);
        assert!((1..1024).contains(&seen2.port()), "{port} became {seen2}");
        let client = udp_bind(&a.ns, a.at(port).into());
        let client2 = udp_bind(&a2.ns, a2.at(port).into());
        assert_eq!(udp_ask(&client, &server, b"one").port(), port);
        let seen2 = udp_ask(&client2, &server, b"two");
        assert!((1..1024).contains(&seen2.port()), "{port} became {seen2}");
    }
    // And the others do not come down to them.
    for port in [1024, 1025] {
        let client = udp_bind(&a.ns, a.at(port).into());
        let client2 = udp_bind(&a2.ns, a2.at(port).into());
        udp_ask(&client, &server, b"one");
        assert!(udp_ask(&client2, &server, b"two").port() >= 1024);
    }
}

/// From each of two clients, with the same ports.
const SOCKETS: u16 = 2_000;

fn thousands_of_connections(by: By) {
    let _turn = allow_many_files();
    let site = Site::new(by);
    let (a, a2, b) = (site.a(), site.a2(), site.b());
    let to = SocketAddr::from(b.at(80));
    let listener = tcp_listen(&b.ns, to);
    let mut pairs = Vec::new();
    for client in [a, a2] {
        client.ns.run(|| {
            for port in 20_000..20_000 + SOCKETS {
                let from = Some(client.at(port).into());
                let near = tcp_connect_here(from, to, PATIENCE)
                    .unwrap_or_else(|error| panic!("{from:?}: {error}"));
                let (far, seen) = accept(&listener);
                pairs.push((near, far, seen));
            }
        });
    }
    let seen: std::collections::BTreeSet<_> = pairs.iter().map(|(_, _, seen)| *seen).collect();
    assert_eq!(seen.len(), pairs.len(), "each has a source of its own");
    assert!(seen.iter().all(|seen| seen.port() >= 1024));
    // All of them at once, each with words of its own.
    for (number, (near, far, _)) in pairs.iter_mut().enumerate() {
        near.write_all(&(number as u64).to_be_bytes()).expect("sent");
        far.write_all(&(!(number as u64)).to_be_bytes()).expect("sent");
    }
    for (number, (near, far, _)) in pairs.iter_mut().enumerate() {
        let mut heard = [0; 8];
        far.read_exact(&mut heard).expect("heard");
        assert_eq!(u64::from_be_bytes(heard), number as u64);
        near.read_exact(&mut heard).expect("heard");
        assert_eq!(u64::from_be_bytes(heard), !(number as u64));
    }
}

fn thousands_of_datagram_sockets(by: By) {
    let _turn = allow_many_files();
    let site = Site::new(by);
    let (a, a2, b) = (site.a(), site.a2(), site.b());
    let server = udp_bind(&b.ns, b.at(53).into());
    let mut clients: Vec<UdpSocket> = Vec::new();
    for client in [a, a2] {
        client.ns.run(|| {
            clients.extend(
                (20_000..20_000 + SOCKETS).map(|port| udp_bind_here(client.at(port).into())),
            );
        });
    }
    let ask = |(number, client): (usize, &UdpSocket)| {
        udp_ask(client, &server, format!("{number}").as_bytes())
    };
    let seen: Vec<_> = clients.iter().enumerate().map(ask).collect();
    let different: std::collections::BTreeSet<_> = seen.iter().collect();
    assert_eq!(different.len(), clients.len(), "each has a source of its own");
    // The answers of each come to it and to nobody else, in any order.
    for (number, seen) in seen.iter().enumerate().rev() {
        server.send_to(format!("again {number}").as_bytes(), seen).expect("sent");
    }
    for (number, client) in clients.iter().enumerate() {
        assert_eq!(udp_receive(client).0, format!("again {number}").as_bytes());
    }
}
