//! Transport headers: what conversation a packet belongs to, or the reason why that cannot be told.

use network_types::icmp::Icmpv4Hdr;
use network_types::ip::Ipv4Hdr;
use network_types::udp::UdpHdr;

use super::ip::{Fragment, Ip};
use super::ipv6;
use crate::Reason;
use crate::contract::{Family, Tuple};

/// IP protocol number of ICMP.
pub const PROTOCOL_ICMP: u8 = 1;
/// IP protocol number of TCP.
pub const PROTOCOL_TCP: u8 = 6;
/// IP protocol number of UDP.
pub const PROTOCOL_UDP: u8 = 17;
/// IP protocol number of DCCP (RFC 4340).
pub const PROTOCOL_DCCP: u8 = 33;
/// IP protocol number of ICMPv6 (RFC 4443).
pub const PROTOCOL_ICMPV6: u8 = 58;
/// IP protocol number of SCTP (RFC 9260).
pub const PROTOCOL_SCTP: u8 = 132;
/// IP protocol number of UDP-Lite (RFC 3828).
pub const PROTOCOL_UDPLITE: u8 = 136;

/// What kind of conversation a packet belongs to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(u8)]
pub enum Transport {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// UDP-Lite and DCCP: ports and checksum stand where UDP has them, but the checksum is never
    /// left out.
    UdpLike,
    /// An ICMP query: echo, timestamp, information or address mask; request or reply.
    Query,
    /// An ICMPv6 query: echo or node information; its checksum covers the addresses.
    QueryV6,
    /// SCTP: it has ports, but its CRC covers them and not the addresses, so they stay.
    Sctp,
    /// Any other protocol: known by its addresses alone.
    Other,
    /// A later piece of a packet whose first piece is known: there is no header in it.
    Fragment,
}

/// The transport header, by value.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Segment {
    /// Addresses and ports on arrival.
    pub tuple: Tuple,
    /// What it is.
    pub transport: Transport,
    /// Flags of TCP, else 0.
    pub tcp_flags: TcpFlags,
    /// Sequence number of TCP, host order.
    pub tcp_seq: u32,
    /// Acknowledgment number of TCP, host order.
    pub tcp_ack: u32,
    /// Window field of TCP, host order.
    pub tcp_window: u16,
    /// Length of the transport header in bytes: what each segment of a GSO packet repeats.
    pub header_len: u8,
    /// The reply to an ICMP query; it cannot open a flow.
    pub is_query_reply: bool,
}

/// Flags byte of a TCP header.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// FIN.
    pub const FIN: u8 = 0x01;
    /// SYN.
    pub const SYN: u8 = 0x02;
    /// RST.
    pub const RST: u8 = 0x04;
    /// ACK.
    pub const ACK: u8 = 0x10;

    /// Is any of `flags` set?
    #[inline(always)]
    #[must_use]
    pub const fn any(self, flags: u8) -> bool {
        self.0 & flags != 0
    }

    /// SYN without ACK, RST or FIN: the only packet that opens a connection.
    #[inline(always)]
    #[must_use]
    pub const fn opens(self) -> bool {
        self.0 & (Self::SYN | Self::ACK | Self::RST | Self::FIN) == Self::SYN
    }
}

/// May the transport header of this packet be read where we look for it, right behind a header
/// without options or extensions? Says which it is.
///
/// # Errors
/// [`Reason::FragmentUnknown`] for pieces of larger packets, [`Reason::IpOptions`] for options and
/// extensions.
#[inline(always)]
pub fn of_plain(ip: &Ip) -> Result<Transport, Reason> {
    if !matches!(ip.fragment, Fragment::None) {
        return Err(Reason::FragmentUnknown);
    }
    if matches!(ip.family, Family::V6) && ip.protocol == ipv6::NO_NEXT_HEADER {
        // What follows belongs to nothing, and cannot be told apart.
        return Err(Reason::MalformedTransport);
    }
    let plain = match ip.family {
        Family::V4 => ip.header_len as usize == Ipv4Hdr::LEN,
        Family::V6 => !ipv6::is_extension(ip.protocol),
    };
    if plain { Ok(of_protocol(ip.family, ip.protocol)) } else { Err(Reason::IpOptions) }
}

/// How the transport header of an IP protocol is read.
#[inline(always)]
#[must_use]
pub const fn of_protocol(family: Family, protocol: u8) -> Transport {
    match protocol {
        PROTOCOL_TCP => Transport::Tcp,
        PROTOCOL_UDP => Transport::Udp,
        PROTOCOL_UDPLITE | PROTOCOL_DCCP => Transport::UdpLike,
        PROTOCOL_ICMP if matches!(family, Family::V4) => Transport::Query,
        PROTOCOL_ICMPV6 if matches!(family, Family::V6) => Transport::QueryV6,
        PROTOCOL_SCTP => Transport::Sctp,
        _ => Transport::Other,
    }
}

#[inline(always)]
fn tuple(ip: &Ip, src_port: [u8; 2], dst_port: [u8; 2]) -> Tuple {
    Tuple {
        src: ip.src,
        dst: ip.dst,
        src_port,
        dst_port,
        protocol: ip.protocol,
        ..Tuple::default()
    }
}

/// Reads the fixed part of a TCP header.
///
/// It takes bytes, since the accessors of a typed header go through its flags bit by bit.
///
/// # Errors
/// [`Reason::MalformedTransport`] where its data offset cannot be.
#[inline(always)]
pub fn tcp(header: &[u8; 20], ip: &Ip) -> Result<Segment, Reason> {
    let header_len = (header[12] >> 4) * 4;
    if header_len < 20 || u32::from(header_len) > ip.payload_len {
        return Err(Reason::MalformedTransport);
    }
    Ok(Segment {
        tuple: tuple(ip, [header[0], header[1]], [header[2], header[3]]),
        transport: Transport::Tcp,
        tcp_flags: TcpFlags(header[13]),
        tcp_seq: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
        tcp_ack: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
        tcp_window: u16::from_be_bytes([header[14], header[15]]),
        header_len,
        is_query_reply: false,
    })
}

/// Reads a UDP header.
///
/// # Errors
/// [`Reason::MalformedTransport`] where its length cannot be.
#[inline(always)]
pub fn udp(header: &UdpHdr, ip: &Ip) -> Result<Segment, Reason> {
    let len = u32::from(u16::from_be_bytes(header.len));
    // The length is that of the whole datagram, of which a first fragment has only a part.
    let fits = len <= ip.payload_len || matches!(ip.fragment, Fragment::First);
    if len < UdpHdr::LEN as u32 || ip.payload_len < UdpHdr::LEN as u32 || !fits {
        return Err(Reason::MalformedTransport);
    }
    Ok(Segment {
        tuple: tuple(ip, header.src, header.dst),
        transport: Transport::Udp,
        header_len: UdpHdr::LEN as u8,
        ..Segment::default()
    })
}

/// Reads the ports of a UDP-Lite or DCCP header.
///
/// # Errors
/// [`Reason::MalformedTransport`] where the header is cut off.
#[inline(always)]
pub fn udp_like(header: &[u8; 8], ip: &Ip) -> Result<Segment, Reason> {
    ported(header, ip, Transport::UdpLike, 8)
}

/// Reads the ports of an SCTP header.
///
/// # Errors
/// [`Reason::MalformedTransport`] where the header is cut off.
#[inline(always)]
pub fn sctp(header: &[u8; 8], ip: &Ip) -> Result<Segment, Reason> {
    ported(header, ip, Transport::Sctp, 12)
}

#[inline(always)]
fn ported(header: &[u8; 8], ip: &Ip, transport: Transport, len: u8) -> Result<Segment, Reason> {
    if ip.payload_len < u32::from(len) {
        return Err(Reason::MalformedTransport);
    }
    Ok(Segment {
        tuple: tuple(ip, [header[0], header[1]], [header[2], header[3]]),
        transport,
        header_len: len,
        ..Segment::default()
    })
}

/// What a packet of any other protocol is known by.
#[inline(always)]
#[must_use]
pub fn other(ip: &Ip) -> Segment {
    Segment {
        tuple: tuple(ip, [0; 2], [0; 2]),
        transport: Transport::Other,
        header_len: 0,
        ..Segment::default()
    }
}

/// Reads the first eight bytes of an ICMP message of either family.
///
/// # Errors
/// [`Reason::IcmpError`] for errors, which belong to the flow of the packet inside,
/// [`Reason::IcmpUnsupported`] for the rest but queries, [`Reason::MalformedTransport`] where it is
/// cut off.
#[inline(always)]
pub fn icmp(header: &[u8; 8], ip: &Ip) -> Result<Segment, Reason> {
    if ip.payload_len < Icmpv4Hdr::LEN as u32 {
        return Err(Reason::MalformedTransport);
    }
    let id = [header[4], header[5]];
    let type_ = header[0];
    let transport = match ip.family {
        Family::V4 => Transport::Query,
        Family::V6 => Transport::QueryV6,
    };
    let Some((query, is_query_reply)) = query_of(ip.family, type_) else {
        return Err(if is_icmp_error(ip.family, type_) {
            Reason::IcmpError
        } else {
            Reason::IcmpUnsupported
        });
    };
    let ports = if is_query_reply { [[0; 2], id] } else { [id, [0; 2]] };
    Ok(Segment {
        tuple: Tuple { query, answer: u8::from(is_query_reply), ..tuple(ip, ports[0], ports[1]) },
        transport,
        header_len: Icmpv4Hdr::LEN as u8,
        is_query_reply,
        ..Segment::default()
    })
}

/// The type of the request that an ICMP message of this type is or answers, and whether it is the
/// answer; `None` where it is no query.
#[inline(always)]
#[must_use]
pub const fn query_of(family: Family, type_: u8) -> Option<(u8, bool)> {
    match (family, type_) {
        // Echo, timestamp, information, address mask (RFC 792, RFC 950).
        (Family::V4, 8 | 13 | 15 | 17) => Some((type_, false)),
        (Family::V4, 0) => Some((8, true)),
        (Family::V4, 14 | 16 | 18) => Some((type_ - 1, true)),
        // Echo, node information (RFC 4443, RFC 4620).
        (Family::V6, 128 | 139) => Some((type_, false)),
        (Family::V6, 129 | 140) => Some((type_ - 1, true)),
        _ => None,
    }
}

/// Is this the type of an ICMP error message? Redirects are not: they speak of the sender's own
/// network and are never forwarded.
#[inline(always)]
#[must_use]
pub const fn is_icmp_error(family: Family, type_: u8) -> bool {
    match family {
        // Destination unreachable, source quench, time exceeded, parameter problem.
        Family::V4 => matches!(type_, 3 | 4 | 11 | 12),
        // Every type below 128, also those that nobody has defined yet (RFC 4443, section 2.1).
        Family::V6 => type_ < 128,
    }
}

/// Bytes, IP header included, of the largest packet that this one will be on the wire: itself, or
/// each segment of a GSO packet.
#[inline(always)]
#[must_use]
pub fn wire_len(ip: &Ip, segment: &Segment, gso_size: u32) -> u32 {
    let payload = if gso_size == 0 {
        ip.payload_len
    } else {
        u32::from(segment.header_len).wrapping_add(gso_size)
    };
    u32::from(ip.header_len).wrapping_add(payload)
}

#[cfg(test)]
#[path = "transport_tests.rs"]
mod tests;
