//! The router's own conversations from the port and address that clients are masqueraded to.
//!
//! They are with a server that clients have flows to; neither takes anything from the other.

use std::net::{SocketAddr, UdpSocket};

use bridgefwd_tests::raw::Raw;
use bridgefwd_tests::site::{By, Family, NAT, Site};
use bridgefwd_tests::sockets::{tcp_listen, tcp_pair, udp_bind, udp_receive};
use bridgefwd_tests::topology::Options;
use bridgefwd_tests::traffic::say;
use bridgefwd_tests::wait::PATIENCE;
use bridgefwd_tests::{command, for_both, needs_root};

use crate::rig::Rig;

for_both!(
    tcp_of_the_router_first,
    tcp_of_the_client_first,
    udp_of_the_router_first,
    udp_of_the_client_first,
    ping_of_the_router_first,
    ping_of_the_client_first,
);

/// One that clients choose, and one that the router's kernel might give itself.
const PORTS: [u16; 2] = [10_000, 40_000];

fn tcp_of_the_router_first(by: By) {
    tcp(by, true);
}

fn tcp_of_the_client_first(by: By) {
    tcp(by, false);
}

fn tcp(by: By, router_first: bool) {
    let site = Site::new(by);
    let (a, b) = (site.a(), site.b());
    let listener = tcp_listen(&b.ns, b.at(80).into());
    for port in PORTS {
        let mut ends =
            [(&*site.router.ns, SocketAddr::from((NAT, port))), (&a.ns, a.at(port).into())];
        if !router_first {
            ends.reverse();
        }
        let mut pairs = ends.map(|(ns, from)| tcp_pair(ns, Some(from), &listener));
        assert_eq!(pairs[0].2, SocketAddr::from((NAT, port)), "whoever comes first keeps it");
        assert_eq!(pairs[1].2.ip(), NAT);
        assert_ne!(pairs[0].2, pairs[1].2);
        for _ in 0..2 {
            for (near, far, _) in &mut pairs {
                say(near, far, "question");
                say(far, near, "answer");
            }
        }
    }
}

fn udp_of_the_router_first(by: By) {
    udp(by, true);
}

fn udp_of_the_client_first(by: By) {
    udp(by, false);
}

/// With a socket of the router that is connected, one that is bound to the address, and one to any.
fn udp(by: By, router_first: bool) {
    let site = Site::new(by);
    let (a, b) = (site.a(), site.b());
    let server = udp_bind(&b.ns, b.at(53).into());
    let to = SocketAddr::from(b.at(53));
    for (number, port) in PORTS.into_iter().enumerate() {
        for (kind, port) in [("connected", port), ("bound", port + 1), ("anywhere", port + 2)] {
            let client = udp_bind(&a.ns, a.at(port).into());
            let ask_by_client = || udp_question(&client, &server, to);
            let own_at = if kind == "anywhere" { [0, 0, 0, 0].into() } else { NAT };
            // It is there before the client's flow only where it is to come first.
            let open = || {
                let own = udp_bind(&site.router.ns, SocketAddr::from((own_at, port)));
                if kind == "connected" {
                    own.connect(to).expect("connected");
                }
                own
            };
            let (own, seen_own, seen) = if router_first {
                let own = open();
                let seen_own = udp_question(&own, &server, to);
                (own, seen_own, ask_by_client())
            } else {
                let seen = ask_by_client();
                let own = open();
                let seen_own = udp_question(&own, &server, to);
                (own, seen_own, seen)
            };
            assert_ne!(seen, seen_own, "{kind} {number}");
            assert_eq!((seen.ip(), seen_own.ip()), (NAT.into(), NAT.into()));
            // Both go on.
            assert_eq!(udp_question(&own, &server, to), seen_own, "{kind}");
            assert_eq!(ask_by_client(), seen, "{kind}");
            assert_eq!(udp_question(&own, &server, to), seen_own, "{kind}");
        }
    }
}

/// As [`bridgefwd_tests::sockets::udp_ask`], for a socket that may be connected.
#[track_caller]
fn udp_question(client: &UdpSocket, server: &UdpSocket, to: SocketAddr) -> SocketAddr {
    let text = format!("from {:?}", client.local_addr());
    if client.peer_addr().is_ok() {
        client.send(text.as_bytes()).expect("sent");
    } else {
        client.send_to(text.as_bytes(), to).expect("sent");
    }
    let (question, seen) = udp_receive(server);
    assert_eq!(question, text.as_bytes());
    server.send_to(&question, seen).expect("answered");
    let (answer, from) = udp_receive(client);
    assert_eq!((answer, from), (question, to));
    seen
}

fn ping_of_the_router_first(by: By) {
    ping(by, true);
}

fn ping_of_the_client_first(by: By) {
    ping(by, false);
}

fn ping(by: By, router_first: bool) {
    let site = Site::new(by);
    let b = Family::V4.of(site.b());
    let pinged = Raw::icmp(&site.b().ns, Family::V4);
    let mut pingers = [
        ("the router", Raw::icmp(&site.router.ns, Family::V4)),
        ("the client", Raw::icmp(&site.a().ns, Family::V4)),
    ];
    if !router_first {
        pingers.reverse();
    }
    let mut seen = Vec::new();
    for sequence in 1..=3 {
        for (who, pinger) in &pingers {
            assert!(
                pinger.ping(b, 4711, sequence, who.as_bytes(), PATIENCE),
                "{who}, {sequence}: {}",
                site.reasons()
            );
            seen.push(pinged.wait("the request", |it| Some((it.echo_request()?.0, it.from))));
        }
    }
    assert_ne!(seen[0], seen[1]);
    assert!(seen.chunks(2).all(|pair| pair == &seen[..2]), "{seen:?}");
}

/// A network that is not ours, masqueraded by the kernel to the address that our clients have too.
#[test]
fn of_others_that_the_kernel_masquerades() {
    needs_root!();
    let mut rig = Rig::allowed(Options::default(), &[]);
    let other = rig.router.plug("br-c");
    let rules = "*nat\n-A POSTROUTING -s 10.3.0.0/24 -o br-b -j MASQUERADE\nCOMMIT\n";
    rig.router.ns.run(|| command::run_with_input("iptables-restore", &["-w"], rules));
    let (a, b, c) = (rig.a(), rig.b(), &rig.router.hosts[other]);
    let listener = tcp_listen(&b.ns, b.at(80).into());
    let mut ours = tcp_pair(&a.ns, Some(a.at(10_000).into()), &listener);
    let mut theirs = tcp_pair(&c.ns, Some(c.at(10_000).into()), &listener);
    assert_eq!(ours.2, SocketAddr::from((NAT, 10_000)));
    assert_eq!(theirs.2.ip(), NAT);
    assert_ne!(ours.2, theirs.2);
    for _ in 0..2 {
        for (near, far, _) in [&mut ours, &mut theirs] {
            say(near, far, "question");
            say(far, near, "answer");
        }
    }
}
