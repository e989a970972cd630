//! A packet as it is in one place, and what of it stays the same wherever it goes.

use etherparse::{Icmpv4Type, Icmpv6Type, LaxNetSlice, LaxSlicedPacket, TcpSlice, TransportSlice};

use crate::api::types::FlowTuple;
use crate::datapath;
use crate::host::headers;

/// IP protocol number of TCP.
pub const TCP: u8 = 6;
/// IP protocol number of UDP.
pub const UDP: u8 = 17;
/// IP protocol number of ICMP.
pub const ICMP: u8 = 1;
/// IP protocol number of ICMPv6.
pub const ICMP_V6: u8 = 58;

/// What is known of a packet in one place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Packet {
    /// IP protocol number.
    pub protocol: u8,
    /// Its addresses and ports there.
    pub tuple: FlowTuple,
    /// TTL or hop limit there.
    pub ttl: u8,
    /// Length from the IP header on, in bytes.
    pub length: u32,
    /// What it is, in words: `SYN`, `echo request 1`; empty where there is nothing to say.
    pub what: String,
    /// Of an ICMP error: the addresses of the packet that it quotes.
    pub quoted: Option<FlowTuple>,
    /// What no translation changes.
    pub print: Print,
}

/// What is the same of a packet wherever it is seen: neither addresses nor ports, which are translated,
/// nor checksums and TTL, which follow. Packets that were sent twice may have the same.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Print {
    protocol: u8,
    /// IPv4's identification, or IPv6's flow label.
    id: u32,
    /// Length from the IP header on, and the offset of a piece.
    length: (u32, u16),
    /// TCP's numbers, ICMP's type, code and sequence number.
    transport: (u64, u64),
}

impl Packet {
    /// Reads a frame, from the Ethernet header on; `None` where it is not of IP.
    #[must_use]
    pub fn of_frame(frame: &[u8]) -> Option<Self> {
        Self::of(&LaxSlicedPacket::from_ethernet(frame).ok()?)
    }

    /// Reads a packet from its IP header on.
    #[must_use]
    pub fn of_ip(packet: &[u8]) -> Option<Self> {
        Self::of(&LaxSlicedPacket::from_ip(packet).ok()?)
    }

    fn of(packet: &LaxSlicedPacket<'_>) -> Option<Self> {
        let headers::Headers { protocol, tuple } = headers::of(packet)?;
        let (ttl, length, id, offset) = match packet.net.as_ref()? {
            LaxNetSlice::Ipv4(ip) => {
                let header = ip.header();
                let id = u32::from(header.identification());
                let offset = header.fragments_offset().value();
                (header.ttl(), u32::from(header.total_len()), id, offset)
            }
            LaxNetSlice::Ipv6(ip) => {
                let header = ip.header();
                let length = u32::from(header.payload_length()) + 40;
                (header.hop_limit(), length, header.flow_label().value(), 0)
            }
            _ => return None,
        };
        let mut print = Print { protocol, id, length: (length, offset), transport: (0, 0) };
        let (mut what, mut quoted) = (String::new(), None);
        match &packet.transport {
            Some(TransportSlice::Tcp(tcp)) => {
                let numbers = (tcp.sequence_number(), tcp.acknowledgment_number());
                what = flags(tcp);
                print.transport = (
                    u64::from(numbers.0) << 32 | u64::from(numbers.1),
                    u64::from(tcp.window_size()) << 16 | u64::from(flag_bits(tcp)),
                );
            }
            Some(TransportSlice::Icmpv4(icmp)) => {
                let kind = icmp.icmp_type();
                let (said, sequence) = match &kind {
                    Icmpv4Type::EchoRequest(echo) => {
                        (format!("echo request {}", echo.seq), echo.seq)
                    }
                    Icmpv4Type::EchoReply(echo) => (format!("echo reply {}", echo.seq), echo.seq),
                    Icmpv4Type::DestinationUnreachable(_) => ("unreachable".into(), 0),
                    Icmpv4Type::TimeExceeded(_) => ("time exceeded".into(), 0),
                    _ => (format!("type {}", icmp.type_u8()), 0),
                };
                what = said;
                print.transport = (icmp_numbers(icmp.type_u8(), icmp.code_u8(), sequence), 0);
                let error = matches!(
                    kind,
                    Icmpv4Type::DestinationUnreachable(_)
                        | Icmpv4Type::TimeExceeded(_)
                        | Icmpv4Type::ParameterProblem(_)
                );
                quoted = error.then(|| quote(icmp.payload())).flatten();
            }
            Some(TransportSlice::Icmpv6(icmp)) => {
                let kind = icmp.icmp_type();
                let (said, sequence) = match &kind {
                    Icmpv6Type::EchoRequest(echo) => {
                        (format!("echo request {}", echo.seq), echo.seq)
                    }
                    Icmpv6Type::EchoReply(echo) => (format!("echo reply {}", echo.seq), echo.seq),
                    Icmpv6Type::DestinationUnreachable(_) => ("unreachable".into(), 0),
                    Icmpv6Type::PacketTooBig { .. } => ("packet too big".into(), 0),
                    Icmpv6Type::TimeExceeded(_) => ("time exceeded".into(), 0),
                    _ => (format!("type {}", icmp.type_u8()), 0),
                };
                what = said;
                print.transport = (icmp_numbers(icmp.type_u8(), icmp.code_u8(), sequence), 0);
                // Errors are the types below 128.
                quoted = (icmp.type_u8() < 128).then(|| quote(icmp.payload())).flatten();
            }
            _ if offset > 0 => what = format!("piece from byte {}", u32::from(offset) * 8),
            _ => {}
        }
        Some(Self { protocol, tuple, ttl, length, what, quoted, print })
    }

    /// The protocol's name, or its number.
    #[must_use]
    pub fn protocol_name(&self) -> String {
        datapath::protocol_name(self.protocol)
    }

    /// Does one of these two sides have that port?
    #[must_use]
    pub const fn has_port(&self, port: u16) -> bool {
        self.tuple.src_port == port || self.tuple.dst_port == port
    }
}

fn icmp_numbers(kind: u8, code: u8, sequence: u16) -> u64 {
    u64::from(kind) << 32 | u64::from(code) << 16 | u64::from(sequence)
}

/// The packet that an error quotes, of which there may be 8 bytes behind the IP header alone.
fn quote(payload: &[u8]) -> Option<FlowTuple> {
    let packet = LaxSlicedPacket::from_ip(payload).ok()?;
    let mut tuple = headers::of(&packet)?.tuple;
    // Too short for the library to take for a header: the ports are there all the same.
    if packet.transport.is_none() {
        let rest = match packet.net.as_ref()? {
            LaxNetSlice::Ipv4(ip) => ip.payload().payload,
            LaxNetSlice::Ipv6(ip) => ip.payload().payload,
            _ => return Some(tuple),
        };
        if let [a, b, c, d, ..] = rest {
            tuple.src_port = u16::from_be_bytes([*a, *b]);
            tuple.dst_port = u16::from_be_bytes([*c, *d]);
        }
    }
    Some(tuple)
}

/// As tcpdump(8) would say it in words: `SYN,ACK`.
fn flags(tcp: &TcpSlice<'_>) -> String {
    let all = [
        (tcp.syn(), "SYN"),
        (tcp.fin(), "FIN"),
        (tcp.rst(), "RST"),
        (tcp.psh(), "PSH"),
        (tcp.ack(), "ACK"),
        (tcp.urg(), "URG"),
    ];
    let set: Vec<_> = all.iter().filter_map(|(set, name)| set.then_some(*name)).collect();
    if set.is_empty() { "no flags".into() } else { set.join(",") }
}

fn flag_bits(tcp: &TcpSlice<'_>) -> u16 {
    let all = [tcp.syn(), tcp.fin(), tcp.rst(), tcp.psh(), tcp.ack(), tcp.urg()];
    all.iter().fold(0, |bits, set| bits << 1 | u16::from(*set))
}

#[cfg(test)]
#[allow(missing_docs, reason = "tests of others use it")]
pub mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    /// A TCP segment as it is in one place.
    pub fn segment(src: [u8; 4], src_port: u16, dst: [u8; 4], dst_port: u16, ttl: u8) -> Vec<u8> {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4(src, dst, ttl)
            .tcp(src_port, dst_port, 1000, 64240)
            .syn()
            .write(&mut frame, b"")
            .unwrap();
        frame
    }

    #[test]
    fn a_translated_packet_has_the_same_print_and_another_none() {
        let sent = Packet::of_frame(&segment([10, 1, 0, 2], 4000, [10, 2, 0, 2], 80, 64)).unwrap();
        let there = Packet::of_frame(&segment([10, 2, 0, 1], 5000, [10, 2, 0, 2], 80, 63)).unwrap();
        assert_eq!(sent.print, there.print);
        assert_eq!((&*sent.what, sent.ttl, sent.length), ("SYN", 64, 40));
        assert_ne!(sent.tuple, there.tuple);
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([10, 1, 0, 2], [10, 2, 0, 2], 64)
            .tcp(4000, 80, 1001, 64240)
            .ack(7)
            .write(&mut frame, b"")
            .unwrap();
        let next = Packet::of_frame(&frame).unwrap();
        assert_ne!(next.print, sent.print);
        assert_eq!(next.what, "ACK");
        assert!(next.has_port(80) && !next.has_port(81));
    }

    #[test]
    fn an_error_says_whose_packet_it_is_about() {
        let about = segment([10, 1, 0, 2], 4000, [10, 2, 0, 2], 80, 1);
        // As much of it as an error has to quote: the IP header and 8 bytes.
        let quote = &about[14..14 + 28];
        let unreachable = etherparse::icmpv4::DestUnreachableHeader::Host;
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([10, 1, 0, 1], [10, 1, 0, 2], 64)
            .icmpv4(Icmpv4Type::DestinationUnreachable(unreachable))
            .write(&mut frame, quote)
            .unwrap();
        let error = Packet::of_frame(&frame).unwrap();
        let quoted = error.quoted.unwrap();
        assert_eq!(quoted, Packet::of_frame(&about).unwrap().tuple);
        assert_eq!(error.what, "unreachable");
        assert_eq!(Packet::of_ip(&frame[14..]).unwrap(), error);
    }

    #[test]
    fn nothing_that_comes_in_breaks_it() {
        let frame = segment([10, 1, 0, 2], 4000, [10, 2, 0, 2], 80, 64);
        for len in 0..frame.len() {
            let _ = Packet::of_frame(&frame[..len]);
            let _ = Packet::of_ip(&frame[14.min(len)..len]);
        }
        assert_eq!(Packet::of_frame(&[0xff; 60]), None);
    }
}
