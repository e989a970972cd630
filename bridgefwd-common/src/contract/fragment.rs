//! Fragmented packets: what their pieces have in common, and which flow they belong to.

use bytemuck::{Pod, Zeroable};

use super::address::Address;
use super::tuple::Tuple;

/// Key of `FRAGMENTS`: what the pieces of one packet have in common (RFC 791, section 3.2; RFC 8200,
/// section 4.5), and where they are seen.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Pod, Zeroable)]
pub struct FragmentKey {
    /// Source address as seen there.
    pub src: Address,
    /// Destination address as seen there.
    pub dst: Address,
    /// Identification, wire order; of IPv4 the first two bytes.
    pub id: [u8; 4],
    /// IP protocol number; of IPv6 0, where it is no part of the key.
    pub protocol: u8,
    /// 1 for pieces that leave, 0 for those that arrive.
    pub leaving: u8,
    /// Always zero.
    pub _zero: [u8; 2],
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

const _: () = assert!(size_of::<FragmentKey>() == 44);
const _: () = assert!(size_of::<FragmentOwner>() == 48);
