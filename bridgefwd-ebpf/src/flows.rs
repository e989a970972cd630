//! The flow table: found by tuple, made once, released once.
//!
//! A flow is a slot of `FLOWS`; the index leads to it from both directions. Invariants:
//!
//! - A slot is in `FREE_SLOTS`, or owned by one flow, or in the hands of one CPU.
//! - The index entry of the reply direction goes in first, with `BPF_NOEXIST`: it is what makes a
//!   translated tuple unique. That of the original direction goes in last and publishes the flow.
//! - Whoever releases a flow holds its slot in `RELEASING`: two CPUs never free the same one.
//! - Free slots queue up, so one that was freed is used again as late as possible; a packet that
//!   still holds it sees another generation.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::generated::{bpf_ktime_get_coarse_ns, bpf_ktime_get_ns};
use bridgefwd_common::contract::{
    Direction, EVENT_CLOSED, Flow, FlowState, IndexEntry, SlotOwner, Tuple, moment,
};

use crate::asm::atomic_add;
use crate::maps::{FLOWS, FREE_SLOTS, RELEASING};
use crate::{events, index, mapping, sources};

/// `CLOCK_MONOTONIC` in ns.
#[inline(always)]
pub fn now_ns() -> u64 {
    // SAFETY: takes nothing, always answers.
    unsafe { bpf_ktime_get_ns() }
}

/// 1 where the kernel has the coarse clock, which is a look at its memory: set when the program is loaded.
#[unsafe(no_mangle)]
static HAS_COARSE_CLOCK: u8 = 0;

/// The [`moment`] that it is now, by a clock that may be a few milliseconds behind.
#[inline(always)]
pub fn now() -> u32 {
    // SAFETY: a plain byte, that is set before the program is loaded.
    if unsafe { (&raw const HAS_COARSE_CLOCK).read_volatile() } == 0 {
        return moment(now_ns());
    }
    // SAFETY: takes nothing, always answers.
    moment(unsafe { bpf_ktime_get_coarse_ns() })
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
    found(index::get(tuple)?)
}

/// The same, where the family is known when the program is compiled.
#[inline(always)]
pub fn find_in<const V6: bool>(tuple: &Tuple) -> Option<Found> {
    found(if V6 { index::get_v6(tuple) } else { index::get_v4(tuple) }?)
}

/// The flow that an entry of the index leads to.
#[inline(always)]
pub fn found(entry: IndexEntry) -> Option<Found> {
    let flow = FLOWS.get_ptr_mut(entry.slot())?;
    // SAFETY: array elements never move or go.
    let generation = unsafe { (*flow).generation };
    if generation != entry.generation {
        return None;
    }
    Some(Found { slot: entry.slot(), flow, direction: entry.direction() })
}

/// Notes a packet of the flow: its state and its time, if it says anything about them, and its
/// counters.
#[inline(always)]
pub fn refresh(found: &Found, state: Option<FlowState>, now: u32, bytes: u64) {
    // SAFETY: array elements never move or go. State and time are plain words of which the last
    // writer wins; the counters are added to atomically, both directions having their own.
    unsafe {
        let flow = found.flow;
        if let Some(state) = state {
            if (*flow).state != state as u8 {
                (*flow).state = state as u8;
            }
            if (*flow).last_seen != now {
                (*flow).last_seen = now;
            }
        }
        let side = match found.direction {
            Direction::Original => &raw mut (*flow).sides[0],
            Direction::Reply => &raw mut (*flow).sides[1],
        };
        atomic_add(&raw mut (*side).packets, 1);
        atomic_add(&raw mut (*side).bytes, bytes);
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
    // The steps are functions of their own, so that their stacks do not add up.
    let ours = flow.state != FlowState::Free as u8
        && flow.generation == generation
        // One that was released already, and into whose slot a late packet wrote its state, is found
        // by nothing: its slot is in FREE_SLOTS, and must not get there twice.
        && is_indexed(slot, generation) == 1
        // What cannot be given back now is kept: whoever finds the flow next tries again.
        && (flow.flags & Flow::MAPPED == 0 || mapping::give_back_mapping(slot) == 1);
    if ours {
        remove_entry(slot, generation, 0);
        remove_entry(slot, generation, 1);
        give_back_share_of(slot);
        events::flow(slot, EVENT_CLOSED);
        flow.state = FlowState::Free as u8;
    }
    let _ = RELEASING.remove(slot);
    if ours {
        let _ = FREE_SLOTS.push(slot, 0);
    }
    u32::from(ours)
}

/// 1 if the index leads to the flow of that generation in `slot`. Global to the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn is_indexed(slot: u32, generation: u32) -> u32 {
    let Some(flow) = FLOWS.get_ptr(slot) else { return 0 };
    // SAFETY: array elements never move or go; its slot is in RELEASING.
    let flow = unsafe { &*flow };
    let entry = index::get(&flow.translated().reversed());
    u32::from(entry.is_some_and(|entry| entry.slot() == slot && entry.generation == generation))
}

/// Removes the index entry of one direction of the flow in `slot`, of the original one or, where
/// `reply` is not 0, the other, if it is this flow's. Global to the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn remove_entry(slot: u32, generation: u32, reply: u32) -> u32 {
    let Some(flow) = FLOWS.get_ptr(slot) else { return 0 };
    // SAFETY: array elements never move or go; its slot is in RELEASING.
    let flow = unsafe { &*flow };
    let tuple = if reply == 0 { flow.original() } else { flow.translated().reversed() };
    // Only the releaser of this slot, which we are, removes it.
    let Some(entry) = index::get(&tuple) else { return 0 };
    if entry.slot() == slot && entry.generation == generation {
        index::remove(&tuple);
    }
    1
}

/// Gives back the share that the flow in `slot` has. Global to the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn give_back_share_of(slot: u32) -> u32 {
    let Some(flow) = FLOWS.get_ptr(slot) else { return 0 };
    // SAFETY: array elements never move or go; its slot is in RELEASING.
    sources::give_back(unsafe { &*flow });
    1
}
