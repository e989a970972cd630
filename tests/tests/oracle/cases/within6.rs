//! Every shape of IPv6 packet as the first of its flow, and deep inside flows that have long been
//! running, in both directions.

use std::net::Ipv6Addr;

use bridgefwd_tests::packets::{Transport, flags::*};
use bridgefwd_tests::packets6::{Extension, HEADER, Packet6};
use bridgefwd_tests::view::ETHERNET;

use super::tcp::Connection;
use crate::case::{Case, Sender, Sent as _, Step, raw, send};
use crate::net::Net;
use crate::world::{C6, FAR_MTU};

/// Packets that run through a flow each way before the one that is looked at.
const LONG: usize = 20;

/// How a packet is odd.
type Shape = (&'static str, fn(Packet6) -> Packet6, fn(&mut Vec<u8>));

fn as_it_is(_: &mut Vec<u8>) {}

fn sized(packet: Packet6, total: usize) -> Packet6 {
    let header = match packet.transport {
        Transport::Tcp { .. } => 60,
        _ => 48,
    };
    let payload: Vec<u8> = (0..total - header).map(|place| place as u8).collect();
    packet.payload(&payload)
}

fn hop_by_hop(packet: Packet6, options: &[u8]) -> Packet6 {
    packet.extension(Extension::hop_by_hop(options))
}

fn destination(packet: Packet6, options: &[u8]) -> Packet6 {
    packet.extension(Extension::destination(options))
}

fn routing(packet: Packet6, kind: u8, left: u8, via: &[Ipv6Addr]) -> Packet6 {
    packet.extension(Extension::routing(kind, left, via))
}

fn length(frame: &mut [u8], change: i16) {
    let field = &mut frame[ETHERNET + 4..ETHERNET + 6];
    let value = u16::from_be_bytes([field[0], field[1]]).wrapping_add_signed(change);
    field.copy_from_slice(&value.to_be_bytes());
}

const SHAPES: &[Shape] = &[
    ("plain", |p| p, as_it_is),
    ("hop limit 0", |p| p.with(|p| p.hop_limit = 0), as_it_is),
    ("hop limit 1", |p| p.with(|p| p.hop_limit = 1), as_it_is),
    ("hop limit 2", |p| p.with(|p| p.hop_limit = 2), as_it_is),
    ("hop limit 255", |p| p.with(|p| p.hop_limit = 255), as_it_is),
    ("dscp ef", |p| p.with(|p| p.traffic_class = 0xb8), as_it_is),
    ("ecn ce", |p| p.with(|p| p.traffic_class = 0x03), as_it_is),
    ("class ff", |p| p.with(|p| p.traffic_class = 0xff), as_it_is),
    ("no flow label", |p| p.with(|p| p.flow_label = 0), as_it_is),
    ("flow label fffff", |p| p.with(|p| p.flow_label = 0xf_ffff), as_it_is),
    ("padding", |p| p.payload(b"").with(|p| p.padding = 18), as_it_is),
    ("odd length", |p| p.payload(b"seven b"), as_it_is),
    ("no payload", |p| p.payload(b""), as_it_is),
    ("as large as fits", |p| sized(p, FAR_MTU), as_it_is),
    ("too big", |p| sized(p, FAR_MTU + 1), as_it_is),
    ("bad transport checksum", |p| p, |frame| *frame.last_mut().unwrap() ^= 1),
    ("version 5", |p| p, |frame| frame[ETHERNET] ^= 0x30),
    ("version 4", |p| p, |frame| frame[ETHERNET] ^= 0x20),
    ("longer than the frame", |p| p, |frame| length(frame, 1)),
    ("shorter than the frame", |p| p.payload(b"more than it says"), |frame| length(frame, -4)),
    ("payload length 0", |p| p, |frame| frame[ETHERNET + 4..ETHERNET + 6].fill(0)),
    (
        "cut in the transport header",
        |p| p,
        |frame| {
            frame.truncate(ETHERNET + HEADER + 4);
            frame[ETHERNET + 4..ETHERNET + 6].copy_from_slice(&[0, 4]);
        },
    ),
    ("hop-by-hop padding", |p| hop_by_hop(p, &[]), as_it_is),
    ("hop-by-hop router alert", |p| hop_by_hop(p, &[5, 2, 0, 0]), as_it_is),
    ("hop-by-hop option to skip", |p| hop_by_hop(p, &[0x1e, 2, 7, 7]), as_it_is),
    ("hop-by-hop option that may change", |p| hop_by_hop(p, &[0x3e, 2, 7, 7]), as_it_is),
    ("hop-by-hop option to discard", |p| hop_by_hop(p, &[0x5e, 2, 7, 7]), as_it_is),
    ("hop-by-hop option to report", |p| hop_by_hop(p, &[0x9e, 2, 7, 7]), as_it_is),
    ("hop-by-hop option to report if no group", |p| hop_by_hop(p, &[0xde, 2, 7, 7]), as_it_is),
    ("hop-by-hop jumbo", |p| hop_by_hop(p, &[0xc2, 4, 0, 1, 0, 0]), as_it_is),
    (
        "hop-by-hop beyond the packet",
        |p| hop_by_hop(p, &[5, 2, 0, 0]),
        |frame| frame[ETHERNET + HEADER + 1] = 9,
    ),
    (
        "hop-by-hop option beyond its header",
        |p| hop_by_hop(p, &[0x1e, 2, 7, 7]),
        |frame| frame[ETHERNET + HEADER + 3] = 40,
    ),
    (
        "hop-by-hop after destination options",
        |p| hop_by_hop(destination(p, &[]), &[5, 2, 0, 0]),
        as_it_is,
    ),
    ("destination options", |p| destination(p, &[0x1e, 2, 7, 7]), as_it_is),
    ("destination option to report", |p| destination(p, &[0x9e, 2, 7, 7]), as_it_is),
    ("destination options twice", |p| destination(destination(p, &[]), &[4, 1, 8]), as_it_is),
    (
        "hop-by-hop and destination options",
        |p| destination(hop_by_hop(p, &[5, 2, 0, 0]), &[4, 1, 8]),
        as_it_is,
    ),
    (
        "many destination options",
        |p| {
            (0..6)
                .fold(p, |p, _| destination(p, &[0x1e, 12, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]))
        },
        as_it_is,
    ),
    ("routing type 0, done", |p| routing(p, 0, 0, &[C6]), as_it_is),
    ("routing type 0, to go", |p| routing(p, 0, 1, &[C6]), as_it_is),
    ("routing type 2, done", |p| routing(p, 2, 0, &[C6]), as_it_is),
    ("routing type 2, to go", |p| routing(p, 2, 1, &[C6]), as_it_is),
    ("routing type 4, done", |p| routing(p, 4, 0, &[C6]), as_it_is),
    ("routing type 4, to go", |p| routing(p, 4, 1, &[C6]), as_it_is),
    ("routing type 200, to go", |p| routing(p, 200, 1, &[C6]), as_it_is),
    ("authentication", |p| p.extension(Extension::authentication(9, 1)), as_it_is),
    ("an atomic fragment", |p| p.extension(Extension::fragment(0, false, 99)), as_it_is),
    (
        "an atomic fragment with options behind",
        |p| destination(p.extension(Extension::fragment(0, false, 98)), &[4, 1, 8]),
        as_it_is,
    ),
];

/// Shapes of UDP alone.
const UDP_SHAPES: &[Shape] = &[
    ("no checksum", |p| p, |frame| frame[ETHERNET + HEADER + 6..ETHERNET + HEADER + 8].fill(0)),
    (
        "length beyond the packet",
        |p| p,
        |frame| frame[ETHERNET + HEADER + 4..ETHERNET + HEADER + 6].fill(2),
    ),
    (
        "length 7",
        |p| p,
        |frame| frame[ETHERNET + HEADER + 4..ETHERNET + HEADER + 6].copy_from_slice(&[0, 7]),
    ),
    ("length 0", |p| p, |frame| frame[ETHERNET + HEADER + 4..ETHERNET + HEADER + 6].fill(0)),
];

/// Shapes of TCP alone.
const TCP_SHAPES: &[Shape] = &[
    ("tcp header of 16 bytes", |p| p, |frame| frame[ETHERNET + HEADER + 12] = 0x40),
    (
        "tcp header longer than the packet",
        |p| p.payload(b""),
        |frame| frame[ETHERNET + HEADER + 12] = 0xf0,
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

type Net6 = Net<Packet6>;

/// The packet of a kind in its ordinary form.
fn ordinary(net: Net6, kind: Kind, place: Place, port: u16) -> (Sender, Packet6) {
    let client = !matches!(place, Place::Back);
    let by = if client { Sender::A } else { net.far };
    let packet = match (kind, client) {
        (Kind::Udp, true) => net.there(port),
        (Kind::Udp, false) => net.back(port),
        (Kind::Echo, true) => Packet6::echo_request(net.client, net.server, port),
        (Kind::Echo, false) => Packet6::echo_reply(net.server, net.seen(net.client), port),
        (Kind::Tcp, true) if matches!(place, Place::First) => {
            Connection::new(net, port).of_client(SYN, b"")
        }
        (Kind::Tcp, true) => long_connection(net, port).of_client(PSH | ACK, b"data"),
        (Kind::Tcp, false) => long_connection(net, port).of_server(PSH | ACK, b"data"),
    };
    (by, packet)
}

fn long_connection(net: Net6, port: u16) -> Connection<Packet6> {
    (0..LONG).fold(Connection::open(net, port), |connection, _| connection.data())
}

/// One ordinary packet each way.
fn both_ways(net: Net6, kind: Kind, port: u16) -> [Step; 2] {
    [Place::There, Place::Back].map(|place| {
        let (by, packet) = ordinary(net, kind, place, port);
        send(by, packet)
    })
}

/// What has gone before in a flow that has long been running.
fn before(net: Net6, kind: Kind, port: u16) -> Vec<Step> {
    if matches!(kind, Kind::Tcp) {
        return long_connection(net, port).steps();
    }
    std::iter::repeat_n(both_ways(net, kind, port), LONG / 4).flatten().collect()
}

fn steps(net: Net6, kind: Kind, place: Place, shape: Shape, port: u16) -> Vec<Step> {
    let (_, edit, break_it) = shape;
    let (by, packet) = ordinary(net, kind, place, port);
    let mut frame = edit(packet).frame(by);
    break_it(&mut frame);
    let first = matches!(place, Place::First);
    let mut steps = if first { Vec::new() } else { before(net, kind, port) };
    steps.push(raw(by, frame));
    // Whatever became of it, the flow goes on.
    if !matches!((kind, place), (Kind::Tcp, Place::First)) {
        steps.extend(both_ways(net, kind, port));
    }
    steps
}

pub fn cases(net: Net6) -> Vec<Case> {
    let kinds: [(&str, Kind, &[Shape]); 3] =
        [("udp", Kind::Udp, UDP_SHAPES), ("tcp", Kind::Tcp, TCP_SHAPES), ("echo", Kind::Echo, &[])];
    let places =
        [("first", Place::First), ("long there", Place::There), ("long back", Place::Back)];
    let mut cases = Vec::new();
    for (name, kind, own) in kinds {
        for (where_, place) in places {
            for &shape in SHAPES.iter().chain(own) {
                let name = net.name(&format!("{name}/{where_}/{}", shape.0));
                cases.push(Case::new(name, move |port| steps(net, kind, place, shape, port)));
            }
        }
    }
    cases
}
