//! ICMP errors about flows, in both directions, and those that are about nothing; other ICMP.

use bridgefwd_tests::packets::{Packet, flags::*};
use bridgefwd_tests::view::{ETHERNET, at};

use super::tcp::Connection;
use crate::case::{Case, Sender, Sent as _, Step, a, b, raw, send};
use crate::net::V4;
use crate::world::{A, B, C, NAT};
use std::net::Ipv4Addr;

/// A router somewhere behind the server.
const BEYOND: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 99);

/// An error about `quoted`, cut after `length` bytes of it.
fn error(src: Ipv4Addr, dst: Ipv4Addr, kind: (u8, u8), quoted: &Packet, length: usize) -> Packet {
    let inner = quoted.build()[ETHERNET..].to_vec();
    let rest = if kind == (3, 4) {
        [0, 0, 1300u16.to_be_bytes()[0], 1300u16.to_be_bytes()[1]]
    } else {
        [0; 4]
    };
    Packet::icmp(src, dst, kind.0, kind.1, rest)
        .payload(&inner[..length.min(inner.len())])
        .with(|packet| packet.dont_fragment = false)
}

/// What the client sent, as the server sees it.
fn udp_at_server(port: u16) -> Packet {
    Packet::udp(at(NAT, port), at(B, 53)).with(|packet| packet.ttl = 63)
}

/// What the server sent, as the client sees it.
fn udp_at_client(port: u16) -> Packet {
    Packet::udp(at(B, 53), at(A, port)).with(|packet| packet.ttl = 63)
}

fn there(port: u16) -> Step {
    a(Packet::udp(at(A, port), at(B, 53)))
}

fn back(port: u16) -> Step {
    b(Packet::udp(at(B, 53), at(NAT, port)))
}

const KINDS: [(&str, (u8, u8)); 9] = [
    ("network unreachable", (3, 0)),
    ("host unreachable", (3, 1)),
    ("port unreachable", (3, 3)),
    ("fragmentation needed", (3, 4)),
    ("administratively prohibited", (3, 13)),
    ("source quench", (4, 0)),
    ("redirect", (5, 1)),
    ("time exceeded", (11, 0)),
    ("parameter problem", (12, 0)),
];

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, kind) in KINDS {
        cases.push(Case::new(format!("icmp error/{name} from the server"), move |port| {
            let quoted = udp_at_server(port);
            vec![there(port), b(error(B, NAT, kind, &quoted, 576)), there(port), back(port)]
        }));
        cases.push(Case::new(format!("icmp error/{name} from beyond"), move |port| {
            let quoted = udp_at_server(port);
            vec![there(port), b(error(BEYOND, NAT, kind, &quoted, 28)), there(port), back(port)]
        }));
        cases.push(Case::new(format!("icmp error/{name} from the client"), move |port| {
            let quoted = udp_at_client(port);
            vec![
                there(port),
                back(port),
                a(error(A, B, kind, &quoted, 576)),
                there(port),
                back(port),
            ]
        }));
    }
    type Make = fn(u16) -> Vec<Step>;
    let single: [(&str, Make); 15] = [
        ("about a connection", |port| {
            let open = Connection::open(V4, port).data();
            let quoted = Packet { src: NAT, ttl: 63, ..open.of_client(PSH | ACK, b"data") };
            open.and(b(error(B, NAT, (3, 4), &quoted, 576))).data().steps()
        }),
        ("about a connection, 8 bytes of it", |port| {
            let open = Connection::open(V4, port).data();
            let quoted = Packet { src: NAT, ttl: 63, ..open.of_client(PSH | ACK, b"data") };
            open.and(b(error(B, NAT, (3, 1), &quoted, 28))).data().steps()
        }),
        ("about the SYN", |port| {
            let syn = Connection::new(V4, port).client(SYN, b"");
            let quoted =
                Packet { src: NAT, ttl: 63, ..Connection::new(V4, port).of_client(SYN, b"") };
            syn.and(b(error(BEYOND, NAT, (11, 0), &quoted, 28))).steps()
        }),
        ("about an echo", |port| {
            let quoted = Packet::echo_request(NAT, B, port);
            vec![a(Packet::echo_request(A, B, port)), b(error(BEYOND, NAT, (11, 0), &quoted, 576))]
        }),
        ("about an answer to an echo", |port| {
            let quoted = Packet::echo_reply(B, A, port);
            vec![
                a(Packet::echo_request(A, B, port)),
                b(Packet::echo_reply(B, NAT, port)),
                a(error(A, B, (3, 1), &quoted, 576)),
            ]
        }),
        ("about nothing, from the server", |port| {
            vec![b(error(B, NAT, (3, 3), &udp_at_server(port), 576))]
        }),
        ("about nothing, from the client", |port| {
            vec![a(error(A, B, (3, 3), &udp_at_client(port), 576))]
        }),
        ("to the client's own address", |port| {
            vec![there(port), b(error(B, A, (3, 3), &udp_at_server(port), 576))]
        }),
        ("with a bad checksum", |port| {
            let good = error(B, NAT, (3, 3), &udp_at_server(port), 576).addressed(Sender::B);
            vec![there(port), raw(Sender::B, good.broken(|frame| frame[ETHERNET + 22] ^= 1))]
        }),
        ("with a bad checksum of the quoted header", |port| {
            let good = error(B, NAT, (3, 3), &udp_at_server(port), 576);
            vec![there(port), b(good.with(|packet| packet.payload[10] ^= 1))]
        }),
        ("with 7 bytes of the quoted transport", |port| {
            vec![there(port), b(error(B, NAT, (3, 3), &udp_at_server(port), 27))]
        }),
        ("with half a quoted header", |port| {
            vec![there(port), b(error(B, NAT, (3, 3), &udp_at_server(port), 12))]
        }),
        ("that quotes options", |port| {
            let quoted = udp_at_server(port).with(|packet| packet.options = vec![1, 1, 1, 0]);
            vec![there(port), b(error(B, NAT, (3, 3), &quoted, 576))]
        }),
        ("that quotes an error", |port| {
            let inner = error(NAT, B, (3, 3), &udp_at_client(port), 28);
            vec![there(port), b(error(B, NAT, (3, 3), &inner, 576))]
        }),
        ("by the wrong bridge", |port| {
            let quoted = udp_at_server(port);
            let packet = error(C, NAT, (3, 3), &quoted, 576);
            vec![there(port), send(Sender::C, packet), back(port)]
        }),
    ];
    cases.extend(single.map(|(name, make)| Case::new(format!("icmp error/{name}"), make)));
    for (name, kind) in [
        ("timestamp request", 13u8),
        ("address mask request", 17),
        ("router solicitation", 10),
        ("router advertisement", 9),
        ("unknown type", 200),
    ] {
        cases.push(Case::new(format!("icmp/{name}"), move |port| {
            let [high, low] = port.to_be_bytes();
            vec![a(Packet::icmp(A, B, kind, 0, [high, low, 0, 1]).payload(&[0; 12]))]
        }));
    }
    cases.push(Case::new("icmp/an echo reply for nothing, from the server", |port| {
        vec![b(Packet::echo_reply(B, NAT, port))]
    }));
    cases.push(Case::new("icmp/an echo reply for nothing, from the client", |port| {
        vec![a(Packet::echo_reply(A, B, port))]
    }));
    cases.push(Case::new("icmp/an echo with a code", |port| {
        let [high, low] = port.to_be_bytes();
        vec![a(Packet::icmp(A, B, 8, 3, [high, low, 0, 1]))]
    }));
    cases
}
