//! Pairs: who may open flows to whom.

use bytemuck::{Pod, Zeroable};

use super::address::{Address, Family};

/// Key of `PAIR_INDEX`: a directional pair of ends, by ifindex.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Pod, Zeroable)]
pub struct PairKey {
    /// The end that opens flows.
    pub from: u32,
    /// The end that answers.
    pub to: u32,
}

/// State of a pair.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum PairState {
    /// Neither allowed nor denied: the `unlisted` setting decides.
    NotListed = 0,
    /// New flows are made, and existing ones forwarded.
    Allowed = 1,
    /// Whatever `from` opens to `to` is dropped.
    Denied = 2,
}

impl PairState {
    /// From the byte in the map; what is unknown is denied.
    #[inline(always)]
    #[must_use]
    pub const fn from_byte(byte: u8) -> Self {
        match byte {
            0 => Self::NotListed,
            1 => Self::Allowed,
            _ => Self::Denied,
        }
    }
}

/// What happens to the source of packets from `from` to `to`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum NatMode {
    /// It becomes the address of `to` that the kernel would choose.
    Masquerade = 0,
    /// It stays.
    None = 1,
    /// It becomes an address of the [`Pool`] that [`PairPolicy::pool`] names.
    Address = 2,
}

impl NatMode {
    /// From the byte in the map; what is unknown masquerades, so that nothing inner leaks.
    #[inline(always)]
    #[must_use]
    pub const fn from_byte(byte: u8) -> Self {
        match byte {
            1 => Self::None,
            2 => Self::Address,
            _ => Self::Masquerade,
        }
    }
}

/// All that can change about a pair at runtime, in one aligned word: it changes at once or not.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod, Zeroable)]
pub struct PairPolicy {
    /// A [`PairState`].
    pub state: u8,
    /// The [`NatMode`] of IPv4.
    pub nat: u8,
    /// The [`NatMode`] of IPv6.
    pub nat_v6: u8,
    /// [`PairPolicy::DRAINING`] and others.
    pub flags: u8,
    /// Key of its [`Pool`] in `POOLS`; 0 where it has none.
    pub pool: u32,
}

impl PairPolicy {
    /// Flows that exist are forwarded although the pair is not allowed any more.
    pub const DRAINING: u8 = 1;
    /// When this pair is turned off or its NAT changes, its flows shall drain.
    pub const DRAIN_LATER: u8 = 2;
    /// A client's port is mapped to the same one whatever the destination (RFC 4787, section 4.1).
    pub const ENDPOINT_INDEPENDENT: u8 = 4;

    /// What happens to the source of packets of a family.
    #[inline(always)]
    #[must_use]
    pub const fn nat_of(self, family: Family) -> NatMode {
        NatMode::from_byte(match family {
            Family::V4 => self.nat,
            Family::V6 => self.nat_v6,
        })
    }

    /// May packets of flows that exist pass?
    #[inline(always)]
    #[must_use]
    pub const fn forwards_existing(self) -> bool {
        matches!(PairState::from_byte(self.state), PairState::Allowed)
            || self.flags & Self::DRAINING != 0
    }
}

/// How many addresses of each family a pool can have.
pub const MAX_POOL: usize = 16;

/// Value of `POOLS`: the addresses that the source of a pair's packets may become. Written before the
/// policy that names it, never changed, removed after the last policy that names it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod, Zeroable)]
pub struct Pool {
    /// How many of `addresses` are set.
    pub count: u32,
    /// How many of `addresses_v6` are set.
    pub count_v6: u32,
    /// IPv4 addresses.
    pub addresses: [Address; MAX_POOL],
    /// IPv6 addresses.
    pub addresses_v6: [Address; MAX_POOL],
}

impl Pool {
    /// The address of a family for `inner`: always the same one for the same inner address, so that
    /// a host's flows share one (RFC 4787, REQ-2); `None` where the pool has none of that family.
    #[inline(always)]
    #[must_use]
    pub fn address_for(&self, inner: &Address) -> Option<Address> {
        let (count, addresses) = match inner.family() {
            Family::V4 => (self.count, &self.addresses),
            Family::V6 => (self.count_v6, &self.addresses_v6),
        };
        if count == 0 {
            return None;
        }
        let [a, b, c, d] = inner.words();
        // Every bit of the address has its part in the lowest ones: neighbours get different places.
        let mixed = u32::from_be(a ^ b ^ c ^ d);
        let mixed = (mixed ^ mixed >> 16).wrapping_mul(0x85eb_ca6b);
        let mixed = (mixed ^ mixed >> 13).wrapping_mul(0xc2b2_ae35);
        let place = (mixed ^ mixed >> 16) % count;
        // Masked, so that the verifier sees that it is in bounds.
        Some(addresses[place as usize % MAX_POOL])
    }
}

/// One element of `PAIRS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod, Zeroable)]
pub struct PairRule {
    /// Written and read as one word.
    pub policy: PairPolicy,
    /// Whose flows it governs: a flow of another generation is cut. Never reused, never zero for a
    /// pair that is in use.
    pub generation: u32,
    /// The pair, so that readers of the map need no other.
    pub key: PairKey,
    /// Always zero.
    pub _zero: u32,
}

const _: () = assert!(size_of::<PairKey>() == 8);
const _: () = assert!(size_of::<PairPolicy>() == 8);
const _: () = assert!(size_of::<PairRule>() == 24);
const _: () = assert!(size_of::<Pool>() == 520);
const _: () = assert!(MAX_POOL.is_power_of_two());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_share_the_addresses_of_a_pool() {
        for count in [2_u32, 3, 4, 16] {
            let mut pool = Pool { count, count_v6: count, ..Pool::default() };
            for place in 0..count as u8 {
                pool.addresses[usize::from(place)] = Address::v4([10, 2, 0, place]);
                pool.addresses_v6[usize::from(place)] = Address::v6([place; 16]);
            }
            let mut hosts = [[0_u32; MAX_POOL]; 2];
            for host in 0..=u8::MAX {
                let mut v6 = [0xfd; 16];
                v6[15] = host;
                let v4 = pool.address_for(&Address::v4([10, 1, 0, host])).unwrap();
                let v6 = pool.address_for(&Address::v6(v6)).unwrap();
                hosts[0][usize::from(v4.octets()[15])] += 1;
                hosts[1][usize::from(v6.octets()[15])] += 1;
            }
            for hosts in hosts {
                let fair = 256 / count;
                let used = &hosts[..count as usize];
                assert!(used.iter().all(|&of| of > fair / 3 && of < fair * 2), "{count}: {used:?}");
            }
        }
    }
}
