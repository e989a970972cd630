//! Events: what the program tells the daemon, by a ring, while somebody listens.
//!
//! None of these maps is pinned: each load of the programs has its own, read by the daemon that loaded
//! them. What is told is never on the way of packets of flows that are established.

use bytemuck::{Pod, Zeroable};

use super::address::Address;
use super::flow::Flow;
use super::source::SourceKey;

/// How many bytes the ring of events has.
pub const EVENT_RING_BYTES: u32 = 1 << 20;
/// How many sources and reasons of refusals are told apart at one time; beyond it the longest unused
/// are forgotten.
pub const MAX_REFUSALS: u32 = 4096;
/// Refusals of one source for one reason are told once in so many ns, with their number.
pub const REFUSALS_TOLD_EACH_NS: u64 = 1_000_000_000;
/// How many refusals one CPU tells in a second, whoever they are of.
pub const REFUSALS_TOLD_A_SECOND: u32 = 100;
/// How many packets one CPU tells in a second that are traced.
pub const TRACED_TOLD_A_SECOND: u32 = 2000;
/// How much of a packet goes with an event, in bytes: Ethernet, IPv6 and TCP with the most common
/// options.
pub const EVENT_HEADERS: usize = 96;

/// [`FlowRecord::kind`]: a flow was opened.
pub const EVENT_OPENED: u32 = 1;
/// [`FlowRecord::kind`]: a flow was freed.
pub const EVENT_CLOSED: u32 = 2;
/// [`PacketRecord::kind`]: packets were refused.
pub const EVENT_REFUSED: u32 = 3;
/// [`PacketRecord::kind`]: a packet that is traced ended.
pub const EVENT_TRACED: u32 = 4;

/// The one element of `EVENT_CONTROL`: what is to be told. It is a lease: where the daemon is gone,
/// nothing is told any more soon.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod, Zeroable)]
pub struct EventControl {
    /// Until when flows and refusals are told: `CLOCK_MONOTONIC`, ns; 0 where they are not.
    pub until_ns: u64,
    /// Until when the packets between the two below are told, whatever they end under; 0 where none
    /// are.
    pub trace_until_ns: u64,
    /// One of the two whose packets are traced: packets of it to anybody, and of anybody to it.
    pub trace: Address,
    /// The other, likewise: a packet is traced where either of its addresses is one of the two.
    pub trace_other: Address,
}

/// A record of the ring that is about a flow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq, Pod, Zeroable)]
pub struct FlowRecord {
    /// [`EVENT_OPENED`] or [`EVENT_CLOSED`].
    pub kind: u32,
    /// Its slot of `FLOWS`.
    pub slot: u32,
    /// `CLOCK_MONOTONIC`, ns.
    pub time_ns: u64,
    /// The flow as it was then.
    pub flow: Flow,
}

/// A record of the ring that is about a packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq, Pod, Zeroable)]
pub struct PacketRecord {
    /// [`EVENT_REFUSED`] or [`EVENT_TRACED`].
    pub kind: u32,
    /// The [`Reason`](crate::Reason).
    pub reason: u32,
    /// `CLOCK_MONOTONIC`, ns.
    pub time_ns: u64,
    /// Of refusals: of whom. Else all zero.
    pub source: SourceKey,
    /// ifindex of the interface where the program ran.
    pub ifindex: u32,
    /// Of refusals: how many there were since [`RefusalCount::since_ns`].
    pub count: RefusalCount,
    /// Length of the packet.
    pub len: u32,
    /// How many bytes of it are in `headers`.
    pub captured: u32,
    /// How the packet begins.
    pub headers: [u8; EVENT_HEADERS],
}

/// Key of `REFUSALS`: of whom, and why.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Pod, Zeroable)]
pub struct RefusalKey {
    /// The [`Reason`](crate::Reason).
    pub reason: u32,
    /// Who: a bridge port, whatever addresses it claims, else an address.
    pub source: SourceKey,
}

/// Value of `REFUSALS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod, Zeroable)]
pub struct RefusalCount {
    /// Packets since then.
    pub packets: u64,
    /// Bytes since then.
    pub bytes: u64,
    /// Since when it is counted: `CLOCK_MONOTONIC`, ns.
    pub since_ns: u64,
    /// When it was told last: `CLOCK_MONOTONIC`, ns.
    pub told_ns: u64,
}

/// The one element of `EVENT_BUDGET`, one a CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod, Zeroable)]
pub struct EventBudget {
    /// Which second it is of, of about 1.07 s: `CLOCK_MONOTONIC`, ns, without its last 30 bits.
    pub second: u64,
    /// Refusals told in that second.
    pub refusals: u32,
    /// Traced packets told in that second.
    pub traced: u32,
    /// Refusals that were not told since the programs were loaded: for being too many, or for want of
    /// room. They are in their counts all the same.
    pub refusals_untold: u64,
    /// Records of flows for which there was no room in the ring.
    pub flows_untold: u64,
}

impl EventBudget {
    /// Adds another CPU's share.
    pub fn merge(&mut self, other: &Self) {
        self.refusals_untold = self.refusals_untold.wrapping_add(other.refusals_untold);
        self.flows_untold = self.flows_untold.wrapping_add(other.flows_untold);
    }
}

const _: () = assert!(size_of::<EventControl>() == 48);
const _: () = assert!(size_of::<FlowRecord>() == 16 + size_of::<Flow>());
const _: () = assert!(size_of::<PacketRecord>() == 176);
const _: () = assert!(size_of::<RefusalKey>() == 24);
