//! What is kept of each side of a TCP connection, and the arithmetic of its numbers.

pub use crate::contract::TcpSide;
use crate::packet::transport::TcpFlags;

/// [`TcpSegment::scale`] of a segment without a window scale option.
pub const NO_SCALE: u8 = 0xff;

/// How far back an acknowledgment may always lie, in bytes: more than a window without scaling.
pub(super) const ACK_SLACK: u32 = 66_000;
/// The largest shift (RFC 7323, section 2.3).
const MAX_SCALE: u8 = 14;

/// What counts of a segment; all in host order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TcpSegment {
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number; of no meaning without the ACK flag.
    pub ack: u32,
    /// Bytes after the TCP header; of all segments of a GSO packet together.
    pub payload_len: u32,
    /// The window field as it stands in the header.
    pub window: u16,
    /// Flags.
    pub flags: TcpFlags,
    /// Shift of the window scale option, or [`NO_SCALE`]. Only looked at in a SYN.
    pub scale: u8,
}

impl TcpSegment {
    /// The number after the last one that it takes up; SYN and FIN take up one each.
    #[inline(always)]
    pub(super) const fn end(&self) -> u32 {
        let fin = (self.flags.0 & TcpFlags::FIN) as u32;
        let syn = ((self.flags.0 & TcpFlags::SYN) >> 1) as u32;
        self.seq.wrapping_add(self.payload_len).wrapping_add(fin).wrapping_add(syn)
    }
}

impl TcpSide {
    pub(super) const SCALE: u16 = 0x000f;
    /// It has been seen sending.
    pub(super) const KNOWN: u16 = 0x0010;
    /// Its handshake was not seen, or not for sure: what does not fit is forwarded.
    pub(super) const LIBERAL: u16 = 0x0020;
    /// Its SYN had a window scale option.
    pub(super) const OFFERED: u16 = 0x0040;
    /// It opened without having seen the other side's SYN (simultaneous open).
    pub(super) const SIMULTANEOUS: u16 = 0x0080;
    /// Its last segment was a SYN that does not belong to what is known: the other side knows
    /// better what to make of it.
    pub(super) const SYN_PENDING: u16 = 0x0100;
    /// Not yet known, it has answered a SYN with an acknowledgment of `next`.
    pub(super) const CHALLENGED: u16 = 0x0200;
    /// It has acknowledged after both had sent FIN.
    pub(super) const LAST_ACK: u16 = 0x0400;

    #[inline(always)]
    pub(super) const fn has(&self, flag: u16) -> bool {
        self.bits & flag != 0
    }

    /// The largest window that it has offered, in bytes; less than 2^30.
    #[inline(always)]
    pub(super) const fn window_bytes(&self) -> u32 {
        (self.window as u32) << (self.bits & Self::SCALE)
    }

    /// As its SYN says; the window of a SYN is never scaled.
    #[inline(always)]
    pub(super) fn from_syn(segment: &TcpSegment) -> Self {
        let end = segment.end();
        let (scale, offered) = match segment.scale {
            NO_SCALE => (0, 0),
            shift => (u16::from(shift.min(MAX_SCALE)), Self::OFFERED),
        };
        let mut side =
            Self { next: end, edge: end, window: 0, bits: Self::KNOWN | offered | scale };
        side.widen(u32::from(segment.window).max(1));
        side
    }

    /// Seen in full course: `edge` is how far it may send, as far as one can tell.
    #[inline(always)]
    pub(super) const fn from_course(next: u32, edge: u32, window: u16) -> Self {
        let bits = Self::KNOWN | Self::LIBERAL | MAX_SCALE as u16;
        Self { next, edge, window, bits }
    }

    /// Its window is `bytes` larger than known.
    #[inline(always)]
    pub(super) fn widen(&mut self, bytes: u32) {
        let shift = self.bits & Self::SCALE;
        let units = bytes.wrapping_add((1 << shift) - 1) >> shift;
        self.window = (u32::from(self.window).wrapping_add(units)).min(0xffff) as u16;
    }

    /// Its windows are not scaled after all.
    #[inline(always)]
    pub(super) fn unscale(&mut self) {
        self.window = self.window_bytes().min(0xffff) as u16;
        self.bits &= !Self::SCALE;
    }
}

/// `side` may send `bytes` from `ack` on, and always one: to probe.
#[inline(always)]
pub(super) fn permit(ack: u32, bytes: u32, side: &mut TcpSide) {
    let edge = ack.wrapping_add(bytes.max(1));
    if is_after(edge, side.edge) {
        side.edge = edge;
    }
}

/// The first segment seen of a side, in full course. Nobody knows how its window is scaled.
#[inline(always)]
pub(super) fn adopt(segment: &TcpSegment, mine: &mut TcpSide, theirs: &mut TcpSide) {
    let end = segment.end();
    let bytes = u32::from(segment.window.max(1)) << MAX_SCALE;
    *mine = TcpSide::from_course(end, end.wrapping_add(bytes), segment.window.max(1));
    if theirs.has(TcpSide::KNOWN) {
        permit(segment.ack, bytes, theirs);
    } else {
        (theirs.next, theirs.edge) = (segment.ack, segment.ack.wrapping_add(bytes));
    }
}

/// Could the receiver still be waiting for what ends here?
#[inline(always)]
pub(super) const fn is_recent(end: u32, mine: &TcpSide, theirs: &TcpSide) -> bool {
    // Before the receiver has said how much it takes, anything may be.
    theirs.window == 0 || !is_after(mine.next.wrapping_sub(theirs.window_bytes()), end)
}

/// Could the sender of this acknowledgment still have it outstanding?
#[inline(always)]
pub(super) const fn is_recent_ack(ack: u32, mine: &TcpSide, theirs: &TcpSide) -> bool {
    let window = mine.window_bytes();
    let back = if window > ACK_SLACK { window } else { ACK_SLACK };
    !is_after(theirs.next.wrapping_sub(back), ack)
}

/// Is `a` after `b`, in the arithmetic of sequence numbers?
#[inline(always)]
pub(super) const fn is_after(a: u32, b: u32) -> bool {
    (b.wrapping_sub(a) as i32) < 0
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;

    use super::*;

    #[test]
    fn windows_grow_no_further_than_their_field() {
        let mut side = TcpSide { window: 0xfffe, bits: TcpSide::KNOWN | 3, ..TcpSide::zeroed() };
        side.widen(1);
        assert_eq!(side.window, 0xffff);
        side.widen(u32::MAX - 7);
        assert_eq!(side.window, 0xffff);
        side.unscale();
        assert_eq!((side.window, side.bits), (0xffff, TcpSide::KNOWN));
    }

    #[test]
    fn order_wraps_around() {
        assert!(is_after(1, 0) && is_after(0, u32::MAX) && is_after(0x7fff_ffff, 0));
        assert!(!is_after(0, 0) && !is_after(u32::MAX, 0));
    }
}
