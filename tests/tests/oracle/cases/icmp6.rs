//! ICMPv6: errors about flows, in both directions, and about nothing; what is for neighbours alone.

use std::net::Ipv6Addr;

use bridgefwd_tests::packets::flags::*;
use bridgefwd_tests::packets6::{Extension, Packet6};
use bridgefwd_tests::view::ETHERNET;

use super::tcp::Connection;
use crate::case::{Case, Sender, Sent as _, Step, a, raw, send};
use crate::net::Net;
use crate::world::{A2_6, A6, C6};

type Net6 = Net<Packet6>;

const KINDS: [(&str, (u8, u8)); 13] = [
    ("no route", (1, 0)),
    ("administratively prohibited", (1, 1)),
    ("beyond scope", (1, 2)),
    ("address unreachable", (1, 3)),
    ("port unreachable", (1, 4)),
    ("unreachable for a reason to come", (1, 9)),
    ("packet too big", (2, 0)),
    ("time exceeded", (3, 0)),
    ("reassembly time exceeded", (3, 1)),
    ("parameter problem", (4, 0)),
    ("unknown next header", (4, 1)),
    ("an error to come", (101, 0)),
    ("another error to come", (5, 0)),
];

/// An error about `quoted`, cut after `length` bytes of it.
fn error(src: Ipv6Addr, dst: Ipv6Addr, kind: (u8, u8), quoted: &Packet6, length: usize) -> Packet6 {
    let rest = match kind.0 {
        2 => 1300u32.to_be_bytes(),
        _ => [0; 4],
    };
    let inner = quoted.quoted();
    Packet6::error(src, dst, kind, rest, &inner[..length.min(inner.len())])
}

/// What the client sent, as the server sees it.
fn at_server(net: Net6, port: u16) -> Packet6 {
    Packet6 { src: net.seen(net.client), hop_limit: 63, ..net.there(port) }
}

/// What the server sent, as the client sees it.
fn at_client(net: Net6, port: u16) -> Packet6 {
    Packet6 { dst: net.client, hop_limit: 63, ..net.back(port) }
}

fn there(net: Net6, port: u16) -> Step {
    a(net.there(port))
}

fn back(net: Net6, port: u16) -> Step {
    net.b(net.back(port))
}

/// A port unreachable of the server.
fn refusal(net: Net6, quoted: &Packet6, length: usize) -> Packet6 {
    error(net.server, net.seen(net.client), (1, 4), quoted, length)
}

pub fn cases(net: Net6, beyond: Ipv6Addr) -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, kind) in KINDS {
        let quoted = move |port| at_server(net, port);
        cases.push(Case::new(
            net.name(&format!("icmp error/{name} from the server")),
            move |port| {
                let error = error(net.server, net.seen(net.client), kind, &quoted(port), 1232);
                vec![there(net, port), net.b(error), there(net, port), back(net, port)]
            },
        ));
        cases.push(Case::new(net.name(&format!("icmp error/{name} from beyond")), move |port| {
            let error = error(beyond, net.seen(net.client), kind, &quoted(port), 48);
            vec![there(net, port), net.b(error), there(net, port), back(net, port)]
        }));
        cases.push(Case::new(
            net.name(&format!("icmp error/{name} from the client")),
            move |port| {
                let quoted = at_client(net, port);
                let error = a(error(net.client, net.server, kind, &quoted, 1232));
                vec![there(net, port), back(net, port), error, there(net, port), back(net, port)]
            },
        ));
    }
    type Make = fn(Net6, u16) -> Vec<Step>;
    let single: [(&str, Make); 18] = [
        ("about a connection", |n, p| {
            let open = Connection::open(n, p).data();
            let quoted = open.of_client(PSH | ACK, b"data");
            let quoted = Packet6 { src: n.seen(n.client), hop_limit: 63, ..quoted };
            let error = error(n.server, n.seen(n.client), (2, 0), &quoted, 1232);
            open.b(error).data().steps()
        }),
        ("about the SYN", |n, p| {
            let syn = Connection::new(n, p).of_client(SYN, b"");
            let quoted = Packet6 { src: n.seen(n.client), hop_limit: 63, ..syn };
            Connection::new(n, p).client(SYN, b"").b(refusal(n, &quoted, 48)).steps()
        }),
        ("about an echo", |n, p| {
            let ping = Packet6::echo_request(n.client, n.server, p);
            let quoted = Packet6 { src: n.seen(n.client), ..ping.clone() };
            vec![a(ping), n.b(refusal(n, &quoted, 1232))]
        }),
        ("about an answer to an echo", |n, p| {
            let pong = Packet6::echo_reply(n.server, n.seen(n.client), p);
            let quoted = Packet6 { dst: n.client, ..pong.clone() };
            let error = a(error(n.client, n.server, (1, 3), &quoted, 1232));
            vec![a(Packet6::echo_request(n.client, n.server, p)), n.b(pong), error]
        }),
        ("about nothing, from the server", |n, p| vec![n.b(refusal(n, &at_server(n, p), 1232))]),
        ("about nothing, from the client", |n, p| {
            vec![a(error(n.client, n.server, (1, 4), &at_client(n, p), 1232))]
        }),
        ("to the client's own address", |n, p| {
            vec![there(n, p), n.b(Packet6 { dst: n.client, ..refusal(n, &at_server(n, p), 1232) })]
        }),
        ("with a bad checksum", |n, p| {
            let good = refusal(n, &at_server(n, p), 1232).addressed(n.far);
            vec![there(n, p), raw(n.far, good.broken(|frame| frame[ETHERNET + 42] ^= 1))]
        }),
        ("with 7 bytes of the quoted transport", |n, p| {
            vec![there(n, p), n.b(refusal(n, &at_server(n, p), 47))]
        }),
        ("with 4 bytes of the quoted transport", |n, p| {
            vec![there(n, p), n.b(refusal(n, &at_server(n, p), 44))]
        }),
        ("with half a quoted header", |n, p| {
            vec![there(n, p), n.b(refusal(n, &at_server(n, p), 24))]
        }),
        ("that quotes nothing", |n, p| vec![there(n, p), n.b(refusal(n, &at_server(n, p), 0))]),
        ("that quotes options", |n, p| {
            let quoted = at_server(n, p).extension(Extension::destination(&[4, 1, 8]));
            vec![there(n, p), n.b(refusal(n, &quoted, 1232))]
        }),
        ("that quotes a first fragment", |n, p| {
            let quoted = at_server(n, p).extension(Extension::fragment(0, true, 77));
            vec![there(n, p), n.b(refusal(n, &quoted, 1232))]
        }),
        ("that quotes a later fragment", |n, p| {
            let quoted = at_server(n, p).extension(Extension::fragment(64, true, 77));
            vec![there(n, p), n.b(refusal(n, &quoted, 1232))]
        }),
        ("that quotes an error", |n, p| {
            let inner = error(n.seen(n.client), n.server, (1, 4), &at_client(n, p), 48);
            vec![there(n, p), n.b(refusal(n, &inner, 1232))]
        }),
        ("about another port", |n, p| {
            vec![there(n, p), n.b(refusal(n, &at_server(n, p + 1), 1232)), back(n, p)]
        }),
        ("in its hop-by-hop options", |n, p| {
            let error = refusal(n, &at_server(n, p), 1232);
            vec![there(n, p), n.b(error.extension(Extension::hop_by_hop(&[5, 2, 0, 0])))]
        }),
    ];
    cases.extend(single.map(|(name, make)| {
        Case::new(net.name(&format!("icmp error/{name}")), move |port| make(net, port))
    }));
    cases
}

/// What is no echo and no error.
pub fn others(net: Net6) -> Vec<Case> {
    let mut cases = Vec::new();
    let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
    for (name, kind, hops) in [
        ("multicast listener query", 130, 1),
        ("multicast listener report", 131, 1),
        ("multicast listener done", 132, 1),
        ("router solicitation", 133, 255),
        ("router advertisement", 134, 255),
        ("neighbour advertisement", 136, 255),
        ("redirect", 137, 255),
        ("router renumbering", 138, 255),
        ("node information query", 139, 64),
        ("version 2 report", 143, 1),
        ("certification path solicitation", 148, 255),
        ("an experiment", 200, 64),
        ("unassigned", 180, 64),
    ] {
        for (hops_name, hops) in [("", hops), (" of far hops", 64)] {
            let name = net.name(&format!("icmp/{name}{hops_name}"));
            cases.push(Case::new(name, move |_| {
                let there = Packet6::icmp(net.client, net.server, kind, 0, [0; 4]);
                let there = there.payload(&[0; 32]).with(|p| p.hop_limit = hops);
                let back = Packet6 { src: net.server, dst: net.seen(net.client), ..there.clone() };
                let local = Packet6 { src: link_local, ..there.clone() };
                vec![a(there), net.b(back), a(local)]
            }));
        }
    }
    // 137 and what neighbours ask are no business of other networks, in whatever flow.
    cases.push(Case::new(net.name("icmp/neighbour solicitation for the server"), move |_| {
        let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 2);
        let ask = Packet6::icmp(A6, group, 135, 0, [0; 4]).payload(&net.server.octets());
        let ask = ask.with(|p| p.hop_limit = 255);
        let direct = Packet6 { dst: net.server, ..ask.clone() };
        vec![a(ask), a(direct)]
    }));
    cases.push(Case::new(net.name("icmp/an echo with a code"), move |port| {
        let [high, low] = port.to_be_bytes();
        vec![a(Packet6::icmp(net.client, net.server, 128, 3, [high, low, 0, 1]))]
    }));
    cases.push(Case::new(
        net.name("icmp/an echo reply for nothing, from the server"),
        move |port| vec![net.b(Packet6::echo_reply(net.server, net.seen(net.client), port))],
    ));
    cases.push(Case::new(
        net.name("icmp/an echo reply for nothing, from the client"),
        move |port| vec![a(Packet6::echo_reply(net.client, net.server, port))],
    ));
    cases.push(Case::new(net.name("icmp/an echo of the server"), move |port| {
        [net.client, net.router].map(|to| net.b(Packet6::echo_request(net.server, to, port))).into()
    }));
    cases.push(Case::new(net.name("icmp/two clients with one identifier"), move |port| {
        let ping = |src| Packet6::echo_request(src, net.server, port);
        let pong = net.b(Packet6::echo_reply(net.server, net.seen(net.client), port));
        vec![a(ping(net.client)), pong.clone(), send(Sender::A2, ping(A2_6)), pong]
    }));
    cases.push(Case::new(net.name("icmp error/by the wrong bridge"), move |port| {
        let quoted = at_server(net, port);
        let stray = error(C6, net.seen(net.client), (1, 4), &quoted, 1232);
        vec![there(net, port), send(Sender::C, stray), back(net, port)]
    }));
    cases
}
