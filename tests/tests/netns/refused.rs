//! What no pair allows, where everything else is denied: nothing of it arrives.

use std::net::SocketAddr;
use std::time::Duration;

use bridgefwd_tests::inject::Injector;
use bridgefwd_tests::namespaces::Namespace;
use bridgefwd_tests::packets::Packet;
use bridgefwd_tests::raw::Raw;
use bridgefwd_tests::site::{By, Family, NAT, Site};
use bridgefwd_tests::sockets::{tcp_connect, tcp_listen, udp_ask, udp_bind};
use bridgefwd_tests::topology::Host;
use bridgefwd_tests::traffic::arrives;
use bridgefwd_tests::view::at;
use bridgefwd_tests::{for_both, for_both_families};

for_both_families!(
    the_server_opens_nothing,
    a_third_bridge_reaches_nobody,
    nobody_reaches_a_third_bridge
);
for_both!(packets_of_a_flow_by_the_wrong_bridge);

const A_MOMENT: Duration = Duration::from_millis(250);

/// Neither a connection nor a datagram nor a ping gets there.
#[track_caller]
fn refused(site: &Site, family: Family, from: &Namespace, to: &Host) {
    let _listener = tcp_listen(&to.ns, family.at(to, 80));
    let server = udp_bind(&to.ns, family.at(to, 53));
    assert!(tcp_connect(from, None, family.at(to, 80), A_MOMENT).is_err(), "{}", site.reasons());
    let client = udp_bind(from, SocketAddr::new(family.unspecified(), 10_000));
    client.send_to(b"hello", family.at(to, 53)).expect("sent");
    assert!(!arrives(&server, A_MOMENT), "{}", site.reasons());
    let pinger = Raw::icmp(from, family);
    assert!(!pinger.ping(family.of(to), 5, 1, b"hello", A_MOMENT), "{}", site.reasons());
}

fn the_server_opens_nothing(by: By, family: Family) {
    let site = Site::new(by);
    let (a, b) = (site.a(), site.b());
    refused(&site, family, &b.ns, a);
    // Nor to somebody it is talking with, from another port or to another one.
    let client = udp_bind(&a.ns, family.at(a, 10_000));
    let server = udp_bind(&b.ns, family.at(b, 53));
    udp_ask(&client, &server, b"question");
    for (from, to) in [(54, 10_000), (53, 10_001)] {
        let listening = (to != 10_000).then(|| udp_bind(&a.ns, family.at(a, to)));
        let listening = listening.as_ref().unwrap_or(&client);
        let other = (from != 53).then(|| udp_bind(&b.ns, family.at(b, from)));
        let other = other.as_ref().unwrap_or(&server);
        other.send_to(b"unasked", family.at(a, to)).expect("sent");
        assert!(!arrives(listening, A_MOMENT), "{from} to {to}; {}", site.reasons());
    }
}

fn a_third_bridge_reaches_nobody(by: By, family: Family) {
    let site = Site::new(by);
    for to in [site.a(), site.b()] {
        refused(&site, family, &site.c().ns, to);
    }
}

fn nobody_reaches_a_third_bridge(by: By, family: Family) {
    let site = Site::new(by);
    for from in [site.a(), site.b()] {
        refused(&site, family, &from.ns, site.c());
    }
}

/// With the reverse path checked, as it is on every distribution.
fn packets_of_a_flow_by_the_wrong_bridge(by: By) {
    let site = Site::new(by);
    for interface in ["all", "br-a", "br-b", "br-c"] {
        site.router.ns.sysctl(&format!("net/ipv4/conf/{interface}/rp_filter"), "1");
    }
    let (a, b, c) = (site.a(), site.b(), site.c());
    let client = udp_bind(&a.ns, a.at(10_000).into());
    let server = udp_bind(&b.ns, b.at(53).into());
    let seen = udp_ask(&client, &server, b"question");
    let wrong = Injector::new(&c.ns, "eth0");
    let router = site.router.bridge("br-c").mac;
    let send = |from, to| {
        wrong.send(&Packet::udp(from, to).macs(c.mac, router).payload(b"forged").build());
    };
    // As an answer of the server, and as a question of the client.
    send(b.at(53), at(NAT, seen.port()));
    assert!(!arrives(&client, A_MOMENT), "{}", site.reasons());
    send(b.at(53), a.at(10_000));
    assert!(!arrives(&client, A_MOMENT), "{}", site.reasons());
    send(a.at(10_000), b.at(53));
    assert!(!arrives(&server, A_MOMENT), "{}", site.reasons());
    // And by the server's bridge what only the client may send.
    let wrong = Injector::new(&b.ns, "eth0");
    let router = site.router.bridge("br-b").mac;
    let forged = Packet::udp(a.at(10_000), b.at(53)).macs(b.mac, router).payload(b"forged");
    wrong.send(&forged.build());
    assert!(!arrives(&server, A_MOMENT), "{}", site.reasons());
    assert_eq!(udp_ask(&client, &server, b"one more"), seen);
}
