//! Pairs: who may open flows to whom.

use bytemuck::{Pod, Zeroable};

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
    /// It becomes [`PairPolicy::address`].
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
    /// A [`NatMode`].
    pub nat: u8,
    /// [`PairPolicy::DRAINING`] and [`PairPolicy::DRAIN_LATER`].
    pub flags: u8,
    /// Always zero.
    pub _zero: u8,
    /// The source address for [`NatMode::Address`], wire order; else zero.
    pub address: [u8; 4],
}

impl PairPolicy {
    /// Flows that exist are forwarded although the pair is not allowed any more.
    pub const DRAINING: u8 = 1;
    /// When this pair is turned off or its NAT changes, its flows shall drain.
    pub const DRAIN_LATER: u8 = 2;

    /// May packets of flows that exist pass?
    #[inline(always)]
    #[must_use]
    pub const fn forwards_existing(self) -> bool {
        matches!(PairState::from_byte(self.state), PairState::Allowed)
            || self.flags & Self::DRAINING != 0
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
