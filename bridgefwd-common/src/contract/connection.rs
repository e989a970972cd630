//! What is kept of a TCP connection beside its state.

use bytemuck::{Pod, Zeroable};

/// What is known of one side of a connection. All zero: nothing yet.
///
/// In the course of a connection, `next` and `window` are written for segments of this side and
/// `edge` for those of the other, so that two CPUs with a direction each do not undo each other's
/// work.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod, Zeroable)]
pub struct TcpSide {
    /// The number after the highest one that it has sent.
    pub next: u32,
    /// The highest number that it may send: the highest of acknowledgment plus window seen of the
    /// other side.
    pub edge: u32,
    /// The largest window that it has offered, in units of its scale, rounded up.
    pub window: u16,
    /// The shift of its windows in bits 0 to 3, and the flags.
    pub bits: u16,
}

const _: () = assert!(size_of::<TcpSide>() == 12);
