//! Flows: the state of each conversation, and the index by which its packets find it.

use bytemuck::{Pod, Zeroable};

use super::address::{Address, Family};
use super::connection::TcpSide;
use super::mapping::Endpoint;

/// Addresses and ports of a packet, all in wire order: what its flow is found by. The key of
/// `FLOW_INDEX_V6`; see [`TupleV4`] for IPv4.
///
/// An ICMP query carries its identifier as `src_port` in a request and as `dst_port` in a reply, the
/// other being zero; so the tuple of an answer is always [`Tuple::reversed`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Pod, Zeroable)]
pub struct Tuple {
    /// Source address.
    pub src: Address,
    /// Destination address.
    pub dst: Address,
    /// Source port, or the identifier of an ICMP request.
    pub src_port: [u8; 2],
    /// Destination port, or the identifier of an ICMP reply.
    pub dst_port: [u8; 2],
    /// IP protocol number.
    pub protocol: u8,
    /// Of an ICMP query the type of its request, else zero.
    pub query: u8,
    /// 1 for the reply to an ICMP query, else zero: with the identifier 0 nothing else tells it from a
    /// request.
    pub answer: u8,
    /// Always zero.
    pub _zero: u8,
}

/// A [`Tuple`] of IPv4: the key of `FLOW_INDEX_V4`, whose look-up is on every packet's way and costs by
/// the byte.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Pod, Zeroable)]
pub struct TupleV4 {
    /// Source address, its bytes read natively.
    pub src: u32,
    /// Destination address, its bytes read natively.
    pub dst: u32,
    /// As in [`Tuple`].
    pub src_port: [u8; 2],
    /// As in [`Tuple`].
    pub dst_port: [u8; 2],
    /// As in [`Tuple`].
    pub protocol: u8,
    /// As in [`Tuple`].
    pub query: u8,
    /// As in [`Tuple`].
    pub answer: u8,
    /// Always zero.
    pub _zero: u8,
}

impl From<TupleV4> for Tuple {
    fn from(tuple: TupleV4) -> Self {
        Self {
            src: Address::v4_word(tuple.src),
            dst: Address::v4_word(tuple.dst),
            src_port: tuple.src_port,
            dst_port: tuple.dst_port,
            protocol: tuple.protocol,
            query: tuple.query,
            answer: tuple.answer,
            _zero: 0,
        }
    }
}

impl Tuple {
    /// The tuple of packets in the other direction.
    #[inline(always)]
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            src_port: self.dst_port,
            dst_port: self.src_port,
            protocol: self.protocol,
            query: self.query,
            answer: if self.query == 0 { 0 } else { self.answer ^ 1 },
            _zero: 0,
        }
    }

    /// The family of its addresses.
    #[inline(always)]
    #[must_use]
    pub const fn family(&self) -> Family {
        self.src.family()
    }

    /// The same, as the key of `FLOW_INDEX_V4`.
    #[inline(always)]
    #[must_use]
    pub const fn to_v4(&self) -> TupleV4 {
        TupleV4 {
            src: self.src.last_word(),
            dst: self.dst.last_word(),
            src_port: self.src_port,
            dst_port: self.dst_port,
            protocol: self.protocol,
            query: self.query,
            answer: self.answer,
            _zero: 0,
        }
    }

    /// The identifier of an ICMP query: it stands in one of the ports, the other being zero.
    #[inline(always)]
    #[must_use]
    pub const fn query_id(&self) -> [u8; 2] {
        [self.src_port[0] | self.dst_port[0], self.src_port[1] | self.dst_port[1]]
    }
}

/// Which way a packet of a flow goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Direction {
    /// As the packet that opened the flow.
    Original = 0,
    /// Back.
    Reply = 1,
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

/// Where a flow is in its life; decides its timeout and what packets may do to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum FlowState {
    /// The slot is free.
    Free = 0,
    /// UDP or another protocol without connections, no answer yet.
    UdpOneWay = 1,
    /// UDP or another protocol without connections, answered.
    UdpTwoWay = 2,
    /// An ICMP query.
    Icmp = 3,
    /// TCP, SYN seen, no answer yet.
    TcpOpening = 4,
    /// TCP, SYN answered.
    TcpAnswered = 5,
    /// TCP, handshake complete.
    TcpEstablished = 6,
    /// TCP, FIN seen in the original direction only.
    TcpFinOriginal = 7,
    /// TCP, FIN seen in the reply direction only.
    TcpFinReply = 8,
    /// TCP, FIN seen in both directions.
    TcpClosed = 9,
    /// TCP, RST seen.
    TcpReset = 10,
}

impl FlowState {
    /// How many states there are.
    pub const COUNT: usize = 11;
    /// All of them, by number.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Free,
        Self::UdpOneWay,
        Self::UdpTwoWay,
        Self::Icmp,
        Self::TcpOpening,
        Self::TcpAnswered,
        Self::TcpEstablished,
        Self::TcpFinOriginal,
        Self::TcpFinReply,
        Self::TcpClosed,
        Self::TcpReset,
    ];

    /// From the byte in the map; what is unknown is free.
    #[inline(always)]
    #[must_use]
    pub const fn from_byte(byte: u8) -> Self {
        match byte {
            1 => Self::UdpOneWay,
            2 => Self::UdpTwoWay,
            3 => Self::Icmp,
            4 => Self::TcpOpening,
            5 => Self::TcpAnswered,
            6 => Self::TcpEstablished,
            7 => Self::TcpFinOriginal,
            8 => Self::TcpFinReply,
            9 => Self::TcpClosed,
            10 => Self::TcpReset,
            _ => Self::Free,
        }
    }

    /// The name that users see.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::UdpOneWay => "one_way",
            Self::UdpTwoWay => "two_way",
            Self::Icmp => "echo",
            Self::TcpOpening => "opening",
            Self::TcpAnswered => "answered",
            Self::TcpEstablished => "established",
            Self::TcpFinOriginal | Self::TcpFinReply => "half_closed",
            Self::TcpClosed => "closed",
            Self::TcpReset => "reset",
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
    /// A [`FlowState`].
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
    /// When a packet last refreshed it: a [`moment`].
    pub last_seen: u32,
    /// When it was made: a [`moment`].
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

/// Addresses of a flow: source and destination as its opening packet arrived, then as it left. Of IPv6
/// four words each; of IPv4 one word each, and what is left are two [`Way`]s, by [`Direction`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod, Zeroable)]
pub struct Body {
    addresses: [u32; 4],
    rest: [[u32; WAY_WORDS]; 2],
}

const WAY_WORDS: usize = size_of::<Way>() / size_of::<u32>();

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
    /// Always zero.
    pub _zero: u8,
    /// ifindex of the interface that the packet arrived at: a managed one, of the right end.
    pub arrives_at: u32,
    /// The neighbour's address, read natively.
    pub next_hop: u32,
    /// The router's MAC address there, to which the packet was addressed.
    pub router_mac: [u8; 6],
    /// Always zero.
    pub _zero_behind: [u8; 2],
}

/// How much of a clock that counts nanoseconds is left out of a [`moment`]: it counts in steps of about
/// 17 ms.
pub const MOMENT_SHIFT: u32 = 24;

/// A time of `CLOCK_MONOTONIC` as flows have it. Two moments that are less than a year apart can be
/// compared.
#[inline(always)]
#[must_use]
pub const fn moment(ns: u64) -> u32 {
    (ns >> MOMENT_SHIFT) as u32
}

/// How long ago `then` was, in ns; 0 where it is yet to come, as where another clock is a little behind.
/// Up to a step too long or too short.
#[inline(always)]
#[must_use]
pub const fn ns_between(then: u32, now: u32) -> u64 {
    let steps = now.wrapping_sub(then);
    if steps as i32 <= 0 { 0 } else { (steps as u64) << MOMENT_SHIFT }
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
            self.set_words(0, &original.src);
            self.set_words(1, &original.dst);
            self.set_words(2, &translated.src);
            self.set_words(3, &translated.dst);
        } else {
            self.flags &= !Self::V6;
            self.body.addresses = [
                original.src.last_word(),
                original.dst.last_word(),
                translated.src.last_word(),
                translated.dst.last_word(),
            ];
            self.body.rest = [[0; WAY_WORDS]; 2];
        }
    }

    /// The four words of the `at`th IPv6 address.
    #[inline(always)]
    const fn words(&self, at: usize) -> [u32; 4] {
        let Body { addresses, rest: [a, b] } = &self.body;
        match at {
            0 => *addresses,
            1 => [a[0], a[1], a[2], a[3]],
            2 => [a[4], a[5], b[0], b[1]],
            _ => [b[2], b[3], b[4], b[5]],
        }
    }

    #[inline(always)]
    const fn set_words(&mut self, at: usize, address: &Address) {
        let words = address.words();
        let Body { addresses, rest: [a, b] } = &mut self.body;
        match at {
            0 => *addresses = words,
            1 => [a[0], a[1], a[2], a[3]] = words,
            2 => [a[4], a[5], b[0], b[1]] = words,
            _ => [b[2], b[3], b[4], b[5]] = words,
        }
    }

    #[inline(always)]
    const fn address(&self, at: usize) -> Address {
        if self.flags & Self::V6 == 0 {
            Address::v4_word(self.body.addresses[at])
        } else {
            Address::from_words(self.words(at))
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
        let [inner, server, outer, target] = self.body.addresses;
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
        let [original, reply] = &self.body.rest;
        bytemuck::cast_ref(match direction {
            Direction::Original => original,
            Direction::Reply => reply,
        })
    }

    /// The same, to be changed.
    #[inline(always)]
    #[must_use]
    pub fn way_mut(&mut self, direction: Direction) -> &mut Way {
        let [original, reply] = &mut self.body.rest;
        bytemuck::cast_mut(match direction {
            Direction::Original => original,
            Direction::Reply => reply,
        })
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

const _: () = assert!(size_of::<Tuple>() == 40);
const _: () = assert!(size_of::<TupleV4>() == 16);
const _: () = assert!(size_of::<IndexEntry>() == 8);
const _: () = assert!(size_of::<Way>() == 24);
const _: () = assert!(size_of::<Flow>() == 176);
