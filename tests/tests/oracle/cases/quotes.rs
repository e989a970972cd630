//! What ICMP errors quote: as little as they may, less than that, options, pieces; and from a router
//! on the way.

use std::net::Ipv4Addr;

use bridgefwd_tests::packets::{Packet, flags::*};
use bridgefwd_tests::view::ETHERNET;

use super::tcp::Connection;
use crate::case::{Case, Step, a};
use crate::net::Net;

type Net4 = Net<Packet>;

/// An error about a packet, of which it quotes so many bytes.
fn error(src: Ipv4Addr, dst: Ipv4Addr, kind: (u8, u8), quoted: &Packet, length: usize) -> Packet {
    let inner = quoted.build()[ETHERNET..].to_vec();
    let rest = match kind {
        (3, 4) => [0, 0, 5, 0x14],
        (12, 0) => [8, 0, 0, 0],
        (5, _) => [10, 3, 0, 2],
        _ => [0; 4],
    };
    Packet::icmp(src, dst, kind.0, kind.1, rest)
        .payload(&inner[..length.min(inner.len())])
        .with(|packet| packet.dont_fragment = false)
}

/// What the client sent, as the server sees it.
fn at_server(net: Net4, port: u16) -> Packet {
    Packet { src: net.seen(net.client), ttl: 63, ..net.there(port) }
}

/// A quoted packet changed in some way.
type Quoted = fn(Packet) -> Packet;

pub fn cases(net: Net4, beyond: Ipv4Addr) -> Vec<Case> {
    let mut cases = Vec::new();
    let lengths =
        [("8 bytes", 28), ("7 bytes", 27), ("4 bytes", 24), ("no byte", 20), ("all", 576)];
    let kinds: [(&str, (u8, u8)); 12] = [
        ("unreachable", (3, 1)),
        ("an unknown protocol", (3, 2)),
        ("fragmentation needed", (3, 4)),
        ("source route failed", (3, 5)),
        ("unreachable with code 15", (3, 15)),
        ("unreachable with code 77", (3, 77)),
        ("time exceeded", (11, 0)),
        ("reassembly time exceeded", (11, 1)),
        ("parameter problem", (12, 0)),
        ("a missing option", (12, 1)),
        ("source quench", (4, 0)),
        ("redirect of the network", (5, 0)),
    ];
    for (kind_name, kind) in kinds {
        for (length_name, length) in lengths {
            let name = format!("quote/{kind_name} with {length_name} of the transport");
            cases.push(Case::new(net.name(&name), move |port| {
                let to = net.seen(net.client);
                let error = net.b(error(beyond, to, kind, &at_server(net, port), length));
                vec![a(net.there(port)), error, net.b(net.back(port))]
            }));
        }
    }
    let changes: [(&str, Quoted); 9] = [
        ("with options", |p| p.with(|p| p.options = vec![7, 7, 4, 0, 0, 0, 0, 0])),
        ("with its TTL at 0", |p| p.with(|p| p.ttl = 0)),
        ("with another TOS", |p| p.with(|p| p.tos = 0xb8)),
        ("a first piece", |p| p.with(|p| (p.dont_fragment, p.more_fragments) = (false, true))),
        ("a later piece", |p| p.with(|p| (p.dont_fragment, p.fragment_offset) = (false, 64))),
        ("another source", |p| p.with(|p| p.src = Ipv4Addr::new(10, 77, 0, 1))),
        ("another destination", |p| p.with(|p| p.dst = Ipv4Addr::new(10, 2, 0, 77))),
        ("the client's own address", |p| p.with(|p| p.src = crate::world::A)),
        ("of another protocol", |p| {
            p.with(|p| p.transport = bridgefwd_tests::packets::Transport::Other(143))
        }),
    ];
    for (name, change) in changes {
        cases.push(Case::new(net.name(&format!("quote/{name}")), move |port| {
            let quoted = change(at_server(net, port));
            let error = net.b(error(beyond, net.seen(net.client), (3, 1), &quoted, 576));
            vec![a(net.there(port)), error, net.b(net.back(port))]
        }));
    }
    // Of a connection, the number in the quote may be anything: the client judges it.
    for (name, length) in [("8 bytes", 28), ("all", 576)] {
        let case = format!("quote/{name} of a segment");
        cases.push(Case::new(net.name(&case), move |port| {
            let open = Connection::open(net, port).data();
            let quoted = Packet { ttl: 60, src: net.seen(net.client), ..open.of_client(ACK, b"x") };
            let step: Step = net.b(error(beyond, net.seen(net.client), (11, 0), &quoted, length));
            open.and(step).data().steps()
        }));
    }
    cases.push(Case::new(net.name("quote/padding behind it"), move |port| {
        let error = error(beyond, net.seen(net.client), (3, 1), &at_server(net, port), 28);
        let padded = error.with(|packet| packet.payload.extend([0; 100]));
        vec![a(net.there(port)), net.b(padded)]
    }));
    cases.push(Case::new(net.name("quote/an extension behind it"), move |port| {
        // RFC 4884: the quote is padded to 128 bytes, its length is in words, an MPLS label follows.
        let mut error = error(beyond, net.seen(net.client), (11, 0), &at_server(net, port), 576);
        error.payload.resize(128, 0);
        error.payload.extend([0x20, 0, 0xdf, 0x3e, 0, 8, 1, 1, 0, 1, 1, 1]);
        if let bridgefwd_tests::packets::Transport::Icmp { rest, .. } = &mut error.transport {
            rest[1] = 32;
        }
        vec![a(net.there(port)), net.b(error)]
    }));
    cases
}
