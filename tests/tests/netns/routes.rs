//! Routes that change under traffic, and forwarding that is switched off and on.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use bridgefwd_tests::namespaces::Namespace;
use bridgefwd_tests::site::{By, Family, OUTSIDE, OUTSIDE6, Site};
use bridgefwd_tests::sockets::{tcp_listen, tcp_pair, udp_ask, udp_bind, uninterrupted};
use bridgefwd_tests::topology::address6_of;
use bridgefwd_tests::traffic::{arrives, say};
use bridgefwd_tests::wait::{PATIENCE, poll, until};
use bridgefwd_tests::{for_both, for_both_families};

for_both_families!(
    another_next_hop_on_the_same_bridge,
    another_end,
    another_default_route,
    forwarding_is_switched_off_and_on,
);
for_both!(no_route_any_more);

const A_MOMENT: Duration = Duration::from_millis(300);

/// An address that several hosts have, so that the route says which of them it is.
fn anycast(family: Family) -> IpAddr {
    family.pick(Ipv4Addr::new(10, 20, 0, 2), address6_of(20, 2))
}

/// A server at the address that several hosts have.
fn server_in(ns: &Namespace, family: Family) -> UdpSocket {
    let address = anycast(family);
    let flags = if address.is_ipv6() { " nodad" } else { "" };
    ns.ip(&format!("addr add {address} dev lo{flags}\n"));
    // An IPv6 address is only taken for the host's own a moment later.
    let of = if address.is_ipv6() { "-6" } else { "-4" };
    let local = [of, "route", "show", "table", "local", &address.to_string()];
    until("the address is the host's own", || !ns.command("ip", &local).is_empty());
    udp_bind(ns, SocketAddr::new(address, 53))
}

fn route(site: &Site, what: &str, via: IpAddr, dev: &str) {
    site.router.ns.ip(&format!("route replace {what} via {via} dev {dev}\n"));
}

fn another_next_hop_on_the_same_bridge(by: By, family: Family) {
    let site = Site::new(by);
    let (a, b, b2) = (site.a(), site.b(), site.b2());
    let (server, server2) = (server_in(&b.ns, family), server_in(&b2.ns, family));
    let what = anycast(family).to_string();
    route(&site, &what, family.of(b), "br-b");
    let client = udp_bind(&a.ns, family.at(a, 10_000));
    let seen = udp_ask(&client, &server, b"before");
    for _ in 0..2 {
        route(&site, &what, family.of(b2), "br-b");
        assert_eq!(udp_ask(&client, &server2, b"there"), seen, "{}", site.reasons());
        route(&site, &what, family.of(b), "br-b");
        assert_eq!(udp_ask(&client, &server, b"and back"), seen, "{}", site.reasons());
    }
}

fn another_end(by: By, family: Family) {
    moved_to_the_uplink(by, family, &anycast(family).to_string());
}

fn another_default_route(by: By, family: Family) {
    moved_to_the_uplink(by, family, "default");
}

/// Flows follow the route: new ones at once; those that exist may lose a packet, as they get another
/// source.
fn moved_to_the_uplink(by: By, family: Family, what: &str) {
    let site = Site::new(by);
    let (a, b, outside) = (site.a(), site.b(), site.outside());
    let (server, server_outside) = (server_in(&b.ns, family), server_in(outside, family));
    // The host outside knows the clients, for those that keep their address.
    outside.ip(&format!("route add {}/64 via {}\n", address6_of(1, 0), address6_of(9, 1)));
    route(&site, what, family.of(b), "br-b");
    let client = udp_bind(&a.ns, family.at(a, 10_000));
    assert_eq!(udp_ask(&client, &server, b"before").ip(), family.seen(a));
    route(&site, what, family.pick(OUTSIDE, OUTSIDE6), "up0");
    let seen_outside = family.pick(Ipv4Addr::new(192, 0, 2, 1), a.address6);
    let new = udp_bind(&a.ns, family.at(a, 10_001));
    assert_eq!(udp_ask(&new, &server_outside, b"new").ip(), seen_outside, "{}", site.reasons());
    assert_eq!(asked_until_heard(&client, &server_outside).ip(), seen_outside);
    assert_eq!(udp_ask(&client, &server_outside, b"after").ip(), seen_outside);
    route(&site, what, family.of(b), "br-b");
    asked_until_heard(&client, &server);
    assert_eq!(udp_ask(&client, &server, b"and back").ip(), family.seen(a));
}

/// Asks again until a question arrives; returns whom the server saw.
#[track_caller]
fn asked_until_heard(client: &UdpSocket, server: &UdpSocket) -> SocketAddr {
    let to = server.local_addr().expect("address");
    server.set_read_timeout(Some(Duration::from_millis(100))).expect("timeout");
    let heard = poll(PATIENCE, || {
        client.send_to(b"anybody?", to).expect("sent");
        Some(uninterrupted(|| server.recv_from(&mut [0; 64])).ok()?.1)
    });
    // None is left over for the next question.
    while uninterrupted(|| server.recv_from(&mut [0; 64])).is_ok() {}
    server.set_read_timeout(Some(PATIENCE)).expect("timeout");
    heard.expect("a question is heard")
}

fn forwarding_is_switched_off_and_on(by: By, family: Family) {
    let site = Site::new(by);
    let (a, b) = (site.a(), site.b());
    let key = match family {
        Family::V4 => "net/ipv4/ip_forward",
        Family::V6 => "net/ipv6/conf/all/forwarding",
    };
    let server = udp_bind(&b.ns, family.at(b, 53));
    let client = udp_bind(&a.ns, family.at(a, 10_000));
    let listener = tcp_listen(&b.ns, family.at(b, 80));
    let (mut near, mut far, _) = tcp_pair(&a.ns, Some(family.at(a, 10_000)), &listener);
    let seen = udp_ask(&client, &server, b"on");
    say(&mut near, &mut far, "on");
    site.router.ns.sysctl(key, "0");
    client.send_to(b"off", family.at(b, 53)).expect("sent");
    assert!(!arrives(&server, A_MOMENT), "forwarded, though forwarding is off");
    server.send_to(b"off", seen).expect("sent");
    assert!(!arrives(&client, A_MOMENT), "answered, though forwarding is off");
    site.router.ns.sysctl(key, "1");
    assert_eq!(udp_ask(&client, &server, b"on again"), seen);
    say(&mut near, &mut far, "on again");
    say(&mut far, &mut near, "on again");
}

fn no_route_any_more(by: By) {
    let site = Site::new(by);
    let (a, b) = (site.a(), site.b());
    let server = server_in(&b.ns, Family::V4);
    let what = anycast(Family::V4).to_string();
    route(&site, &what, b.address.into(), "br-b");
    let client = udp_bind(&a.ns, a.at(10_000).into());
    let seen = udp_ask(&client, &server, b"before");
    let errors = bridgefwd_tests::raw::Raw::icmp(&a.ns, Family::V4);
    site.router.ns.ip(&format!("route del {what}\n"));
    client.send_to(b"during", server.local_addr().expect("address")).expect("sent");
    // Net unreachable, from the router's address on the client's bridge.
    let from = errors.wait("net unreachable", |it| (it.bytes[..2] == [3, 0]).then_some(it.from));
    assert_eq!(from, Family::V4.router(1));
    assert!(!arrives(&server, A_MOMENT));
    route(&site, &what, b.address.into(), "br-b");
    assert_eq!(udp_ask(&client, &server, b"after"), seen);
}
