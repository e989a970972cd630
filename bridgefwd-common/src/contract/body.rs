//! The part of a flow that is different for each family: addresses, and the ways that IPv4, whose
//! addresses are short, has room for.

use bytemuck::{Pod, Zeroable};

use super::address::Address;
use super::flow::Direction;

/// Addresses of a flow: source and destination as its opening packet arrived, then as it left. Of IPv6
/// four words each; of IPv4 one word each, and what is left are two [`Way`]s, by [`Direction`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod, Zeroable)]
pub struct Body {
    addresses: [u32; 4],
    rest: [[u32; WAY_WORDS]; 2],
}

const WAY_WORDS: usize = size_of::<Way>() / size_of::<u32>();

impl Body {
    /// Addresses of IPv4, in their order. No way is known then.
    #[inline(always)]
    pub(super) const fn v4(addresses: [u32; 4]) -> Self {
        Self { addresses, rest: [[0; WAY_WORDS]; 2] }
    }

    /// The same of IPv6.
    #[inline(always)]
    pub(super) const fn v6(addresses: [&Address; 4]) -> Self {
        let [first, second, third, fourth] = addresses;
        let (second, third, fourth) = (second.words(), third.words(), fourth.words());
        let mut rest = [[0; WAY_WORDS]; 2];
        let [a, b] = &mut rest;
        [a[0], a[1], a[2], a[3]] = second;
        [a[4], a[5], a[6], a[7]] = third;
        [b[0], b[1], b[2], b[3]] = fourth;
        Self { addresses: first.words(), rest }
    }

    /// Its IPv4 addresses, read natively.
    #[inline(always)]
    pub(super) const fn words_v4(&self) -> &[u32; 4] {
        &self.addresses
    }

    /// The `at`th IPv6 address.
    #[inline(always)]
    pub(super) const fn address_v6(&self, at: usize) -> Address {
        let Self { addresses, rest: [a, b] } = self;
        Address::from_words(match at {
            0 => *addresses,
            1 => [a[0], a[1], a[2], a[3]],
            2 => [a[4], a[5], a[6], a[7]],
            _ => [b[0], b[1], b[2], b[3]],
        })
    }

    /// Of IPv4: how packets of `direction` leave.
    #[inline(always)]
    pub(super) fn way(&self, direction: Direction) -> &Way {
        let [original, reply] = &self.rest;
        bytemuck::cast_ref(match direction {
            Direction::Original => original,
            Direction::Reply => reply,
        })
    }

    /// The same, to be changed.
    #[inline(always)]
    pub(super) fn way_mut(&mut self, direction: Direction) -> &mut Way {
        let [original, reply] = &mut self.rest;
        bytemuck::cast_mut(match direction {
            Direction::Original => original,
            Direction::Reply => reply,
        })
    }
}

/// How packets of one direction of an IPv4 flow leave, as the kernel's routing has said. All zero: it
/// has not been asked.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod, Zeroable)]
pub struct Way {
    /// What the program compares, from before the kernel was asked: see [`Kept`](super::Kept). What the
    /// kernel said holds as long as it is the same.
    pub epoch: u32,
    /// The longest packet, from the IP header on, that it was asked for.
    pub longest: u16,
    /// The type of service that it was asked for.
    pub tos: u8,
    /// [`Way::BEFORE_STACK`] and others.
    pub flags: u8,
    /// ifindex of the interface that the packet arrived at: a managed one, of the right end.
    pub arrives_at: u32,
    /// The neighbour's address, read natively.
    pub next_hop: u32,
    /// The router's MAC address there, to which the packet was addressed.
    pub router_mac: [u8; 6],
    /// The neighbour's MAC address.
    pub neighbour_mac: [u8; 6],
    /// When a packet last arrived there from the neighbour to whom the other direction leaves, by its
    /// MAC address: a [`moment`](super::moment). 0: not since that neighbour, or this way, was noted.
    pub neighbour_seen: u32,
}

impl Way {
    /// In `flags`: where its packets arrive, nothing but the driver has had them in hands.
    pub const BEFORE_STACK: u8 = 1;
    /// In `flags`: what leaves for somebody behind `arrives_at` may be handed to the peer of that port.
    pub const TO_PEER: u8 = 2;
}

const _: () = assert!(size_of::<Way>() == 32);
