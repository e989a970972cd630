//! Datagrams: who may answer, and which ports are kept.

use bridgefwd_tests::packets::Transport;

use crate::case::{Case, Sender, Step, a, send};
use crate::net::{Net, Wire};

/// Steps of a case, from its first port.
type Make<W> = fn(Net<W>, u16) -> Vec<Step>;

/// With other ports.
fn ports<W: Wire>(mut packet: W, source: Option<u16>, target: Option<u16>) -> W {
    if let Transport::Udp { src_port, dst_port, .. } = packet.transport() {
        *src_port = source.unwrap_or(*src_port);
        *dst_port = target.unwrap_or(*dst_port);
    }
    packet
}

pub fn cases<W: Wire>(net: Net<W>) -> Vec<Case> {
    let single: [(&str, Make<W>); 14] = [
        ("there and back", |n, p| {
            vec![a(n.there(p)), n.b(n.back(p)), a(n.there(p)), n.b(n.back(p))]
        }),
        ("two clients with one port", |n, p| {
            let other = send(Sender::A2, n.there(p).from(n.other));
            let to_other = n.answer(n.back(p).to(n.seen(n.other)));
            vec![a(n.there(p)), n.b(n.back(p)), other, to_other, n.b(n.back(p))]
        }),
        ("one port to two ports of the server", |n, p| {
            let (there, back) = (n.there(p), n.back(p));
            let other = a(ports(there.clone(), None, Some(54)));
            let of_other = n.b(ports(back.clone(), Some(54), None));
            vec![a(there), other, n.b(back), of_other]
        }),
        ("a well-known source port", |n, p| vec![a(ports(n.there(p), Some(600 + p % 400), None))]),
        ("a source port of the host's range", |n, p| {
            let there = || a(n.there(p + 32_768));
            vec![there(), n.answer(n.back(p)), there()]
        }),
        ("source port 0", |n, p| vec![a(ports(n.there(p), Some(0), None))]),
        ("destination port 0", |n, p| vec![a(ports(n.there(p), None, Some(0)))]),
        ("another port of the server answers", |n, p| {
            vec![a(n.there(p)), n.b(ports(n.back(p), Some(54), None))]
        }),
        ("an answer to another port", |n, p| {
            vec![a(n.there(p)), n.b(ports(n.back(p), None, Some(p + 1))), n.b(n.back(p))]
        }),
        ("the server begins, to the client", |n, p| vec![n.b(n.back(p).to(n.client))]),
        ("the server begins, to the router", |n, p| vec![n.b(n.back(p).to(n.router))]),
        ("the server answers to the client's own address", |n, p| {
            vec![a(n.there(p)), n.b(n.back(p).to(n.client)), n.b(n.back(p))]
        }),
        ("the other client answers", |n, p| {
            let stray = send(Sender::A2, n.back(p).from(n.server));
            vec![a(n.there(p)), stray, n.b(n.back(p))]
        }),
        ("an empty datagram", |n, p| vec![a(n.there(p).bytes(b"")), n.b(n.back(p).bytes(b""))]),
    ];
    single
        .into_iter()
        .map(|(name, make)| {
            Case::new(net.name(&format!("udp/{name}")), move |port| make(net, port))
        })
        .collect()
}
