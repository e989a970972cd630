//! Every shape of packet as the first of its flow, and deep inside flows that have long been
//! running, in both directions: that is where fast paths go wrong.

use bridgefwd_tests::packets::{Packet, Transport, flags::*};
use bridgefwd_tests::view::{ETHERNET, at, fill_checksums, internet_checksum};

use super::tcp::Connection;
use crate::case::{Case, Sender, Sent as _, Step, raw, send};
use crate::net::V4;
use crate::world::{A, B, FAR_MTU, NAT};

/// Packets that run through a flow each way before the one that is looked at.
const LONG: usize = 20;

/// How a packet is odd.
type Shape = (&'static str, fn(Packet) -> Packet, fn(&mut Vec<u8>));

fn as_it_is(_: &mut Vec<u8>) {}

fn header_sum(frame: &mut [u8]) {
    let end = ETHERNET + usize::from(frame[ETHERNET] & 15) * 4;
    frame[ETHERNET + 10..ETHERNET + 12].fill(0);
    let sum = internet_checksum(&[&frame[ETHERNET..end]]);
    frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&sum.to_be_bytes());
}

/// With an option block, padded to a multiple of 4.
fn options(packet: Packet, bytes: &[u8]) -> Packet {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    packet.with(|packet| packet.options = bytes)
}

fn sized(packet: Packet, total: usize, dont_fragment: bool) -> Packet {
    let header = match packet.transport {
        Transport::Tcp { .. } => 40,
        _ => 28,
    };
    let payload: Vec<u8> = (0..total - header).map(|place| place as u8).collect();
    packet.payload(&payload).with(|packet| packet.dont_fragment = dont_fragment)
}

const SHAPES: &[Shape] = &[
    ("plain", |p| p, as_it_is),
    ("ttl 0", |p| p.with(|p| p.ttl = 0), as_it_is),
    ("ttl 1", |p| p.with(|p| p.ttl = 1), as_it_is),
    ("ttl 2", |p| p.with(|p| p.ttl = 2), as_it_is),
    ("ttl 255", |p| p.with(|p| p.ttl = 255), as_it_is),
    ("dscp ef", |p| p.with(|p| p.tos = 0xb8), as_it_is),
    ("ecn ce", |p| p.with(|p| p.tos = 0x03), as_it_is),
    ("id 0 without df", |p| p.with(|p| (p.id, p.dont_fragment) = (0, false)), as_it_is),
    ("id ffff with df", |p| p.with(|p| p.id = 0xffff), as_it_is),
    (
        "reserved flag",
        |p| p,
        |frame| {
            frame[ETHERNET + 6] |= 0x80;
            header_sum(frame);
        },
    ),
    ("padding", |p| p.payload(b"").with(|p| p.padding = 18), as_it_is),
    ("odd length", |p| p.payload(b"seven b"), as_it_is),
    ("no payload", |p| p.payload(b""), as_it_is),
    ("as large as fits", |p| sized(p, FAR_MTU, true), as_it_is),
    ("too big with df", |p| sized(p, FAR_MTU + 1, true), as_it_is),
    ("too big without df", |p| sized(p, FAR_MTU + 1, false), as_it_is),
    ("option no-operation", |p| options(p, &[1, 1, 1, 0]), as_it_is),
    ("option router alert", |p| options(p, &[0x94, 4, 0, 0]), as_it_is),
    ("option record route", |p| options(p, &[7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0]), as_it_is),
    ("option record route, full", |p| options(p, &[7, 7, 8, 1, 2, 3, 4]), as_it_is),
    ("option timestamp", |p| options(p, &[0x44, 12, 5, 1, 10, 9, 9, 9, 0, 0, 0, 0]), as_it_is),
    ("option loose source route", |p| options(p, &[0x83, 7, 4, 10, 3, 0, 2]), as_it_is),
    ("option strict source route", |p| options(p, &[0x89, 7, 4, 10, 3, 0, 2]), as_it_is),
    ("option that is unknown", |p| options(p, &[0x5e, 4, 1, 2]), as_it_is),
    ("option of length 0", |p| options(p, &[7, 0, 0, 0]), as_it_is),
    ("option beyond the header", |p| options(p, &[7, 40, 4, 0]), as_it_is),
    ("bad header checksum", |p| p, |frame| frame[ETHERNET + 11] ^= 1),
    ("bad transport checksum", |p| p, |frame| *frame.last_mut().unwrap() ^= 1),
    (
        "version 5",
        |p| p,
        |frame| {
            frame[ETHERNET] = 0x55;
            header_sum(frame);
        },
    ),
    ("header length 4", |p| p, |frame| frame[ETHERNET] = 0x44),
    (
        "longer than the frame",
        |p| p,
        |frame| {
            let total = frame.len() as u16 - ETHERNET as u16 + 1;
            frame[ETHERNET + 2..ETHERNET + 4].copy_from_slice(&total.to_be_bytes());
            header_sum(frame);
        },
    ),
    (
        "shorter than its header",
        |p| p,
        |frame| {
            frame[ETHERNET + 2..ETHERNET + 4].copy_from_slice(&19u16.to_be_bytes());
            header_sum(frame);
        },
    ),
    (
        "cut in the transport header",
        |p| p,
        |frame| {
            frame.truncate(ETHERNET + 24);
            frame[ETHERNET + 2..ETHERNET + 4].copy_from_slice(&24u16.to_be_bytes());
            header_sum(frame);
        },
    ),
];

/// Shapes of UDP alone; `0` is where the header begins in the frame.
const UDP_SHAPES: &[Shape] = &[
    (
        "no checksum",
        |p| {
            p.with(|p| {
                if let Transport::Udp { checksum, .. } = &mut p.transport {
                    *checksum = false;
                }
            })
        },
        as_it_is,
    ),
    ("length beyond the packet", |p| p, |frame| frame[ETHERNET + 24..ETHERNET + 26].fill(0x02)),
    ("length 7", |p| p, |frame| frame[ETHERNET + 24..ETHERNET + 26].copy_from_slice(&[0, 7])),
    ("length 0", |p| p, |frame| frame[ETHERNET + 24..ETHERNET + 26].fill(0)),
    (
        "length shorter than the packet",
        |p| p.payload(b"four and more"),
        |frame| {
            frame[ETHERNET + 24..ETHERNET + 26].copy_from_slice(&[0, 12]);
            fill_checksums(&mut frame[ETHERNET..]);
        },
    ),
];

/// Shapes of TCP alone.
const TCP_SHAPES: &[Shape] = &[
    ("tcp header of 16 bytes", |p| p, |frame| frame[ETHERNET + 32] = 0x40),
    ("tcp header longer than the packet", |p| p.payload(b""), |frame| frame[ETHERNET + 32] = 0xf0),
    (
        "urgent",
        |p| p,
        |frame| {
            frame[ETHERNET + 33] |= 0x20;
            frame[ETHERNET + 39] = 1;
            fill_checksums(&mut frame[ETHERNET..]);
        },
    ),
];

#[derive(Clone, Copy)]
enum Kind {
    Udp,
    Tcp,
    Echo,
}

#[derive(Clone, Copy)]
enum Place {
    First,
    There,
    Back,
}

/// The packet of a kind in its ordinary form.
fn ordinary(kind: Kind, place: Place, port: u16) -> (Sender, Packet) {
    let client = !matches!(place, Place::Back);
    let by = if client { Sender::A } else { Sender::B };
    let packet = match (kind, client) {
        (Kind::Udp, true) => Packet::udp(at(A, port), at(B, 53)),
        (Kind::Udp, false) => Packet::udp(at(B, 53), at(NAT, port)),
        (Kind::Echo, true) => Packet::echo_request(A, B, port),
        (Kind::Echo, false) => Packet::echo_reply(B, NAT, port),
        (Kind::Tcp, true) if matches!(place, Place::First) => {
            Connection::new(V4, port).of_client(SYN, b"")
        }
        (Kind::Tcp, true) => long_connection(port).of_client(PSH | ACK, b"data"),
        (Kind::Tcp, false) => long_connection(port).of_server(PSH | ACK, b"data"),
    };
    (by, packet)
}

fn long_connection(port: u16) -> Connection<Packet> {
    (0..LONG).fold(Connection::open(V4, port), |connection, _| connection.data())
}

/// What has gone before in a flow that has long been running.
fn before(kind: Kind, port: u16) -> Vec<Step> {
    if matches!(kind, Kind::Tcp) {
        return long_connection(port).steps();
    }
    let both = [Place::There, Place::Back].map(|place| {
        let (by, packet) = ordinary(kind, place, port);
        send(by, packet)
    });
    std::iter::repeat_n(both, LONG / 4).flatten().collect()
}

fn steps(kind: Kind, place: Place, shape: Shape, port: u16) -> Vec<Step> {
    let (_, edit, break_it) = shape;
    let (by, packet) = ordinary(kind, place, port);
    let mut frame = edit(packet.clone()).frame(by);
    break_it(&mut frame);
    let mut steps = if matches!(place, Place::First) { Vec::new() } else { before(kind, port) };
    steps.push(raw(by, frame));
    // Whatever became of it, the flow goes on.
    if !matches!((kind, place), (Kind::Tcp, Place::First)) {
        steps.extend([Place::There, Place::Back].map(|place| {
            let (by, packet) = ordinary(kind, place, port);
            send(by, packet)
        }));
    }
    steps
}

pub fn cases() -> Vec<Case> {
    let kinds: [(&str, Kind, &[Shape]); 3] =
        [("udp", Kind::Udp, UDP_SHAPES), ("tcp", Kind::Tcp, TCP_SHAPES), ("echo", Kind::Echo, &[])];
    let places =
        [("first", Place::First), ("long there", Place::There), ("long back", Place::Back)];
    let mut cases = Vec::new();
    for (name, kind, own) in kinds {
        for (where_, place) in places {
            for &shape in SHAPES.iter().chain(own) {
                // The way back is as wide as they come: nothing is too big there.
                cases.push(Case::new(format!("{name}/{where_}/{}", shape.0), move |port| {
                    steps(kind, place, shape, port)
                }));
            }
        }
    }
    cases
}
