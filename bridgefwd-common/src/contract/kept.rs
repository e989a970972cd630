//! What tells whether that which flows keep of the kernel's routing still holds.

use bytemuck::{Pod, Zeroable};

/// The one element of `KEPT`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod, Zeroable)]
pub struct Kept {
    /// Goes up when something changes that the kernel's own number says nothing about.
    pub epoch: u64,
    /// Where in the kernel's memory that number is, or 0 where it is not known: then nothing is kept.
    pub generation_at: u64,
    /// Offset in `struct sk_buff` of its device.
    pub device_in_buffer: u32,
    /// Offset in `struct net_device` of its network namespace.
    pub net_in_device: u32,
    /// Offset in `struct net` of the number of its IPv4 routing (`rt_genid`).
    pub generation_in_net: u32,
    /// Always zero.
    pub _zero: u32,
}

/// [`Way::epoch`](super::Way::epoch) of a way that was not kept.
pub const NOTHING_KEPT: u32 = 0;

const _: () = assert!(size_of::<Kept>() == 32);
