//! Datagrams in pieces.

use bridgefwd_tests::packets::{Packet, flags::*};
use bridgefwd_tests::view::{ETHERNET, at, internet_checksum};

use super::tcp::Connection;
use crate::case::{Case, Sender, Step, a, addressed, b, raw};
use crate::world::{A, A2, B, NAT};

/// The pieces of a packet: `(offset, length)` of its body in bytes; the one that ends it has no
/// more-fragments flag.
pub fn pieces(by: Sender, packet: Packet, cuts: &[(usize, usize)]) -> Vec<Step> {
    let whole = addressed(by, packet.with(|packet| packet.dont_fragment = false)).build();
    let (head, body) = whole.split_at(ETHERNET + 20);
    let piece = |&(offset, length): &(usize, usize)| {
        let end = (offset + length).min(body.len());
        let mut frame = [head, &body[offset..end]].concat();
        let total = (20 + end - offset) as u16;
        frame[ETHERNET + 2..ETHERNET + 4].copy_from_slice(&total.to_be_bytes());
        let more = if end < body.len() { 0x2000 } else { 0 };
        let field = (offset / 8) as u16 | more;
        frame[ETHERNET + 6..ETHERNET + 8].copy_from_slice(&field.to_be_bytes());
        frame[ETHERNET + 10..ETHERNET + 12].fill(0);
        let sum = internet_checksum(&[&frame[ETHERNET..ETHERNET + 20]]);
        frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&sum.to_be_bytes());
        raw(by, frame)
    };
    cuts.iter().map(piece).collect()
}

const IN_ORDER: &[(usize, usize)] = &[(0, 1000), (1000, 1000), (2000, 9000)];
const LAST_FIRST: &[(usize, usize)] = &[(2000, 9000), (1000, 1000), (0, 1000)];
const MIDDLE_LAST: &[(usize, usize)] = &[(0, 1000), (2000, 9000), (1000, 1000)];
const TINY: &[(usize, usize)] = &[(0, 8), (8, 8), (16, 984), (1000, 1000), (2000, 9000)];
const TWICE: &[(usize, usize)] = &[(0, 1000), (0, 1000), (1000, 1000), (2000, 9000)];
const OVERLAPPING: &[(usize, usize)] = &[(0, 1000), (992, 1008), (2000, 9000)];
const WITH_A_HOLE: &[(usize, usize)] = &[(0, 1000), (2000, 9000)];
const WITHOUT_THE_FIRST: &[(usize, usize)] = &[(1000, 1000), (2000, 9000)];

fn text(length: usize) -> Vec<u8> {
    (0..length).map(|place| (place % 251) as u8).collect()
}

fn datagram(port: u16) -> Packet {
    Packet::udp(at(A, port), at(B, 53)).payload(&text(3000)).with(|packet| packet.id = port)
}

fn reply(port: u16) -> Packet {
    Packet::udp(at(B, 53), at(NAT, port)).payload(&text(3000)).with(|packet| packet.id = port)
}

fn ping(port: u16) -> Packet {
    Packet::echo_request(A, B, port).payload(&text(3000)).with(|packet| packet.id = port)
}

fn pong(port: u16) -> Packet {
    Packet::echo_reply(B, NAT, port).payload(&text(3000)).with(|packet| packet.id = port)
}

pub fn cases() -> Vec<Case> {
    let orders: [(&str, &'static [(usize, usize)]); 8] = [
        ("in order", IN_ORDER),
        ("last first", LAST_FIRST),
        ("middle last", MIDDLE_LAST),
        ("tiny", TINY),
        ("one twice", TWICE),
        ("overlapping", OVERLAPPING),
        ("with a hole", WITH_A_HOLE),
        ("without the first", WITHOUT_THE_FIRST),
    ];
    let mut cases = Vec::new();
    for (name, cuts) in orders {
        cases.push(Case::new(format!("fragments/udp {name}"), move |port| {
            pieces(Sender::A, datagram(port), cuts)
        }));
        cases.push(Case::new(format!("fragments/udp in a flow {name}"), move |port| {
            let small = a(Packet::udp(at(A, port), at(B, 53)));
            let back = b(Packet::udp(at(B, 53), at(NAT, port)));
            let there = pieces(Sender::A, datagram(port), cuts);
            [vec![small.clone(), back.clone()], there, vec![small, back]].concat()
        }));
        cases.push(Case::new(format!("fragments/udp reply {name}"), move |port| {
            let small = a(Packet::udp(at(A, port), at(B, 53)));
            [vec![small.clone()], pieces(Sender::B, reply(port), cuts), vec![small]].concat()
        }));
        cases.push(Case::new(format!("fragments/ping {name}"), move |port| {
            let there = pieces(Sender::A, ping(port), cuts);
            [there, pieces(Sender::B, pong(port), cuts)].concat()
        }));
    }
    cases.push(Case::new("fragments/tcp in a connection", |port| {
        let open = Connection::open(port);
        let there = pieces(Sender::A, open.of_client(PSH | ACK, &text(2000)), IN_ORDER);
        [open.steps(), there].concat()
    }));
    cases.push(Case::new("fragments/tcp of the server", |port| {
        let open = Connection::open(port);
        let back = pieces(Sender::B, open.of_server(PSH | ACK, &text(2000)), IN_ORDER);
        [open.steps(), back].concat()
    }));
    cases.push(Case::new("fragments/of two clients with one identification", |port| {
        let other = Packet { src: A2, ..datagram(port) };
        let one = pieces(Sender::A, datagram(port), IN_ORDER);
        let two = pieces(Sender::A2, other, IN_ORDER);
        one.into_iter().zip(two).flat_map(|(one, two)| [one, two]).collect()
    }));
    cases.push(Case::new("fragments/of the server for nothing", |port| {
        pieces(Sender::B, reply(port), IN_ORDER)
    }));
    cases.push(Case::new("fragments/to the client's own address", |port| {
        pieces(Sender::B, Packet { dst: A, ..reply(port) }, IN_ORDER)
    }));
    cases
}
