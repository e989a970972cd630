//! Frames as they are: headers, checksums by full recompute, and what a translated frame must be.

use std::net::{Ipv4Addr, SocketAddrV4};

use etherparse::{NetSlice, SlicedPacket, TransportSlice};

/// Length of an Ethernet header without a VLAN tag.
pub const ETHERNET: usize = 14;

/// The headers of a captured frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct View {
    /// Source MAC.
    pub mac_src: [u8; 6],
    /// Destination MAC.
    pub mac_dst: [u8; 6],
    /// Source address and port; for ICMP the type.
    pub src: SocketAddrV4,
    /// Destination address and port; for ICMP the identifier.
    pub dst: SocketAddrV4,
    /// IP protocol number.
    pub protocol: u8,
    /// Time to live.
    pub ttl: u8,
    /// Type of service.
    pub tos: u8,
    /// IP identification.
    pub id: u16,
    /// Don't fragment.
    pub dont_fragment: bool,
    /// TCP flags, else 0.
    pub tcp_flags: u8,
    /// TCP sequence and acknowledgement numbers, else 0.
    pub seq_ack: (u32, u32),
    /// After the transport header.
    pub payload: Vec<u8>,
}

impl View {
    /// Of a frame from the Ethernet header on; `None` where it is not IPv4, or not readable.
    #[must_use]
    pub fn of(frame: &[u8]) -> Option<Self> {
        let sliced = SlicedPacket::from_ethernet(frame).ok()?;
        let Some(NetSlice::Ipv4(ip)) = &sliced.net else { return None };
        let header = ip.header();
        let (src_port, dst_port, tcp_flags, seq_ack, payload) = match &sliced.transport {
            Some(TransportSlice::Tcp(tcp)) => (
                tcp.source_port(),
                tcp.destination_port(),
                tcp.slice()[13],
                (tcp.sequence_number(), tcp.acknowledgment_number()),
                tcp.payload(),
            ),
            Some(TransportSlice::Udp(udp)) => {
                (udp.source_port(), udp.destination_port(), 0, (0, 0), udp.payload())
            }
            Some(TransportSlice::Icmpv4(icmp)) => {
                let [high, low, ..] = icmp.bytes5to8();
                let id = u16::from_be_bytes([high, low]);
                (u16::from(icmp.type_u8()), id, 0, (0, 0), icmp.payload())
            }
            _ => (0, 0, 0, (0, 0), ip.payload().payload),
        };
        Some(Self {
            mac_src: frame[6..12].try_into().ok()?,
            mac_dst: frame[..6].try_into().ok()?,
            src: SocketAddrV4::new(header.source_addr(), src_port),
            dst: SocketAddrV4::new(header.destination_addr(), dst_port),
            protocol: header.protocol().0,
            ttl: header.ttl(),
            tos: header.slice()[1],
            id: header.identification(),
            dont_fragment: header.dont_fragment(),
            tcp_flags,
            seq_ack,
            payload: payload.to_vec(),
        })
    }
}

/// The Internet checksum over these parts, each of even length but for the last (RFC 1071).
#[must_use]
pub fn internet_checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u64;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        sum += u64::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| u64::from(low));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Where the transport checksum of an IPv4 packet is, and what it should be.
fn transport_checksum(packet: &[u8]) -> Option<(usize, u16)> {
    let start = usize::from(packet[0] & 15) * 4;
    let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    let offset = start
        + match packet[9] {
            1 => 2,
            6 => 16,
            17 => 6,
            _ => return None,
        };
    let mut transport = packet[start..total].to_vec();
    transport[offset - start..offset - start + 2].fill(0);
    let length = u16::try_from(total - start).ok()?.to_be_bytes();
    let pseudo = [&packet[12..20], &[0, packet[9]], &length].concat();
    let sum = match packet[9] {
        1 => internet_checksum(&[&transport]),
        _ => internet_checksum(&[&pseudo, &transport]),
    };
    // RFC 768: 0 says that there is none.
    Some((offset, if sum == 0 && packet[9] == 17 { 0xffff } else { sum }))
}

/// Computes all checksums of an IPv4 packet.
pub fn fill_checksums(packet: &mut [u8]) {
    let header = usize::from(packet[0] & 15) * 4;
    packet[10..12].fill(0);
    let sum = internet_checksum(&[&packet[..header]]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    if let Some((offset, sum)) = transport_checksum(packet) {
        packet[offset..offset + 2].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Panics unless every checksum of an IPv4 frame is right, by full recompute. A UDP checksum of 0
/// is right.
#[track_caller]
pub fn assert_checksums(frame: &[u8]) {
    let packet = &frame[ETHERNET..];
    let header = usize::from(packet[0] & 15) * 4;
    assert_eq!(internet_checksum(&[&packet[..header]]), 0, "IPv4 header checksum of {frame:02x?}");
    if let Some((offset, wanted)) = transport_checksum(packet) {
        let found = u16::from_be_bytes([packet[offset], packet[offset + 1]]);
        let none = found == 0 && packet[9] == 17;
        // 0x0000 and 0xffff are the same number in ones' complement.
        let same = found == wanted || (found.wrapping_add(1) < 2 && wanted.wrapping_add(1) < 2);
        assert!(none || same, "checksum {found:04x}, should be {wanted:04x}, of {frame:02x?}");
    }
}

/// What `frame` must be after translation to these ends, apart from the MACs: one hop less,
/// checksums anew, everything else as it was. For ICMP the ports are the identifier.
#[must_use]
pub fn translated(frame: &[u8], src: SocketAddrV4, dst: SocketAddrV4) -> Vec<u8> {
    let mut wanted = frame.to_vec();
    let packet = &mut wanted[ETHERNET..];
    packet[8] -= 1;
    packet[12..16].copy_from_slice(&src.ip().octets());
    packet[16..20].copy_from_slice(&dst.ip().octets());
    let start = usize::from(packet[0] & 15) * 4;
    match packet[9] {
        1 => {
            let id = if packet[start] == 8 { src.port() } else { dst.port() };
            packet[start + 4..start + 6].copy_from_slice(&id.to_be_bytes());
        }
        _ => {
            packet[start..start + 2].copy_from_slice(&src.port().to_be_bytes());
            packet[start + 2..start + 4].copy_from_slice(&dst.port().to_be_bytes());
        }
    }
    let no_checksum = packet[9] == 17 && packet[start + 6..start + 8] == [0, 0];
    fill_checksums(packet);
    if no_checksum {
        packet[start + 6..start + 8].fill(0);
    }
    wanted
}

/// Panics unless `frame` is `wanted` from the ethertype on.
#[track_caller]
pub fn assert_same_packet(frame: &[u8], wanted: &[u8]) {
    assert_checksums(frame);
    assert!(
        frame[12..] == wanted[12..],
        "not the packet it should be\n found {:02x?}\nwanted {:02x?}",
        &frame[12..],
        &wanted[12..]
    );
}

/// An address and port, for brevity in tests.
#[must_use]
pub fn at(address: Ipv4Addr, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(address, port)
}
