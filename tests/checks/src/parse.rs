//! Every reader of headers, on any bytes: what they say fits what is there.

use bridgefwd_common::Reason;
use bridgefwd_common::contract::Family;
use bridgefwd_common::packet::ip::{Fragment, Ip};
use bridgefwd_common::packet::ipv6::{self, MAX_EXTENSIONS, MAX_HEADERS_LEN};
use bridgefwd_common::packet::quoted::{QUOTED_LEN, Quoted};
use bridgefwd_common::packet::quoted_ip;
use bridgefwd_common::packet::transport::{self, Segment, Transport};
use bridgefwd_common::packet::{ipv4, transport::of_protocol};
use network_types::ip::Ipv4Hdr;
use network_types::udp::UdpHdr;

use crate::bytes::{Bytes, load};

/// Takes two bytes of choices, and a packet from its IP header on.
pub fn run(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let (gso, padding) = (bytes.flag(), bytes.byte());
    let packet = bytes.rest();
    let available = packet.len() as u32 + u32::from(padding);
    if let Some(header) = load(packet, 0) {
        v4(packet, &header, available, gso);
    }
    if let Some(header) = load(packet, 0) {
        v6(packet, &header, available, gso);
    }
    for family in [Family::V4, Family::V6] {
        if let Some(Ok(quote)) = quote(packet, family) {
            assert_eq!(quote.tuple.family(), family);
            assert!(u32::from(quote.header_len) + quote.len == packet.len() as u32);
            assert_eq!(quote.tuple.reversed().reversed(), quote.tuple);
        }
    }
}

/// The header as the readers want it.
#[must_use]
pub fn ipv4_header(header: &[u8; Ipv4Hdr::LEN]) -> Ipv4Hdr {
    let two = |at: usize| [header[at], header[at + 1]];
    let four = |at: usize| [header[at], header[at + 1], header[at + 2], header[at + 3]];
    Ipv4Hdr {
        vihl: header[0],
        tos: header[1],
        tot_len: two(2),
        id: two(4),
        frags: two(6),
        ttl: header[8],
        proto: header[9],
        check: two(10),
        src_addr: four(12),
        dst_addr: four(16),
    }
}

fn v4(packet: &[u8], header: &[u8; Ipv4Hdr::LEN], available: u32, gso: bool) {
    let ip = match ipv4::read(&ipv4_header(header), available, gso) {
        Ok(ip) => ip,
        Err(reason) => {
            assert_eq!(reason, Reason::MalformedIp);
            return;
        }
    };
    assert!((20..=60).contains(&ip.header_len) && ip.header_len % 4 == 0);
    assert_eq!(ip.dont_fragment, header[6] & 0x40 != 0);
    let offset = u16::from_be_bytes([header[6], header[7]]) & 0x1fff;
    let wanted = match (offset, header[6] & 0x20) {
        (0, 0) => Fragment::None,
        (0, _) => Fragment::First,
        _ => Fragment::Later,
    };
    assert_eq!(ip.fragment, wanted);
    assert_eq!((ip.fragment_offset, ip.more_fragments), (offset * 8, header[6] & 0x20 != 0));
    fits(&ip, Family::V4, available);
    plain(packet, &ip);
    segment(packet, &ip);
}

fn v6(packet: &[u8], header: &ipv6::Header, available: u32, gso: bool) {
    let mut ip = match ipv6::read(header, available, gso) {
        Ok(ip) => ip,
        Err(reason) => {
            let not_ours =
                matches!(reason, Reason::MalformedIp | Reason::Martian | Reason::NotForwarded);
            assert!(not_ours, "{reason:?}");
            return;
        }
    };
    assert_eq!(ip.header_len, 40);
    assert_eq!(ip.src.octets()[..], header[8..24]);
    assert_eq!(ip.dst.octets()[..], header[24..40]);
    fits(&ip, Family::V6, available);
    plain(packet, &ip);
    // As the program steps over them.
    for _ in 0..MAX_EXTENSIONS {
        if !ipv6::is_extension(ip.protocol) || ip.fragment == Fragment::Later {
            break;
        }
        let Some(extension) = load(packet, usize::from(ip.header_len)) else { return };
        let before = ip;
        if let Err(reason) = ipv6::step(&mut ip, &extension) {
            assert_eq!(reason, Reason::MalformedIp);
            assert_eq!(ip, before, "half a step");
            return;
        }
        assert!(ip.header_len >= before.header_len + 8 && ip.header_len % 4 == 0);
        assert!(u32::from(ip.header_len) <= MAX_HEADERS_LEN);
        assert_eq!(ip.protocol, extension[0]);
        fits(&ip, Family::V6, available);
    }
    segment(packet, &ip);
}

/// Both lengths lie within the packet, and its addresses are of its family.
fn fits(ip: &Ip, family: Family, available: u32) {
    assert_eq!((ip.family, ip.src.family(), ip.dst.family()), (family, family, family));
    assert!(u32::from(ip.header_len) + ip.payload_len <= available, "{ip:?} in {available}");
}

/// What may be read where a header without options or extensions ends.
fn plain(packet: &[u8], ip: &Ip) {
    match transport::of_plain(ip) {
        Ok(transport) => {
            assert_eq!(ip.fragment, Fragment::None);
            assert_eq!(transport, of_protocol(ip.family, ip.protocol));
            segment(packet, ip);
        }
        Err(reason) => {
            assert!(matches!(
                reason,
                Reason::FragmentUnknown | Reason::IpOptions | Reason::MalformedTransport
            ));
        }
    }
}

/// Reads the transport header as the program does.
#[must_use]
pub fn read_segment(packet: &[u8], ip: &Ip) -> Option<Result<Segment, Reason>> {
    let at = usize::from(ip.header_len);
    Some(match of_protocol(ip.family, ip.protocol) {
        Transport::Tcp => transport::tcp(&load(packet, at)?, ip),
        Transport::Udp => {
            let [a, b, c, d, e, f, g, h] = load(packet, at)?;
            transport::udp(&UdpHdr { src: [a, b], dst: [c, d], len: [e, f], check: [g, h] }, ip)
        }
        Transport::Query | Transport::QueryV6 => transport::icmp(&load(packet, at)?, ip),
        Transport::UdpLike => transport::udp_like(&load(packet, at)?, ip),
        Transport::Sctp => transport::sctp(&load(packet, at)?, ip),
        Transport::Other | Transport::Fragment => Ok(transport::other(ip)),
    })
}

fn segment(packet: &[u8], ip: &Ip) {
    let segment = match read_segment(packet, ip) {
        None => return,
        Some(Ok(segment)) => segment,
        Some(Err(reason)) => {
            assert!(matches!(
                reason,
                Reason::MalformedTransport | Reason::IcmpError | Reason::IcmpUnsupported
            ));
            return;
        }
    };
    let tuple = &segment.tuple;
    assert_eq!((tuple.src, tuple.dst, tuple.protocol), (ip.src, ip.dst, ip.protocol));
    assert_eq!((tuple._zero, tuple.reversed().reversed()), (0, *tuple));
    assert!(u32::from(segment.header_len) <= ip.payload_len);
    assert!(!segment.is_query_reply || tuple.src_port == [0; 2]);
    assert_eq!(tuple.answer, u8::from(segment.is_query_reply));
    match segment.transport {
        Transport::Query | Transport::QueryV6 => {
            assert!(tuple.src_port == [0; 2] || tuple.dst_port == [0; 2]);
            assert_ne!(tuple.query, 0);
        }
        _ => assert_eq!(tuple.query, 0),
    }
    if segment.transport != Transport::Tcp {
        assert_eq!(segment.tcp_flags.0, 0);
    }
    assert!(transport::wire_len(ip, &segment, 0) >= u32::from(ip.header_len));
}

/// Reads a packet that an error quotes, as the program does; `None` where it is too short to look at.
#[must_use]
pub fn quote(packet: &[u8], family: Family) -> Option<Result<Quoted, Reason>> {
    let result = quoted_packet(packet, family)?;
    if let Err(reason) = result {
        assert!(matches!(reason, Reason::IcmpMalformed | Reason::IcmpError | Reason::MalformedIp));
    }
    Some(result)
}

fn quoted_packet(packet: &[u8], family: Family) -> Option<Result<Quoted, Reason>> {
    let len = packet.len() as u32;
    let read = match family {
        Family::V4 => quoted_ip::v4(&load(packet, 0)?, len),
        Family::V6 => match quoted_ip::header_v6(&load(packet, 0)?) {
            Ok(mut ip) => {
                for _ in 0..MAX_EXTENSIONS {
                    if !ipv6::is_extension(ip.protocol) || ip.fragment == Fragment::Later {
                        break;
                    }
                    let extension = load(packet, usize::from(ip.header_len))?;
                    if let Err(reason) = ipv6::step(&mut ip, &extension) {
                        return Some(Err(reason));
                    }
                }
                quoted_ip::v6(&ip, len)
            }
            Err(reason) => Err(reason),
        },
    };
    let mut quoted = match read {
        Ok(quoted) => quoted,
        Err(reason) => return Some(Err(reason)),
    };
    if quoted.has_header() {
        let after = load::<QUOTED_LEN>(packet, usize::from(quoted.header_len))
            .expect("what is said to be there");
        if let Err(reason) = quoted.identify(&after) {
            return Some(Err(reason));
        }
    }
    Some(Ok(quoted))
}
