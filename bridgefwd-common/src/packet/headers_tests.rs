//! Good headers are read, bad ones named.

use super::*;

fn header(edit: impl FnOnce(&mut Ipv4Hdr)) -> Ipv4Hdr {
    let mut header = Ipv4Hdr {
        vihl: 0x45,
        tos: 0,
        tot_len: 40_u16.to_be_bytes(),
        id: [0; 2],
        frags: [0x40, 0],
        ttl: 64,
        proto: PROTOCOL_TCP,
        check: [0; 2],
        src_addr: [172, 18, 0, 2],
        dst_addr: [172, 19, 0, 2],
    };
    edit(&mut header);
    header
}

#[track_caller]
fn check(edit: impl FnOnce(&mut Ipv4Hdr), available: u32, want: Result<u32, Reason>) {
    assert_eq!(ipv4(&header(edit), available, false).map(|ip| ip.payload_len), want);
}

#[test]
fn lengths_must_fit() {
    check(|_| (), 40, Ok(20));
    check(|_| (), 46, Ok(20)); // Ethernet padding
    check(|_| (), 39, Err(Reason::MalformedIp));
    check(|h| h.tot_len = [0, 19], 40, Err(Reason::MalformedIp));
    check(|h| h.vihl = 0x44, 40, Err(Reason::MalformedIp));
    check(|h| h.vihl = 0x65, 40, Err(Reason::MalformedIp));
    check(|h| h.vihl = 0x4f, 40, Err(Reason::MalformedIp));
    check(|h| h.vihl = 0x4a, 40, Ok(0));
    check(|h| h.tot_len = [0, 0], 40, Err(Reason::MalformedIp));
    let big = ipv4(&header(|h| h.tot_len = [0, 0]), 100_000, true);
    assert_eq!(big.map(|ip| ip.payload_len), Ok(99_980));
}

#[track_caller]
fn check_transport(edit: impl FnOnce(&mut Ipv4Hdr), want: Result<Transport, Reason>) {
    let ip = ipv4(&header(edit), 1500, false).unwrap();
    assert_eq!(transport(&ip), want);
}

#[test]
fn what_is_not_supported_has_its_own_reason() {
    check_transport(|_| (), Ok(Transport::Tcp));
    check_transport(|h| h.proto = PROTOCOL_UDP, Ok(Transport::Udp));
    check_transport(|h| h.proto = PROTOCOL_ICMP, Ok(Transport::Echo));
    check_transport(|h| h.proto = PROTOCOL_SCTP, Ok(Transport::Sctp));
    check_transport(|h| h.proto = PROTOCOL_UDPLITE, Ok(Transport::UdpLike));
    check_transport(|h| h.proto = 47, Ok(Transport::Other));
    check_transport(|h| h.vihl = 0x46, Err(Reason::IpOptions));
    check_transport(|h| h.frags = [0x20, 0], Ok(Transport::Tcp));
    check_transport(|h| h.frags = [0, 1], Err(Reason::FragmentUnknown));
    check_transport(|h| h.frags = [0x20, 1], Err(Reason::FragmentUnknown));
    check_transport(|h| h.frags = [0x1f, 0xff], Err(Reason::FragmentUnknown));
    check_transport(|h| h.frags = [0x80, 0], Ok(Transport::Tcp)); // the reserved bit is no flag
}

#[test]
fn transport_headers_must_fit() {
    let ip = ipv4(&header(|_| ()), 40, false).unwrap();
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
fn echo_reply_is_the_request_reversed() {
    let ip = ipv4(&header(|h| h.proto = PROTOCOL_ICMP), 40, false).unwrap();
    let message = |type_, code| Icmpv4Hdr { type_, code, check: [0; 2], data: [1, 2, 0, 9] };
    let request = icmp(&message(8, 0), &ip).unwrap();
    assert_eq!((request.tuple.src_port, request.tuple.dst_port), ([1, 2], [0, 0]));
    let mut back = ip;
    (back.src, back.dst) = (ip.dst, ip.src);
    let reply = icmp(&message(0, 0), &back).unwrap();
    assert_eq!(reply.tuple, request.tuple.reversed());
    assert!(reply.is_echo_reply && !request.is_echo_reply);
    assert_eq!(icmp(&message(3, 1), &ip), Err(Reason::IcmpError));
    assert_eq!(icmp(&message(5, 1), &ip), Err(Reason::IcmpUnsupported));
    assert_eq!(icmp(&message(8, 1), &ip), Err(Reason::IcmpUnsupported));
}

#[test]
fn only_ipv4_to_the_router_is_ours() {
    let router = [2, 0, 0, 0, 0, 1];
    let frame = |dst_addr, ether_type: u16| EthHdr {
        dst_addr,
        src_addr: [2; 6],
        ether_type: ether_type.to_be(),
    };
    assert_eq!(ethernet(&frame(router, 0x0800), router), Ok(()));
    assert_eq!(ethernet(&frame(router, 0x86dd), router), Err(Reason::Ipv6));
    assert_eq!(ethernet(&frame(router, 0x0806), router), Err(Reason::NotIp));
    assert_eq!(ethernet(&frame([0xff; 6], 0x0800), router), Err(Reason::NotForRouter));
    assert_eq!(ethernet(&frame([2; 6], 0x0800), router), Err(Reason::NotForRouter));
}

#[test]
fn gso_counts_by_segment() {
    let ip = ipv4(&header(|h| h.tot_len = 9000_u16.to_be_bytes()), 9000, false).unwrap();
    let mut bytes = [0; 20];
    bytes[12] = 0x80;
    let segment = tcp(&bytes, &ip).unwrap();
    assert_eq!(wire_len(&ip, &segment, 1448), 20 + 32 + 1448);
    assert_eq!(wire_len(&ip, &segment, 0), 9000);
}
