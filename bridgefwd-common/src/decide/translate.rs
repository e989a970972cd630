//! The header bytes that change when a packet leaves.

use crate::contract::{Address, Tuple};
use crate::packet::checksum;

/// Everything that is written into a packet, in wire bytes, and what the transport checksum has to
/// be told of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rewrite {
    /// Source and destination address.
    pub addresses: [Address; 2],
    /// Source and destination port; for ICMP queries the identifier, in one of them.
    pub ports: [[u8; 2]; 2],
    /// What the addresses add to a checksum with a pseudo-header; 0 where they do not change.
    pub address_difference: u32,
    /// Do the ports change?
    pub ports_change: bool,
}

impl Rewrite {
    /// From the packet as it arrived to how it leaves, both of IPv4.
    #[inline(always)]
    #[must_use]
    pub fn v4(arriving: &Tuple, leaving: &Tuple) -> Self {
        let words = |tuple: &Tuple| [tuple.src.last_word(), tuple.dst.last_word()];
        let (old, new) = (words(arriving), words(leaving));
        let difference = if old == new { 0 } else { checksum::difference(&old, &new) };
        Self::with_difference(arriving, leaving, difference)
    }

    /// The same, of IPv6.
    #[inline(always)]
    #[must_use]
    pub fn v6(arriving: &Tuple, leaving: &Tuple) -> Self {
        let difference = if arriving.src == leaving.src && arriving.dst == leaving.dst {
            0
        } else {
            let part =
                |old: &Address, new: &Address| checksum::difference(&old.words(), &new.words());
            checksum::add(part(&arriving.src, &leaving.src), part(&arriving.dst, &leaving.dst))
        };
        Self::with_difference(arriving, leaving, difference)
    }

    #[inline(always)]
    fn with_difference(arriving: &Tuple, leaving: &Tuple, address_difference: u32) -> Self {
        Self {
            addresses: [leaving.src, leaving.dst],
            ports: [leaving.src_port, leaving.dst_port],
            address_difference,
            ports_change: arriving.src_port != leaving.src_port
                || arriving.dst_port != leaving.dst_port,
        }
    }
}

/// The checksum of an IPv4 header whose addresses and TTL change; the protocol is that of `arriving`.
#[inline(always)]
#[must_use]
pub fn ipv4_check(
    check: [u8; 2],
    arriving: &Tuple,
    leaving: &Tuple,
    ttl: u8,
    new_ttl: u8,
) -> [u8; 2] {
    checksum::update(check, &header_words(arriving, ttl), &header_words(leaving, new_ttl))
}

/// The words of an IPv4 header that change: TTL with protocol, source, destination.
#[inline(always)]
fn header_words(tuple: &Tuple, ttl: u8) -> [u8; 10] {
    let [s0, s1, s2, s3] = tuple.src.last_word().to_ne_bytes();
    let [d0, d1, d2, d3] = tuple.dst.last_word().to_ne_bytes();
    [ttl, tuple.protocol, s0, s1, s2, s3, d0, d1, d2, d3]
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn pair(src: Address, dst: Address, ports: [[u8; 2]; 2], new_src: Address) -> (Tuple, Tuple) {
        let arriving = Tuple {
            src,
            dst,
            src_port: ports[0],
            dst_port: [0, 53],
            protocol: 17,
            ..Tuple::default()
        };
        (arriving, Tuple { src: new_src, src_port: ports[1], ..arriving })
    }

    prop_compose! {
        fn tuples()(
            src: Ipv4Addr, dst: Ipv4Addr, ports: [[u8; 2]; 2], new_src: Ipv4Addr,
        ) -> (Tuple, Tuple) {
            pair(src.into(), dst.into(), ports, new_src.into())
        }
    }

    prop_compose! {
        fn tuples_v6()(
            src: Ipv6Addr, dst: Ipv6Addr, ports: [[u8; 2]; 2], new_src: Ipv6Addr,
        ) -> (Tuple, Tuple) {
            // Not one that stands for an IPv4 address.
            let global = |address: Ipv6Addr| {
                let mut bytes = address.octets();
                bytes[0] |= 0x20;
                Address::v6(bytes)
            };
            pair(global(src), global(dst), ports, global(new_src))
        }
    }

    /// Sum over the addresses, the rest of the segment being the same.
    fn address_sum(tuple: &Tuple) -> u16 {
        let sum =
            checksum::sum_words(&tuple.src.octets()) + checksum::sum_words(&tuple.dst.octets());
        checksum::fold(sum)
    }

    proptest! {
        #[test]
        fn header_checksum_verifies_after_the_rewrite(
            (arriving, leaving) in tuples(), mut header: [u8; 20], ttl in 2_u8..,
        ) {
            let write = |header: &mut [u8; 20], tuple: &Tuple, ttl| {
                header[8] = ttl;
                header[9] = tuple.protocol;
                header[12..16].copy_from_slice(&tuple.src.last_word().to_ne_bytes());
                header[16..20].copy_from_slice(&tuple.dst.last_word().to_ne_bytes());
            };
            write(&mut header, &arriving, ttl);
            header[10..12].fill(0);
            let check = (!checksum::fold(checksum::sum_words(&header))).to_ne_bytes();
            write(&mut header, &leaving, ttl - 1);
            let new = ipv4_check(check, &arriving, &leaving, ttl, ttl - 1);
            header[10..12].copy_from_slice(&new);
            prop_assert_eq!(checksum::fold(checksum::sum_words(&header)), 0xffff);
        }

        #[test]
        fn there_and_back_is_the_original(
            (arriving, leaving) in tuples(), ttl in 2_u8.., check: [u8; 2],
        ) {
            let there = ipv4_check(check, &arriving, &leaving, ttl, ttl);
            let back = ipv4_check(there, &leaving, &arriving, ttl, ttl);
            let rewrite = Rewrite::v4(&leaving, &arriving);
            prop_assert_eq!(rewrite.addresses, [arriving.src, arriving.dst]);
            prop_assert_eq!(rewrite.ports, [arriving.src_port, arriving.dst_port]);
            let both = [check, back].map(u16::from_ne_bytes);
            prop_assert!(both[0] == both[1] || both == [0xffff, 0]);
        }

        #[test]
        fn the_address_difference_is_what_the_transport_sum_changes_by(
            (arriving, leaving) in prop_oneof![tuples(), tuples_v6()],
        ) {
            let rewrite = match arriving.family() {
                crate::contract::Family::V4 => Rewrite::v4(&arriving, &leaving),
                crate::contract::Family::V6 => Rewrite::v6(&arriving, &leaving),
            };
            prop_assert_eq!(rewrite.ports_change, arriving.src_port != leaving.src_port);
            let change = u32::from(checksum::fold(rewrite.address_difference));
            let with = checksum::fold(u32::from(address_sum(&arriving)) + change);
            let want = address_sum(&leaving);
            prop_assert!(with == want || (with ^ want) == 0xffff);
        }
    }
}
