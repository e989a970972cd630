//! Flows: the state of each conversation, and the index by which its packets find it.

use bytemuck::{Pod, Zeroable};

/// Addresses and ports of a packet, all in wire order: the key of `FLOW_INDEX`.
///
/// An ICMP echo carries its identifier as `src_port` in a request and as `dst_port` in a reply, the
/// other being zero; so the tuple of an answer is always [`Tuple::reversed`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Pod, Zeroable)]
pub struct Tuple {
    /// Source address.
    pub src: [u8; 4],
    /// Destination address.
    pub dst: [u8; 4],
    /// Source port, or the identifier of an echo request.
    pub src_port: [u8; 2],
    /// Destination port, or the identifier of an echo reply.
    pub dst_port: [u8; 2],
    /// IP protocol number.
    pub protocol: u8,
    /// Always zero.
    pub _zero: [u8; 3],
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
            _zero: [0; 3],
        }
    }

    /// The identifier of an ICMP echo: it stands in one of the ports, the other being zero.
    #[inline(always)]
    #[must_use]
    pub const fn echo_id(&self) -> [u8; 2] {
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

/// Value of `FLOW_INDEX`: which slot of `FLOWS`, and which direction of it.
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
    /// ICMP echo.
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
    /// Always zero.
    pub _zero: [u8; 2],
    /// As the opening packet arrived.
    pub original: Tuple,
    /// As it left: what the answering side sees.
    pub translated: Tuple,
    /// ifindex of the end by which packets of the original direction arrive, and replies leave.
    pub from: u32,
    /// ifindex of the end by which replies arrive, and the original direction leaves.
    pub to: u32,
    /// When it was made: `CLOCK_MONOTONIC`, ns.
    pub created_ns: u64,
    /// When a packet last refreshed it: `CLOCK_MONOTONIC`, ns.
    pub last_seen_ns: u64,
    /// By [`Direction`].
    pub sides: [FlowSide; 2],
}

impl Flow {
    /// The tuple that packets of `direction` have on arrival.
    #[inline(always)]
    #[must_use]
    pub const fn arriving(&self, direction: Direction) -> Tuple {
        match direction {
            Direction::Original => self.original,
            Direction::Reply => self.translated.reversed(),
        }
    }

    /// The tuple that packets of `direction` have when they leave.
    #[inline(always)]
    #[must_use]
    pub const fn leaving(&self, direction: Direction) -> Tuple {
        match direction {
            Direction::Original => self.translated,
            Direction::Reply => self.original.reversed(),
        }
    }
}

/// Key of `FRAGMENTS`: what the pieces of one packet have in common (RFC 791, section 3.2), and the
/// end that they come in by.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Pod, Zeroable)]
pub struct FragmentKey {
    /// Source address on arrival, wire order.
    pub src: [u8; 4],
    /// Destination address on arrival, wire order.
    pub dst: [u8; 4],
    /// Identification, wire order.
    pub id: [u8; 2],
    /// IP protocol number.
    pub protocol: u8,
    /// Always zero.
    pub _zero: u8,
    /// ifindex of the end.
    pub end: u32,
}

/// Value of `FRAGMENTS`: the flow that the first piece belonged to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod, Zeroable)]
pub struct FragmentOwner {
    /// The tuple by which the first piece found its flow.
    pub tuple: Tuple,
    /// When the first piece was seen: `CLOCK_MONOTONIC`, ns.
    pub seen_ns: u64,
}

/// How long the pieces of one packet may take: the kernel's `ipfrag_time`, ns.
pub const FRAGMENT_TIMEOUT_NS: u64 = 30_000_000_000;

/// Value of `RELEASING`: which flow of a slot is being released. The key is the slot.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod, Zeroable)]
pub struct SlotOwner {
    /// [`Flow::generation`].
    pub generation: u32,
}

const _: () = assert!(size_of::<Tuple>() == 16);
const _: () = assert!(size_of::<IndexEntry>() == 8);
const _: () = assert!(size_of::<Flow>() == 104);
const _: () = assert!(size_of::<FragmentKey>() == 16);
const _: () = assert!(size_of::<FragmentOwner>() == 24);
