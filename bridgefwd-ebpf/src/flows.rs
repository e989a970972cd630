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

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::generated::{bpf_get_prandom_u32, bpf_ktime_get_ns};
use bridgefwd_common::Reason;
use bridgefwd_common::contract::{
    Direction, Flow, FlowSide, FlowState, IndexEntry, SlotOwner, Tuple,
};
use bridgefwd_common::decide::nat;
use bridgefwd_common::decide::{established, tcp};

use crate::asm::atomic_add;
use crate::maps::{FLOW_INDEX, FLOWS, FREE_SLOTS, RELEASING, SETTINGS};
use crate::opening;
use crate::sweep;

/// Source ports are searched in blocks, so that the verifier checks one block once.
const PORTS_PER_BLOCK: u32 = 256;
/// Enough blocks for all of the 65,537 attempts that there can be.
const PORT_BLOCKS: u32 = 257;
/// How long a server without a free port is not searched again. A full search takes about a
/// millisecond, and whoever has used up all ports must not have one for each of its packets.
const EXHAUSTED_NS: u64 = 10_000_000;

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
pub fn create() -> Result<Tuple, Reason> {
    match make_flow() {
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
pub extern "C" fn make_flow() -> u32 {
    let Some(slot) = allocate() else { return TABLE_FULL };
    let outcome = match claim_tuple(slot) {
        true => publish(slot),
        false => NO_PORT_LEFT,
    };
    if outcome != MADE {
        // Never published: it goes back as it came.
        let _ = FREE_SLOTS.push(slot, 0);
    }
    outcome
}

/// Finds a source port whose reply tuple nobody has, and takes it.
#[inline(always)]
fn claim_tuple(slot: u32) -> bool {
    let (Some(opening), Some(flow)) = (opening::current(), FLOWS.get_ptr(slot)) else {
        return false;
    };
    // SAFETY: the slot is in our hands alone.
    let generation = unsafe { (*flow).generation }.wrapping_add(1);
    // 0 stands for "no flow".
    opening.generation = if generation == 0 { 1 } else { generation };
    let class = opening.ports.class();
    let server = nat::translated(opening.original, opening.source, class);
    let now = now_ns();
    if now < opening.exhausted_until_ns && opening.exhausted == server {
        return false;
    }
    let attempts = opening.ports.attempts();
    for block in 0..PORT_BLOCKS {
        let first = block * PORTS_PER_BLOCK;
        if first >= attempts {
            break;
        }
        let mut found = search_ports(slot, first);
        if found != TAKEN && found != NOTHING {
            release((found >> 32) as u32, found as u32);
            found = search_ports(slot, first);
        }
        if found == TAKEN {
            return true;
        }
    }
    opening.exhausted = server;
    opening.exhausted_until_ns = now + EXHAUSTED_NS;
    false
}

/// Answer of [`search_ports`] and [`try_port`]: the tuple is ours now.
const TAKEN: u64 = u64::MAX;
/// Neither taken nor to be had. Anything else is the slot (upper half) and the generation of a flow
/// that is over and has the port; no flow's generation is 0.
const NOTHING: u64 = 0;

/// Tries a block of source ports for the flow being made, from the `first` attempt on.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn search_ports(slot: u32, first: u32) -> u64 {
    for attempt in 0..PORTS_PER_BLOCK {
        let found = try_port(slot, first.wrapping_add(attempt));
        if found != NOTHING {
            return found;
        }
    }
    NOTHING
}

/// Tries the `attempt`th source port for the flow being made.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn try_port(slot: u32, attempt: u32) -> u64 {
    let (Some(opening), Some(settings)) = (opening::current(), SETTINGS.get(0)) else {
        return NOTHING;
    };
    let Some(port) = opening.ports.candidate(attempt) else { return NOTHING };
    let translated = nat::translated(opening.original, opening.source, port);
    let reply = translated.reversed();
    // Looked for before it is claimed: a look-up takes no lock.
    let Some(blocking) = find(&reply) else {
        let entry = IndexEntry::new(slot, Direction::Reply, opening.generation);
        if FLOW_INDEX.insert(reply, entry, u64::from(BPF_NOEXIST)).is_err() {
            return NOTHING;
        }
        opening.translated = translated;
        return TAKEN;
    };
    // SAFETY: array elements never move or go.
    let flow = unsafe { &*blocking.flow };
    let recyclable = tcp::is_recyclable(FlowState::from_byte(flow.state));
    if recyclable || established::is_over(flow.state, flow.last_seen_ns, now_ns(), settings) {
        u64::from(blocking.slot) << 32 | u64::from(flow.generation)
    } else {
        NOTHING
    }
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
