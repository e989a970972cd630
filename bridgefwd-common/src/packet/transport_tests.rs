//! Good transport headers are read, bad ones named.

use super::*;
use crate::contract::Address;

fn ip(edit: impl FnOnce(&mut Ip)) -> Ip {
    let mut ip = Ip {
        src: Address::v4([172, 18, 0, 2]),
        dst: Address::v4([172, 19, 0, 2]),
        family: Family::V4,
        ttl: 64,
        tos: 0,
        protocol: PROTOCOL_TCP,
        dont_fragment: true,
        fragment: Fragment::None,
        fragment_offset: 0,
        more_fragments: false,
        header_len: 20,
        id: [0; 4],
        payload_len: 20,
        flow_info: 0,
    };
    edit(&mut ip);
    ip
}

fn ip_v6(protocol: u8) -> Ip {
    let mut address = [0; 16];
    (address[0], address[15]) = (0xfd, 2);
    ip(|ip| {
        ip.src = Address::v6(address);
        ip.dst = Address::v6(address);
        ip.family = Family::V6;
        ip.protocol = protocol;
        ip.header_len = 40;
    })
}

#[test]
fn what_cannot_be_read_here_has_its_own_reason() {
    let check = |edit: fn(&mut Ip), want| assert_eq!(of_plain(&ip(edit)), want);
    check(|_| (), Ok(Transport::Tcp));
    check(|ip| ip.protocol = PROTOCOL_UDP, Ok(Transport::Udp));
    check(|ip| ip.protocol = PROTOCOL_ICMP, Ok(Transport::Query));
    check(|ip| ip.protocol = PROTOCOL_ICMPV6, Ok(Transport::Other));
    check(|ip| ip.protocol = PROTOCOL_SCTP, Ok(Transport::Sctp));
    check(|ip| ip.protocol = PROTOCOL_UDPLITE, Ok(Transport::UdpLike));
    check(|ip| ip.protocol = 47, Ok(Transport::Other));
    check(|ip| ip.header_len = 24, Err(Reason::IpOptions));
    check(|ip| ip.fragment = Fragment::First, Err(Reason::FragmentUnknown));
    check(|ip| ip.fragment = Fragment::Later, Err(Reason::FragmentUnknown));
    assert_eq!(of_plain(&ip_v6(PROTOCOL_ICMPV6)), Ok(Transport::QueryV6));
    assert_eq!(of_plain(&ip_v6(PROTOCOL_ICMP)), Ok(Transport::Other));
    assert_eq!(of_plain(&ip_v6(44)), Err(Reason::IpOptions));
}

#[test]
fn transport_headers_must_fit() {
    let ip = ip(|_| ());
    let mut bytes = [0; 20];
    bytes[12] = 0x50;
    bytes[13] = TcpFlags::SYN;
    assert!(tcp(&bytes, &ip).unwrap().tcp_flags.opens());
    bytes[12] = 0x40;
    assert_eq!(tcp(&bytes, &ip), Err(Reason::MalformedTransport));
    bytes[12] = 0x60;
    assert_eq!(tcp(&bytes, &ip), Err(Reason::MalformedTransport));

    let udp_of =
        |len: u16| UdpHdr { src: [0, 1], dst: [0, 2], len: len.to_be_bytes(), check: [0; 2] };
    assert!(udp(&udp_of(20), &ip).is_ok());
    assert!(udp(&udp_of(8), &ip).is_ok());
    assert_eq!(udp(&udp_of(7), &ip), Err(Reason::MalformedTransport));
    assert_eq!(udp(&udp_of(21), &ip), Err(Reason::MalformedTransport));
}

#[test]
fn a_query_reply_is_the_request_reversed() {
    let message = |type_, code| [type_, code, 0, 0, 1, 2, 0, 9];
    let v4 = [(8, 0), (13, 14), (15, 16), (17, 18)].map(|types| (ip(|_| ()), types));
    let v6 = [(128, 129), (139, 140)].map(|types| (ip_v6(PROTOCOL_ICMPV6), types));
    for (ip, (ask, answer)) in v4.into_iter().chain(v6) {
        let request = icmp(&message(ask, 0), &ip).unwrap();
        assert_eq!((request.tuple.src_port, request.tuple.dst_port), ([1, 2], [0, 0]));
        let back = Ip { src: ip.dst, dst: ip.src, ..ip };
        let reply = icmp(&message(answer, 0), &back).unwrap();
        assert_eq!(reply.tuple, request.tuple.reversed());
        assert_eq!(request.tuple.query, ask);
        assert!(reply.is_query_reply && !request.is_query_reply);
    }
    let v4 = |type_| icmp(&message(type_, 1), &ip(|_| ()));
    assert_eq!(v4(3), Err(Reason::IcmpError));
    assert_eq!(v4(5), Err(Reason::IcmpUnsupported));
    // The kernel forwards an echo with any code.
    assert!(v4(8).is_ok());
    let v6 = |type_| icmp(&message(type_, 0), &ip_v6(PROTOCOL_ICMPV6));
    assert_eq!(v6(2), Err(Reason::IcmpError));
    assert_eq!(v6(127), Err(Reason::IcmpError));
    assert_eq!(v6(135), Err(Reason::IcmpUnsupported));
}

#[test]
fn gso_counts_by_segment() {
    let ip = ip(|ip| ip.payload_len = 8980);
    let mut bytes = [0; 20];
    bytes[12] = 0x80;
    let segment = tcp(&bytes, &ip).unwrap();
    assert_eq!(wire_len(&ip, &segment, 1448), 20 + 32 + 1448);
    assert_eq!(wire_len(&ip, &segment, 0), 9000);
}
