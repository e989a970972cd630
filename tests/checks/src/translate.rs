//! A packet of any protocol, translated as the program does it: every checksum holds afterwards, and
//! the way back gives the packet that it was.

use bridgefwd_common::contract::{Address, Family, Tuple};
use bridgefwd_common::decide::translate::{self, Rewrite};
use bridgefwd_common::packet::checksum::{add, fold};
use bridgefwd_common::packet::ipv4;
use bridgefwd_common::packet::quoted::QUOTED_LEN;
use bridgefwd_common::packet::transport::{Segment, Transport};

use crate::bytes::Bytes;
use crate::kernel::{add_difference, replace, sum};
use crate::parse::{self, ipv4_header, read_segment};

/// Takes bytes of choices, and a payload.
pub fn run(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let is_v4 = bytes.flag();
    let protocol = bytes.pick([6, 17, 136, 33, if is_v4 { 1 } else { 58 }, 132, 47]);
    let mut packet = packet(&mut bytes, is_v4, protocol);
    let Some((ip_len, segment)) = read(&packet, is_v4) else { return };
    let holds = holds(&packet, ip_len, &segment);
    let leaving = leaving(&mut bytes, &segment);
    if segment.transport != Transport::Fragment {
        quote(&packet, ip_len, &segment, &leaving);
    }
    let before = packet.clone();
    apply(&mut packet, ip_len, &segment, &leaving);
    let (_, there) = read(&packet, is_v4).expect("a translated packet can be read");
    assert_eq!(there.tuple, leaving);
    assert_eq!(self::holds(&packet, ip_len, &there), holds, "{before:02x?}\n{packet:02x?}");
    apply(&mut packet, ip_len, &there, &segment.tuple);
    assert!(same(&before, &packet, ip_len, &segment), "{before:02x?}\n{packet:02x?}");
}

/// A packet with whatever payload, and checksums that hold in most cases.
fn packet(bytes: &mut Bytes<'_>, is_v4: bool, protocol: u8) -> Vec<u8> {
    let (spoil, no_checksum) = (bytes.byte() == 1, bytes.byte() == 1);
    let addresses: [u8; 32] = bytes.array();
    let query = match (protocol, is_v4) {
        (1, true) => bytes.pick([8, 0, 13, 14, 17, 18]),
        _ => bytes.pick([128, 129, 139, 140]),
    };
    let mut transport: [u8; 20] = bytes.array();
    let payload = bytes.rest();
    // What the readers look at.
    transport[12] = 0x50;
    if matches!(protocol, 1 | 58) {
        transport[0] = query;
    }
    let body_len = (20 + payload.len()) as u16;
    if protocol == 17 {
        transport[4..6].copy_from_slice(&body_len.to_be_bytes());
    }
    let mut packet = if is_v4 {
        let mut header = vec![0x45, 0, 0, 0, 0, 7, 0x40, 0, 64, protocol, 0, 0];
        header[2..4].copy_from_slice(&(20 + body_len).to_be_bytes());
        header.extend(&addresses[..8]);
        let check = !fold(sum(&header));
        header[10..12].copy_from_slice(&check.to_ne_bytes());
        header
    } else {
        let mut header = vec![0x60, 0, 0, 0, 0, 0, protocol, 64];
        header[4..6].copy_from_slice(&body_len.to_be_bytes());
        header.extend(addresses);
        // Neither stands for an IPv4 address.
        (header[8], header[24]) = (0xfd, 0xfd);
        header
    };
    let ip_len = packet.len();
    packet.extend(transport);
    packet.extend(payload);
    if let Some(at) = check_at(protocol) {
        packet[ip_len + at..ip_len + at + 2].fill(0);
        if protocol != 17 || !no_checksum {
            let mut check = !fold(covered(&packet, ip_len, protocol));
            if protocol == 17 && check == 0 {
                check = 0xffff;
            }
            packet[ip_len + at..ip_len + at + 2].copy_from_slice(&check.to_ne_bytes());
        }
    }
    if spoil && let Some(last) = packet.last_mut() {
        *last ^= 1;
    }
    packet
}

/// Where the checksum is in the transport header.
fn check_at(protocol: u8) -> Option<usize> {
    match protocol {
        6 => Some(16),
        17 | 136 | 33 => Some(6),
        1 | 58 => Some(2),
        _ => None,
    }
}

/// The sum over what the transport checksum covers, itself included.
fn covered(packet: &[u8], ip_len: usize, protocol: u8) -> u32 {
    let body = sum(&packet[ip_len..]);
    if protocol == 1 {
        return body;
    }
    let addresses = if ip_len == 20 { &packet[12..20] } else { &packet[8..40] };
    let length = (packet.len() - ip_len) as u32;
    let rest = [&[0, 0, 0, protocol][..], &length.to_be_bytes()].concat();
    add(body, add(sum(addresses), sum(&rest)))
}

/// Its header's length, and its transport header.
fn read(packet: &[u8], is_v4: bool) -> Option<(usize, Segment)> {
    let available = packet.len() as u32;
    let ip = if is_v4 {
        let header = packet.get(..20)?.try_into().ok()?;
        ipv4::verify_checksum(header).expect("the header's checksum holds");
        ipv4::read(&ipv4_header(header), available, false)
    } else {
        let header = packet.get(..40)?.try_into().ok()?;
        bridgefwd_common::packet::ipv6::read(header, available, false)
    };
    let ip = ip.ok()?;
    Some((usize::from(ip.header_len), read_segment(packet, &ip)?.ok()?))
}

/// Do its checksums hold? One of UDP that is not there does.
fn holds(packet: &[u8], ip_len: usize, segment: &Segment) -> bool {
    let protocol = segment.tuple.protocol;
    let Some(at) = check_at(protocol) else { return true };
    let none = packet[ip_len + at..ip_len + at + 2] == [0, 0] && protocol == 17;
    none || fold(covered(packet, ip_len, protocol)) == 0xffff
}

/// What a flow of this packet could leave with.
fn leaving(bytes: &mut Bytes<'_>, segment: &Segment) -> Tuple {
    let tuple = segment.tuple;
    let source = match tuple.family() {
        Family::V4 => Address::v4([10, 9, bytes.byte(), bytes.byte()]),
        Family::V6 => {
            let mut octets: [u8; 16] = bytes.array();
            octets[0] = 0xfd;
            Address::v6(octets)
        }
    };
    let port = bytes.array();
    let new = match segment.transport {
        Transport::Query | Transport::QueryV6 if segment.is_query_reply => {
            Tuple { src: source, dst_port: port, ..tuple }
        }
        Transport::Sctp | Transport::Other | Transport::Fragment => Tuple { src: source, ..tuple },
        _ => Tuple { src: source, src_port: port, ..tuple },
    };
    // A reply has its destination changed.
    if bytes.flag() && !matches!(segment.transport, Transport::Query | Transport::QueryV6) {
        Tuple { src: tuple.src, src_port: tuple.src_port, dst: source, ..tuple }
    } else {
        new
    }
}

/// What the program does to the packet, TTL apart.
fn apply(packet: &mut [u8], ip_len: usize, segment: &Segment, leaving: &Tuple) {
    let arriving = &segment.tuple;
    let rewrite = match arriving.family() {
        Family::V4 => Rewrite::v4(arriving, leaving),
        Family::V6 => Rewrite::v6(arriving, leaving),
    };
    let word = |ports: [[u8; 2]; 2]| u32::from_ne_bytes(bytemuck::cast(ports));
    if let Some(at) = check_at(arriving.protocol) {
        let mangles_zero = segment.transport == Transport::Udp;
        let place = ip_len + at;
        let mut field = [packet[place], packet[place + 1]];
        if segment.transport == Transport::Query {
            if rewrite.ports_change {
                let id = |tuple: &Tuple| u32::from(u16::from_ne_bytes(tuple.query_id()));
                replace(&mut field, id(arriving), id(leaving), false);
            }
        } else {
            if rewrite.address_difference != 0 {
                add_difference(&mut field, rewrite.address_difference, mangles_zero);
            }
            if rewrite.ports_change {
                let old = word([arriving.src_port, arriving.dst_port]);
                replace(&mut field, old, word(rewrite.ports), mangles_zero);
            }
        }
        packet[place..place + 2].copy_from_slice(&field);
    }
    match segment.transport {
        Transport::Tcp | Transport::Udp | Transport::UdpLike => {
            packet[ip_len..ip_len + 4].copy_from_slice(&rewrite.ports.concat());
        }
        Transport::Query | Transport::QueryV6 => {
            packet[ip_len + 4..ip_len + 6].copy_from_slice(&leaving.query_id());
        }
        Transport::Sctp | Transport::Other | Transport::Fragment => {}
    }
    write_addresses(packet, ip_len, arriving, leaving);
}

/// The addresses, and the checksum of an IPv4 header.
fn write_addresses(packet: &mut [u8], ip_len: usize, arriving: &Tuple, leaving: &Tuple) {
    let addresses = [leaving.src, leaving.dst];
    if ip_len == 20 {
        let check = [packet[10], packet[11]];
        let check = translate::ipv4_check(check, arriving, leaving, packet[8], packet[8]);
        packet[10..12].copy_from_slice(&check);
        let words = addresses.map(|address| address.last_word().to_ne_bytes());
        packet[12..20].copy_from_slice(&words.concat());
    } else {
        packet[8..40].copy_from_slice(&addresses.map(|address| address.octets()).concat());
    }
}

/// The same bytes, but for a checksum that came back as the other zero.
fn same(one: &[u8], other: &[u8], ip_len: usize, segment: &Segment) -> bool {
    let Some(at) = check_at(segment.tuple.protocol) else { return one == other };
    let place = ip_len + at..ip_len + at + 2;
    let zero = |packet: &[u8]| matches!(packet[place.clone()], [0, 0] | [0xff, 0xff]);
    let without = |packet: &[u8]| [&packet[..place.start], &packet[place.end..]].concat();
    without(one) == without(other)
        && (one[place.clone()] == other[place.clone()] || zero(one) && zero(other))
}

/// The packet, quoted by an error, shows another tuple afterwards, and its checksums hold as before.
fn quote(packet: &[u8], ip_len: usize, segment: &Segment, shown: &Tuple) {
    let family = segment.tuple.family();
    let quoted = parse::quote(packet, family).and_then(Result::ok);
    let quoted = quoted.expect("a whole packet can be quoted");
    assert_eq!(quoted.tuple, segment.tuple);
    let mut there = packet.to_vec();
    if quoted.has_header() {
        let at = ip_len..ip_len + QUOTED_LEN;
        let mut after: [u8; QUOTED_LEN] = crate::bytes::load(packet, ip_len).expect("8 bytes");
        quoted.translate(&mut after, shown);
        there[at].copy_from_slice(&after);
    }
    if segment.transport == Transport::Tcp {
        let at = ip_len + 16..ip_len + 18;
        let check = quoted.check(shown, [packet[at.start], packet[at.start + 1]]);
        there[at].copy_from_slice(&check);
    }
    write_addresses(&mut there, ip_len, &segment.tuple, shown);
    let seen = parse::quote(&there, family).and_then(Result::ok);
    assert_eq!(seen.expect("what is shown can be read").tuple, *shown);
    let (_, read) = read(&there, ip_len == 20).expect("what is shown is a packet");
    assert_eq!(holds(&there, ip_len, &read), holds(packet, ip_len, segment), "{packet:02x?}");
}
