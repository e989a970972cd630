//! The header bytes that change when a packet leaves.

use crate::contract::Tuple;
use crate::packet::checksum;

/// Everything that is written into a packet, in wire bytes, and what the transport checksum has to
/// be told of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rewrite {
    /// Source and destination address.
    pub addresses: [[u8; 4]; 2],
    /// Time to live.
    pub ttl: u8,
    /// Checksum of the IPv4 header.
    pub ip_check: [u8; 2],
    /// Source and destination port; for ICMP echo the identifier, in both.
    pub ports: [[u8; 2]; 2],
    /// What the addresses add to a checksum with a pseudo-header; 0 where they do not change.
    pub address_difference: u32,
    /// Do the ports change?
    pub ports_change: bool,
}

impl Rewrite {
    /// From the packet as it arrived, with its protocol, TTL and header checksum, to how it leaves.
    #[inline(always)]
    #[must_use]
    pub fn new(arriving: &Tuple, leaving: &Tuple, ttl: u8, new_ttl: u8, ip_check: [u8; 2]) -> Self {
        let old_words = header_words(arriving, ttl);
        let new_words = header_words(leaving, new_ttl);
        let addresses = [leaving.src, leaving.dst];
        let unchanged = arriving.src == leaving.src && arriving.dst == leaving.dst;
        Self {
            addresses,
            ttl: new_ttl,
            ip_check: checksum::update(ip_check, &old_words, &new_words),
            ports: [leaving.src_port, leaving.dst_port],
            address_difference: if unchanged {
                0
            } else {
                checksum::difference([arriving.src, arriving.dst], addresses)
            },
            ports_change: arriving.src_port != leaving.src_port
                || arriving.dst_port != leaving.dst_port,
        }
    }
}

/// The words of an IPv4 header that change: TTL with protocol, source, destination.
#[inline(always)]
fn header_words(tuple: &Tuple, ttl: u8) -> [u8; 10] {
    let ([s0, s1, s2, s3], [d0, d1, d2, d3]) = (tuple.src, tuple.dst);
    [ttl, tuple.protocol, s0, s1, s2, s3, d0, d1, d2, d3]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn tuples()(
            src: [u8; 4], dst: [u8; 4], src_port: [u8; 2], dst_port: [u8; 2],
            new_src: [u8; 4], new_port: [u8; 2],
        ) -> (Tuple, Tuple) {
            let arriving = Tuple { src, dst, src_port, dst_port, protocol: 17, _zero: [0; 3] };
            (arriving, Tuple { src: new_src, src_port: new_port, ..arriving })
        }
    }

    /// Sum over the pseudo-header and the ports, the rest of the segment being the same.
    fn transport_sum(tuple: &Tuple) -> u32 {
        [tuple.src, tuple.dst, bytemuck::cast([tuple.src_port, tuple.dst_port])]
            .iter()
            .map(checksum::sum_words)
            .sum()
    }

    proptest! {
        #[test]
        fn header_checksum_verifies_after_the_rewrite(
            (arriving, leaving) in tuples(), mut header: [u8; 20], ttl in 2_u8..,
        ) {
            header[8] = ttl;
            header[9] = arriving.protocol;
            header[12..16].copy_from_slice(&arriving.src);
            header[16..20].copy_from_slice(&arriving.dst);
            header[10..12].fill(0);
            let check = (!checksum::fold(checksum::sum_words(&header))).to_ne_bytes();
            let rewrite = Rewrite::new(&arriving, &leaving, ttl, ttl - 1, check);

            header[8] = rewrite.ttl;
            header[10..12].copy_from_slice(&rewrite.ip_check);
            header[12..16].copy_from_slice(&rewrite.addresses[0]);
            header[16..20].copy_from_slice(&rewrite.addresses[1]);
            prop_assert_eq!(checksum::fold(checksum::sum_words(&header)), 0xffff);
        }

        #[test]
        fn there_and_back_is_the_original(
            (arriving, leaving) in tuples(), ttl in 2_u8.., check: [u8; 2],
        ) {
            let there = Rewrite::new(&arriving, &leaving, ttl, ttl, check);
            let back = Rewrite::new(&leaving, &arriving, ttl, ttl, there.ip_check);
            prop_assert_eq!(back.addresses, [arriving.src, arriving.dst]);
            prop_assert_eq!(back.ports, [arriving.src_port, arriving.dst_port]);
            let both = [check, back.ip_check].map(u16::from_ne_bytes);
            prop_assert!(both[0] == both[1] || both == [0xffff, 0]);
        }

        #[test]
        fn the_address_difference_is_what_the_transport_sum_changes_by(
            (arriving, mut leaving) in tuples(),
        ) {
            leaving.src_port = arriving.src_port;
            let rewrite = Rewrite::new(&arriving, &leaving, 9, 8, [0; 2]);
            prop_assert!(!rewrite.ports_change);
            let with = checksum::fold(transport_sum(&arriving) + u32::from(checksum::fold(rewrite.address_difference)));
            let want = checksum::fold(transport_sum(&leaving));
            prop_assert!(with == want || (with ^ want) == 0xffff);
        }
    }
}
