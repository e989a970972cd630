//! Packets of every kind: of flows that there are, in both directions, and of others.

use std::net::IpAddr;

use bridgefwd_common::contract::{Direction, Tuple};
use bridgefwd_tests::packets::{Packet, Transport, flags};
use bridgefwd_tests::packets6::{Extension, Packet6};
use bridgefwd_tests::view6::at6;

use crate::bench::{A, A2, B, Bench, Frame};
use crate::random::Random;

/// A packet of either family.
#[derive(Clone, Debug)]
pub enum Any {
    V4(Packet),
    V6(Packet6),
}

impl Frame for Any {
    fn between(&self, src: [u8; 6], dst: [u8; 6]) -> Vec<u8> {
        match self {
            Self::V4(packet) => packet.between(src, dst),
            Self::V6(packet) => packet.between(src, dst),
        }
    }
}

/// Makes packets that fit what is in the flow table now.
pub struct Generator<'a, 'r> {
    pub bench: &'a Bench<'r>,
    pub random: &'a mut Random,
}

impl Generator<'_, '_> {
    /// A packet, and the number of the host that sends it.
    pub fn packet(&mut self) -> (usize, Any) {
        let flows = self.bench.program.flows();
        let some = (!flows.is_empty()).then(|| flows[self.random.below(flows.len())].1);
        let kind = self.random.below(10);
        let (sender, packet) = match some {
            Some(flow) if kind < 3 => (B, self.of_tuple(&flow.arriving(Direction::Reply))),
            Some(flow) if kind < 5 => (A, self.of_tuple(&flow.original())),
            Some(flow) if kind < 6 => self.error(&flow.original(), &flow.translated()),
            _ => self.opening(),
        };
        (sender, self.unusual(packet))
    }

    /// A packet of a flow that there is, if there is any.
    pub fn of_some_flow(&mut self) -> Option<(usize, Any)> {
        let flows = self.bench.program.flows();
        let flow = flows.get(self.random.below(flows.len().max(1)))?.1;
        let (sender, packet) = if self.random.one_in(2) {
            (B, self.of_tuple(&flow.arriving(Direction::Reply)))
        } else {
            (A, self.of_tuple(&flow.original()))
        };
        Some((sender, self.unusual(packet)))
    }

    /// Of a client: few ports, so that flows are met again.
    fn opening(&mut self) -> (usize, Any) {
        let sender = self.random.pick(&[A, A, A2]);
        let bench = self.bench;
        let (client, server) = (&bench.router.hosts[sender], self.random.pick(&[B, B + 1]));
        let server = &bench.router.hosts[server];
        let protocol = self.random.pick(&[6, 6, 17, 17, 1, 47, 132, 136]);
        let mut tuple = Tuple { protocol, ..Tuple::default() };
        let port: u16 = self.random.pick(&[10_000, 10_001, 40_000, 500, 7]);
        tuple.src_port = port.to_be_bytes();
        if protocol == 1 {
            tuple.query = 8;
        } else if protocol != 47 {
            tuple.dst_port = self.random.pick(&[80_u16, 53, 443]).to_be_bytes();
        }
        if self.random.one_in(2) {
            (tuple.src, tuple.dst) = (client.address.into(), server.address.into());
        } else {
            (tuple.src, tuple.dst) = (client.address6.into(), server.address6.into());
            if protocol == 1 {
                (tuple.protocol, tuple.query) = (58, 128);
            }
        }
        (sender, self.of_tuple(&tuple))
    }

    /// A packet with this tuple.
    fn of_tuple(&mut self, tuple: &Tuple) -> Any {
        let (src_port, dst_port) =
            (u16::from_be_bytes(tuple.src_port), u16::from_be_bytes(tuple.dst_port));
        let longest = self.random.pick(&[0, 8, 100, 1400, 1700]);
        let mut payload = vec![0x5a; self.random.below(longest + 1)];
        let transport = match tuple.protocol {
            6 => {
                let flags = self.random.pick(&[
                    flags::SYN,
                    flags::SYN,
                    flags::SYN | flags::ACK,
                    flags::ACK,
                    flags::ACK,
                    flags::FIN | flags::ACK,
                    flags::RST,
                    0,
                    0xff,
                ]);
                // Both sides begin with 1, and mostly go on from there.
                let far = self.random.pick(&[0, 0, 0, 1000, 100_000, 2_000_000_000]);
                let first = if flags & flags::SYN == 0 { 2 } else { 1 };
                let ack = if flags & flags::ACK == 0 { 0 } else { 2 + far / 2 };
                Transport::Tcp { src_port, dst_port, flags, seq: first + far, ack }
            }
            17 => Transport::Udp { src_port, dst_port, checksum: !self.random.one_in(8) },
            1 | 58 => {
                let [high, low] = tuple.query_id();
                // The type of an answer: see `transport::query_of`.
                let answer = match tuple.query {
                    8 => 0,
                    other => other + 1,
                };
                let kind = if tuple.src_port == [0; 2] && tuple.dst_port != [0; 2] {
                    answer
                } else {
                    tuple.query
                };
                Transport::Icmp { kind, code: 0, rest: [high, low, 0, 1] }
            }
            protocol => {
                let ports = [tuple.src_port, tuple.dst_port].concat();
                payload = [&ports[..], &[0; 8], &payload].concat();
                Transport::Other(protocol)
            }
        };
        match (IpAddr::from(tuple.src), IpAddr::from(tuple.dst)) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let packet = Packet::other(src, dst, 0).payload(&payload);
                Any::V4(packet.with(|packet| {
                    packet.transport = transport;
                    packet.dont_fragment = self.random.one_in(2);
                }))
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let packet = Packet6::other(src, dst, 0).payload(&payload);
                Any::V6(packet.with(|packet| packet.transport = transport))
            }
            mixed => panic!("{mixed:?}"),
        }
    }

    /// An error about a packet of a flow: of the server's side about what the client sent, or the
    /// other way round; sometimes about something else.
    fn error(&mut self, original: &Tuple, translated: &Tuple) -> (usize, Any) {
        let inside = self.random.one_in(2);
        let quoted = if inside { original.reversed() } else { *translated };
        let (from, to) = (quoted.dst, quoted.src);
        let quoted = match self.of_tuple(&quoted) {
            Any::V4(packet) => packet.build()[14..].to_vec(),
            Any::V6(packet) => packet.quoted(),
        };
        let length = self.random.pick(&[8, 28, 48, 56, 96]).min(quoted.len());
        let quoted = &quoted[..length];
        let sender = if inside { A } else { B };
        let packet = match (IpAddr::from(from), IpAddr::from(to)) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let (kind, code) =
                    self.random.pick(&[(3, 1), (3, 3), (3, 4), (11, 0), (12, 0), (5, 1)]);
                Any::V4(Packet::icmp(src, dst, kind, code, [0; 4]).payload(quoted))
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let kind = self.random.pick(&[(1, 4), (2, 0), (3, 0), (4, 1), (137, 0)]);
                Any::V6(Packet6::error(src, dst, kind, [0; 4], quoted))
            }
            mixed => panic!("{mixed:?}"),
        };
        (sender, packet)
    }

    /// The same with something that few packets have.
    fn unusual(&mut self, packet: Any) -> Any {
        let ttl = self.random.pick(&[64, 64, 64, 64, 255, 2, 1, 0]);
        match packet {
            Any::V4(mut packet) => {
                packet.ttl = ttl;
                packet.id = self.random.below(4) as u16;
                if self.random.one_in(6) {
                    packet.options = self
                        .random
                        .pick(&[
                            &[1; 4][..],
                            &[1; 40],
                            &[148, 4, 0, 0],
                            &[7, 9, 0, 0],
                            &[131, 3, 4, 0],
                        ])
                        .to_vec();
                }
                packet.padding = self.random.pick(&[0, 0, 0, 18]);
                Any::V4(packet)
            }
            Any::V6(mut packet) => {
                packet.hop_limit = ttl;
                while self.random.one_in(5) {
                    packet.extensions.push(self.extension());
                }
                packet.padding = self.random.pick(&[0, 0, 0, 18]);
                Any::V6(packet)
            }
        }
    }

    fn extension(&mut self) -> Extension {
        let via = *at6("fd00:9::9".parse().expect("an address"), 0).ip();
        match self.random.below(8) {
            0 => Extension::hop_by_hop(&[]),
            1 => Extension::routing(0, 1, &[via]),
            2 => Extension::routing(4, 0, &[via]),
            3 => Extension::authentication(1, 2),
            4 => Extension::fragment(0, false, 7),
            5 => Extension::fragment(0, true, self.random.below(3) as u32),
            6 => Extension::fragment(8 * self.random.below(99), false, self.random.below(3) as u32),
            _ => Extension::destination(&[]),
        }
    }
}
