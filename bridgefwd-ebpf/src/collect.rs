//! Holds the pieces of a fragmented packet until all of them are there, then puts them back where they
//! came in, in order. So a packet goes on whole or not at all, in whatever order its pieces come, as
//! where the kernel reassembles before it translates; and the receiver gets the pieces that were sent.

use aya_ebpf::bindings::{__sk_buff, BPF_F_INGRESS};
use aya_ebpf::helpers::generated::{
    bpf_get_prandom_u32, bpf_skb_change_tail, bpf_skb_load_bytes, bpf_skb_store_bytes,
};
use aya_ebpf::programs::TcContext;
use bridgefwd_common::Reason;
use bridgefwd_common::contract::{FRAGMENT_TIMEOUT_NS, Family};
use bridgefwd_common::decide::reassembly::{self, MAX_PIECES, Outcome, Piece};
use bridgefwd_common::packet::ip::Ip;
use network_types::eth::EthHdr;

use crate::asm::opaque;
use crate::flows::now_ns;
use crate::scratch::{self, Scratch};
use crate::waiting::{self, MAX_FRAME, SMALL_FRAME};
use crate::{followers, marks};

/// Takes the piece in `SCRATCH`; what it is counted under. It is gone then, if only for now.
#[inline(always)]
pub fn take(ctx: &TcContext) -> Reason {
    let Some(scratch) = scratch::current() else { return Reason::NotManaged };
    scratch.fragment_key = followers::key(&scratch.packet.ip, scratch.from, followers::ARRIVING);
    if !waiting::lock(&scratch.fragment_key) {
        return Reason::FlowContended;
    }
    let reason = match take_piece(ctx.skb.skb) {
        HELD => Reason::FragmentHeld,
        COMPLETE if put_back(ctx.skb.skb) == 1 => Reason::FragmentHeld,
        COMPLETE => Reason::WriteFailed,
        _ => scratch.refused,
    };
    waiting::unlock(&scratch.fragment_key);
    reason
}

const HELD: u32 = 0;
const COMPLETE: u32 = 1;
const REFUSED: u32 = 2;

/// Notes and keeps the piece in `SCRATCH`. Global to the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn take_piece(skb: *mut __sk_buff) -> u32 {
    let Some(scratch) = scratch::current() else { return REFUSED };
    match note(&TcContext::new(skb), scratch) {
        Ok(true) => COMPLETE,
        Ok(false) => HELD,
        Err(reason) => {
            scratch.refused = reason;
            REFUSED
        }
    }
}

#[inline(always)]
fn note(ctx: &TcContext, scratch: &mut Scratch) -> Result<bool, Reason> {
    let ip = &scratch.packet.ip;
    let len = EthHdr::LEN as u32 + u32::from(ip.header_len) + ip.payload_len;
    let place = waiting::take_place(scratch, len).ok_or(Reason::FragmentsFull)?;
    // SAFETY: takes nothing, always answers.
    let tag = unsafe { bpf_get_prandom_u32() } & 0xffff;
    scratch.piece = piece(ip, place | tag << 16);
    let outcome = add_piece();
    if outcome == Outcome::Held as u32 || outcome == Outcome::Complete as u32 {
        if keep(ctx.skb.skb, place, tag, len) == 0 {
            waiting::forget(&scratch.fragment_key);
            return Err(Reason::FragmentsFull);
        }
        return Ok(outcome == Outcome::Complete as u32);
    }
    if outcome >= Outcome::Overlap as u32 {
        // All of it is nothing now.
        waiting::forget(&scratch.fragment_key);
    }
    Err(match outcome {
        outcome if outcome == Outcome::Duplicate as u32 => Reason::FragmentRepeated,
        outcome if outcome == Outcome::Overlap as u32 => Reason::FragmentOverlap,
        outcome if outcome == Outcome::TooMany as u32 => Reason::FragmentsFull,
        _ => Reason::FragmentMalformed,
    })
}

#[inline(always)]
fn piece(ip: &Ip, slot: u32) -> Piece {
    Piece {
        offset: u32::from(ip.fragment_offset),
        length: ip.payload_len,
        header_length: u32::from(ip.header_len),
        ipv6: matches!(ip.family, Family::V6),
        more: ip.more_fragments,
        dont_fragment: ip.dont_fragment && matches!(ip.family, Family::V4),
        ecn: ip.tos & 3,
        slot,
    }
}

/// Adds `piece` in `SCRATCH` to its datagram: an [`Outcome`]. Global to the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn add_piece() -> u32 {
    let Some(scratch) = scratch::current() else { return Outcome::Malformed as u32 };
    let Some(waiting) = waiting::datagram(&scratch.fragment_key) else {
        return Outcome::TooMany as u32;
    };
    let outcome = reassembly::examine(&mut waiting.datagram, &scratch.piece);
    if matches!(outcome, Outcome::Held) { hold_piece() } else { outcome as u32 }
}

/// Holds `piece` in `SCRATCH`, which fits: an [`Outcome`]. Global to the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn hold_piece() -> u32 {
    let Some(scratch) = scratch::current() else { return Outcome::Malformed as u32 };
    let Some(waiting) = waiting::datagram(&scratch.fragment_key) else {
        return Outcome::TooMany as u32;
    };
    reassembly::hold(&mut waiting.datagram, &scratch.piece) as u32
}

/// A length that is neither 0 nor more than `max`. The verifier learns bounds from this comparison; that
/// something is not 0 old ones forget.
#[inline(always)]
fn within(len: u32, max: usize) -> Option<u32> {
    let before_last = opaque(u64::from(len.wrapping_sub(1)));
    if before_last < max as u64 { Some((before_last as u32).wrapping_add(1)) } else { None }
}

/// Copies the frame, `len` bytes of it, to its place; 1 where it is done. Global to the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn keep(skb: *mut __sk_buff, place: u32, tag: u32, len: u32) -> u32 {
    let until_ns = now_ns() + FRAGMENT_TIMEOUT_NS;
    if waiting::is_small(place) {
        let Some(entry) = waiting::small(place) else { return 0 };
        let Some(len) = within(len, SMALL_FRAME) else { return 0 };
        // SAFETY: an array element, which never moves or goes; the length was checked.
        unsafe {
            (*entry).until_ns = until_ns;
            (*entry).tag = tag;
            (*entry).len = len;
            let to = (&raw mut (*entry).frame).cast();
            u32::from(bpf_skb_load_bytes(skb.cast(), 0, to, len) == 0)
        }
    } else {
        let Some(entry) = waiting::large(place) else { return 0 };
        let Some(len) = within(len, MAX_FRAME) else { return 0 };
        // SAFETY: as above.
        unsafe {
            (*entry).until_ns = until_ns;
            (*entry).tag = tag;
            (*entry).len = len;
            let to = (&raw mut (*entry).frame).cast();
            u32::from(bpf_skb_load_bytes(skb.cast(), 0, to, len) == 0)
        }
    }
}

/// Puts all pieces of the datagram in `SCRATCH` back on the interface that they came in by, in order; 1
/// where that was done. Global to the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn put_back(skb: *mut __sk_buff) -> u32 {
    // SAFETY: the kernel hands a valid __sk_buff to the program for as long as it runs.
    let len = unsafe { (*skb).len };
    let mut offset = 0;
    for _ in 0..MAX_PIECES {
        let length = put_back_piece(skb, offset);
        if length == 0 {
            break;
        }
        offset += length;
    }
    // What is counted is the piece that came, not the one that was put back last.
    // SAFETY: as above.
    unsafe { bpf_skb_change_tail(skb, len, 0) };
    let Some(scratch) = scratch::current() else { return 0 };
    let all = waiting::datagram(&scratch.fragment_key)
        .is_some_and(|waiting| reassembly::total_length(&waiting.datagram) == offset);
    waiting::forget(&scratch.fragment_key);
    u32::from(all)
}

/// Puts the piece that begins at `offset` back; the length of what it carries, 0 where there is none.
/// Global to the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn put_back_piece(skb: *mut __sk_buff, offset: u32) -> u32 {
    let held = find_piece(offset);
    let (slot, length) = (held as u32, (held >> 32) as u32);
    if length == 0 {
        return 0;
    }
    let (place, tag) = (slot & 0xffff, slot >> 16);
    let written = if waiting::is_small(place) {
        write_small(skb, place, tag)
    } else {
        write_large(skb, place, tag)
    };
    if written == 0 {
        return 0;
    }
    let ctx = TcContext::new(skb);
    marks::set(&ctx, marks::COLLECTED);
    // SAFETY: the kernel hands a valid __sk_buff to the program for as long as it runs.
    let ifindex = unsafe { (*skb).ifindex };
    match ctx.clone_redirect(ifindex, u64::from(BPF_F_INGRESS)) {
        Ok(()) => length,
        Err(_) => 0,
    }
}

/// Slot and, in the upper half, length of the piece that begins at `offset`. Global to the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn find_piece(offset: u32) -> u64 {
    let Some(scratch) = scratch::current() else { return 0 };
    let Some(waiting) = waiting::datagram(&scratch.fragment_key) else { return 0 };
    let held = reassembly::starting_at(&waiting.datagram, offset);
    u64::from(held.length) << 32 | u64::from(held.slot)
}

/// Makes the packet the frame in a place, which is free then; 1 where it is done. Global to the
/// verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn write_small(skb: *mut __sk_buff, place: u32, tag: u32) -> u32 {
    let Some(entry) = waiting::small(place) else { return 0 };
    // SAFETY: an array element, which never moves or goes.
    let entry = unsafe { &mut *entry };
    if entry.tag != tag {
        return 0;
    }
    let Some(len) = within(entry.len, SMALL_FRAME) else { return 0 };
    entry.until_ns = 0;
    // SAFETY: the context is valid, and so are `len` bytes of the frame.
    unsafe {
        u32::from(
            bpf_skb_change_tail(skb, len, 0) == 0
                && bpf_skb_store_bytes(skb, 0, entry.frame.as_ptr().cast(), len, 0) == 0,
        )
    }
}

/// The same of a large one. Global to the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn write_large(skb: *mut __sk_buff, place: u32, tag: u32) -> u32 {
    let Some(entry) = waiting::large(place) else { return 0 };
    // SAFETY: as in `write_small`.
    let entry = unsafe { &mut *entry };
    if entry.tag != tag {
        return 0;
    }
    let Some(len) = within(entry.len, MAX_FRAME) else { return 0 };
    entry.until_ns = 0;
    // SAFETY: as in `write_small`.
    unsafe {
        u32::from(
            bpf_skb_change_tail(skb, len, 0) == 0
                && bpf_skb_store_bytes(skb, 0, entry.frame.as_ptr().cast(), len, 0) == 0,
        )
    }
}
