//! What we read of a packet: from header bytes to values, or to the reason why not.

use network_types::eth::EthHdr;
use network_types::icmp::Icmpv4Hdr;
use network_types::ip::Ipv4Hdr;
use network_types::udp::UdpHdr;

use super::checksum;
use crate::Reason;
use crate::contract::Tuple;

/// IP protocol number of ICMP.
pub const PROTOCOL_ICMP: u8 = 1;
/// IP protocol number of TCP.
pub const PROTOCOL_TCP: u8 = 6;
/// IP protocol number of UDP.
pub const PROTOCOL_UDP: u8 = 17;
/// IP protocol number of DCCP (RFC 4340).
pub const PROTOCOL_DCCP: u8 = 33;
/// IP protocol number of SCTP (RFC 9260).
pub const PROTOCOL_SCTP: u8 = 132;
/// IP protocol number of UDP-Lite (RFC 3828).
pub const PROTOCOL_UDPLITE: u8 = 136;

const ETHERTYPE_IPV4: u16 = 0x0800_u16.to_be();
const ETHERTYPE_IPV6: u16 = 0x86dd_u16.to_be();
const MORE_FRAGMENTS: u8 = 0x20;
/// The part of the fragment offset that shares a byte with the flags.
const OFFSET_HIGH: u8 = 0x1f;
const DONT_FRAGMENT: u8 = 0x40;
const ICMP_ECHO_REPLY: u8 = 0;
const ICMP_ECHO_REQUEST: u8 = 8;

/// The IPv4 header, by value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ipv4 {
    /// Source address, wire order.
    pub src: [u8; 4],
    /// Destination address, wire order.
    pub dst: [u8; 4],
    /// Time to live.
    pub ttl: u8,
    /// Type of service: DSCP and ECN.
    pub tos: u8,
    /// IP protocol number.
    pub protocol: u8,
    /// May routers not fragment it?
    pub dont_fragment: bool,
    /// Identification, wire order: what the pieces of one packet have in common.
    pub id: [u8; 2],
    /// Which piece of a larger packet it is, if it is one.
    pub fragment: Fragment,
    /// Header length in bytes, 20 to 60.
    pub header_len: u8,
    /// Bytes after the header.
    pub payload_len: u32,
}

/// Which piece of a fragmented packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Fragment {
    /// Not fragmented.
    None,
    /// The first piece: it has the transport header.
    First,
    /// Any other piece.
    Later,
}

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
    /// ICMP echo request or reply.
    Echo,
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
    /// TCP, UDP or ICMP echo.
    pub transport: Transport,
    /// Flags of TCP, else 0.
    pub tcp_flags: TcpFlags,
    /// Length of the transport header in bytes: what each segment of a GSO packet repeats.
    pub header_len: u8,
    /// An ICMP echo reply; it cannot open a flow.
    pub is_echo_reply: bool,
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

/// Is this frame IPv4 and addressed to the router?
///
/// # Errors
/// The reason why the frame is not ours.
#[inline(always)]
pub fn ethernet(header: &EthHdr, router_mac: [u8; 6]) -> Result<(), Reason> {
    if header.dst_addr != router_mac {
        return Err(Reason::NotForRouter);
    }
    match header.ether_type {
        ETHERTYPE_IPV4 => Ok(()),
        ETHERTYPE_IPV6 => Err(Reason::Ipv6),
        _ => Err(Reason::NotIp),
    }
}

/// Reads the fixed part of an IPv4 header; `available` is how many bytes the frame has from here
/// on, trailing padding included. `gso` packets may be longer than their length field can say.
///
/// # Errors
/// [`Reason::MalformedIp`] for what the kernel's `ip_rcv` discards.
#[inline(always)]
pub fn ipv4(header: &Ipv4Hdr, available: u32, gso: bool) -> Result<Ipv4, Reason> {
    let header_len = header.vihl.wrapping_mul(4) & 0x3c;
    if header.vihl >> 4 != 4 || header_len < Ipv4Hdr::LEN as u8 {
        return Err(Reason::MalformedIp);
    }
    let mut total_len = u32::from(u16::from_be_bytes(header.tot_len));
    if total_len == 0 && gso {
        total_len = available;
    }
    if total_len < u32::from(header_len) || total_len > available {
        return Err(Reason::MalformedIp);
    }
    let [flags, offset_low] = header.frags;
    let fragment = if flags & OFFSET_HIGH != 0 || offset_low != 0 {
        Fragment::Later
    } else if flags & MORE_FRAGMENTS != 0 {
        Fragment::First
    } else {
        Fragment::None
    };
    Ok(Ipv4 {
        src: header.src_addr,
        dst: header.dst_addr,
        ttl: header.ttl,
        tos: header.tos,
        protocol: header.proto,
        dont_fragment: flags & DONT_FRAGMENT != 0,
        id: header.id,
        fragment,
        header_len,
        payload_len: total_len - u32::from(header_len),
    })
}

/// Does the checksum of a header without options hold?
///
/// # Errors
/// [`Reason::MalformedIp`].
#[inline(always)]
pub fn verify_ipv4_checksum(header: &[u8; Ipv4Hdr::LEN]) -> Result<(), Reason> {
    if checksum::fold(checksum::sum_words(header)) == 0xffff {
        Ok(())
    } else {
        Err(Reason::MalformedIp)
    }
}

/// May the transport header of this packet be read where we look for it? Says which it is.
///
/// # Errors
/// The reason why the packet is not supported.
#[inline(always)]
pub fn transport(ip: &Ipv4) -> Result<Transport, Reason> {
    if matches!(ip.fragment, Fragment::Later) {
        return Err(Reason::FragmentUnknown);
    }
    if ip.header_len as usize != Ipv4Hdr::LEN {
        return Err(Reason::IpOptions);
    }
    Ok(transport_of(ip.protocol))
}

/// How the transport header of an IP protocol is read.
#[inline(always)]
#[must_use]
pub const fn transport_of(protocol: u8) -> Transport {
    match protocol {
        PROTOCOL_TCP => Transport::Tcp,
        PROTOCOL_UDP => Transport::Udp,
        PROTOCOL_UDPLITE | PROTOCOL_DCCP => Transport::UdpLike,
        PROTOCOL_ICMP => Transport::Echo,
        PROTOCOL_SCTP => Transport::Sctp,
        _ => Transport::Other,
    }
}

#[inline(always)]
fn tuple(ip: &Ipv4, src_port: [u8; 2], dst_port: [u8; 2]) -> Tuple {
    Tuple { src: ip.src, dst: ip.dst, src_port, dst_port, protocol: ip.protocol, _zero: [0; 3] }
}

/// Reads the fixed part of a TCP header.
///
/// It takes bytes, since the accessors of a typed header go through its flags bit by bit.
///
/// # Errors
/// [`Reason::MalformedTransport`] where its data offset cannot be.
#[inline(always)]
pub fn tcp(header: &[u8; 20], ip: &Ipv4) -> Result<Segment, Reason> {
    let header_len = (header[12] >> 4) * 4;
    if header_len < 20 || u32::from(header_len) > ip.payload_len {
        return Err(Reason::MalformedTransport);
    }
    Ok(Segment {
        tuple: tuple(ip, [header[0], header[1]], [header[2], header[3]]),
        transport: Transport::Tcp,
        tcp_flags: TcpFlags(header[13]),
        header_len,
        is_echo_reply: false,
    })
}

/// Reads a UDP header.
///
/// # Errors
/// [`Reason::MalformedTransport`] where its length cannot be.
#[inline(always)]
pub fn udp(header: &UdpHdr, ip: &Ipv4) -> Result<Segment, Reason> {
    let len = u32::from(u16::from_be_bytes(header.len));
    // The length is that of the whole datagram, of which a first fragment has only a part.
    let fits = len <= ip.payload_len || matches!(ip.fragment, Fragment::First);
    if len < UdpHdr::LEN as u32 || ip.payload_len < UdpHdr::LEN as u32 || !fits {
        return Err(Reason::MalformedTransport);
    }
    Ok(Segment {
        tuple: tuple(ip, header.src, header.dst),
        transport: Transport::Udp,
        tcp_flags: TcpFlags(0),
        header_len: UdpHdr::LEN as u8,
        is_echo_reply: false,
    })
}

/// Reads the ports of a UDP-Lite or DCCP header.
///
/// # Errors
/// [`Reason::MalformedTransport`] where the header is cut off.
#[inline(always)]
pub fn udp_like(header: &[u8; 8], ip: &Ipv4) -> Result<Segment, Reason> {
    ported(header, ip, Transport::UdpLike, 8)
}

/// Reads the ports of an SCTP header.
///
/// # Errors
/// [`Reason::MalformedTransport`] where the header is cut off.
#[inline(always)]
pub fn sctp(header: &[u8; 8], ip: &Ipv4) -> Result<Segment, Reason> {
    ported(header, ip, Transport::Sctp, 12)
}

#[inline(always)]
fn ported(header: &[u8; 8], ip: &Ipv4, transport: Transport, len: u8) -> Result<Segment, Reason> {
    if ip.payload_len < u32::from(len) {
        return Err(Reason::MalformedTransport);
    }
    Ok(Segment {
        tuple: tuple(ip, [header[0], header[1]], [header[2], header[3]]),
        transport,
        tcp_flags: TcpFlags(0),
        header_len: len,
        is_echo_reply: false,
    })
}

/// What a packet of any other protocol is known by.
#[inline(always)]
#[must_use]
pub fn other(ip: &Ipv4) -> Segment {
    Segment {
        tuple: tuple(ip, [0; 2], [0; 2]),
        transport: Transport::Other,
        tcp_flags: TcpFlags(0),
        header_len: 0,
        is_echo_reply: false,
    }
}

/// Reads an ICMP header.
///
/// # Errors
/// [`Reason::IcmpError`] for errors, which belong to the flow of the packet inside,
/// [`Reason::IcmpUnsupported`] for the rest but echo, [`Reason::MalformedTransport`] where it is
/// cut off.
#[inline(always)]
pub fn icmp(header: &Icmpv4Hdr, ip: &Ipv4) -> Result<Segment, Reason> {
    if ip.payload_len < Icmpv4Hdr::LEN as u32 {
        return Err(Reason::MalformedTransport);
    }
    let id = [header.data[0], header.data[1]];
    let (is_echo_reply, tuple) = match (header.type_, header.code) {
        (ICMP_ECHO_REQUEST, 0) => (false, tuple(ip, id, [0; 2])),
        (ICMP_ECHO_REPLY, 0) => (true, tuple(ip, [0; 2], id)),
        (type_, _) if is_icmp_error(type_) => return Err(Reason::IcmpError),
        _ => return Err(Reason::IcmpUnsupported),
    };
    Ok(Segment {
        tuple,
        transport: Transport::Echo,
        tcp_flags: TcpFlags(0),
        header_len: Icmpv4Hdr::LEN as u8,
        is_echo_reply,
    })
}

/// Is this the type of an ICMP error message? Redirects are not: they speak of the sender's own
/// network and are never forwarded.
#[inline(always)]
#[must_use]
pub const fn is_icmp_error(type_: u8) -> bool {
    // Destination unreachable, source quench, time exceeded, parameter problem.
    matches!(type_, 3 | 4 | 11 | 12)
}

/// Bytes, IP header included, of the largest packet that this one will be on the wire: itself, or
/// each segment of a GSO packet.
#[inline(always)]
#[must_use]
pub fn wire_len(ip: &Ipv4, segment: &Segment, gso_size: u32) -> u32 {
    let payload = if gso_size == 0 {
        ip.payload_len
    } else {
        u32::from(segment.header_len).wrapping_add(gso_size)
    };
    u32::from(ip.header_len).wrapping_add(payload)
}

#[cfg(test)]
#[path = "headers_tests.rs"]
mod tests;
