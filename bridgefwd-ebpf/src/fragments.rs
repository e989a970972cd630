//! Pieces of fragmented packets: the first one has the ports and finds the flow, the later ones
//! follow it by the packet's identification.

use bridgefwd_common::contract::{FRAGMENT_TIMEOUT_NS, FragmentKey, FragmentOwner, Tuple};
use bridgefwd_common::packet::headers::{Ipv4, Segment, Transport};

use crate::flows::now_ns;
use crate::maps::FRAGMENTS;
use crate::scratch;

#[inline(always)]
fn key(ip: &Ipv4, end: u32) -> FragmentKey {
    FragmentKey { src: ip.src, dst: ip.dst, id: ip.id, protocol: ip.protocol, _zero: 0, end }
}

/// What a later piece goes by: the tuple of its first piece, if that has been forwarded.
#[inline(always)]
pub fn follow() -> Option<&'static Segment> {
    if follow_fragment() == 0 { None } else { scratch::current().map(|opening| &opening.followed) }
}

/// The same for the packet in `SCRATCH`; 1 if its first piece is known. Global to the verifier: out
/// of the hot path's way.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn follow_fragment() -> u32 {
    let Some(opening) = scratch::current() else { return 0 };
    let key = key(&opening.packet.ip, opening.from);
    // SAFETY: copied out at once.
    let Some(owner) = (unsafe { FRAGMENTS.get(key) }).copied() else { return 0 };
    if now_ns().saturating_sub(owner.seen_ns) > FRAGMENT_TIMEOUT_NS {
        return 0;
    }
    opening.followed =
        Segment { tuple: owner.tuple, transport: Transport::Fragment, ..Segment::default() };
    1
}

/// Notes that the first piece of a packet was forwarded by this tuple.
#[inline(always)]
pub fn note_first(tuple: &Tuple) {
    if let Some(opening) = scratch::current() {
        opening.original = *tuple;
        note_first_fragment();
    }
}

/// The same for the packet in `SCRATCH`. Global to the verifier: out of the hot path's way.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn note_first_fragment() -> u32 {
    let Some(opening) = scratch::current() else { return 0 };
    let owner = FragmentOwner { tuple: opening.original, seen_ns: now_ns() };
    u32::from(FRAGMENTS.insert(key(&opening.packet.ip, opening.from), owner, 0).is_ok())
}
