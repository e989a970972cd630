//! Protocols beside TCP, UDP and ICMP, both ways.
//!
//! Of most of them the kernel knows no ports: one mapping for each pair of addresses. Each case has
//! its own protocol, or it would meet the mapping of another one.

use crate::case::{Case, Sender, Step, a, send};
use crate::net::{Net, Wire};

const SCTP: u8 = 132;

const INIT: &[u8] = &[1, 0, 0, 20, 0, 0, 0, 1, 0, 0, 0x40, 0, 0, 1, 0, 1, 0, 0, 0, 9];
const INIT_ACK: &[u8] =
    &[2, 0, 0, 28, 0, 0, 0, 2, 0, 0, 0x40, 0, 0, 1, 0, 1, 0, 0, 0, 9, 0, 7, 0, 8, 1, 2, 3, 4];
const COOKIE_ECHO: &[u8] = &[10, 0, 0, 8, 1, 2, 3, 4];
const COOKIE_ACK: &[u8] = &[11, 0, 0, 4];
const DATA: &[u8] = &[0, 3, 0, 20, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, b'd', b'a', b't', b'a'];
const SACK: &[u8] = &[3, 0, 0, 16, 0, 0, 0, 9, 0, 0, 0x40, 0, 0, 0, 0, 0];
const ABORT: &[u8] = &[6, 0, 0, 4];
const SHUTDOWN: &[u8] = &[7, 0, 0, 8, 0, 0, 0, 9];
const SHUTDOWN_ACK: &[u8] = &[8, 0, 0, 4];
const SHUTDOWN_COMPLETE: &[u8] = &[14, 0, 0, 4];

/// An SCTP packet with one chunk; its CRC32c does not cover the addresses.
fn sctp(ports: (u16, u16), tag: u32, chunk: &[u8]) -> Vec<u8> {
    let head = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
    let mut bytes = [&head[..], &tag.to_be_bytes(), &[0; 4], chunk].concat();
    let crc = crc32c(&bytes).to_le_bytes();
    bytes[8..12].copy_from_slice(&crc);
    bytes
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
        })
    })
}

/// An association: chunks of the client and of the server in turn, to and from port 80.
struct Association<W: Wire> {
    net: Net<W>,
    port: u16,
    steps: Vec<Step>,
}

impl<W: Wire> Association<W> {
    fn new(net: Net<W>, port: u16) -> Self {
        Self { net, port, steps: Vec::new() }
    }

    fn open(net: Net<W>, port: u16) -> Self {
        Self::new(net, port)
            .client(0, INIT)
            .server(1, INIT_ACK)
            .client(2, COOKIE_ECHO)
            .server(1, COOKIE_ACK)
    }

    fn client(mut self, tag: u32, chunk: &[u8]) -> Self {
        let packet = W::other(self.net.client, self.net.server, SCTP);
        self.steps.push(a(packet.bytes(&sctp((self.port, 80), tag, chunk))));
        self
    }

    fn server(mut self, tag: u32, chunk: &[u8]) -> Self {
        let packet = W::other(self.net.server, self.net.seen(self.net.client), SCTP);
        let packet = packet.bytes(&sctp((80, self.port), tag, chunk));
        self.steps.push(self.net.b(packet));
        self
    }

    fn data(self) -> Self {
        self.client(2, DATA).server(1, SACK).server(1, DATA).client(2, SACK)
    }
}

/// A header of the ports, then `rest`.
fn with_ports(ports: (u16, u16), rest: &[u8]) -> Vec<u8> {
    [&ports.0.to_be_bytes()[..], &ports.1.to_be_bytes(), rest].concat()
}

pub fn cases<W: Wire>(net: Net<W>) -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, protocol, payload) in [
        ("GRE", 47, &[0, 0, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8][..]),
        ("ESP", 50, &[0, 0, 1, 0, 0, 0, 0, 1, 9, 9, 9, 9, 9, 9, 9, 9]),
        ("OSPF", 89, &[0; 40]),
        ("an experiment", 253, &[0; 40]),
        ("IPv4 in IP", 4, &[0x45, 0, 0, 20, 0, 0, 0, 0, 64, 59, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]),
        ("IPv6 in IP", 41, &[0x60, 0, 0, 0, 0, 0, 59, 64]),
        ("a byte of something", 99, &[1]),
        ("nothing of something", 114, &[]),
    ] {
        cases.push(Case::new(net.name(&format!("protocols/{name}")), move |_| {
            let seen = net.seen(net.client);
            let there = || a(W::other(net.client, net.server, protocol).bytes(payload));
            let back = || net.b(W::other(net.server, seen, protocol).bytes(payload));
            vec![there(), back(), there(), back()]
        }));
    }
    for (name, protocol, rest) in [
        // A request, and 4 bytes of the service code.
        ("DCCP", 33, &[5, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0][..]),
        // Coverage 0: all of it.
        ("UDP-Lite", 136, &[0, 0, 0, 0, 1, 2, 3, 4]),
        // Coverage 8: the header.
        ("UDP-Lite, its header covered", 136, &[0, 8, 0, 0, 1, 2, 3, 4]),
    ] {
        cases.push(Case::new(net.name(&format!("protocols/{name}")), move |port| {
            let seen = net.seen(net.client);
            let there = W::other(net.client, net.server, protocol);
            let back = W::other(net.server, seen, protocol);
            let covered = if rest[1] == 8 { 8 } else { 4 + rest.len() };
            let there = a(there.bytes(&with_ports((port, 80), rest)).summed(6, covered));
            let back = net.b(back.bytes(&with_ports((80, port), rest)).summed(6, covered));
            vec![there.clone(), back.clone(), there, back]
        }));
    }
    cases.push(Case::new(net.name("protocols/of the other client, too"), move |_| {
        let there = W::other(net.client, net.server, 252);
        let other = send(Sender::A2, there.clone().from(net.other));
        let back = net.b(W::other(net.server, net.seen(net.client), 252));
        vec![a(there), back.clone(), other, back]
    }));
    cases.push(Case::new(net.name("protocols/for nothing, from the server"), move |_| {
        [net.router, net.client].map(|to| net.b(W::other(net.server, to, 254))).to_vec()
    }));
    type Life<W> = fn(Association<W>) -> Association<W>;
    let lives: [(&str, Life<W>); 9] = [
        ("SCTP and data", Association::data),
        ("SCTP, closed by the client", |s| {
            s.data().client(2, SHUTDOWN).server(1, SHUTDOWN_ACK).client(2, SHUTDOWN_COMPLETE)
        }),
        ("SCTP, closed by the server", |s| {
            s.data().server(1, SHUTDOWN).client(2, SHUTDOWN_ACK).server(1, SHUTDOWN_COMPLETE)
        }),
        ("SCTP, aborted by the server", |s| s.data().server(1, ABORT).client(2, DATA)),
        ("SCTP, aborted by the client", |s| s.data().client(2, ABORT).server(1, DATA)),
        ("SCTP of another tag", |s| s.server(7, DATA).client(7, DATA).data()),
        ("SCTP, the server begins", |s| Association::new(s.net, s.port).server(0, INIT)),
        ("SCTP, data for nothing", |s| Association::new(s.net, s.port).client(2, DATA)),
        ("SCTP with a bad sum", |s| {
            let net = s.net;
            let mut bytes = sctp((s.port, 80), 2, DATA);
            bytes[8] ^= 1;
            let mut s = s;
            s.steps.push(a(W::other(net.client, net.server, SCTP).bytes(&bytes)));
            s.data()
        }),
    ];
    for (name, life) in lives {
        cases.push(Case::new(net.name(&format!("protocols/{name}")), move |port| {
            life(Association::open(net, port)).steps
        }));
    }
    cases
}
