//! Who has an endpoint-independent mapping: one outer port for an inner one, whatever the destination
//! (RFC 4787 REQ-1, RFC 5382 REQ-1, RFC 5508 REQ-1a).

use crate::contract::{
    Address, Endpoint, Family, Interface, MAX_ADDRESSES, NatMode, PairPolicy, PairState,
};
use crate::packet::transport::Transport;

/// Have flows of such a pair a mapping?
#[inline(always)]
#[must_use]
pub fn has_mapping(policy: PairPolicy, family: Family, transport: Transport) -> bool {
    policy.flags & PairPolicy::ENDPOINT_INDEPENDENT != 0
        && !matches!(policy.nat_of(family), NatMode::None)
        && match transport {
            Transport::Tcp
            | Transport::Udp
            | Transport::UdpLike
            | Transport::Query
            | Transport::QueryV6 => true,
            // Their ports stay as they are.
            Transport::Sctp | Transport::Other | Transport::Fragment => false,
        }
}

/// Is what a packet addresses looked for among the outer endpoints, so that it may turn back? Of ICMP
/// there is nothing that could be: a request has no port of whom it is for.
#[inline(always)]
#[must_use]
pub const fn can_turn_back(transport: Transport) -> bool {
    matches!(transport, Transport::Tcp | Transport::Udp | Transport::UdpLike)
}

/// Can a packet turn back to an inner endpoint whose mapping was made under `generation` of its pair,
/// which is as `policy` and `now` say?
#[inline(always)]
#[must_use]
pub fn is_in_force(policy: PairPolicy, now: u32, generation: u32) -> bool {
    matches!(PairState::from_byte(policy.state), PairState::Allowed) && now == generation
}

/// Has the end this address? With as many addresses as are kept of an end there may be more: yes,
/// then.
#[inline(always)]
#[must_use]
pub fn has_address(end: &Interface, address: &Address) -> bool {
    let (addresses, count) = match address.family() {
        Family::V4 => (&end.addresses, end.address_count),
        Family::V6 => (&end.addresses_v6, end.address_count_v6),
    };
    let mut there = 0;
    let mut at = 0;
    // To the end, whatever is found: no exit depends on data.
    while at < MAX_ADDRESSES {
        if (at as u32) < count && addresses[at].address == *address {
            there = 1;
        }
        at += 1;
    }
    there == 1 || count as usize >= MAX_ADDRESSES
}

/// Under which key of `RELEASING` the mapping of an inner endpoint is held while it changes: no slot's
/// number. Two that share one wait for each other, nothing more.
#[inline(always)]
#[must_use]
pub const fn lock_key(inner: &Endpoint) -> u32 {
    const NO_SLOT: u32 = 1 << 31;
    let [a, b, c, d] = inner.address.words();
    let [high, low] = inner.port;
    let rest = u32::from_ne_bytes([high, low, inner.protocol, inner.query]);
    let mixed = (a ^ b.rotate_left(7) ^ c.rotate_left(13) ^ d).wrapping_mul(0x9e37_79b1);
    let mixed = (mixed ^ mixed >> 15 ^ rest).wrapping_mul(0x85eb_ca6b) ^ inner.to;
    mixed ^ mixed >> 13 | NO_SLOT
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use bytemuck::Zeroable as _;

    use super::*;
    use crate::contract::InterfaceAddress;

    #[test]
    fn only_what_has_ports_of_its_own_has_mappings() {
        let policy =
            PairPolicy { flags: PairPolicy::ENDPOINT_INDEPENDENT, ..PairPolicy::default() };
        for transport in [Transport::Tcp, Transport::Udp, Transport::UdpLike, Transport::Query] {
            assert!(has_mapping(policy, Family::V4, transport));
            assert!(!has_mapping(PairPolicy::default(), Family::V4, transport));
        }
        assert!(has_mapping(policy, Family::V6, Transport::QueryV6));
        assert!(!has_mapping(policy, Family::V4, Transport::Sctp));
        assert!(!has_mapping(policy, Family::V4, Transport::Other));
        let no_v4 = PairPolicy { nat: NatMode::None as u8, ..policy };
        assert!(!has_mapping(no_v4, Family::V4, Transport::Udp));
        assert!(has_mapping(no_v4, Family::V6, Transport::Udp));
    }

    #[test]
    fn a_mapping_is_in_force_as_long_as_its_pair_is_as_it_was() {
        let policy = |state: PairState| PairPolicy { state: state as u8, ..PairPolicy::default() };
        assert!(is_in_force(policy(PairState::Allowed), 3, 3));
        assert!(!is_in_force(policy(PairState::Allowed), 4, 3));
        assert!(!is_in_force(policy(PairState::Denied), 3, 3));
        assert!(!is_in_force(policy(PairState::NotListed), 3, 3));
    }

    #[test]
    fn addresses_of_an_end() {
        let own = Address::v4([10, 2, 0, 1]);
        let other = Address::v4([10, 2, 0, 2]);
        let mut end = Interface { address_count: 1, ..Interface::zeroed() };
        end.addresses[0] =
            InterfaceAddress { address: own, prefix_len: 24, ..InterfaceAddress::default() };
        assert!(has_address(&end, &own) && !has_address(&end, &other));
        assert!(!has_address(&end, &Address::v6([0xfd; 16])));
        end.address_count = 0;
        assert!(!has_address(&end, &own), "one that is gone");
        end.address_count = MAX_ADDRESSES as u32;
        assert!(has_address(&end, &other), "there may be more");
    }

    #[test]
    fn locks_are_no_slots_and_mostly_apart() {
        let keys: HashSet<u32> = (0..4096_u16)
            .map(|number| {
                let [high, low] = number.to_be_bytes();
                let address = Address::v4([10, 1, high, 7]);
                let port = (1024 + u16::from(low)).to_be_bytes();
                lock_key(&Endpoint { address, port, protocol: 17, query: 0, to: 3 })
            })
            .collect();
        assert!(keys.iter().all(|key| *key >= 1 << 31));
        assert!(keys.len() > 4000, "{} of 4096", keys.len());
    }
}
