//! The flow table: found by tuple, made once, released once.
//!
//! A flow is a slot of `FLOWS`; `FLOW_INDEX` leads to it from both directions. Invariants:
//!
//! - A slot is in `FREE_SLOTS`, or owned by one flow, or in the hands of one CPU.
//! - The index entry of the reply direction goes in first, with `BPF_NOEXIST`: it is what makes a
//!   translated tuple unique. That of the original direction goes in last and publishes the flow.
//! - Whoever releases a flow holds its slot in `RELEASING`: two CPUs never free the same one.
//! - Free slots queue up, so one that was freed is used again as late as possible; a packet that
//!   still holds it sees another generation.

use aya_ebpf::bindings::{__sk_buff, BPF_NOEXIST};
use aya_ebpf::helpers::generated::{bpf_get_prandom_u32, bpf_ktime_get_ns};
use aya_ebpf::programs::TcContext;
use bridgefwd_common::Reason;
use bridgefwd_common::contract::{
    Direction, Flow, FlowSide, FlowState, IndexEntry, SlotOwner, Tuple,
};

use crate::asm::atomic_add;
use crate::maps::{FLOW_INDEX, FLOWS, FREE_SLOTS, RELEASING};
use crate::opening;
use crate::{ports, sweep};

/// `CLOCK_MONOTONIC` in ns.
#[inline(always)]
pub fn now_ns() -> u64 {
    // SAFETY: takes nothing, always answers.
    unsafe { bpf_ktime_get_ns() }
}

/// A flow that a packet was found to belong to.
pub struct Found {
    /// Its slot.
    pub slot: u32,
    /// The slot's content.
    pub flow: *mut Flow,
    /// Which way the packet goes.
    pub direction: Direction,
}

/// The flow of packets with this tuple.
#[inline(always)]
pub fn find(tuple: &Tuple) -> Option<Found> {
    // SAFETY: copied out at once; an entry that is replaced meanwhile fails the generation check.
    let entry = *unsafe { FLOW_INDEX.get(tuple) }?;
    let flow = FLOWS.get_ptr_mut(entry.slot())?;
    // SAFETY: array elements never move or go.
    let generation = unsafe { (*flow).generation };
    if generation != entry.generation {
        return None;
    }
    Some(Found { slot: entry.slot(), flow, direction: entry.direction() })
}

/// Notes a packet of the flow: its state, its time, its counters.
#[inline(always)]
pub fn refresh(found: &Found, state: FlowState, now_ns: u64, bytes: u64) {
    // SAFETY: array elements never move or go. State and time are plain words of which the last
    // writer wins; the counters are added to atomically, both directions having their own.
    unsafe {
        let flow = found.flow;
        if (*flow).state != state as u8 {
            (*flow).state = state as u8;
        }
        (*flow).last_seen_ns = now_ns;
        let side = match found.direction {
            Direction::Original => &raw mut (*flow).sides[0],
            Direction::Reply => &raw mut (*flow).sides[1],
        };
        atomic_add(&raw mut (*side).packets, 1);
        atomic_add(&raw mut (*side).bytes, bytes);
    }
}

/// Makes the flow that this CPU's [`opening::Opening`] describes; the tuple that its packets leave with.
///
/// # Errors
/// [`Reason::TableFull`], [`Reason::NoPortLeft`]; [`Reason::FlowContended`] where another CPU was
/// first with the same flow.
#[inline(always)]
pub fn create(ctx: &TcContext) -> Result<Tuple, Reason> {
    match make_flow(ctx.skb.skb) {
        MADE => opening::current().map(|opening| opening.translated).ok_or(Reason::FlowContended),
        TABLE_FULL => Err(Reason::TableFull),
        NO_PORT_LEFT => Err(Reason::NoPortLeft),
        _ => Err(Reason::FlowContended),
    }
}

/// A random number for [`PortChoice::new`].
#[inline(always)]
pub fn random() -> u32 {
    // SAFETY: takes nothing, always answers.
    unsafe { bpf_get_prandom_u32() }
}

const MADE: u32 = 0;
const TABLE_FULL: u32 = 1;
const NO_PORT_LEFT: u32 = 2;
const CONTENDED: u32 = 3;

/// Makes the flow in `OPENING`. Global to the verifier, and out of the hot path's way.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn make_flow(skb: *mut __sk_buff) -> u32 {
    let Some(slot) = allocate() else { return TABLE_FULL };
    let outcome = match ports::claim_tuple(skb, slot) {
        true => publish(slot),
        false => NO_PORT_LEFT,
    };
    if outcome != MADE {
        // Never published: it goes back as it came.
        let _ = FREE_SLOTS.push(slot, 0);
    }
    outcome
}

/// Fills the slot and lets the original direction find it.
#[inline(always)]
fn publish(slot: u32) -> u32 {
    let (Some(opening), Some(flow)) = (opening::current(), FLOWS.get_ptr_mut(slot)) else {
        return CONTENDED;
    };
    let now = now_ns();
    // SAFETY: the slot is in our hands alone until the index entry below publishes it. An entry of
    // the reply direction exists already, but no packet can have been answered yet.
    let flow = unsafe { &mut *flow };
    flow.pair = opening.pair;
    flow.pair_generation = opening.pair_generation;
    flow.state = opening.state as u8;
    flow.nat = opening.nat;
    flow.original = opening.original;
    flow.translated = opening.translated;
    flow.from = opening.from;
    flow.to = opening.to;
    flow.created_ns = now;
    flow.last_seen_ns = now;
    flow.sides = [FlowSide { packets: 1, bytes: opening.bytes }, FlowSide::default()];
    // Last: until then the index entry of the reply direction finds another generation here.
    // SAFETY: a plain word of the slot.
    unsafe { (&raw mut flow.generation).write_volatile(opening.generation) };
    let entry = IndexEntry::new(slot, Direction::Original, opening.generation);
    if FLOW_INDEX.insert(opening.original, entry, u64::from(BPF_NOEXIST)).is_err() {
        // Still ours: it was not published.
        flow.state = FlowState::Free as u8;
        let _ = FLOW_INDEX.remove(opening.translated.reversed());
        return CONTENDED;
    }
    MADE
}

#[inline(always)]
fn allocate() -> Option<u32> {
    match FREE_SLOTS.pop() {
        Ok(Some(slot)) => Some(slot),
        _ => {
            sweep::under_pressure();
            FREE_SLOTS.pop().ok().flatten()
        }
    }
}

/// Frees the flow of that generation in `slot`, if it is still there.
///
/// A global function to the verifier: it is checked once, whatever calls it. 1 if it was.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn release(slot: u32, generation: u32) -> u32 {
    let Some(flow) = FLOWS.get_ptr_mut(slot) else { return 0 };
    if RELEASING.insert(slot, SlotOwner { generation }, u64::from(BPF_NOEXIST)).is_err() {
        return 0;
    }
    // SAFETY: array elements never move or go; while the slot is in RELEASING nobody else frees
    // it, so a flow that is there now stays until we are done.
    let flow = unsafe { &mut *flow };
    let ours = flow.state != FlowState::Free as u8 && flow.generation == generation;
    if ours {
        remove_entry(&flow.original, slot, generation);
        remove_entry(&flow.translated.reversed(), slot, generation);
        flow.state = FlowState::Free as u8;
    }
    let _ = RELEASING.remove(slot);
    if ours {
        let _ = FREE_SLOTS.push(slot, 0);
    }
    u32::from(ours)
}

/// Removes an index entry if it is this flow's.
#[inline(always)]
fn remove_entry(tuple: &Tuple, slot: u32, generation: u32) {
    // SAFETY: copied out at once. Only the releaser of this slot, which we are, removes it.
    let Some(entry) = (unsafe { FLOW_INDEX.get(tuple) }).copied() else { return };
    if entry.slot() == slot && entry.generation == generation {
        let _ = FLOW_INDEX.remove(tuple);
    }
}
