//! Sources: whose share of the flow table is how much used.

use bytemuck::{Pod, Zeroable};

use super::address::Address;

/// Key of `SOURCES`: who opens flows.
///
/// A source that came in by a bridge port is that port, whatever addresses it claims to have. Where
/// the program is on the bridge alone, or on an uplink, it is the address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Pod, Zeroable)]
pub struct SourceKey {
    /// The source address, where `port` is 0; else `::`.
    pub address: Address,
    /// ifindex of the bridge port, or 0.
    pub port: u32,
}

impl SourceKey {
    /// Of a flow that was opened from `address` by `port`.
    #[inline(always)]
    #[must_use]
    pub const fn new(address: Address, port: u32) -> Self {
        Self { address: if port == 0 { address } else { Address::UNSPECIFIED }, port }
    }
}

/// Value of `SOURCES`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod, Zeroable)]
pub struct SourceUse {
    /// How many flows it has.
    pub flows: u64,
    /// Until when it is not searched for flows of its own that can go: `CLOCK_MONOTONIC`, ns.
    pub exhausted_until_ns: u64,
    /// Flows that it was refused for having had its share.
    pub refused: u64,
    /// The slot of `FLOWS` from which on its flows are searched for one that can go.
    pub search_from: u32,
    /// Always zero.
    pub _zero: u32,
}

const _: () = assert!(size_of::<SourceKey>() == 20);
const _: () = assert!(size_of::<SourceUse>() == 32);
