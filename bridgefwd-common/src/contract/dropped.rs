//! What the kernel itself drops: told by a program of its own, which runs for as long as somebody traces.

use bytemuck::{Pod, Zeroable};

/// Name of the program at the tracepoint `skb:kfree_skb`.
pub const DROPS_PROGRAM: &str = "bridgefwd_drops";
/// `RingBuf` of [`DropRecord`]s.
pub const MAP_DROPS: &str = "DROPS";
/// `Array<DropLayout>`, one element.
pub const MAP_DROP_LAYOUT: &str = "DROP_LAYOUT";
/// `HashMap<Address, u32>`: whose packets are told of.
pub const MAP_DROP_ADDRESSES: &str = "DROP_ADDRESSES";
/// How many bytes the ring of drops has.
pub const DROP_RING_BYTES: u32 = 1 << 18;
/// How many addresses can be asked for.
pub const MAX_DROP_ADDRESSES: u32 = 64;
/// How much of a packet goes with a record, in bytes, from the IP header on.
pub const DROP_HEADERS: usize = 96;

/// Where in the kernel's structures things are, in bytes, by its own type information.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod, Zeroable)]
pub struct DropLayout {
    /// `sk_buff.head`.
    pub head: u32,
    /// `sk_buff.network_header`.
    pub network_header: u32,
    /// `sk_buff.dev`.
    pub dev: u32,
    /// `net_device.ifindex`.
    pub ifindex: u32,
    /// `net_device.nd_net`, a pointer to a `struct net`.
    pub net: u32,
    /// `net.ns.inum`.
    pub inum: u32,
}

/// A packet that the kernel dropped.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq, Pod, Zeroable)]
pub struct DropRecord {
    /// `CLOCK_MONOTONIC`, ns.
    pub time_ns: u64,
    /// Where in the kernel: an address of its code.
    pub location: u64,
    /// `enum skb_drop_reason` of the running kernel.
    pub reason: u32,
    /// ifindex of the interface that the packet was at; 0 where that is not known.
    pub ifindex: u32,
    /// Inode number of that interface's network namespace, likewise.
    pub netns: u32,
    /// Always zero.
    pub _reserved: u32,
    /// How the packet begins, from the IP header on; what was behind its end may be anything.
    pub headers: [u8; DROP_HEADERS],
}

const _: () = assert!(size_of::<DropLayout>() == 24);
const _: () = assert!(size_of::<DropRecord>() == 32 + DROP_HEADERS);
