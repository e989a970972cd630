//! Datagrams in pieces.

use bridgefwd_tests::packets::flags::*;

use super::tcp::Connection;
use crate::case::{Case, Sender, a};
use crate::net::{Net, Wire};

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

pub fn cases<W: Wire>(net: Net<W>) -> Vec<Case> {
    let datagram = move |port| net.there(port).bytes(&text(3000));
    let reply = move |port| net.back(port).bytes(&text(3000));
    let ping = move |port| W::ping(net.client, net.server, port).bytes(&text(3000));
    let pong = move |port| W::pong(net.server, net.seen(net.client), port).bytes(&text(3000));
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
        cases.push(Case::new(net.name(&format!("fragments/udp {name}")), move |port| {
            datagram(port).in_pieces(Sender::A, port, cuts)
        }));
        cases.push(Case::new(net.name(&format!("fragments/udp in a flow {name}")), move |port| {
            let small = a(net.there(port));
            let back = net.b(net.back(port));
            let there = datagram(port).in_pieces(Sender::A, port, cuts);
            [vec![small.clone(), back.clone()], there, vec![small, back]].concat()
        }));
        cases.push(Case::new(net.name(&format!("fragments/udp reply {name}")), move |port| {
            let small = a(net.there(port));
            [vec![small.clone()], reply(port).in_pieces(net.far, port, cuts), vec![small]].concat()
        }));
        cases.push(Case::new(net.name(&format!("fragments/ping {name}")), move |port| {
            let there = ping(port).in_pieces(Sender::A, port, cuts);
            [there, pong(port).in_pieces(net.far, port, cuts)].concat()
        }));
    }
    cases.push(Case::new(net.name("fragments/tcp in a connection"), move |port| {
        let open = Connection::open(net, port);
        let there = open.of_client(PSH | ACK, &text(2000)).in_pieces(Sender::A, port, IN_ORDER);
        [open.steps(), there].concat()
    }));
    cases.push(Case::new(net.name("fragments/tcp of the server"), move |port| {
        let open = Connection::open(net, port);
        let back = open.of_server(PSH | ACK, &text(2000)).in_pieces(net.far, port, IN_ORDER);
        [open.steps(), back].concat()
    }));
    cases.push(Case::new(
        net.name("fragments/of two clients with one identification"),
        move |port| {
            let one = datagram(port).in_pieces(Sender::A, port, IN_ORDER);
            let two = datagram(port).from(net.other).in_pieces(Sender::A2, port, IN_ORDER);
            one.into_iter().zip(two).flat_map(|(one, two)| [one, two]).collect()
        },
    ));
    cases.push(Case::new(net.name("fragments/of the server for nothing"), move |port| {
        reply(port).in_pieces(net.far, port, IN_ORDER)
    }));
    cases.push(Case::new(net.name("fragments/to the client's own address"), move |port| {
        reply(port).to(net.client).in_pieces(net.far, port, IN_ORDER)
    }));
    cases
}
