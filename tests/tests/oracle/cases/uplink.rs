//! From outside: what nobody asked for, sources that are not true, and who else answers.

use bridgefwd_tests::packets::flags::*;

use super::tcp::Connection;
use crate::case::{Case, Sender, Step, a, send};
use crate::net::{Net, Wire};

/// Steps of a case, from its first port.
type Make<W> = fn(Net<W>, &Beyond<W>, u16) -> Vec<Step>;

/// Addresses besides those of the net.
pub struct Beyond<W: Wire> {
    /// A host behind the one outside.
    pub beyond: W::Address,
    /// The server on the inner bridge.
    pub inner: W::Address,
    /// The router's address on the clients' bridge.
    pub near: W::Address,
}

// Derived, they would ask the same of packets.
impl<W: Wire> Clone for Beyond<W> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<W: Wire> Copy for Beyond<W> {}

pub fn cases<W: Wire>(net: Net<W>, others: Beyond<W>) -> Vec<Case> {
    let single: [(&str, Make<W>); 16] = [
        ("to a host beyond", |n, o, p| {
            let there = n.there(p).to(o.beyond);
            let back = n.back(p).from(o.beyond);
            vec![a(there.clone()), n.b(back.clone()), a(there), n.b(back)]
        }),
        ("a connection to a host beyond", |n, o, p| {
            Connection::open(Net { server: o.beyond, ..n }, p).data().steps()
        }),
        ("another host answers", |n, o, p| {
            vec![a(n.there(p)), n.b(n.back(p).from(o.beyond)), n.b(n.back(p))]
        }),
        ("outside begins, to the router", |n, o, p| {
            let syn = W::tcp((o.beyond, p), (n.router, 80), SYN);
            vec![n.b(syn), n.b(W::udp((o.beyond, p), (n.router, 53)))]
        }),
        ("outside begins, to the router's near address", |n, o, p| {
            vec![n.b(W::udp((n.server, p), (o.near, 53)))]
        }),
        ("outside begins, to a client", |n, o, p| {
            let syn = W::tcp((o.beyond, p), (n.client, 80), SYN);
            vec![n.b(syn), n.b(W::udp((n.server, p), (n.client, 53)))]
        }),
        ("outside begins, to the inner server", |n, o, p| {
            let syn = W::tcp((n.server, p), (o.inner, 80), SYN);
            vec![n.b(syn), n.b(W::ping(n.server, o.inner, p))]
        }),
        ("outside pings the router", |n, _, p| vec![n.b(W::ping(n.server, n.router, p))]),
        ("an inner source from outside", |n, o, p| {
            vec![
                n.b(W::udp((n.client, p), (o.inner, 53))),
                n.b(W::udp((o.inner, p), (n.client, 53))),
            ]
        }),
        ("the client's source from outside, in its flow", |n, _, p| {
            vec![a(n.there(p)), n.b(n.there(p)), n.b(n.back(p))]
        }),
        ("the router's source from outside", |n, _, p| {
            vec![n.b(W::udp((n.router, p), (n.client, 53)))]
        }),
        ("an answer to the client's own address", |n, _, p| {
            vec![a(n.there(p)), n.b(n.back(p).to(n.client)), n.b(n.back(p))]
        }),
        ("an answer by the inner server's bridge", |n, _, p| {
            vec![a(n.there(p)), send(Sender::B, n.back(p)), n.b(n.back(p))]
        }),
        ("the inner server goes out", |n, o, p| {
            vec![send(Sender::B, W::udp((o.inner, p), (n.server, 53)))]
        }),
        ("a third bridge goes out", |n, _, p| {
            // Whatever source it says it has.
            vec![send(Sender::C, n.there(p))]
        }),
        ("one port to two servers", |n, o, p| {
            let other = n.there(p).to(o.beyond);
            vec![a(n.there(p)), a(other), n.b(n.back(p)), n.b(n.back(p).from(o.beyond))]
        }),
    ];
    let mut cases: Vec<_> = single
        .into_iter()
        .map(|(name, make)| {
            Case::new(net.name(&format!("site/{name}")), move |port| make(net, &others, port))
        })
        .collect();
    // The way in is narrower than the way out: what comes must fit the clients' bridge.
    for (name, size) in [("as large as fits", 0), ("too big by 1", 1), ("too big by 60", 60)] {
        cases.push(Case::new(net.name(&format!("site/an answer {name}")), move |port| {
            // Headers of IPv4 and of IPv6 differ by 20 bytes.
            let headers = if size_of::<W::Address>() == 4 { 28 } else { 48 };
            let large = n_bytes(1500 - headers + size);
            vec![a(net.there(port)), net.b(net.back(port).bytes(&large)), net.b(net.back(port))]
        }));
        cases.push(Case::new(net.name(&format!("site/a segment {name}")), move |port| {
            let headers = if size_of::<W::Address>() == 4 { 40 } else { 60 };
            let open = Connection::open(net, port);
            let large = open.of_server(PSH | ACK, &n_bytes(1500 - headers + size));
            open.b(large).data().steps()
        }));
    }
    cases
}

fn n_bytes(length: usize) -> Vec<u8> {
    (0..length).map(|place| place as u8).collect()
}
