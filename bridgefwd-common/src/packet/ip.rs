//! The IP header, by value, of both families; and whether a frame is addressed to the router.

use network_types::eth::EthHdr;

use crate::Reason;
use crate::contract::{Address, Family};

const ETHERTYPE_IPV4: u16 = 0x0800_u16.to_be();
const ETHERTYPE_IPV6: u16 = 0x86dd_u16.to_be();

/// The IP header, by value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ip {
    /// Source address.
    pub src: Address,
    /// Destination address.
    pub dst: Address,
    /// Its version.
    pub family: Family,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Type of service, or traffic class: DSCP and ECN.
    pub tos: u8,
    /// IP protocol number of what follows the header and its extensions.
    pub protocol: u8,
    /// May routers not fragment it? Never in IPv6.
    pub dont_fragment: bool,
    /// Which piece of a larger packet it is, if it is one.
    pub fragment: Fragment,
    /// Where a piece belongs in its packet, in bytes.
    pub fragment_offset: u16,
    /// Do more pieces follow this one?
    pub more_fragments: bool,
    /// Header length in bytes, options and extension headers included: where the transport header
    /// begins.
    pub header_len: u16,
    /// Identification, wire order: what the pieces of one packet have in common. Of IPv4 the first
    /// two bytes.
    pub id: [u8; 4],
    /// Bytes after the header.
    pub payload_len: u32,
    /// Flow label of IPv6 with the traffic class before it, wire order read natively; else 0.
    pub flow_info: u32,
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

/// Is this frame IP and addressed to the router? Which family?
///
/// # Errors
/// The reason why the frame is not ours.
#[inline(always)]
pub fn ethernet(header: &EthHdr, router_mac: [u8; 6]) -> Result<Family, Reason> {
    if header.dst_addr != router_mac {
        return Err(Reason::NotForRouter);
    }
    match header.ether_type {
        ETHERTYPE_IPV4 => Ok(Family::V4),
        ETHERTYPE_IPV6 => Ok(Family::V6),
        _ => Err(Reason::NotIp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ip_to_the_router_is_ours() {
        let router = [2, 0, 0, 0, 0, 1];
        let frame = |dst_addr, ether_type: u16| EthHdr {
            dst_addr,
            src_addr: [2; 6],
            ether_type: ether_type.to_be(),
        };
        assert_eq!(ethernet(&frame(router, 0x0800), router), Ok(Family::V4));
        assert_eq!(ethernet(&frame(router, 0x86dd), router), Ok(Family::V6));
        assert_eq!(ethernet(&frame(router, 0x0806), router), Err(Reason::NotIp));
        assert_eq!(ethernet(&frame([0xff; 6], 0x0800), router), Err(Reason::NotForRouter));
        assert_eq!(ethernet(&frame([2; 6], 0x0800), router), Err(Reason::NotForRouter));
    }
}
