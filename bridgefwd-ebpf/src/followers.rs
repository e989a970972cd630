//! Later pieces of fragmented packets: they have no ports, so they follow their first piece, by the
//! packet's identification.

use bridgefwd_common::contract::{FRAGMENT_TIMEOUT_NS, Family, FragmentKey, FragmentOwner};
use bridgefwd_common::packet::ip::Ip;

use crate::flows::now_ns;
use crate::maps::FRAGMENTS;
use crate::scratch;

/// Pieces that arrive by an end.
pub const ARRIVING: u32 = 0;
/// Pieces that leave by an end.
pub const LEAVING: u32 = 1;

/// What the pieces of a packet have in common, where they are seen.
#[inline(always)]
pub fn key(ip: &Ip, end: u32, leaving: u32) -> FragmentKey {
    let protocol = match ip.family {
        Family::V4 => ip.protocol,
        Family::V6 => 0,
    };
    FragmentKey {
        src: ip.src,
        dst: ip.dst,
        id: ip.id,
        protocol,
        leaving: leaving as u8,
        _zero: [0; 2],
        end,
    }
}

/// Sets `original` in `SCRATCH` to the tuple of the first piece of the packet there; 1 if that is
/// known. Global to the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn find_first_piece(leaving: u32) -> u32 {
    let Some(scratch) = scratch::current() else { return 0 };
    let key = key(&scratch.packet.ip, scratch.from, leaving);
    // SAFETY: read at once.
    let Some(owner) = (unsafe { FRAGMENTS.get(key) }) else { return 0 };
    if now_ns().saturating_sub(owner.seen_ns) > FRAGMENT_TIMEOUT_NS {
        return 0;
    }
    scratch.original = owner.tuple;
    1
}

/// See [`find_first_piece`].
#[inline(always)]
pub fn find(leaving: u32) -> u32 {
    find_first_piece(leaving)
}

/// Notes that the first piece of the packet in `SCRATCH` has `original` there as its tuple. Global to
/// the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn note_first_piece(leaving: u32) -> u32 {
    let Some(scratch) = scratch::current() else { return 0 };
    let owner = FragmentOwner { tuple: scratch.original, seen_ns: now_ns() };
    u32::from(FRAGMENTS.insert(key(&scratch.packet.ip, scratch.from, leaving), owner, 0).is_ok())
}

/// See [`note_first_piece`].
#[inline(always)]
pub fn note_first(leaving: u32) {
    let _ = note_first_piece(leaving);
}
