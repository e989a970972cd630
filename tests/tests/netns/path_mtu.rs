//! Ways that take less than the ends do: both sides find out, and what may be cut into pieces is.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};

use bridgefwd_tests::beyond::Beyond;
use bridgefwd_tests::pins::pinned_settings;
use bridgefwd_tests::raw::{IcmpError, Raw};
use bridgefwd_tests::site::{By, Family, Site};
use bridgefwd_tests::sockets::{
    DISCOVER_ALWAYS, DISCOVER_NOT, IntOption, tcp_listen, tcp_pair, udp_ask, udp_bind, udp_receive,
};
use bridgefwd_tests::traffic::transfer;
use bridgefwd_tests::wait::{PATIENCE, until};
use bridgefwd_tests::{for_both, for_both_families};

for_both_families!(
    connections_over_a_servers_bridge_with_a_small_mtu,
    connections_over_a_clients_bridge_with_a_small_mtu,
    connections_over_a_route_with_a_small_mtu,
    connections_whose_route_gets_a_small_mtu,
    datagrams_whose_route_had_a_small_mtu,
    connections_beside_a_route_with_a_small_mtu,
    datagrams_that_may_not_be_cut,
    large_pings,
    datagrams_in_one_write,
);
// Of the first IPv4 alone: behind one more router the kernel's own IPv6 transfer stalls now and then.
for_both!(
    connections_to_beyond_a_router_with_a_small_mtu,
    datagrams_that_may_be_cut,
    large_pings_over_a_small_mtu,
    datagrams_in_one_write_that_may_be_cut,
);

/// Smaller than that of any other interface.
const SMALL: u32 = 1400;
const BYTES: u64 = 2 << 20;

fn small(site: &Site, bridge: &str) {
    site.router.ns.ip(&format!("link set {bridge} mtu {SMALL}\n"));
}

/// Copies of both ends, to ask them what they have found out while the originals are used up.
fn copies(near: &TcpStream, far: &TcpStream) -> (TcpStream, TcpStream) {
    (near.try_clone().expect("copy"), far.try_clone().expect("copy"))
}

/// Much goes both ways, and in the end the client's or the server's kernel knows the MTU.
#[track_caller]
fn found_out(site: &Site, family: Family, mtu: (u32, u32)) {
    let (a, b) = (site.a(), site.b());
    let listener = tcp_listen(&b.ns, family.at(b, 80));
    for port in [10_000, 10_001] {
        let (near, far, _) = tcp_pair(&a.ns, Some(family.at(a, port)), &listener);
        let ends = copies(&near, &far);
        transfer(near, far, BYTES);
        let option = IntOption::mtu(family.of(a));
        let found = (option.get(&ends.0), option.get(&ends.1));
        assert_eq!(found, (mtu.0 as i32, mtu.1 as i32), "{}", site.reasons());
    }
}

fn connections_over_a_servers_bridge_with_a_small_mtu(by: By, family: Family) {
    let site = Site::new(by);
    small(&site, "br-b");
    found_out(&site, family, (SMALL, 1500));
}

fn connections_over_a_clients_bridge_with_a_small_mtu(by: By, family: Family) {
    let site = Site::new(by);
    small(&site, "br-a");
    found_out(&site, family, (1500, SMALL));
}

fn connections_over_a_route_with_a_small_mtu(by: By, family: Family) {
    let site = Site::new(by);
    let (a, b) = (site.a(), site.b());
    site.router.ns.ip(&format!("route add {} dev br-b mtu {SMALL}\n", family.of(b)));
    let listener = tcp_listen(&b.ns, family.at(b, 80));
    let (near, far, _) = tcp_pair(&a.ns, None, &listener);
    let ends = copies(&near, &far);
    transfer(near, far, BYTES);
    assert_eq!(IntOption::mtu(family.of(a)).get(&ends.0), SMALL as i32, "{}", site.reasons());
}

fn connections_whose_route_gets_a_small_mtu(by: By, family: Family) {
    let site = Site::new(by);
    let (a, b) = (site.a(), site.b());
    let listener = tcp_listen(&b.ns, family.at(b, 80));
    let (mut near, mut far, _) = tcp_pair(&a.ns, None, &listener);
    let mtu = IntOption::mtu(family.of(a));
    let there = vec![7; 16 << 10];
    let mut say = || {
        let mut heard = vec![0; there.len()];
        near.write_all(&there).expect("sent");
        far.read_exact(&mut heard).expect("received");
        assert!(heard == there, "changed on the way");
        mtu.get(&near)
    };
    for _ in 0..10 {
        assert_eq!(say(), 1500);
    }
    site.router.ns.ip(&format!("route add {} dev br-b mtu {SMALL}\n", family.of(b)));
    until("the client knows the MTU", || say() == SMALL as i32);
}

fn datagrams_whose_route_had_a_small_mtu(by: By, family: Family) {
    let site = Site::new(by);
    let (a, b) = (site.a(), site.b());
    let (to, own) = (family.at(b, 53), family.at(a, 10_000));
    let server = udp_bind(&b.ns, to);
    let client = udp_bind(&a.ns, own);
    let seen = udp_ask(&client, &server, b"before");
    let route = format!("{} dev br-b mtu {SMALL}\n", family.of(b));
    site.router.ns.ip(&format!("route add {route}"));
    if let Some(bridgefwd) = site.bridgefwd() {
        let known = || pinned_settings(&bridgefwd.pin_dir).smallest_route_mtu;
        until("the daemon knows the MTU", || known() == SMALL);
    }
    client.connect(to).expect("connected");
    too_big(&a.ns, &client, family, to, own);
    assert_eq!(udp_receive(&server), (fitting(family), seen), "{}", site.reasons());
    site.router.ns.ip(&format!("route del {route}"));
    // As large as the device takes, whatever the sender has found out before.
    IntOption::discovery(to.ip()).set(&client, libc::IP_PMTUDISC_PROBE);
    let mut payload = fitting(family);
    payload.resize(payload.len() + 100, 7);
    let arrives = || {
        client.send(&payload).expect("sent");
        assert_eq!(udp_receive(&server), (payload.clone(), seen), "{}", site.reasons());
    };
    // At once, whoever forwards it; and before long it is forwarded past the kernel again.
    arrives();
    if site.bridgefwd().is_some() {
        until("the kernel has nothing to do with it", || {
            let before = site.counted("through_kernel");
            arrives();
            site.counted("through_kernel") == before
        });
    }
}

/// Whoever's route has no such MTU sends and is sent what fits the devices: also as the first packet,
/// and translated.
fn connections_beside_a_route_with_a_small_mtu(by: By, family: Family) {
    let site = Site::new(by);
    let (a, b, other) = (site.a(), site.b(), site.b2());
    for (host, end) in [(other, "br-b"), (site.a2(), "br-a")] {
        let to = family.of(host);
        site.router.ns.ip(&format!("route add {to} dev {end} mtu {SMALL}\n"));
    }
    if let Some(bridgefwd) = site.bridgefwd() {
        let known = || pinned_settings(&bridgefwd.pin_dir).smallest_route_mtu;
        until("the daemon knows the MTU", || known() == SMALL);
    }
    let server = udp_bind(&b.ns, family.at(b, 53));
    let client = udp_bind(&a.ns, family.at(a, 10_000));
    for socket in [&client, &server] {
        IntOption::discovery(family.of(a)).set(socket, DISCOVER_ALWAYS);
    }
    let mut payload = fitting(family);
    payload.resize(payload.len() + 100, 7);
    let seen = udp_ask(&client, &server, &payload);
    assert_eq!(seen.ip(), family.seen(a), "{}", site.reasons());
    found_out(&site, family, (1500, 1500));
}

fn connections_to_beyond_a_router_with_a_small_mtu(by: By) {
    let family = Family::V4;
    let site = Site::new(by);
    let beyond = Beyond::new(&site);
    beyond.router.ip(&format!("link set eth1 mtu {SMALL}\n"));
    let to = Beyond::host_address(family);
    let listener = tcp_listen(&beyond.host, SocketAddr::new(to, 80));
    let (near, far, _) = tcp_pair(&site.a().ns, None, &listener);
    let ends = copies(&near, &far);
    transfer(near, far, BYTES);
    assert_eq!(IntOption::mtu(to).get(&ends.0), SMALL as i32, "{}", site.reasons());
}

/// Too big with don't-fragment: the sender hears of it, knows the MTU, and what fits arrives.
fn datagrams_that_may_not_be_cut(by: By, family: Family) {
    let site = Site::new(by);
    let (a, b) = (site.a(), site.b());
    let server = udp_bind(&b.ns, family.at(b, 53));
    let client = udp_bind(&a.ns, family.at(a, 10_000));
    let seen = udp_ask(&client, &server, b"before");
    small(&site, "br-b");
    client.connect(family.at(b, 53)).expect("connected");
    let from = too_big(&a.ns, &client, family, family.at(b, 53), family.at(a, 10_000));
    assert_eq!(from, family.router(1), "the router as the client knows it");
    assert_eq!(udp_receive(&server).0, fitting(family), "{}", site.reasons());
    // And the other way round.
    site.router.ns.ip("link set br-b mtu 1500\n");
    small(&site, "br-a");
    server.connect(seen).expect("connected");
    let from = too_big(&b.ns, &server, family, seen, family.at(b, 53));
    assert_eq!(from, family.router(2), "the router as the server knows it");
    assert_eq!(udp_receive(&client).0, fitting(family), "{}", site.reasons());
}

/// As much as a datagram over the small MTU can have.
fn fitting(family: Family) -> Vec<u8> {
    let headers = if family == Family::V4 { 28 } else { 48 };
    vec![7; SMALL as usize - headers]
}

/// Sends a byte too much, waits until the sender's kernel knows the MTU, and sends what fits. Returns
/// whom the error came from.
#[track_caller]
fn too_big(
    ns: &bridgefwd_tests::namespaces::Namespace,
    socket: &UdpSocket,
    family: Family,
    to: SocketAddr,
    own: SocketAddr,
) -> IpAddr {
    let errors = Raw::icmp(ns, family);
    IntOption::discovery(to.ip()).set(socket, DISCOVER_ALWAYS);
    let mut payload = fitting(family);
    payload.push(7);
    socket.send(&payload).expect("sent");
    let (error, from, quoted) = errors.wait_error(to);
    assert_eq!(error, IcmpError::TooBig(SMALL));
    assert_eq!((quoted.src, quoted.protocol), (own, 17), "the packet as it was sent");
    until("the sender knows the MTU", || IntOption::mtu(to.ip()).get(socket) == SMALL as i32);
    // The error waits for the next call, and this is it.
    let waiting = socket.take_error().expect("asked").and_then(|error| error.raw_os_error());
    assert!(matches!(waiting, None | Some(libc::EMSGSIZE)), "{waiting:?}");
    payload.pop();
    socket.send(&payload).expect("sent");
    from
}

fn datagrams_that_may_be_cut(by: By) {
    let site = Site::new(by);
    let (a, b) = (site.a(), site.b());
    small(&site, "br-a");
    small(&site, "br-b");
    let server = udp_bind(&b.ns, b.at(53).into());
    for (port, length) in (10_000..).zip([1372, 1373, 1400, 1472, 1473, 2744, 3000, 9000, 60_000]) {
        let client = udp_bind(&a.ns, a.at(port).into());
        for socket in [&client, &server] {
            IntOption::discovery(a.address.into()).set(socket, DISCOVER_NOT);
        }
        let payload: Vec<u8> = (0..length).map(|at: u32| (at * 7 + at / 251) as u8).collect();
        // As the first packet of its flow, and later.
        for _ in 0..2 {
            udp_ask(&client, &server, &payload);
        }
    }
}

fn large_pings(by: By, family: Family) {
    let site = Site::new(by);
    pings(&site, family);
}

fn large_pings_over_a_small_mtu(by: By) {
    let site = Site::new(by);
    small(&site, "br-a");
    small(&site, "br-b");
    pings(&site, Family::V4);
}

/// `ping -s 4000` and the like: in pieces there and back.
#[track_caller]
fn pings(site: &Site, family: Family) {
    let pinger = Raw::icmp(&site.a().ns, family);
    for (sequence, length) in (1..).zip([56, 1473, 4_000, 4_001, 20_000]) {
        let payload: Vec<u8> = (0..length).map(|at: u32| (at * 3 + at / 253) as u8).collect();
        let to = family.of(site.b());
        if length == 1473 && sequence == 2 {
            // What fits in one piece is not to be cut where don't-fragment is set, so not that.
            IntOption::discovery(to).set(&pinger, DISCOVER_NOT);
        }
        let answered = pinger.ping(to, 5, sequence, &payload, PATIENCE);
        assert!(answered, "{length} bytes; {}", site.reasons());
    }
}

const SEGMENTS: usize = 20;

/// The payloads of datagrams that are handed over in one write.
fn payloads(length: usize) -> Vec<Vec<u8>> {
    (0..SEGMENTS).map(|number| vec![number as u8; length]).collect()
}

#[track_caller]
fn send_in_one_write(socket: &UdpSocket, to: SocketAddr, payloads: &[Vec<u8>]) {
    IntOption::UDP_SEGMENT.set(socket, payloads[0].len() as i32);
    socket.send_to(&payloads.concat(), to).expect("sent");
}

/// Receives them, one by one or put together by the kernel.
#[track_caller]
fn receive_all(site: &Site, socket: &UdpSocket, payloads: &[Vec<u8>]) -> SocketAddr {
    let (mut heard, mut seen) = (Vec::new(), None);
    while heard.len() < payloads.len() * payloads[0].len() {
        let (bytes, from) = udp_receive(socket);
        assert_eq!(bytes.len() % payloads[0].len(), 0, "whole datagrams; {}", site.reasons());
        assert_eq!(*seen.get_or_insert(from), from);
        heard.extend(bytes);
    }
    // One way has one order.
    assert!(heard == payloads.concat(), "datagrams lost, changed or moved");
    seen.expect("something was heard")
}

/// UDP_SEGMENT at the sender, with and without UDP_GRO at the receiver, both ways.
fn datagrams_in_one_write(by: By, family: Family) {
    let site = Site::new(by);
    let (a, b) = (site.a(), site.b());
    for (number, coalesced) in [0, 1].into_iter().enumerate() {
        let server = udp_bind(&b.ns, family.at(b, 53 + number as u16));
        let client = udp_bind(&a.ns, family.at(a, 10_000));
        for socket in [&server, &client] {
            IntOption::UDP_GRO.set(socket, coalesced);
        }
        let payloads = payloads(1_200);
        send_in_one_write(&client, server.local_addr().expect("address"), &payloads);
        let seen = receive_all(&site, &server, &payloads);
        send_in_one_write(&server, seen, &payloads);
        let from = receive_all(&site, &client, &payloads);
        assert_eq!(from, server.local_addr().expect("address"));
    }
}

fn datagrams_in_one_write_that_may_be_cut(by: By) {
    let site = Site::new(by);
    let (a, b) = (site.a(), site.b());
    small(&site, "br-a");
    small(&site, "br-b");
    let server = udp_bind(&b.ns, b.at(53).into());
    let client = udp_bind(&a.ns, a.at(10_000).into());
    for socket in [&client, &server] {
        IntOption::discovery(a.address.into()).set(socket, DISCOVER_NOT);
    }
    let payloads = payloads(1_450);
    send_in_one_write(&client, b.at(53).into(), &payloads);
    let seen = receive_all(&site, &server, &payloads);
    send_in_one_write(&server, seen, &payloads);
    receive_all(&site, &client, &payloads);
}
