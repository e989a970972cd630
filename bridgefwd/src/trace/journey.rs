//! A packet on its way: where it was seen, and what was said of it.

use std::time::Instant;

use bridgefwd_common::{Reason, Verdict};

use super::drops::KernelDrop;
use super::packet::{Packet, Print};

/// A packet seen at a station.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Seen {
    /// Which station, by its place in the list.
    pub station: usize,
    /// Did the interface send it, rather than receive it?
    pub out: bool,
    /// When: ns since 1970.
    pub time_ns: u64,
    /// As it was there.
    pub packet: Packet,
    /// The whole frame, where it is kept.
    pub frame: Vec<u8>,
}

/// How a packet ended in the program.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ended {
    /// When: ns since 1970.
    pub time_ns: u64,
    /// Under which reason.
    pub reason: Reason,
    /// ifindex of the interface where the program ran.
    pub ifindex: u32,
    /// As it was there.
    pub packet: Packet,
}

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// From the first to the second.
    There,
    /// Back.
    Back,
}

/// A packet on its way, or at its end.
#[derive(Clone, Debug)]
pub struct Journey {
    /// Where it was seen, in order.
    pub seen: Vec<Seen>,
    /// What the program said of it.
    pub ended: Vec<Ended>,
    /// What the kernel said of it.
    pub drops: Vec<KernelDrop>,
    /// Which way it goes.
    pub way: Way,
    /// Was it seen again where it had been, since the program has put it, or a copy, back?
    pub is_copied: bool,
    /// Has the trace ended while it was on its way?
    pub is_cut: bool,
    /// When something was last heard of it.
    pub last: Instant,
}

impl Journey {
    /// One of which nothing is known yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        let (seen, ended, drops) = (Vec::new(), Vec::new(), Vec::new());
        Self { seen, ended, drops, way: Way::There, is_copied: false, is_cut: false, last: now }
    }

    /// What the program said where it dropped the packet, and not a copy of it.
    #[must_use]
    pub fn refusal(&self) -> Option<&Ended> {
        self.ended.iter().find(|ended| {
            ended.reason.verdict() == Verdict::Drop && ended.reason != Reason::NeighbourAsked
        })
    }

    /// What the kernel said where it dropped the packet, and not a copy of it that the program has put
    /// there. `host` is the inode number of the host's network namespace.
    #[must_use]
    pub fn loss(&self, host: u64) -> Option<&KernelDrop> {
        self.drops.iter().find(|drop| !self.is_copys(drop, host))
    }

    /// Is it the copy that was dropped? If not at egress, by a program, then on its way there, by the host's
    /// stack, where the packet itself does not come by unless the program leaves it to the kernel.
    fn is_copys(&self, drop: &KernelDrop, host: u64) -> bool {
        let passed = || self.ended.iter().any(|it| it.reason.verdict() == Verdict::Pass);
        let by_stack = || drop.netns == host && drop.is_by_stack() && !passed();
        self.is_copied && (drop.is_by_program() || by_stack())
    }

    /// What no translation changes of it.
    #[must_use]
    pub fn print(&self) -> Option<Print> {
        self.first().map(|packet| packet.print)
    }

    /// The packet, where it was first seen or heard of.
    #[must_use]
    pub fn first(&self) -> Option<&Packet> {
        self.packets().next()
    }

    /// The packet, wherever it was.
    pub fn packets(&self) -> impl Iterator<Item = &Packet> {
        let seen = self.seen.iter().map(|seen| &seen.packet);
        seen.chain(self.drops.iter().map(|drop| &drop.packet))
    }

    /// When it was first seen or heard of: ns since 1970.
    #[must_use]
    pub fn time_ns(&self) -> u64 {
        let seen = self.seen.iter().map(|seen| seen.time_ns);
        seen.chain(self.drops.iter().map(|drop| drop.time_ns)).min().unwrap_or_default()
    }
}
