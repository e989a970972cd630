//! Quoted packets: found by what they are, and translated there and back.

use proptest::prelude::*;

use super::*;
use crate::contract::{Address, Family};
use crate::decide::translate::ipv4_check;
use crate::packet::quoted_ip;
use crate::packet::transport::{
    PROTOCOL_DCCP, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_SCTP, PROTOCOL_TCP, PROTOCOL_UDP,
    PROTOCOL_UDPLITE,
};

fn header_v4(protocol: u8) -> [u8; 20] {
    let mut header = [0; 20];
    header[0] = 0x45;
    header[9] = protocol;
    header[12..20].copy_from_slice(&[172, 19, 0, 1, 172, 19, 0, 2]);
    let check = (!checksum::fold(checksum::sum_words(&header))).to_ne_bytes();
    header[10..12].copy_from_slice(&check);
    header
}

fn header_v6(protocol: u8) -> [u8; 40] {
    let mut header = [0; 40];
    header[0] = 0x60;
    header[4] = 5;
    header[6] = protocol;
    header[8] = 0xfd;
    header[23] = 1;
    header[24] = 0xfd;
    header[39] = 2;
    header
}

fn read_v4(header: &[u8; 20], after: &[u8; QUOTED_LEN]) -> Result<Quoted, Reason> {
    let mut quoted = quoted_ip::v4(header, 80)?;
    quoted.identify(after).map(|()| quoted)
}

fn read_v6(header: &[u8; 40], after: &[u8; QUOTED_LEN]) -> Result<Quoted, Reason> {
    let ip = quoted_ip::header_v6(header)?;
    let mut quoted = quoted_ip::v6(&ip, 48)?;
    quoted.identify(after).map(|()| quoted)
}

#[test]
fn what_cannot_be_found_by_is_refused() {
    let with = |at: usize, value: u8| {
        let mut bytes = header_v4(PROTOCOL_UDP);
        bytes[at] = value;
        read_v4(&bytes, &[0; QUOTED_LEN]).map(|quoted| (quoted.header_len, quoted.len))
    };
    assert_eq!(with(0, 0x45), Ok((20, 60)));
    assert_eq!(with(0, 0x4f), Ok((60, 20)));
    assert_eq!(with(0, 0x44), Err(Reason::IcmpMalformed));
    assert_eq!(with(0, 0x65), Err(Reason::IcmpMalformed));
    assert_eq!(with(6, 0x20), Ok((20, 60))); // a first fragment has ports
    assert_eq!(with(7, 1), Err(Reason::IcmpError));
    assert_eq!(with(6, 0x1f), Err(Reason::IcmpError));
    let unreachable = [3, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(read_v4(&header_v4(PROTOCOL_ICMP), &unreachable), Err(Reason::IcmpError));
    let unreachable = [1, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(read_v6(&header_v6(PROTOCOL_ICMPV6), &unreachable), Err(Reason::IcmpError));
    assert!(read_v6(&header_v6(PROTOCOL_UDP), &[0; QUOTED_LEN]).is_ok());
    assert_eq!(read_v6(&header_v6(44), &[0; QUOTED_LEN]), Err(Reason::IcmpMalformed));
}

#[test]
fn a_quote_may_end_early_but_not_too_early() {
    let udp = header_v4(PROTOCOL_UDP);
    assert!(quoted_ip::v4(&udp, 28).is_ok());
    assert_eq!(quoted_ip::v4(&udp, 27), Err(Reason::IcmpMalformed));
    // Of ESP only the addresses are looked at.
    assert!(quoted_ip::v4(&header_v4(50), 20).is_ok());
    assert_eq!(quoted_ip::v4(&header_v4(50), 19), Err(Reason::IcmpMalformed));
    let ip = quoted_ip::header_v6(&header_v6(PROTOCOL_TCP)).unwrap();
    assert!(quoted_ip::v6(&ip, 48).is_ok());
    assert_eq!(quoted_ip::v6(&ip, 47), Err(Reason::IcmpMalformed));
}

fn protocol(family: Family) -> impl Strategy<Value = u8> {
    let icmp = match family {
        Family::V4 => PROTOCOL_ICMP,
        Family::V6 => PROTOCOL_ICMPV6,
    };
    prop::sample::select(vec![
        PROTOCOL_TCP,
        PROTOCOL_UDP,
        PROTOCOL_UDPLITE,
        PROTOCOL_DCCP,
        PROTOCOL_SCTP,
        icmp,
        47,
    ])
}

/// A query's identifier is one of its ports.
fn translated(quoted: &Quoted, src: Address, port: [u8; 2]) -> Tuple {
    match quoted.transport {
        Transport::Other => Tuple { src, ..quoted.tuple },
        Transport::Query | Transport::QueryV6 if quoted.tuple.src_port == [0, 0] => {
            Tuple { src, dst_port: port, ..quoted.tuple }
        }
        _ => Tuple { src, src_port: port, ..quoted.tuple },
    }
}

/// Where the checksum is in what is quoted, if it is there.
fn check_at(transport: Transport) -> Option<usize> {
    match transport {
        Transport::Query | Transport::QueryV6 => Some(2),
        Transport::Udp | Transport::UdpLike => Some(6),
        _ => None,
    }
}

/// The same, but that the checksum may have come back as the other zero.
fn assert_same(transport: Transport, mut a: [u8; 8], mut b: [u8; 8]) {
    if let Some(at) = check_at(transport) {
        let is_zero = |x: &[u8]| x == [0, 0] || x == [0xff, 0xff];
        if a[at..at + 2] != b[at..at + 2] {
            assert!(is_zero(&a[at..at + 2]) && is_zero(&b[at..at + 2]));
        }
        a[at..at + 2].fill(0);
        b[at..at + 2].fill(0);
    }
    assert_eq!(a, b);
}

/// What a checksum over pseudo-header and `after` must be, from nothing.
fn full_sum(tuple: &Tuple, after: &[u8; 8]) -> u16 {
    let addresses =
        checksum::sum_words(&tuple.src.octets()) + checksum::sum_words(&tuple.dst.octets());
    checksum::fold(addresses + checksum::sum_words(after))
}

proptest! {
    #[test]
    fn there_and_back_is_the_original_of_v4(
        mut after: [u8; 8], src: [u8; 4], port: [u8; 2], protocol in protocol(Family::V4),
        is_reply: bool,
    ) {
        if protocol == PROTOCOL_ICMP { after[0] = if is_reply { 14 } else { 13 }; }
        let header = header_v4(protocol);
        let there = read_v4(&header, &after).unwrap();
        let to = translated(&there, Address::v4(src), port);
        let mut rest = after;
        there.translate(&mut rest, &to);
        let mut bytes = header;
        bytes[12..16].copy_from_slice(&src);
        let check = ipv4_check([header[10], header[11]], &there.tuple, &to, 0, 0);
        bytes[10..12].copy_from_slice(&check);
        prop_assert_eq!(checksum::fold(checksum::sum_words(&bytes)), 0xffff);
        let back = read_v4(&bytes, &rest).unwrap();
        prop_assert_eq!(back.tuple, to);
        back.translate(&mut rest, &there.tuple);
        assert_same(there.transport, rest, after);
    }

    #[test]
    fn there_and_back_is_the_original_of_v6(
        mut after: [u8; 8], mut src: [u8; 16], port: [u8; 2], protocol in protocol(Family::V6),
        is_reply: bool,
    ) {
        src[0] |= 0x20;
        if protocol == PROTOCOL_ICMPV6 { after[0] = if is_reply { 129 } else { 128 }; }
        let header = header_v6(protocol);
        let there = read_v6(&header, &after).unwrap();
        let to = translated(&there, Address::v6(src), port);
        let mut rest = after;
        there.translate(&mut rest, &to);
        let mut bytes = header;
        bytes[8..24].copy_from_slice(&src);
        let back = read_v6(&bytes, &rest).unwrap();
        prop_assert_eq!(back.tuple, to);
        // Whatever the checksum lacked for the rest of the packet, it still lacks.
        let has_sum = after[6..8] != [0, 0] || there.transport != Transport::Udp;
        if has_sum && check_at(there.transport).is_some() {
            let sums = (full_sum(&there.tuple, &after), full_sum(&to, &rest));
            prop_assert!(sums.0 == sums.1 || (sums.0 ^ sums.1) == 0xffff && sums.0.is_multiple_of(0xffff));
        }
        back.translate(&mut rest, &there.tuple);
        assert_same(there.transport, rest, after);
    }

    #[test]
    fn the_checksum_of_tcp_follows_addresses_and_ports(
        check: [u8; 2], mut src: [u8; 16], port: [u8; 2],
    ) {
        src[0] |= 0x20;
        let there = read_v6(&header_v6(PROTOCOL_TCP), &[0; 8]).unwrap();
        let to = translated(&there, Address::v6(src), port);
        let back = Quoted { tuple: to, ..there };
        let again = back.check(&there.tuple, there.check(&to, check));
        prop_assert!(again == check || check == [0xff; 2] && again == [0; 2]);
    }
}
