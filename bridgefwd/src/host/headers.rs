//! The headers of packets as they were captured: read with care, since anything may be there.

use std::net::IpAddr;

use etherparse::{IcmpEchoHeader, LaxNetSlice, LaxSlicedPacket, TransportSlice};

use crate::api::types::FlowTuple;

/// What could be read of a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Headers {
    /// IP protocol number.
    pub protocol: u8,
    /// Its addresses and ports; of an ICMP echo the identifier, where it is in a flow's tuple.
    pub tuple: FlowTuple,
}

/// Reads a frame, from the Ethernet header on, of which the end may be missing. `None` where it is not
/// of IP.
#[must_use]
pub fn read(frame: &[u8]) -> Option<Headers> {
    of(&LaxSlicedPacket::from_ethernet(frame).ok()?)
}

/// The same of a packet that was taken apart already.
#[must_use]
pub fn of(packet: &LaxSlicedPacket<'_>) -> Option<Headers> {
    let (src, dst, protocol): (IpAddr, IpAddr, u8) = match packet.net.as_ref()? {
        LaxNetSlice::Ipv4(ip) => {
            let header = ip.header();
            (
                header.source_addr().into(),
                header.destination_addr().into(),
                ip.payload().ip_number.0,
            )
        }
        LaxNetSlice::Ipv6(ip) => {
            let header = ip.header();
            (
                header.source_addr().into(),
                header.destination_addr().into(),
                ip.payload().ip_number.0,
            )
        }
        _ => return None,
    };
    let echo = |header: Option<IcmpEchoHeader>| header.map_or(0, |header| header.id);
    let (src_port, dst_port) = match &packet.transport {
        Some(TransportSlice::Tcp(tcp)) => (tcp.source_port(), tcp.destination_port()),
        Some(TransportSlice::Udp(udp)) => (udp.source_port(), udp.destination_port()),
        Some(TransportSlice::Icmpv4(icmp)) => match icmp.icmp_type() {
            etherparse::Icmpv4Type::EchoRequest(header) => (echo(Some(header)), 0),
            etherparse::Icmpv4Type::EchoReply(header) => (0, echo(Some(header))),
            _ => (0, 0),
        },
        Some(TransportSlice::Icmpv6(icmp)) => match icmp.icmp_type() {
            etherparse::Icmpv6Type::EchoRequest(header) => (echo(Some(header)), 0),
            etherparse::Icmpv6Type::EchoReply(header) => (0, echo(Some(header))),
            _ => (0, 0),
        },
        Some(TransportSlice::Igmp(_)) | None => (0, 0),
    };
    Some(Headers { protocol, tuple: FlowTuple { src, src_port, dst, dst_port } })
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    fn udp() -> Vec<u8> {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([10, 1, 0, 2], [10, 2, 0, 2], 64)
            .udp(4000, 53)
            .write(&mut frame, b"question, and more of it")
            .unwrap();
        frame
    }

    #[test]
    fn what_is_cut_off_is_read_as_far_as_it_goes() {
        let frame = udp();
        let whole = read(&frame).unwrap();
        assert_eq!((whole.protocol, whole.tuple.src_port, whole.tuple.dst_port), (17, 4000, 53));
        assert_eq!(whole.tuple.src, IpAddr::from([10, 1, 0, 2]));
        assert_eq!(read(&frame[..42]), Some(whole), "without its payload");
        let bare = read(&frame[..36]).unwrap();
        assert_eq!((bare.tuple.dst, bare.tuple.dst_port), (IpAddr::from([10, 2, 0, 2]), 0));
        for len in 0..frame.len() {
            // Whatever is there: no panic.
            let _ = read(&frame[..len]);
        }
        assert_eq!(read(&[0xff; 96]), None);
    }

    #[test]
    fn an_echo_has_its_identifier_where_flows_have_it() {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([10, 1, 0, 2], [10, 2, 0, 2], 64)
            .icmpv4_echo_request(7, 1)
            .write(&mut frame, b"hello")
            .unwrap();
        let echo = read(&frame).unwrap();
        assert_eq!((echo.protocol, echo.tuple.src_port, echo.tuple.dst_port), (1, 7, 0));
    }
}
