//! IPv6 frames as they are: headers, checksums by full recompute, and what a translated frame must
//! be.

use std::net::{Ipv6Addr, SocketAddrV6};

use crate::packets6::HEADER;
use crate::view::{ETHERNET, internet_checksum};

/// The headers of a captured frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct View6 {
    /// Source MAC.
    pub mac_src: [u8; 6],
    /// Destination MAC.
    pub mac_dst: [u8; 6],
    /// Source address and port; for ICMPv6 the type.
    pub src: SocketAddrV6,
    /// Destination address and port; for ICMPv6 the identifier.
    pub dst: SocketAddrV6,
    /// Numbers of the extension headers.
    pub extensions: Vec<u8>,
    /// Protocol number, behind the extension headers.
    pub protocol: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Traffic class.
    pub traffic_class: u8,
    /// Flow label.
    pub flow_label: u32,
    /// TCP flags, else 0.
    pub tcp_flags: u8,
    /// TCP sequence and acknowledgement numbers, else 0.
    pub seq_ack: (u32, u32),
    /// After the transport header; after the extension headers where the transport is another one,
    /// or this is a later fragment.
    pub payload: Vec<u8>,
}

impl View6 {
    /// Of a frame from the Ethernet header on; `None` where it is not IPv6, or not readable.
    #[must_use]
    pub fn of(frame: &[u8]) -> Option<Self> {
        let packet = frame.get(ETHERNET..).filter(|packet| packet.len() >= HEADER)?;
        if frame[12..14] != [0x86, 0xdd] || packet[0] >> 4 != 6 {
            return None;
        }
        let end = HEADER + usize::from(word(packet, 4));
        let chain = Chain::of(packet.get(..end)?)?;
        let body = &packet[chain.end..end];
        let mut view = Self {
            mac_src: frame[6..12].try_into().ok()?,
            mac_dst: frame[..6].try_into().ok()?,
            src: SocketAddrV6::new(address(packet, 8), 0, 0, 0),
            dst: SocketAddrV6::new(address(packet, 24), 0, 0, 0),
            extensions: chain.extensions,
            protocol: chain.protocol,
            hop_limit: packet[7],
            traffic_class: packet[0] << 4 | packet[1] >> 4,
            flow_label: u32::from_be_bytes([0, packet[1] & 15, packet[2], packet[3]]),
            tcp_flags: 0,
            seq_ack: (0, 0),
            payload: body.to_vec(),
        };
        if chain.later_fragment {
            return Some(view);
        }
        let header = match chain.protocol {
            6 => usize::from(*body.get(12)? >> 4) * 4,
            17 | 58 => 8,
            _ => return Some(view),
        };
        view.payload = body.get(header..)?.to_vec();
        let (src_port, dst_port) = match chain.protocol {
            58 => (u16::from(body[0]), word(body, 4)),
            _ => (word(body, 0), word(body, 2)),
        };
        view.src.set_port(src_port);
        view.dst.set_port(dst_port);
        if chain.protocol == 6 {
            let number =
                |at: usize| u32::from(word(body, at)) << 16 | u32::from(word(body, at + 2));
            (view.tcp_flags, view.seq_ack) = (body[13], (number(4), number(8)));
        }
        Some(view)
    }
}

/// The headers between the IPv6 header and what they carry.
pub struct Chain {
    /// Their numbers.
    pub extensions: Vec<u8>,
    /// Number of what comes behind them.
    pub protocol: u8,
    /// Where they end, from the IPv6 header on.
    pub end: usize,
    /// Offset field of the fragment header, as on the wire without the reserved bits.
    pub fragment: Option<u16>,
    /// A fragment that is not the first.
    pub later_fragment: bool,
}

impl Chain {
    /// Of a packet from the IPv6 header on; `None` where a header is cut off. What follows the
    /// fragment header of a later fragment is no header.
    #[must_use]
    pub fn of(packet: &[u8]) -> Option<Self> {
        let mut chain = Self {
            extensions: Vec::new(),
            protocol: *packet.get(6)?,
            end: HEADER,
            fragment: None,
            later_fragment: false,
        };
        while !chain.later_fragment && matches!(chain.protocol, 0 | 43 | 44 | 51 | 60) {
            let header = packet.get(chain.end..)?;
            let units = usize::from(*header.get(1)?);
            let length = match chain.protocol {
                44 => 8,
                51 => (units + 2) * 4,
                _ => (units + 1) * 8,
            };
            let header = header.get(..length)?;
            if chain.protocol == 44 {
                let field = word(header, 2) & 0xfff9;
                (chain.fragment, chain.later_fragment) = (Some(field), field >= 8);
            }
            chain.extensions.push(chain.protocol);
            chain.protocol = header[0];
            chain.end += length;
        }
        Some(chain)
    }

    /// Is this a piece of a datagram, rather than the whole? A fragment header alone does not make
    /// one (RFC 6946).
    #[must_use]
    pub fn is_piece(&self) -> bool {
        self.fragment.is_some_and(|field| field != 0)
    }
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// An address in a packet.
#[must_use]
pub fn address(bytes: &[u8], at: usize) -> Ipv6Addr {
    let octets: [u8; 16] = bytes[at..at + 16].try_into().expect("16 bytes");
    Ipv6Addr::from(octets)
}

/// Sum over what is covered of a body of `length` bytes and the pseudo-header of its packet (RFC
/// 8200, section 8.1): 0 where the checksum in it is right.
#[must_use]
pub fn checksum6(packet: &[u8], protocol: u8, length: usize, covered: &[u8]) -> u16 {
    let length = u32::try_from(length).expect("fits").to_be_bytes();
    internet_checksum(&[&packet[8..HEADER], &length, &[0, 0, 0, protocol], covered])
}

/// Where the transport checksum of an IPv6 packet is, and what it should be.
fn transport_checksum(packet: &[u8]) -> Option<(usize, u16)> {
    let end = HEADER + usize::from(word(packet, 4));
    let chain = Chain::of(packet).filter(|chain| !chain.is_piece())?;
    let place = match chain.protocol {
        6 => 16,
        17 => 6,
        58 => 2,
        _ => return None,
    };
    let mut body = packet.get(chain.end..end)?.to_vec();
    body.get_mut(place..place + 2)?.fill(0);
    let sum = checksum6(packet, chain.protocol, body.len(), &body);
    // Over IPv6 a UDP checksum of 0 is never right.
    Some((chain.end + place, if sum == 0 && chain.protocol == 17 { 0xffff } else { sum }))
}

/// Computes the checksum of an IPv6 packet; a piece of one has none of its own.
pub fn fill_checksums6(packet: &mut [u8]) {
    if let Some((offset, sum)) = transport_checksum(packet) {
        packet[offset..offset + 2].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Panics unless the checksum of an IPv6 frame is right, by full recompute.
#[track_caller]
pub fn assert_checksums6(frame: &[u8]) {
    let packet = &frame[ETHERNET..];
    if let Some((offset, wanted)) = transport_checksum(packet) {
        let found = word(packet, offset);
        // 0x0000 and 0xffff are the same number in ones' complement; UDP has only the latter.
        let same = found == wanted
            || (found.wrapping_add(1) < 2 && wanted.wrapping_add(1) < 2 && wanted != 0xffff);
        assert!(same, "checksum {found:04x}, should be {wanted:04x}, of {frame:02x?}");
    }
}

/// What `frame` must be after translation to these ends, apart from the MACs: one hop less, its
/// checksum anew, everything else as it was. For ICMPv6 the ports are the identifier. Not for pieces.
#[must_use]
pub fn translated6(frame: &[u8], src: SocketAddrV6, dst: SocketAddrV6) -> Vec<u8> {
    let mut wanted = frame.to_vec();
    let packet = &mut wanted[ETHERNET..];
    packet[7] -= 1;
    packet[8..24].copy_from_slice(&src.ip().octets());
    packet[24..40].copy_from_slice(&dst.ip().octets());
    let chain = Chain::of(packet).expect("a whole chain of headers");
    let start = chain.end;
    match chain.protocol {
        58 => {
            let id = if packet[start] == 128 { src.port() } else { dst.port() };
            packet[start + 4..start + 6].copy_from_slice(&id.to_be_bytes());
        }
        6 | 17 => {
            packet[start..start + 2].copy_from_slice(&src.port().to_be_bytes());
            packet[start + 2..start + 4].copy_from_slice(&dst.port().to_be_bytes());
        }
        _ => {}
    }
    fill_checksums6(packet);
    wanted
}

/// An IPv6 address and port, for brevity in tests.
#[must_use]
pub fn at6(address: Ipv6Addr, port: u16) -> SocketAddrV6 {
    SocketAddrV6::new(address, port, 0, 0)
}
