//! Counting: each packet under one reason, and redirected or refused ones under their pair.

use aya_ebpf::programs::TcContext;
use bridgefwd_common::contract::{Direction, PairCounters, SEEN};
use bridgefwd_common::{Reason, Verdict};

use crate::maps::{PAIR_COUNTERS, REASONS};

#[inline(always)]
fn add(index: u32, bytes: u64) {
    if let Some(counter) = REASONS.get_ptr_mut(index) {
        // SAFETY: this CPU's element of a preallocated array: it never moves, and nobody else
        // writes it while this program runs.
        unsafe { (*counter).add(bytes) };
    }
}

/// Counts a packet as seen. On entry, so that it is independent of the reason it ends under.
#[inline(always)]
pub fn seen(ctx: &TcContext) {
    add(SEEN, u64::from(ctx.len()));
}

/// Counts a packet under its reason.
#[inline(always)]
pub fn packet(ctx: &TcContext, reason: Reason) {
    add(reason as u32, u64::from(ctx.len()));
}

#[inline(always)]
fn pair(index: u32, edit: impl FnOnce(&mut PairCounters)) {
    if let Some(counters) = PAIR_COUNTERS.get_ptr_mut(index) {
        // SAFETY: as in `add`.
        edit(unsafe { &mut *counters });
    }
}

/// Counts a redirected packet under its pair.
#[inline(always)]
pub fn pair_forwarded(index: u32, direction: Direction, bytes: u64) {
    pair(index, |counters| match direction {
        Direction::Original => counters.original.add(bytes),
        Direction::Reply => counters.reply.add(bytes),
    });
}

/// Counts a new flow under its pair.
#[inline(always)]
pub fn pair_flow_created(index: u32) {
    pair(index, |counters| counters.flows_created = counters.flows_created.wrapping_add(1));
}

/// Counts a packet that this pair refused, if it did.
#[inline(always)]
pub fn pair_outcome(index: u32, reason: Reason, bytes: u64) {
    if matches!(reason.verdict(), Verdict::Drop) {
        pair(index, |counters| counters.refused.add(bytes));
    }
}
