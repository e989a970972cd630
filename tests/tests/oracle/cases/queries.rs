//! ICMP queries, with their answers: what asks has an identifier, as an echo has; and ICMP that is
//! neither a query nor an error.

use bridgefwd_tests::packets::{Packet, Transport};

use crate::case::{Case, Sender, Step, a, send};
use crate::net::Net;

/// A query of a type, or its answer; for each the identifier.
fn query(src: std::net::Ipv4Addr, dst: std::net::Ipv4Addr, kind: u8, id: u16) -> Packet {
    let [high, low] = id.to_be_bytes();
    let length = match kind {
        13 | 14 => 12,
        17 | 18 => 4,
        _ => 0,
    };
    Packet::icmp(src, dst, kind, 0, [high, low, 0, 1]).payload(&[3; 12][..length])
}

pub fn cases(net: Net<Packet>) -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, ask, answer) in
        [("timestamp", 13, 14), ("information", 15, 16), ("address mask", 17, 18)]
    {
        let there = move |port| query(net.client, net.server, ask, port);
        let back = move |port| query(net.server, net.seen(net.client), answer, port);
        let mut case = |rest: &str, steps: Box<dyn Fn(u16) -> Vec<Step>>| {
            cases.push(Case::new(net.name(&format!("query/{name}, {rest}")), steps));
        };
        case("asked and answered", Box::new(move |p| vec![a(there(p)), net.b(back(p))]));
        case(
            "again and again",
            Box::new(move |p| [a(there(p)), net.b(back(p)), a(there(p)), net.b(back(p))].into()),
        );
        case("an answer for nothing", Box::new(move |p| vec![net.b(back(p))]));
        case(
            "an answer to an echo",
            Box::new(move |p| {
                vec![a(Packet::echo_request(net.client, net.server, p)), net.b(back(p))]
            }),
        );
        case(
            "an echo reply to it",
            Box::new(move |p| {
                let reply = Packet::echo_reply(net.server, net.seen(net.client), p);
                vec![a(there(p)), net.b(reply), net.b(back(p))]
            }),
        );
        case(
            "of the server",
            Box::new(move |p| {
                let ask = query(net.server, net.seen(net.client), ask, p);
                vec![net.b(ask.clone()), net.b(Packet { dst: net.client, ..ask })]
            }),
        );
        case(
            "with a bad checksum",
            Box::new(move |p| {
                let mut frame = crate::case::Sent::frame(there(p), Sender::A);
                frame[36] ^= 1;
                vec![crate::case::raw(Sender::A, frame)]
            }),
        );
        case("with TTL 1", Box::new(move |p| vec![a(there(p).with(|p| p.ttl = 1))]));
        case(
            "of the other client, too",
            Box::new(move |p| {
                let other = Packet { src: net.other, ..there(p) };
                vec![a(there(p)), net.b(back(p)), send(Sender::A2, other), net.b(back(p))]
            }),
        );
    }
    for (name, kind, code) in [
        ("router solicitation", 10, 0),
        ("router advertisement", 9, 0),
        ("type 1", 1, 0),
        ("type 6", 6, 0),
        ("traceroute", 30, 0),
        ("an extended echo", 42, 0),
        ("type 200", 200, 7),
        ("an echo reply with a code", 0, 5),
    ] {
        cases.push(Case::new(net.name(&format!("query/{name}, both ways")), move |p| {
            let [high, low] = p.to_be_bytes();
            let rest = [high, low, 0, 1];
            let seen = net.seen(net.client);
            let there = Packet::icmp(net.client, net.server, kind, code, rest);
            let back = Packet::icmp(net.server, seen, kind, code, rest);
            vec![a(there), net.b(back.clone()), net.b(Packet { dst: net.client, ..back })]
        }));
    }
    cases.push(Case::new(net.name("query/two clients with one identifier"), move |p| {
        let ping = |src| Packet::echo_request(src, net.server, p);
        let pong = net.b(Packet::echo_reply(net.server, net.seen(net.client), p));
        vec![a(ping(net.client)), pong.clone(), send(Sender::A2, ping(net.other)), pong]
    }));
    cases.push(Case::new(net.name("query/an echo of another sequence, and again"), move |p| {
        let number = |packet: Packet, number| {
            packet.with(|packet| {
                if let Transport::Icmp { rest, .. } = &mut packet.transport {
                    rest[3] = number;
                }
            })
        };
        let ping = Packet::echo_request(net.client, net.server, p);
        let pong = Packet::echo_reply(net.server, net.seen(net.client), p);
        let both = |n| [a(number(ping.clone(), n)), net.b(number(pong.clone(), n))];
        let twice = net.b(number(pong.clone(), 2));
        [both(1).to_vec(), both(2).to_vec(), vec![twice], both(1).to_vec()].concat()
    }));
    cases
}
