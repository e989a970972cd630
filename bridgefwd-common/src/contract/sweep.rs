//! What the sweep is to free: said by the frame that the daemon runs it on.

use bytemuck::{Pod, Zeroable};

use super::address::Address;

/// Behind the Ethernet header of that frame, which nobody sends. All zero: flows that are over.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod, Zeroable)]
pub struct SweepRequest {
    /// ifindex of the end behind which `address` was; 0 where flows are freed that are over.
    pub end: u32,
    /// Flows from it, and to it, are freed whatever their state: whoever had it is gone.
    pub address: Address,
}

impl SweepRequest {
    /// Where it stands in the frame, in bytes: aligned.
    pub const AT: usize = 16;
    /// Length of the frame in bytes.
    pub const FRAME_LEN: usize = 64;

    /// The frame to run the sweep on.
    #[must_use]
    pub fn frame(&self) -> [u8; Self::FRAME_LEN] {
        let mut frame = [0; Self::FRAME_LEN];
        let bytes = bytemuck::bytes_of(self);
        for (to, from) in frame.iter_mut().skip(Self::AT).zip(bytes) {
            *to = *from;
        }
        frame
    }
}
