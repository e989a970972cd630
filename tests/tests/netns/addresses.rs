//! Addresses that clients are masqueraded to, and that change under traffic.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use bridgefwd_tests::for_both;
use bridgefwd_tests::namespaces::Namespace;
use bridgefwd_tests::site::{By, NAT, OUTSIDE, Site, UPLINK};
use bridgefwd_tests::sockets::{udp_ask, udp_bind, uninterrupted};
use bridgefwd_tests::wait::{PATIENCE, poll};

for_both!(
    the_bridge_gets_another_address,
    the_uplink_gets_another_address,
    an_address_goes_and_comes
);

/// An end of the router, the server behind it, and the address that is to come.
struct End<'a> {
    name: &'static str,
    server: &'a Namespace,
    server_address: Ipv4Addr,
    old: Ipv4Addr,
    new: Ipv4Addr,
}

fn on_the_bridge(site: &Site) -> End<'_> {
    let (b, new) = (site.b(), Ipv4Addr::new(10, 2, 0, 88));
    End { name: "br-b", server: &b.ns, server_address: b.address, old: NAT, new }
}

fn the_bridge_gets_another_address(by: By) {
    let site = Site::new(by);
    another_address(&site, &on_the_bridge(&site));
}

fn the_uplink_gets_another_address(by: By) {
    let site = Site::new(by);
    let end = End {
        name: "up0",
        server: site.outside(),
        server_address: OUTSIDE,
        old: UPLINK,
        new: Ipv4Addr::new(192, 0, 2, 88),
    };
    another_address(&site, &end);
}

fn another_address(site: &Site, end: &End) {
    let (a, router) = (site.a(), &site.router.ns);
    // The second address of a subnet takes the place of the first, where that goes.
    router.sysctl(&format!("net/ipv4/conf/{}/promote_secondaries", end.name), "1");
    let server = udp_bind(end.server, SocketAddr::from((end.server_address, 53)));
    let ask = |client: &UdpSocket| udp_ask(client, &server, b"who am I?").ip();
    let old = udp_bind(&a.ns, a.at(10_000).into());
    assert_eq!(ask(&old), IpAddr::from(end.old));
    router.ip(&format!("addr add {}/24 dev {}\n", end.new, end.name));
    // The first one is still the one.
    assert_eq!(ask(&old), IpAddr::from(end.old));
    let second = udp_bind(&a.ns, a.at(10_001).into());
    assert_eq!(ask(&second), IpAddr::from(end.old));
    router.ip(&format!("addr del {}/24 dev {}\n", end.old, end.name));
    let third = udp_bind(&a.ns, a.at(10_002).into());
    assert_eq!(asked_until(&third, &server, end.new), end.new, "{}", site.reasons());
    assert_eq!(asked_until(&old, &server, end.new), end.new, "{}", site.reasons());
    assert_eq!(ask(&old), IpAddr::from(end.new));
    assert_eq!(ask(&third), IpAddr::from(end.new));
    // And back again: with both there, the one that there was first is kept.
    router.ip(&format!("addr add {}/24 dev {}\n", end.old, end.name));
    assert_eq!(ask(&old), IpAddr::from(end.new));
    router.ip(&format!("addr del {}/24 dev {}\n", end.new, end.name));
    assert_eq!(asked_until(&old, &server, end.old), end.old, "{}", site.reasons());
}

/// Asks until the server sees that address; the daemon, or the kernel's connection tracking, hears
/// of an address that is gone a moment later. Returns the last one that was seen.
#[track_caller]
fn asked_until(client: &UdpSocket, server: &UdpSocket, wanted: Ipv4Addr) -> IpAddr {
    let to = server.local_addr().expect("address");
    server.set_read_timeout(Some(Duration::from_millis(100))).expect("timeout");
    let mut last = IpAddr::from(Ipv4Addr::UNSPECIFIED);
    poll(PATIENCE, || {
        client.send_to(b"who am I?", to).expect("sent");
        let (_, seen) = uninterrupted(|| server.recv_from(&mut [0; 64])).ok()?;
        last = seen.ip();
        (last == wanted).then_some(())
    });
    while uninterrupted(|| server.recv_from(&mut [0; 64])).is_ok() {}
    server.set_read_timeout(Some(PATIENCE)).expect("timeout");
    last
}

fn an_address_goes_and_comes(by: By) {
    let site = Site::new(by);
    let end = on_the_bridge(&site);
    let a = site.a();
    let server = udp_bind(end.server, SocketAddr::from((end.server_address, 53)));
    let client = udp_bind(&a.ns, a.at(10_000).into());
    assert_eq!(udp_ask(&client, &server, b"before").ip(), IpAddr::from(end.old));
    site.router.ns.ip("addr flush dev br-b\naddr add 10.2.0.88/24 dev br-b\n");
    assert_eq!(asked_until(&client, &server, end.new), end.new, "{}", site.reasons());
    assert_eq!(udp_ask(&client, &server, b"after").ip(), IpAddr::from(end.new));
}
