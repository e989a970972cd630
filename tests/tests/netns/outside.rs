//! From a bridge to the uplink, by the kernel and by bridgefwd.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bridgefwd_tests::beyond::beyond_the_uplink;
use bridgefwd_tests::raw::Raw;
use bridgefwd_tests::site::{By, Family, Site, UPLINK};
use bridgefwd_tests::sockets::{IntOption, tcp_connect, tcp_listen, tcp_pair, udp_ask, udp_bind};
use bridgefwd_tests::topology::address6_of;
use bridgefwd_tests::traffic::{arrives, transfer};
use bridgefwd_tests::wait::PATIENCE;
use bridgefwd_tests::{for_both, for_both_families};

for_both_families!(clients_go_out, nobody_comes_in_unasked,);
// Of IPv4: behind one more router the kernel's own IPv6 transfer stalls now and then.
for_both!(the_path_mtu_beyond_is_found_out);

const A_MOMENT: Duration = Duration::from_millis(300);

/// A site whose world outside knows the clients' network, as it must where they keep their address.
fn site(by: By, family: Family) -> Site {
    let site = Site::new(by);
    let outside = site.outside();
    match family {
        // It may try, but nothing needs this route.
        Family::V4 => outside.ip(&format!("route add 10.1.0.0/24 via {UPLINK}\n")),
        Family::V6 => {
            outside.ip(&format!("route add {}/64 via {}\n", address6_of(1, 0), address6_of(9, 1)))
        }
    }
    site
}

fn seen(site: &Site, family: Family) -> std::net::IpAddr {
    family.pick(UPLINK, site.a().address6)
}

fn clients_go_out(by: By, family: Family) {
    let site = site(by, family);
    let (a, seen) = (site.a(), seen(&site, family));
    let outside = family.outside();
    let listener = tcp_listen(site.outside(), SocketAddr::new(outside, 80));
    let (near, far, from) = tcp_pair(&a.ns, Some(family.at(a, 10_000)), &listener);
    assert_eq!(from, SocketAddr::new(seen, 10_000));
    transfer(near, far, 2 << 20);
    let server = udp_bind(site.outside(), SocketAddr::new(outside, 53));
    let client = udp_bind(&a.ns, family.at(a, 10_000));
    assert_eq!(udp_ask(&client, &server, b"question"), SocketAddr::new(seen, 10_000));
    let pinger = Raw::icmp(&a.ns, family);
    for (sequence, length) in (1..).zip([56, 1400, 4000]) {
        let payload = vec![7; length];
        assert!(pinger.ping(outside, 9, sequence, &payload, PATIENCE), "{}", site.reasons());
    }
}

fn the_path_mtu_beyond_is_found_out(by: By) {
    let family = Family::V4;
    let site = site(by, family);
    let (far, to) = beyond_the_uplink(&site, family, 1300);
    let listener = tcp_listen(&far, SocketAddr::new(to, 80));
    let (near, far_end, from) = tcp_pair(&site.a().ns, None, &listener);
    assert_eq!(from.ip(), seen(&site, family));
    let copy = near.try_clone().expect("copy");
    transfer(near, far_end, 1 << 20);
    assert_eq!(IntOption::mtu(to).get(&copy), 1300, "{}", site.reasons());
}

fn nobody_comes_in_unasked(by: By, family: Family) {
    let site = site(by, family);
    let (a, outside) = (site.a(), site.outside());
    let inside = udp_bind(&a.ns, family.at(a, 10_000));
    let _listener = tcp_listen(&a.ns, family.at(a, 80));
    // A conversation that was asked for, from a port of the server's.
    let server = udp_bind(outside, SocketAddr::new(family.outside(), 53));
    let seen = udp_ask(&inside, &server, b"question");
    let refused = tcp_connect(outside, None, family.at(a, 80), A_MOMENT);
    assert!(refused.is_err(), "a connection came in");
    let stranger = udp_bind(outside, SocketAddr::new(family.outside(), 54));
    for to in [family.at(a, 10_000), seen] {
        stranger.send_to(b"unasked", to).expect("sent");
        assert!(!arrives(&inside, A_MOMENT), "a datagram came in");
    }
    let pinger = Raw::icmp(outside, family);
    assert!(!pinger.ping(family.of(a), 9, 1, b"hello", A_MOMENT), "a ping came in");
    // Nor does what was asked for from elsewhere come in by here: from an address beyond.
    let other = family.pick(Ipv4Addr::new(192, 0, 2, 77), address6_of(9, 77));
    let flags = if family == Family::V6 { " nodad" } else { "" };
    outside.ip(&format!(
        "addr add {other}/{} dev eth0{flags}\n",
        if flags.is_empty() { 24 } else { 64 }
    ));
    let elsewhere = udp_bind(outside, SocketAddr::new(other, 53));
    elsewhere.send_to(b"unasked", seen).expect("sent");
    assert!(!arrives(&inside, A_MOMENT), "a datagram of another server came in");
    // The one that was asked goes on.
    assert_eq!(udp_ask(&inside, &server, b"one more"), seen);
}
