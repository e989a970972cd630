//! Tuples: what the flow of a packet is found by.

use bytemuck::{Pod, Zeroable};

use super::address::{Address, Family};

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

const _: () = assert!(size_of::<Tuple>() == 40);
const _: () = assert!(size_of::<TupleV4>() == 16);
