//! Counters. They are per CPU: the program adds without atomics, the daemon sums.

use bytemuck::{Pod, Zeroable};

/// Index of the counter of all packets seen. [`Reason`](crate::Reason)s begin at 1.
///
/// It is counted on entry, apart from the reasons, so that "seen = sum over reasons" can fail.
pub const SEEN: u32 = 0;

/// Packets and bytes under one reason.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod, Zeroable)]
pub struct Counter {
    /// Packets as the kernel hands them over: one GSO packet counts once, as in the kernel's own
    /// counters and in captures.
    pub packets: u64,
    /// Bytes, Ethernet header included, as in the kernel's interface counters.
    pub bytes: u64,
}

/// What happened on one pair, in the units of [`Counter`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod, Zeroable)]
pub struct PairCounters {
    /// Redirected packets in the original direction.
    pub original: Counter,
    /// Redirected packets in the reply direction.
    pub reply: Counter,
    /// Packets dropped because of this pair: denied, cut, or out of resources.
    pub refused: Counter,
    /// Flows made since the pair was listed.
    pub flows_created: u64,
}

const _: () = assert!(size_of::<Counter>() == 16);
const _: () = assert!(size_of::<PairCounters>() == 56);

impl Counter {
    /// Adds one packet of `bytes` bytes.
    #[inline(always)]
    pub fn add(&mut self, bytes: u64) {
        self.packets = self.packets.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(bytes);
    }

    /// Adds another CPU's share.
    pub fn merge(&mut self, other: &Self) {
        self.packets = self.packets.wrapping_add(other.packets);
        self.bytes = self.bytes.wrapping_add(other.bytes);
    }
}

impl PairCounters {
    /// Adds another CPU's share.
    pub fn merge(&mut self, other: &Self) {
        self.original.merge(&other.original);
        self.reply.merge(&other.reply);
        self.refused.merge(&other.refused);
        self.flows_created = self.flows_created.wrapping_add(other.flows_created);
    }
}
