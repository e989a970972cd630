//! Protocols beside TCP, UDP and ping, with real sockets.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};

use bridgefwd_tests::raw::Raw;
use bridgefwd_tests::site::{By, Family, Site};
use bridgefwd_tests::skip::skipped;
use bridgefwd_tests::sockets::{tcp_pair, udp_ask};
use bridgefwd_tests::traffic::say;
use bridgefwd_tests::view::internet_checksum;
use bridgefwd_tests::wait::PATIENCE;
use bridgefwd_tests::{for_both, for_both_families};
use socket2::{Domain, Protocol, Socket, Type};

for_both_families!(protocols_without_ports, udp_lite, sctp);
for_both!(timestamps, two_clients_of_different_servers);

const GRE: u8 = 47;
const ESP: u8 = 50;
/// For experiments (RFC 3692).
const NOBODYS: u8 = 253;

/// A GRE header without options, of an unassigned protocol; an ESP header; anything.
const PAYLOAD: &[u8] = &[0, 0, 0x88, 0xb5, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

/// The client speaks first, then the server; returns whom the server sees.
#[track_caller]
fn converse(client: &Raw, server: &Raw, to: IpAddr) -> IpAddr {
    client.send(to, PAYLOAD);
    let seen = server.wait("a packet", |it| (it.bytes == PAYLOAD).then_some(it.from));
    server.send(seen, &PAYLOAD[..12]);
    let from = client.wait("an answer", |it| (it.bytes == PAYLOAD[..12]).then_some(it.from));
    assert_eq!(from, to);
    seen
}

fn protocols_without_ports(by: By, family: Family) {
    let site = Site::new(by);
    let (a, b) = (site.a(), site.b());
    for protocol in [GRE, ESP, NOBODYS] {
        let client = Raw::open(&a.ns, family, protocol);
        let server = Raw::open(&b.ns, family, protocol);
        for _ in 0..2 {
            assert_eq!(converse(&client, &server, family.of(b)), family.seen(a), "{protocol}");
        }
    }
}

fn two_clients_of_different_servers(by: By) {
    let site = Site::new(by);
    let (a, a2, b, b2) = (site.a(), site.a2(), site.b(), site.b2());
    let protocol = ESP;
    let ends = [(a, b), (a2, b2)].map(|(client, server)| {
        let open = |ns| Raw::open(ns, Family::V4, protocol);
        (open(&client.ns), open(&server.ns), server.address)
    });
    for _ in 0..2 {
        for (client, server, address) in &ends {
            converse(client, server, (*address).into());
        }
    }
}

/// A socket that this kernel may not have.
fn socket(domain: Domain, kind: Type, protocol: i32) -> Option<Socket> {
    match Socket::new(domain, kind, Some(Protocol::from(protocol))) {
        Ok(socket) => Some(socket),
        Err(error) if error.raw_os_error() == Some(libc::EPROTONOSUPPORT) => None,
        Err(error) => panic!("protocol {protocol}: {error}"),
    }
}

fn domain(family: Family) -> Domain {
    if family == Family::V4 { Domain::IPV4 } else { Domain::IPV6 }
}

fn udp_lite(by: By, family: Family) {
    let site = Site::new(by);
    if by == By::Kernel {
        // Connection tracking of some kernels takes the checksums of UDP-Lite for wrong that sockets
        // of the same kernel send and accept.
        site.router.ns.sysctl("net/netfilter/nf_conntrack_checksum", "0");
    }
    let (a, a2, b) = (site.a(), site.a2(), site.b());
    let open = |ns: &bridgefwd_tests::namespaces::Namespace, at: SocketAddr| {
        let socket = ns.run(|| socket(domain(family), Type::DGRAM, libc::IPPROTO_UDPLITE))?;
        socket.bind(&at.into()).expect("bound");
        socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
        Some(UdpSocket::from(socket))
    };
    let Some(server) = open(&b.ns, family.at(b, 53)) else {
        return skipped("this kernel has no UDP-Lite");
    };
    let client = open(&a.ns, family.at(a, 10_000)).expect("as on the server");
    let client2 = open(&a2.ns, family.at(a2, 10_000)).expect("as on the server");
    let seen = udp_ask(&client, &server, b"question");
    assert_eq!(seen, SocketAddr::new(family.seen(a), 10_000));
    let seen2 = udp_ask(&client2, &server, b"another question");
    assert_ne!(seen, seen2);
    assert_eq!(udp_ask(&client, &server, b"one more"), seen);
}

fn sctp(by: By, family: Family) {
    let site = Site::new(by);
    let (a, b) = (site.a(), site.b());
    let open = |ns: &bridgefwd_tests::namespaces::Namespace| {
        ns.run(|| socket(domain(family), Type::STREAM, libc::IPPROTO_SCTP))
    };
    let Some(listener) = open(&b.ns) else { return skipped("this kernel has no SCTP") };
    listener.bind(&family.at(b, 80).into()).expect("bound");
    listener.listen(8).expect("listen");
    let near = open(&a.ns).expect("as on the server");
    near.bind(&family.at(a, 10_000).into()).expect("bound");
    near.connect_timeout(&family.at(b, 80).into(), PATIENCE).expect("connected");
    let (far, seen) = TcpListener::from(listener).accept().expect("accepted");
    assert_eq!(seen, SocketAddr::new(family.seen(a), 10_000));
    let (mut near, mut far) = (TcpStream::from(near), far);
    near.set_read_timeout(Some(PATIENCE)).expect("timeout");
    far.set_read_timeout(Some(PATIENCE)).expect("timeout");
    say(&mut near, &mut far, "question");
    say(&mut far, &mut near, "answer");
}

fn timestamps(by: By) {
    let site = Site::new(by);
    let (a, a2, b) = (site.a(), site.a2(), site.b());
    for client in [a, a2] {
        let socket = Raw::icmp(&client.ns, Family::V4);
        for sequence in 1..=2u8 {
            let mut request = vec![13, 0, 0, 0, 0, 77, 0, sequence];
            request.extend([0; 12]);
            let sum = internet_checksum(&[&request]);
            request[2..4].copy_from_slice(&sum.to_be_bytes());
            socket.send(b.address.into(), &request);
            let from = socket.wait("a timestamp reply", |it| {
                (it.bytes[0] == 14 && it.bytes[4..8] == request[4..8]).then_some(it.from)
            });
            assert_eq!(from, IpAddr::from(b.address));
        }
    }
    // A ping with the same identifier is something else.
    let pinger = Raw::icmp(&a.ns, Family::V4);
    assert!(pinger.ping(b.address.into(), 77, 1, b"hello", PATIENCE));
    let listener = bridgefwd_tests::sockets::tcp_listen(&b.ns, b.at(80).into());
    tcp_pair(&a.ns, None, &listener);
}
