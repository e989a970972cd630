//! What traceroute finds: the routers on the way, the packets of the probe as they were sent.

use std::net::SocketAddr;
use std::time::Duration;

use bridgefwd_tests::beyond::Beyond;
use bridgefwd_tests::for_both_families;
use bridgefwd_tests::raw::{IcmpError, Raw};
use bridgefwd_tests::site::{By, Family, Site};
use bridgefwd_tests::sockets::{IntOption, tcp_listen, udp_bind};
use bridgefwd_tests::wait::PATIENCE;
use socket2::{Domain, Socket, Type};

for_both_families!(by_udp, by_ping, by_tcp);

/// The routers between the client and the host beyond.
fn routers(family: Family) -> [(i32, std::net::IpAddr); 2] {
    [(1, family.router(1)), (2, Beyond::router_address(family))]
}

fn by_udp(by: By, family: Family) {
    let site = Site::new(by);
    let _beyond = Beyond::new(&site);
    let a = site.a();
    let to = Beyond::host_address(family);
    let errors = Raw::icmp(&a.ns, family);
    // A port for each probe, as traceroute does it; then one flow for all probes.
    for one_flow in [false, true] {
        let port = |hops: i32| if one_flow { 33_500 } else { 33_434 + hops as u16 };
        let client = udp_bind(&a.ns, family.at(a, if one_flow { 10_001 } else { 10_000 }));
        let own = client.local_addr().expect("address");
        for (hops, router) in routers(family).into_iter().chain([(3, to)]) {
            IntOption::hops(to).set(&client, hops);
            let dst = SocketAddr::new(to, port(hops));
            client.send_to(b"traceroute", dst).expect("sent");
            let (error, from, quoted) = errors.wait_error(dst);
            let wanted =
                if hops < 3 { IcmpError::TimeExceeded } else { IcmpError::PortUnreachable };
            assert_eq!((error, from), (wanted, router), "hop {hops}");
            assert_eq!((quoted.src, quoted.protocol), (own, 17), "the probe as it was sent");
        }
    }
}

fn by_ping(by: By, family: Family) {
    let site = Site::new(by);
    let _beyond = Beyond::new(&site);
    let a = site.a();
    let to = Beyond::host_address(family);
    let pinger = Raw::icmp(&a.ns, family);
    for (hops, router) in routers(family) {
        pinger.set_hops(hops);
        pinger.send_echo(to, 99, hops as u16, b"traceroute");
        let (error, from, quoted) = pinger.wait_error(SocketAddr::new(to, 99));
        assert_eq!((error, from), (IcmpError::TimeExceeded, router), "hop {hops}");
        assert_eq!(quoted.src, SocketAddr::new(family.of(a), 99), "the probe as it was sent");
    }
    pinger.set_hops(3);
    assert!(pinger.ping(to, 99, 3, b"traceroute", PATIENCE), "{}", site.reasons());
}

fn by_tcp(by: By, family: Family) {
    let site = Site::new(by);
    let beyond = Beyond::new(&site);
    let a = site.a();
    let dst = SocketAddr::new(Beyond::host_address(family), 80);
    let _listener = tcp_listen(&beyond.host, dst);
    let errors = Raw::icmp(&a.ns, family);
    let probe = |hops: i32| {
        let socket =
            a.ns.run(|| Socket::new(Domain::for_address(dst), Type::STREAM, None).expect("socket"));
        IntOption::hops(dst.ip()).set(&socket, hops);
        socket.bind(&family.at(a, 10_000 + hops as u16).into()).expect("bound");
        socket
    };
    for (hops, router) in routers(family) {
        let socket = probe(hops);
        socket.set_nonblocking(true).expect("non-blocking");
        let begun = socket.connect(&dst.into());
        assert_eq!(begun.err().and_then(|it| it.raw_os_error()), Some(libc::EINPROGRESS));
        let (error, from, quoted) = errors.wait_error(dst);
        assert_eq!((error, from), (IcmpError::TimeExceeded, router), "hop {hops}");
        let own = socket.local_addr().expect("address").as_socket().expect("of IP");
        assert_eq!((quoted.src, quoted.protocol), (own, 6), "the probe as it was sent");
    }
    let within = Duration::from_millis(900);
    probe(3).connect_timeout(&dst.into(), within).expect("three hops are enough");
}
