//! Flows: the state of each conversation, and the index by which its packets find it.

use bytemuck::{Pod, Zeroable};

use super::address::{Address, Family};
use super::body::{Body, Way};
use super::connection::TcpSide;
use super::mapping::Endpoint;
use super::tuple::{Tuple, TupleV4};

/// Which way a packet of a flow goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Direction {
    /// As the packet that opened the flow.
    Original = 0,
    /// Back.
    Reply = 1,
}

impl Direction {
    /// The other one.
    #[inline(always)]
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Original => Self::Reply,
            Self::Reply => Self::Original,
        }
    }
}

/// Value of the flow indices: which slot of `FLOWS`, and which direction of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod, Zeroable)]
pub struct IndexEntry {
    /// Slot number; the highest bit is set in the entry of the reply direction.
    pub slot_and_direction: u32,
    /// [`Flow::generation`] of the flow that this entry belongs to.
    pub generation: u32,
}

impl IndexEntry {
    const REPLY: u32 = 1 << 31;

    /// The entry of one direction of the flow in `slot`.
    #[inline(always)]
    #[must_use]
    pub const fn new(slot: u32, direction: Direction, generation: u32) -> Self {
        let bit = match direction {
            Direction::Original => 0,
            Direction::Reply => Self::REPLY,
        };
        Self { slot_and_direction: slot | bit, generation }
    }

    /// The slot of `FLOWS`.
    #[inline(always)]
    #[must_use]
    pub const fn slot(self) -> u32 {
        self.slot_and_direction & !Self::REPLY
    }

    /// The direction of the packets that find this entry.
    #[inline(always)]
    #[must_use]
    pub const fn direction(self) -> Direction {
        if self.slot_and_direction & Self::REPLY == 0 {
            Direction::Original
        } else {
            Direction::Reply
        }
    }
}

/// What is counted for each direction of a flow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod, Zeroable)]
pub struct FlowSide {
    /// Packets redirected, in the units of [`Counter`](super::Counter).
    pub packets: u64,
    /// Bytes redirected, Ethernet header included.
    pub bytes: u64,
}

/// One slot of `FLOWS`: one flow, both directions.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod, Zeroable)]
pub struct Flow {
    /// Of this slot: goes up with each new flow in it, so that stale index entries are known.
    pub generation: u32,
    /// Index in `PAIRS` of the pair that permitted it.
    pub pair: u32,
    /// [`PairRule::generation`](super::PairRule::generation) at that time.
    pub pair_generation: u32,
    /// A [`FlowState`](super::FlowState).
    pub state: u8,
    /// The [`NatMode`](super::NatMode) that it was opened with.
    pub nat: u8,
    /// [`Flow::MAPPED`] and others.
    pub flags: u8,
    /// IP protocol number; set with the tuples, like `ports`, `body` and `query`.
    pub protocol: u8,
    /// ifindex of the end by which packets of the original direction arrive, and replies leave.
    pub from: u32,
    /// ifindex of the end by which replies arrive, and the original direction leaves.
    pub to: u32,
    /// Source and destination port as the opening packet arrived, then as it left.
    pub ports: [[u8; 2]; 4],
    /// Its addresses, and of IPv4, which leaves room, its ways. See [`Flow::original`] and others.
    pub body: Body,
    /// Of an ICMP query the type of its request, else zero.
    pub query: u8,
    /// Always zero.
    pub _zero: [u8; 7],
    /// When a packet last refreshed it: a [`moment`](super::moment).
    pub last_seen: u32,
    /// When it was made: a [`moment`](super::moment).
    pub created: u32,
    /// ifindex of the bridge port that its opening packet came by, 0 where it came by none: whose
    /// share of the table it takes.
    pub source_port: u32,
    /// Where `flags` say that it holds a mapping: ifindex of the end that this is towards. It is `to`,
    /// except where the flow turns back (see [`Flow::turns_back`]).
    pub mapped_to: u32,
    /// By [`Direction`].
    pub sides: [FlowSide; 2],
    /// Of TCP, by the [`Direction`] of the segments that a side sends.
    pub tcp: [TcpSide; 2],
}

impl Flow {
    /// In `flags`: it holds an endpoint-independent mapping.
    pub const MAPPED: u8 = 1;
    /// In `flags`: it is of IPv6.
    pub const V6: u8 = 2;
    /// `from` of a conversation of the host's own that had to make way for a flow.
    pub const FROM_HOST: u32 = 0;

    /// As it is, between other tuples: see [`Flow::set_tuples`].
    #[must_use]
    pub fn between(mut self, original: &Tuple, translated: &Tuple) -> Self {
        self.set_tuples(original, translated);
        self
    }

    /// Sets the tuples that its packets arrive and leave with, both of one family and protocol, and of
    /// a request, where they are of an ICMP query. No way is known then.
    #[inline(always)]
    pub fn set_tuples(&mut self, original: &Tuple, translated: &Tuple) {
        self.protocol = original.protocol;
        self.query = original.query;
        self.ports =
            [original.src_port, original.dst_port, translated.src_port, translated.dst_port];
        if matches!(original.family(), Family::V6) {
            self.flags |= Self::V6;
            self.body = Body::v6([&original.src, &original.dst, &translated.src, &translated.dst]);
        } else {
            self.flags &= !Self::V6;
            self.body = Body::v4([
                original.src.last_word(),
                original.dst.last_word(),
                translated.src.last_word(),
                translated.dst.last_word(),
            ]);
        }
    }

    #[inline(always)]
    const fn address(&self, at: usize) -> Address {
        if self.flags & Self::V6 == 0 {
            Address::v4_word(self.body.words_v4()[at])
        } else {
            self.body.address_v6(at)
        }
    }

    #[inline(always)]
    const fn tuple(&self, at: usize) -> Tuple {
        Tuple {
            src: self.address(at),
            dst: self.address(at + 1),
            src_port: self.ports[at],
            dst_port: self.ports[at + 1],
            protocol: self.protocol,
            query: self.query,
            answer: 0,
            _zero: 0,
        }
    }

    /// As the opening packet arrived.
    #[inline(always)]
    #[must_use]
    pub const fn original(&self) -> Tuple {
        self.tuple(0)
    }

    /// As it left: what the answering side sees.
    #[inline(always)]
    #[must_use]
    pub const fn translated(&self) -> Tuple {
        self.tuple(2)
    }

    /// Of an IPv4 flow: the tuple that packets of `direction` have when they leave.
    #[inline(always)]
    #[must_use]
    pub const fn leaving_v4(&self, direction: Direction) -> TupleV4 {
        let [inner, server, outer, target] = *self.body.words_v4();
        let [inner_port, server_port, outer_port, target_port] = self.ports;
        let (src, dst, src_port, dst_port) = match direction {
            Direction::Original => (outer, target, outer_port, target_port),
            Direction::Reply => (server, inner, server_port, inner_port),
        };
        TupleV4 {
            src,
            dst,
            src_port,
            dst_port,
            protocol: self.protocol,
            query: self.query,
            answer: 0,
            _zero: 0,
        }
    }

    /// Of an IPv4 flow: how packets of `direction` leave.
    #[inline(always)]
    #[must_use]
    pub fn way(&self, direction: Direction) -> &Way {
        self.body.way(direction)
    }

    /// The same, to be changed.
    #[inline(always)]
    #[must_use]
    pub fn way_mut(&mut self, direction: Direction) -> &mut Way {
        self.body.way_mut(direction)
    }

    /// Does it change addresses or ports?
    #[inline(always)]
    #[must_use]
    pub fn translates(&self) -> bool {
        self.original() != self.translated()
    }

    /// Does it lead back in, to an inner endpoint that was addressed by its outer one (RFC 4787,
    /// section 6)?
    #[inline(always)]
    #[must_use]
    pub fn turns_back(&self) -> bool {
        self.address(1) != self.address(3)
    }

    /// The inner endpoint whose mapping it holds, where `flags` say that it does.
    #[inline(always)]
    #[must_use]
    pub const fn mapped_endpoint(&self) -> Endpoint {
        Endpoint::inner(&self.original(), self.mapped_to)
    }

    /// The tuple that packets of `direction` have on arrival.
    #[inline(always)]
    #[must_use]
    pub const fn arriving(&self, direction: Direction) -> Tuple {
        match direction {
            Direction::Original => self.original(),
            Direction::Reply => self.translated().reversed(),
        }
    }

    /// The tuple that packets of `direction` have when they leave.
    #[inline(always)]
    #[must_use]
    pub const fn leaving(&self, direction: Direction) -> Tuple {
        match direction {
            Direction::Original => self.translated(),
            Direction::Reply => self.original().reversed(),
        }
    }
}

/// Value of `RELEASING`: which flow of a slot is being released. The key is the slot; or, with its
/// highest bit set, names the endpoint-independent mappings that one CPU is changing, and the value
/// says since when.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod, Zeroable)]
pub struct SlotOwner {
    /// [`Flow::generation`].
    pub generation: u32,
}

const _: () = assert!(size_of::<IndexEntry>() == 8);
const _: () = assert!(size_of::<Flow>() == 192);
