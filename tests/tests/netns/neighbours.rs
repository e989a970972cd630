//! Neighbours that are not known yet, change their MAC, or are another machine than before.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use bridgefwd_tests::namespaces::Namespace;
use bridgefwd_tests::raw::{IcmpError, Raw};
use bridgefwd_tests::replaced::replace;
use bridgefwd_tests::site::{A, B, By, Family, Site};
use bridgefwd_tests::sockets::{
    tcp_connect, tcp_listen, tcp_pair, udp_ask, udp_bind, udp_receive, uninterrupted,
};
use bridgefwd_tests::topology::{Host, address6_of, mac_text};
use bridgefwd_tests::traffic::say;
use bridgefwd_tests::wait::{PATIENCE, poll, until};
use bridgefwd_tests::{for_both, for_both_families};

for_both_families!(
    nothing_is_lost_while_the_neighbour_is_asked_for,
    an_absent_host_is_unreachable,
    the_client_changes_its_mac,
    the_server_changes_its_mac_and_says_so,
    the_server_changes_its_mac_and_speaks_first,
    the_client_comes_back_behind_another_port,
    the_server_comes_back_behind_another_port,
);
for_both!(the_server_changes_its_mac_silently);

const NEW_MAC: [u8; 6] = [0x02, 0xbf, 0x77, 0, 0, 1];

/// A site whose router believes a changed MAC at once, rather than after a second.
fn site(by: By) -> Site {
    let site = Site::new(by);
    for bridge in ["br-a", "br-b"] {
        for family in ["ipv4", "ipv6"] {
            site.router.ns.sysctl(&format!("net/{family}/neigh/{bridge}/locktime"), "0");
        }
    }
    site
}

fn forget_neighbours(site: &Site) {
    // What is in use is only looked at again; what is gone has to be asked for.
    for bridge in ["br-a", "br-b"] {
        site.router.ns.ip(&format!("neigh flush nud all dev {bridge}\n"));
    }
}

/// Waits until the router knows the host by this MAC.
#[track_caller]
fn until_known(router: &Namespace, address: IpAddr, mac: [u8; 6]) {
    let mac = mac_text(mac);
    until("the router knows the new MAC", || {
        router.command("ip", &["neigh", "show", &address.to_string()]).contains(&mac)
    });
}

fn change_mac(host: &Host) {
    host.ns.ip(&format!("link set eth0 address {}\n", mac_text(NEW_MAC)));
}

fn nothing_is_lost_while_the_neighbour_is_asked_for(by: By, family: Family) {
    let site = Site::new(by);
    let (a, b) = (site.a(), site.b());
    let server = udp_bind(&b.ns, family.at(b, 53));
    let listener = tcp_listen(&b.ns, family.at(b, 80));
    let pinger = Raw::icmp(&a.ns, family);
    for round in 0..2 {
        let port = 10_000 + round;
        forget_neighbours(&site);
        let client = udp_bind(&a.ns, family.at(a, port));
        udp_ask(&client, &server, b"the only datagram");
        // And in a flow that exists.
        forget_neighbours(&site);
        udp_ask(&client, &server, b"the only other one");
        forget_neighbours(&site);
        assert!(pinger.ping(family.of(b), 9, round, b"once", PATIENCE), "{}", site.reasons());
        forget_neighbours(&site);
        let (_near, _far, _) = tcp_pair(&a.ns, Some(family.at(a, port)), &listener);
    }
    assert_eq!(a.ns.netstat("TcpExt", "TCPSynRetrans"), 0, "SYNs that had to be sent again");
    assert_eq!(b.ns.netstat("TcpExt", "TCPSynRetrans"), 0, "answers that had to be sent again");
}

fn an_absent_host_is_unreachable(by: By, family: Family) {
    let site = Site::new(by);
    let a = site.a();
    let absent = family.pick(Ipv4Addr::new(10, 2, 0, 99), address6_of(2, 99));
    let errors = Raw::icmp(&a.ns, family);
    let client = udp_bind(&a.ns, family.at(a, 10_000));
    let begin = Instant::now();
    client.send_to(b"is anybody there?", SocketAddr::new(absent, 53)).expect("sent");
    let refused = tcp_connect(&a.ns, None, SocketAddr::new(absent, 80), PATIENCE);
    let error = refused.err().and_then(|error| error.raw_os_error());
    let took = begin.elapsed();
    assert_eq!(error, Some(libc::EHOSTUNREACH), "{}", site.reasons());
    // Three questions, a second apart, before the kernel gives up.
    assert!(took < Duration::from_secs(6), "{took:?}");
    for port in [53, 80] {
        let (error, from, quoted) = errors.wait_error(SocketAddr::new(absent, port));
        assert_eq!(error, IcmpError::HostUnreachable);
        // The packet is translated when the kernel gives up, and so its error comes from the
        // address that it was translated to. The one that the client knows is as good.
        assert!([family.router(1), family.router(2)].contains(&from), "{from}");
        assert_eq!(quoted.src.ip(), family.of(a));
        assert!(port == 80 || quoted.src.port() == 10_000, "{quoted:?}");
    }
}

/// Exchanges over a connection and a datagram flow, before and after something happens.
#[track_caller]
fn goes_on(site: &Site, family: Family, happens: impl FnOnce(&Site)) {
    let (a, b) = (site.a(), site.b());
    let server = udp_bind(&b.ns, family.at(b, 53));
    let client = udp_bind(&a.ns, family.at(a, 10_000));
    let listener = tcp_listen(&b.ns, family.at(b, 80));
    let (mut near, mut far, _) = tcp_pair(&a.ns, Some(family.at(a, 10_000)), &listener);
    let seen = udp_ask(&client, &server, b"before");
    say(&mut near, &mut far, "before");
    happens(site);
    assert_eq!(udp_ask(&client, &server, b"after"), seen);
    say(&mut near, &mut far, "after");
    say(&mut far, &mut near, "after");
    tcp_pair(&a.ns, None, &listener);
}

fn the_client_changes_its_mac(by: By, family: Family) {
    // It forgets its neighbours with it, and by its questions the router learns.
    goes_on(&site(by), family, |site| change_mac(site.a()));
}

fn the_server_changes_its_mac_and_says_so(by: By, family: Family) {
    goes_on(&site(by), family, |site| {
        let b = site.b();
        b.ns.sysctl("net/ipv4/conf/eth0/arp_notify", "1");
        b.ns.sysctl("net/ipv6/conf/eth0/ndisc_notify", "1");
        change_mac(b);
        until_known(&site.router.ns, family.of(b), NEW_MAC);
    });
}

fn the_server_changes_its_mac_and_speaks_first(by: By, family: Family) {
    let site = site(by);
    let (a, b) = (site.a(), site.b());
    let server = udp_bind(&b.ns, family.at(b, 53));
    let client = udp_bind(&a.ns, family.at(a, 10_000));
    let seen = udp_ask(&client, &server, b"before");
    change_mac(b);
    server.send_to(b"news", seen).expect("sent");
    assert_eq!(udp_receive(&client).0, b"news");
    assert_eq!(udp_ask(&client, &server, b"after"), seen);
}

fn the_server_changes_its_mac_silently(by: By) {
    let site = site(by);
    // The router doubts what it has not heard for a while, and asks: here sooner than usual.
    for (key, value) in [
        ("base_reachable_time_ms", "500"),
        ("delay_first_probe_time", "1"),
        ("retrans_time_ms", "100"),
    ] {
        site.router.ns.sysctl(&format!("net/ipv4/neigh/br-b/{key}"), value);
    }
    let (a, b) = (site.a(), site.b());
    let server = udp_bind(&b.ns, b.at(53).into());
    let client = udp_bind(&a.ns, a.at(10_000).into());
    let seen = udp_ask(&client, &server, b"before");
    change_mac(b);
    assert_eq!(ask_until_heard(&client, &server, b.at(53).into()), seen);
    assert_eq!(udp_ask(&client, &server, b"after"), seen);
}

/// Asks again and again, until a question arrives; returns whom the server saw.
#[track_caller]
fn ask_until_heard(client: &UdpSocket, server: &UdpSocket, to: SocketAddr) -> SocketAddr {
    server.set_read_timeout(Some(Duration::from_millis(50))).expect("timeout");
    let heard = poll(2 * PATIENCE, || {
        client.send_to(b"anybody?", to).expect("sent");
        match uninterrupted(|| server.recv_from(&mut [0; 64])) {
            Ok((_, seen)) => Some(seen),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                None
            }
        }
    });
    // What was held back for the neighbour may come too.
    while uninterrupted(|| server.recv_from(&mut [0; 64])).is_ok() {}
    server.set_read_timeout(Some(PATIENCE)).expect("timeout");
    heard.expect("a question is heard")
}

fn the_client_comes_back_behind_another_port(by: By, family: Family) {
    let mut site = site(by);
    let (server, listener, seen);
    {
        let (a, b) = (site.a(), site.b());
        server = udp_bind(&b.ns, family.at(b, 53));
        listener = tcp_listen(&b.ns, family.at(b, 80));
        let client = udp_bind(&a.ns, family.at(a, 10_000));
        seen = udp_ask(&client, &server, b"before");
        tcp_pair(&a.ns, None, &listener);
    }
    replace(&mut site, A, NEW_MAC);
    let a = site.a();
    let client = udp_bind(&a.ns, family.at(a, 10_000));
    assert_eq!(udp_ask(&client, &server, b"after"), seen, "{}", site.reasons());
    server.send_to(b"news", seen).expect("sent");
    assert_eq!(udp_receive(&client).0, b"news");
    let (mut near, mut far, _) = tcp_pair(&a.ns, None, &listener);
    say(&mut near, &mut far, "question");
    say(&mut far, &mut near, "answer");
    assert!(Raw::icmp(&a.ns, family).ping(family.of(site.b()), 7, 1, b"hello", PATIENCE));
}

fn the_server_comes_back_behind_another_port(by: By, family: Family) {
    let mut site = site(by);
    let client = {
        let (a, b) = (site.a(), site.b());
        let server = udp_bind(&b.ns, family.at(b, 53));
        let client = udp_bind(&a.ns, family.at(a, 10_000));
        udp_ask(&client, &server, b"before");
        client
    };
    replace(&mut site, B, NEW_MAC);
    let (a, b) = (site.a(), site.b());
    // It says something to the router, and for that asks who that is: the router learns by it.
    let greeting = udp_bind(&b.ns, family.at(b, 9));
    greeting.send_to(b"back again", SocketAddr::new(family.router(2), 9)).expect("sent");
    until_known(&site.router.ns, family.of(b), NEW_MAC);
    let server = udp_bind(&b.ns, family.at(b, 53));
    let listener = tcp_listen(&b.ns, family.at(b, 80));
    let seen = udp_ask(&client, &server, b"after");
    server.send_to(b"news", seen).expect("sent");
    assert_eq!(udp_receive(&client).0, b"news");
    tcp_pair(&a.ns, None, &listener);
}
