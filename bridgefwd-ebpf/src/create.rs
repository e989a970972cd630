//! Makes flows.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::programs::TcContext;
use bridgefwd_common::Reason;
use bridgefwd_common::contract::{
    Direction, EVENT_OPENED, FlowSide, FlowState, IndexEntry, TcpSide,
};

use crate::flows::now;
use crate::maps::{FLOWS, FREE_SLOTS};
use crate::{connection, events, index, mapping, ports, scratch, sources, sweep};

/// Makes the flow that this CPU's [`scratch::Scratch`] describes; `translated` there is the tuple that
/// its packets leave with.
///
/// # Errors
/// [`Reason::TableFull`], [`Reason::SourceOverQuota`], [`Reason::NoPortLeft`];
/// [`Reason::FlowContended`] where another CPU was
/// first with the same flow.
#[inline(always)]
pub fn create(ctx: &TcContext) -> Result<(), Reason> {
    match make_flow(ctx.skb.skb) {
        MADE => Ok(()),
        TABLE_FULL => Err(Reason::TableFull),
        NO_PORT_LEFT => Err(Reason::NoPortLeft),
        OVER_QUOTA => Err(Reason::SourceOverQuota),
        _ => Err(Reason::FlowContended),
    }
}

const MADE: u32 = 0;
const TABLE_FULL: u32 = 1;
const NO_PORT_LEFT: u32 = 2;
const CONTENDED: u32 = 3;
const OVER_QUOTA: u32 = 4;

/// Makes the flow in `SCRATCH`. Global to the verifier, and out of the hot path's way.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn make_flow(skb: *mut __sk_buff) -> u32 {
    if sources::take_share() == 0 {
        return OVER_QUOTA;
    }
    let slot = allocate_slot();
    if slot == NO_SLOT {
        sources::give_back_share();
        return TABLE_FULL;
    }
    sources::begin_in(slot);
    let outcome = make_in(slot, skb);
    if outcome == MADE {
        events::flow(slot, EVENT_OPENED);
    } else {
        // Never published: it goes back as it came.
        sources::give_back_share();
        let _ = FREE_SLOTS.push(slot, 0);
    }
    outcome
}

/// Makes it in a slot of which nobody knows.
#[inline(always)]
fn make_in(slot: u32, skb: *mut __sk_buff) -> u32 {
    if mapping::begin_mapping() == 0 {
        return CONTENDED;
    }
    let outcome = if !ports::claim_tuple(skb, slot) {
        NO_PORT_LEFT
    } else if mapping::note_mapping() == 0 {
        TABLE_FULL
    } else {
        publish_flow(skb, slot)
    };
    mapping::end_mapping(u32::from(outcome == MADE));
    outcome
}

/// Fills the slot, whose state is still that of a free one, and lets the original direction find it.
/// Global to the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn publish_flow(skb: *mut __sk_buff, slot: u32) -> u32 {
    let (Some(opening), Some(flow)) = (scratch::current(), FLOWS.get_ptr_mut(slot)) else {
        return CONTENDED;
    };
    let now = now();
    // SAFETY: the slot is in our hands alone until the index entry below publishes it. An entry of
    // the reply direction exists already, but no packet can have been answered yet.
    let flow = unsafe { &mut *flow };
    // A late packet of the flow before may have left its state here.
    flow.state = FlowState::Free as u8;
    flow.pair = opening.pair;
    flow.pair_generation = opening.pair_generation;
    flow.nat = opening.nat;
    flow.flags = opening.flow_flags;
    flow.source_port = opening.port;
    flow.set_tuples(&opening.original, &opening.translated);
    flow.from = opening.from;
    flow.to = opening.to;
    flow.mapped_to = opening.towards;
    flow.created = now;
    flow.last_seen = now;
    flow.sides = [FlowSide { packets: 1, bytes: opening.bytes }, FlowSide::default()];
    flow.tcp = [TcpSide::default(); 2];
    if matches!(opening.state, FlowState::TcpOpening) {
        connection::begin(&TcContext::new(skb), opening, flow);
    }
    // Behind the rest: until then the index entry of the reply direction finds another generation.
    // SAFETY: a plain word of the slot.
    unsafe { (&raw mut flow.generation).write_volatile(opening.generation) };
    let entry = IndexEntry::new(slot, Direction::Original, opening.generation);
    if !index::claim(&opening.original, entry) {
        // Still ours: it was not published.
        index::remove(&opening.translated.reversed());
        return CONTENDED;
    }
    // Last: until then the slot is free to whoever looks for flows that are over, and nobody releases
    // what is only half there.
    // SAFETY: a plain byte of the slot.
    unsafe { (&raw mut flow.state).write_volatile(opening.state as u8) };
    MADE
}

/// Answer of [`allocate_slot`]: no slot is free. Tables are smaller.
const NO_SLOT: u32 = u32::MAX;

/// Takes a free slot. Global to the verifier, which follows what comes after it once and not for each
/// end of the search.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn allocate_slot() -> u32 {
    if let Ok(Some(slot)) = FREE_SLOTS.pop() {
        return slot;
    }
    sweep::under_pressure();
    FREE_SLOTS.pop().ok().flatten().unwrap_or(NO_SLOT)
}
