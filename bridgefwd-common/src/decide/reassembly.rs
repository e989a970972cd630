//! Which pieces of a fragmented datagram are there: held back until all of them are.
//!
//! The rules are those by which the kernel reassembles before it tracks connections, which differ
//! between IPv4 (`ip_frag_queue`) and IPv6 (`nf_ct_frag6_queue`) in what they make of nonsense: the
//! whole datagram is discarded, or just the piece. An overlap always discards (RFC 5722). A piece
//! that lies wholly within what came in one go before is a duplicate and changes nothing.
//!
//! Pieces are kept as they come. Sorting them would make the verifier follow every place that one
//! might be moved to; once they are complete, each begins where the one before it ends, and
//! [`starting_at`] finds it. Every loop is bounded by [`MAX_PIECES`].

use bytemuck::{Pod, Zeroable};

/// How many pieces a datagram may come in. The kernel has no limit of its own but its memory; one
/// more piece than this discards the datagram. 64 of 1 KiB are the largest datagram there is.
pub const MAX_PIECES: usize = 64;

const _: () = assert!(MAX_PIECES.is_power_of_two() && MAX_PIECES <= u8::MAX as usize);

/// The largest value of the length field of either header, bytes.
const MAX_LENGTH: u32 = 65_535;
/// What an IPv6 piece has before its payload and the whole datagram's length field does not count:
/// the fixed header and the fragment header, bytes.
const IPV6_NOT_COUNTED: u32 = 40 + 8;

/// A piece as it arrives; host order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Piece {
    /// Where its payload belongs, bytes; a multiple of 8 and less than 65 536.
    pub offset: u32,
    /// Length of its payload, bytes: what comes after the IPv4 header, or after the fragment header.
    pub length: u32,
    /// All that its packet has before that, from the IP header on, bytes.
    pub header_length: u32,
    /// Is it IPv6?
    pub ipv6: bool,
    /// Do more follow?
    pub more: bool,
    /// Does it carry IPv4's don't-fragment flag?
    pub dont_fragment: bool,
    /// Its ECN field: the lower 2 bits of the type of service.
    pub ecn: u8,
    /// Where the caller has put it: handed back by [`starting_at`].
    pub slot: u32,
}

/// A piece that is held.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod, Zeroable)]
pub struct Held {
    /// Where the caller has put it.
    pub slot: u32,
    /// Bytes; less than the piece had, where the kernel cuts it. 0: there is no such piece.
    pub length: u16,
    /// Where it belongs, in units of 8 bytes.
    place: u16,
    /// Where those begin that came in one go up to this one, in units of 8 bytes.
    run: u16,
    /// Always zero.
    _zero: u16,
}

impl Held {
    /// Where it belongs, bytes.
    #[inline(always)]
    #[must_use]
    pub const fn offset(&self) -> u32 {
        (self.place as u32) << 3
    }

    #[inline(always)]
    const fn end(&self) -> u32 {
        self.offset().wrapping_add(self.length as u32)
    }
}

/// A datagram of which not all pieces are there. All zero: of which none is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq, Pod, Zeroable)]
pub struct Datagram {
    /// As they came; the first `count` are in use.
    pieces: [Held; MAX_PIECES],
    /// Where the furthest piece seen ends, bytes: the length of the payload, once the last one is
    /// known.
    total: u32,
    /// Bytes held.
    received: u32,
    /// The largest packet that a piece of it came in, bytes from the IP header on: what the kernel
    /// cuts the datagram into again.
    pub largest: u32,
    /// The same of those with don't-fragment. Where both are the same, the kernel sets the flag in
    /// what it sends on.
    pub largest_unfragmentable: u32,
    /// [`Piece::header_length`] of the first piece.
    pub header_length: u16,
    /// How many pieces are held.
    pub count: u8,
    flags: u8,
    /// Where the piece ends that reaches furthest, bytes.
    furthest: u32,
    /// [`Held::run`] of that piece.
    run: u16,
    /// The ECN fields seen: bit n for the value n.
    ecn: u8,
    /// Always zero.
    _zero: u8,
}

const _: () = assert!(size_of::<Held>() == 12);
const _: () = assert!(size_of::<Datagram>() == 796);

const FIRST_IN: u8 = 1;
const LAST_IN: u8 = 2;
const BOTH_IN: u8 = FIRST_IN | LAST_IN;

/// What becomes of a piece.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Outcome {
    /// It is held, and more are missing.
    Held = 0,
    /// It was the last one missing: all of them go on, by [`starting_at`].
    Complete = 1,
    /// Nothing new: the piece is dropped, the datagram stays.
    Duplicate = 2,
    /// It does not fit to the others, or is nothing: the piece is dropped, the datagram stays.
    Refused = 3,
    /// It covers what is there already, and more: the datagram is discarded with it.
    Overlap = 4,
    /// It contradicts the others, or is nothing, or all of them together would be too long or
    /// contradict each other in ECN: the datagram is discarded with it.
    Malformed = 5,
    /// More than [`MAX_PIECES`]: the datagram is discarded with it.
    TooMany = 6,
}

impl Outcome {
    /// Is the datagram to be forgotten, and are its slots free? Later pieces begin it anew.
    #[inline(always)]
    #[must_use]
    pub const fn discards(self) -> bool {
        matches!(self, Self::Overlap | Self::Malformed | Self::TooMany)
    }

    /// Does the piece's slot stay in use?
    #[inline(always)]
    #[must_use]
    pub const fn holds(self) -> bool {
        matches!(self, Self::Held | Self::Complete)
    }
}

/// Adds a piece to its datagram.
#[inline(always)]
pub fn add(datagram: &mut Datagram, piece: &Piece) -> Outcome {
    match examine(datagram, piece) {
        Outcome::Held => hold(datagram, piece),
        refused => refused,
    }
}

/// Does the piece fit? [`Outcome::Held`] where [`hold`] may keep it.
///
/// The two are steps of their own for the verifiers of kernels before 6.8, which lose the bounds of
/// how many pieces there are on the way from the search among them to the place behind the last.
#[inline(always)]
pub fn examine(datagram: &mut Datagram, piece: &Piece) -> Outcome {
    let nonsense = if piece.ipv6 { Outcome::Refused } else { Outcome::Malformed };
    let untrimmed = (piece.offset & 0xfff8).wrapping_add(piece.length & 0xffff);
    if piece.ipv6 && untrimmed > MAX_LENGTH {
        return Outcome::Refused;
    }
    if piece.ipv6 && piece.more && untrimmed & 7 != 0 {
        return Outcome::Malformed;
    }
    let (offset, end) = extent(piece);
    if piece.more {
        if end > datagram.total {
            if datagram.flags & LAST_IN != 0 {
                return nonsense;
            }
            datagram.total = end;
        }
    } else {
        if end < datagram.total || (datagram.flags & LAST_IN != 0 && end != datagram.total) {
            return nonsense;
        }
        datagram.flags |= LAST_IN;
        datagram.total = end;
    }
    if end == offset {
        return nonsense;
    }
    among(datagram, offset, end)
}

/// Keeps a piece that [`examine`] has let through.
#[inline(always)]
pub fn hold(datagram: &mut Datagram, piece: &Piece) -> Outcome {
    let (offset, end) = extent(piece);
    if !insert(datagram, offset, end, piece.slot) {
        return Outcome::TooMany;
    }
    note(datagram, piece, offset, end.wrapping_sub(offset));
    if datagram.flags != BOTH_IN || datagram.received != datagram.total {
        return Outcome::Held;
    }
    let not_counted = if piece.ipv6 { IPV6_NOT_COUNTED } else { 0 };
    let length =
        datagram.total.wrapping_add(u32::from(datagram.header_length)).wrapping_sub(not_counted);
    if length > MAX_LENGTH || contradicts_in_ecn(datagram.ecn) {
        return Outcome::Malformed;
    }
    Outcome::Complete
}

/// Where a piece begins and ends, bytes: one that more follow ends at a multiple of 8.
#[inline(always)]
const fn extent(piece: &Piece) -> (u32, u32) {
    let offset = piece.offset & 0xfff8;
    let end = offset.wrapping_add(piece.length & 0xffff);
    (offset, if piece.more { end & !7 } else { end })
}

/// Is there nothing in the place of a piece?
#[inline(always)]
fn among(datagram: &Datagram, offset: u32, end: u32) -> Outcome {
    let count = usize::from(datagram.count);
    let mut touches = false;
    for (index, held) in datagram.pieces.iter().enumerate() {
        if index >= count {
            break;
        }
        let (start, furthest) = (held.offset(), held.end());
        if offset >= furthest || end <= u32::from(held.run) << 3 {
            continue;
        }
        if end <= furthest && u32::from(held.run) << 3 <= offset {
            return Outcome::Duplicate;
        }
        touches |= start < end;
    }
    if touches { Outcome::Overlap } else { Outcome::Held }
}

/// Keeps a piece behind the others; `false` where there is no room for it.
#[inline(always)]
fn insert(datagram: &mut Datagram, offset: u32, end: u32, slot: u32) -> bool {
    let count = usize::from(datagram.count);
    if count >= MAX_PIECES {
        return false;
    }
    let place = (offset >> 3) as u16;
    if end > datagram.furthest {
        // The kernel takes pieces together only where one comes after the last of them.
        if offset != datagram.furthest || count == 0 {
            datagram.run = place;
        }
        datagram.furthest = end;
    }
    let run = if end == datagram.furthest { datagram.run } else { place };
    let length = end.wrapping_sub(offset) as u16;
    datagram.pieces[count & (MAX_PIECES - 1)] = Held { slot, length, place, run, _zero: 0 };
    datagram.count = datagram.count.wrapping_add(1);
    true
}

/// Takes note of what the whole datagram needs to know of a piece.
#[inline(always)]
fn note(datagram: &mut Datagram, piece: &Piece, offset: u32, length: u32) {
    datagram.received = datagram.received.wrapping_add(length);
    datagram.ecn |= 1 << (piece.ecn & 3);
    if offset == 0 {
        datagram.flags |= FIRST_IN;
        datagram.header_length = piece.header_length as u16;
    }
    let packet = piece.header_length.wrapping_add(length);
    datagram.largest = datagram.largest.max(packet);
    if piece.dont_fragment {
        datagram.largest_unfragmentable = datagram.largest_unfragmentable.max(packet);
    }
}

/// Some are of a transport with ECN and some are not (RFC 3168, section 5.3)?
#[inline(always)]
const fn contradicts_in_ecn(seen: u8) -> bool {
    seen & 1 != 0 && seen != 1
}

/// Was congestion met by some of the pieces, so that the whole has to carry it in its ECN field?
#[inline(always)]
#[must_use]
pub const fn met_congestion(datagram: &Datagram) -> bool {
    datagram.ecn & 0b1000 != 0
}

/// The piece that begins at `offset` bytes; of length 0 if there is none. From 0 on, each one's
/// length leads to the next, up to [`total_length`].
#[inline(always)]
#[must_use]
pub fn starting_at(datagram: &Datagram, offset: u32) -> Held {
    for (index, held) in datagram.pieces.iter().enumerate() {
        if index >= usize::from(datagram.count) {
            break;
        }
        if held.offset() == offset {
            return *held;
        }
    }
    Held::zeroed()
}

/// Length of the payload that all the pieces make, bytes; final once the last one is known.
#[inline(always)]
#[must_use]
pub const fn total_length(datagram: &Datagram) -> u32 {
    datagram.total
}

#[cfg(test)]
#[path = "reassembly_tests.rs"]
mod tests;
