//! TCP: what happens beside the ordinary life of a connection.

use bridgefwd_tests::packets::{Transport, flags::*};

use super::tcp::{Connection, segment};
use crate::case::{Case, Sender, Step, a, raw, send};
use crate::net::{Net, Wire};

/// Its window set to this, with the checksum renewed by `build`: so by the frame's bytes.
fn window<W: Wire>(by: Sender, packet: W, window: u16, offset: usize) -> Step {
    let mut frame = packet.frame(by);
    let old = u16::from_be_bytes([frame[offset + 14], frame[offset + 15]]);
    frame[offset + 14..offset + 16].copy_from_slice(&window.to_be_bytes());
    // RFC 1624, equation 3.
    let sum = u16::from_be_bytes([frame[offset + 16], frame[offset + 17]]);
    let mut new = u32::from(!sum) + u32::from(!old) + u32::from(window);
    while new > 0xffff {
        new = (new & 0xffff) + (new >> 16);
    }
    frame[offset + 16..offset + 18].copy_from_slice(&(!(new as u16)).to_be_bytes());
    raw(by, frame)
}

/// With another sequence number.
fn at<W: Wire>(packet: W, number: u32) -> W {
    segment(packet, number, 0)
}

/// Sequence and acknowledgement number of a segment.
fn numbers<W: Wire>(mut packet: W) -> (u32, u32) {
    match packet.transport() {
        Transport::Tcp { seq, ack, .. } => (*seq, *ack),
        _ => (0, 0),
    }
}

/// What is done with an open connection.
type Life<W> = fn(Connection<W>) -> Connection<W>;

pub fn cases<W: Wire>(net: Net<W>) -> Vec<Case> {
    let lives: [(&str, Life<W>); 17] = [
        ("half closed by the server, data the other way", |c| {
            c.server(FIN | ACK, b"")
                .client(ACK, b"")
                .client(PSH | ACK, b"there is more")
                .server(ACK, b"")
                .client(FIN | ACK, b"")
                .server(ACK, b"")
        }),
        ("a keep-alive of the server", |c| {
            let (seq, ack) = numbers(c.of_server(ACK, b""));
            let probe = segment(c.of_server(ACK, b""), seq - 1, ack);
            c.b(probe).client(ACK, b"").data()
        }),
        ("a keep-alive with a byte", |c| {
            let c = c.data();
            let (seq, ack) = numbers(c.of_client(ACK, b""));
            let probe = segment(c.of_client(ACK, b"!"), seq - 1, ack);
            c.and(a(probe)).server(ACK, b"").data()
        }),
        ("the last ACK again", |c| {
            let c = c.data().client(FIN | ACK, b"").server(FIN | ACK, b"").client(ACK, b"");
            c.client(ACK, b"").server(FIN | ACK, b"")
        }),
        ("the FIN again", |c| {
            let fin = c.of_client(FIN | ACK, b"");
            c.client(FIN | ACK, b"").and(a(fin)).server(FIN | ACK, b"").client(ACK, b"")
        }),
        ("data after the reset of the client", |c| {
            let late = c.of_server(PSH | ACK, b"late");
            c.client(RST | ACK, b"").b(late)
        }),
        ("data after the reset of the server", |c| {
            let late = c.of_client(PSH | ACK, b"late");
            c.server(RST | ACK, b"").and(a(late))
        }),
        ("a reset of the server in the window", |c| {
            let (seq, _) = numbers(c.of_server(ACK, b""));
            let stray = at(c.of_server(RST, b""), seq + 100);
            c.b(stray).data()
        }),
        ("a reset of the client in the window", |c| {
            let (seq, _) = numbers(c.of_client(ACK, b""));
            let stray = at(c.of_client(RST, b""), seq + 100);
            c.and(a(stray)).data()
        }),
        ("a reset of the client outside the window", |c| {
            let (seq, _) = numbers(c.of_client(ACK, b""));
            let stray = at(c.of_client(RST, b""), seq.wrapping_sub(2_000_000));
            c.and(a(stray)).data()
        }),
        ("a reset that acknowledges nothing sent", |c| {
            let (seq, ack) = numbers(c.of_server(ACK, b""));
            let stray = segment(c.of_server(RST | ACK, b""), seq, ack.wrapping_add(900_000_000));
            c.b(stray).data()
        }),
        ("a SYN of the client inside, in the window", |c| {
            let c = c.data();
            let stray = c.of_client(SYN, b"");
            c.and(a(stray)).data()
        }),
        ("a SYN of the server inside", |c| {
            let stray = c.of_server(SYN, b"");
            c.b(stray).data()
        }),
        ("a SYN-ACK of the client inside", |c| {
            let stray = c.of_client(SYN | ACK, b"");
            c.and(a(stray)).data()
        }),
        ("an ACK of what was not sent", |c| {
            let (seq, ack) = numbers(c.of_client(ACK, b""));
            let stray = segment(c.of_client(ACK, b""), seq, ack.wrapping_add(900_000_000));
            c.and(a(stray)).data()
        }),
        ("urgent without data", |c| c.client(ACK | 0x20, b"").data()),
        ("every flag that may be inside", |c| {
            c.client(PSH | ACK | 0x20 | 0xc0, b"all").server(PSH | ACK | 0xc0, b"all").data()
        }),
    ];
    let mut cases: Vec<_> = lives
        .into_iter()
        .map(|(name, life)| {
            let name = net.name(&format!("tcp/{name}"));
            Case::new(name, move |port| life(Connection::open(net, port)).steps())
        })
        .collect();
    cases.extend([("client", Sender::A), ("server", net.far)].into_iter().map(|(name, by)| {
        let name = net.name(&format!("tcp/the {name}'s window closes and opens"));
        Case::new(name, move |port| {
            let open = Connection::open(net, port).data();
            let client = by == Sender::A;
            let ack = if client { open.of_client(ACK, b"") } else { open.of_server(ACK, b"") };
            // The TCP header of a segment without data is the frame's last 20 bytes.
            let offset = ack.clone().frame(by).len() - 20;
            let (closed, opened) =
                (window(by, ack.clone(), 0, offset), window(by, ack, 0x4000, offset));
            let (seq, number) =
                numbers(if client { open.of_server(ACK, b"") } else { open.of_client(ACK, b"") });
            // A probe of the window is one byte that the other side has already.
            let probe = if client {
                net.b(segment(open.of_server(ACK, b""), seq - 1, number))
            } else {
                a(segment(open.of_client(ACK, b""), seq - 1, number))
            };
            open.and(closed.clone()).and(probe).and(closed).and(opened).data().steps()
        })
    }));
    type Make<W> = fn(Net<W>, u16) -> Vec<Step>;
    let syns: [(&str, Make<W>); 5] = [
        ("the SYN again with another number", |net, port| {
            let first = Connection::new(net, port).client(SYN, b"");
            let syn = first.of_client(SYN, b"");
            let again = at(syn, 7_000_000);
            first.and(a(again)).server(SYN | ACK, b"").client(ACK, b"").steps()
        }),
        ("refused, and tried again", |net, port| {
            let refused = Connection::new(net, port).client(SYN, b"").server(RST | ACK, b"");
            let again = Connection::open(net, port).data().steps();
            [refused.steps(), again].concat()
        }),
        ("a SYN-ACK that acknowledges something else", |net, port| {
            let syn = Connection::new(net, port).client(SYN, b"");
            let stray = segment(syn.of_server(SYN | ACK, b""), 5000, 77);
            syn.b(stray).server(SYN | ACK, b"").client(ACK, b"").data().steps()
        }),
        ("data before the handshake is done", |net, port| {
            let c = Connection::new(net, port).client(SYN, b"").client(PSH | ACK, b"eager");
            c.server(SYN | ACK, b"").client(ACK, b"").steps()
        }),
        ("the same port of the other client", |net, port| {
            let open = Connection::open(net, port);
            let syn = Connection::new(net, port).of_client(SYN, b"").from(net.other);
            open.and(send(Sender::A2, syn)).data().steps()
        }),
    ];
    cases.extend(syns.map(|(name, make)| {
        Case::new(net.name(&format!("tcp/{name}")), move |port| make(net, port))
    }));
    // Reuse of the same ports, after each way in which a connection ends.
    let ends: [(&str, Life<W>); 4] = [
        ("closed by the server", |c| {
            c.server(FIN | ACK, b"").client(FIN | ACK, b"").server(ACK, b"")
        }),
        ("closed by the client", |c| {
            c.client(FIN | ACK, b"").server(FIN | ACK, b"").client(ACK, b"")
        }),
        ("reset by the client", |c| c.client(RST | ACK, b"")),
        ("half closed", |c| c.client(FIN | ACK, b"").server(ACK, b"")),
    ];
    for (name, end) in ends {
        let name = net.name(&format!("tcp/the ports again, {name}"));
        cases.push(Case::new(name, move |port| {
            let old = end(Connection::open(net, port).data()).steps();
            [old, Connection::open_at(net, port, 90_000, 70_000).data().steps()].concat()
        }));
    }
    cases
}
