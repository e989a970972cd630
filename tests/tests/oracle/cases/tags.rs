//! Frames with an 802.1Q tag: of VLAN 0 it says only how urgent the frame is.

use bridgefwd_tests::packets::flags::*;

use super::tcp::Connection;
use crate::case::{Case, Sender, Step, a, raw};
use crate::net::{Net, Wire};

/// The frame of a step, with these tags.
fn tagged(by: Sender, packet: impl crate::case::Sent, tags: &[u16]) -> Step {
    let mut frame = packet.frame(by);
    for tag in tags.iter().rev() {
        frame.splice(12..12, [0x8100, *tag].map(u16::to_be_bytes).concat());
    }
    raw(by, frame)
}

pub fn cases<W: Wire>(net: Net<W>) -> Vec<Case> {
    let mut cases = Vec::new();
    let tags: [(&str, &[u16]); 6] = [
        ("priority 0", &[0]),
        ("priority 5", &[0xa000]),
        ("drop eligible", &[0x1000]),
        ("VLAN 7", &[7]),
        ("VLAN 7, priority 5", &[0xa007]),
        ("priority within priority", &[0xa000, 0x6000]),
    ];
    for (name, tags) in tags {
        cases.push(Case::new(net.name(&format!("tags/{name}, first")), move |port| {
            vec![
                tagged(Sender::A, net.there(port), tags),
                a(net.there(port)),
                net.b(net.back(port)),
            ]
        }));
        cases.push(Case::new(net.name(&format!("tags/{name}, both ways")), move |port| {
            let there = tagged(Sender::A, net.there(port), tags);
            let back = tagged(net.far, net.back(port), tags);
            vec![there.clone(), back.clone(), there, back]
        }));
        cases.push(Case::new(net.name(&format!("tags/{name}, in a connection")), move |port| {
            let open = Connection::open(net, port).data();
            let there = tagged(Sender::A, open.of_client(PSH | ACK, b"tagged"), tags);
            let back = tagged(net.far, open.of_server(PSH | ACK, b"tagged"), tags);
            open.and(there).and(back).steps()
        }));
    }
    cases.push(Case::new(net.name("tags/priority, a ping"), move |port| {
        let there = tagged(Sender::A, W::ping(net.client, net.server, port), &[0xe000]);
        let seen = net.seen(net.client);
        vec![there, tagged(net.far, W::pong(net.server, seen, port), &[0xe000])]
    }));
    cases.push(Case::new(net.name("tags/priority, in pieces"), move |port| {
        let whole = net.there(port).bytes(&[5; 1200]);
        let pieces = whole.in_pieces(Sender::A, port, &[(0, 800), (800, 900)]);
        let tag = [0x8100, 0xa000].map(u16::to_be_bytes).concat();
        pieces
            .into_iter()
            .map(|piece| {
                let mut frame = piece.frame(None);
                frame.splice(12..12, tag.iter().copied());
                raw(Sender::A, frame)
            })
            .collect()
    }));
    cases
}
