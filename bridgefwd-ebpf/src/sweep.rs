//! Frees the slots of flows that are over: a few at a time, from where the last search ended.
//!
//! The daemon asks for it every now and then; where the table is full, new flows do it themselves,
//! so that nothing wedges while the daemon is away.

use aya_ebpf::programs::TcContext;
use bridgefwd_common::contract::{Flow, FlowState, NatMode, SourceKey, SweepRequest};
use bridgefwd_common::decide::{established, mapping, tcp};

use crate::flows::{self, now};
use crate::maps::{FLOWS, INTERFACES, SETTINGS, SWEEP_CURSOR};
use crate::{pairs, scratch};

/// Slots looked at in one run by the daemon.
const ON_REQUEST: u32 = 256;
/// Slots looked at by a packet that finds none free.
const UNDER_PRESSURE: u32 = 32;
/// Slots looked at by a packet whose source has had its share: so many blocks of so many.
const BLOCKS_AMONG_SOURCE: u32 = 8;
/// See [`BLOCKS_AMONG_SOURCE`].
const BLOCK_AMONG_SOURCE: u32 = 128;

/// Free what is over.
const EXPIRED: u32 = 0;
/// And connections that are closed but still waiting.
const CLOSED_TOO: u32 = 1;
/// The same, of the source in `SCRATCH` alone.
const OF_SOURCE: u32 = 2;
/// Whatever leads to or from the address in `SCRATCH`, behind the end there.
const OF_ADDRESS: u32 = 3;

/// Looks at the next slots and frees what is over, or what the request asks for; how many it freed.
#[inline(always)]
pub fn on_request(ctx: &TcContext) -> u32 {
    let mut what = EXPIRED;
    if let Ok(request) = ctx.load::<SweepRequest>(SweepRequest::AT)
        && request.end != 0
    {
        let Some(scratch) = scratch::current() else { return 0 };
        (scratch.from, scratch.source) = (request.end, request.address);
        what = OF_ADDRESS;
    }
    sweep::<ON_REQUEST>(what)
}

/// Looks at a few slots and frees what is over, connections that are closed but still waiting
/// included.
#[inline(always)]
pub fn under_pressure() -> u32 {
    sweep::<UNDER_PRESSURE>(CLOSED_TOO)
}

/// Looks at some slots, from `search_from` on, and frees what is over, or closed, of the source in
/// `SCRATCH`; until it has found one.
#[inline(always)]
pub fn among_source(search_from: &mut u32) -> u32 {
    for _ in 0..BLOCKS_AMONG_SOURCE {
        let answer = sweep_block(*search_from);
        *search_from = answer as u32;
        if answer >> 32 != 0 {
            return 1;
        }
    }
    0
}

/// Looks at a block of slots for it, from `slot` on: where the search goes on, and in the upper half 1
/// where one was freed. Global to the verifier: checked once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sweep_block(slot: u32) -> u64 {
    let mut slot = slot;
    for _ in 0..BLOCK_AMONG_SOURCE {
        let answer = sweep_slot(slot, OF_SOURCE);
        if answer >> 32 != 0 {
            return answer;
        }
        slot = answer as u32;
    }
    u64::from(slot)
}

/// Frees the flow in `slot` if it is over: the next slot, and in the upper half 1 where it was. Global
/// to the verifier, to which all turns of a loop of it are alike: it follows one of them.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sweep_slot(slot: u32, what: u32) -> u64 {
    let Some(settings) = SETTINGS.get(0) else { return 0 };
    let slot = if slot < settings.max_flows { slot } else { 0 };
    let generation = over_in_slot(slot, what);
    let freed = if generation == 0 { 0 } else { flows::release(slot, generation) };
    u64::from(freed) << 32 | u64::from(slot.wrapping_add(1))
}

#[inline(always)]
fn sweep<const SLOTS: u32>(what: u32) -> u32 {
    let Some(cursor) = SWEEP_CURSOR.get_ptr_mut(0) else { return 0 };
    // SAFETY: this CPU's element of a preallocated array.
    let mut slot = unsafe { *cursor };
    let mut freed = 0;
    for _ in 0..SLOTS {
        let answer = sweep_slot(slot, what);
        slot = answer as u32;
        freed += (answer >> 32) as u32;
    }
    // SAFETY: as above.
    unsafe { *cursor = slot };
    freed
}

/// Is the flow masqueraded to an address that its way out has no more? The kernel forgets such
/// connections too (`masq_inet_event`).
#[inline(always)]
fn lost_its_address(flow: &Flow) -> bool {
    if flow.nat != NatMode::Masquerade as u8 || !flow.translates() {
        return false;
    }
    let has_mapping = flow.flags & Flow::MAPPED != 0;
    let towards = if has_mapping { flow.mapped_to } else { flow.to };
    // SAFETY: an entry is replaced as a whole; one that is removed meanwhile stays readable until
    // this program ends.
    let Some(target) = (unsafe { INTERFACES.get(towards) }) else { return false };
    !mapping::has_address(target, &flow.translated().src)
}

/// Is it a flow of the source in `SCRATCH`?
#[inline(always)]
fn is_of_source(flow: &Flow) -> bool {
    scratch::current().is_some_and(|scratch| {
        SourceKey::new(flow.original().src, flow.source_port)
            == SourceKey::new(scratch.original.src, scratch.port)
    })
}

/// Is it a flow of whoever has, or had, the address in `SCRATCH`, behind the end there?
#[inline(always)]
fn is_of_address(flow: &Flow) -> bool {
    scratch::current().is_some_and(|scratch| {
        let original = flow.original();
        flow.from == scratch.from && original.src == scratch.source
            || flow.to == scratch.from && original.dst == scratch.source
    })
}

/// The generation of the flow in `slot` if it is over, else 0, which is no flow's. Global to the
/// verifier: checked once, not once a turn of the loop.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn over_in_slot(slot: u32, what: u32) -> u32 {
    let (Some(flow), Some(settings)) = (FLOWS.get_ptr(slot), SETTINGS.get(0)) else { return 0 };
    // SAFETY: array elements never move or go; a flow that changes hands meanwhile has another
    // generation, which `release` checks.
    let flow = unsafe { &*flow };
    if flow.state == FlowState::Free as u8 || what == OF_SOURCE && !is_of_source(flow) {
        return 0;
    }
    if what == OF_ADDRESS {
        return if is_of_address(flow) { flow.generation } else { 0 };
    }
    let cut =
        flow.from != Flow::FROM_HOST && pairs::rule(flow.pair).generation != flow.pair_generation;
    let recyclable = cut || tcp::is_recyclable(FlowState::from_byte(flow.state));
    // A flow that was cut refuses its packets for as long as a closed one waits, no longer.
    let state = if cut { FlowState::TcpClosed as u8 } else { flow.state };
    if lost_its_address(flow) {
        return flow.generation;
    }
    if (what != EXPIRED && recyclable)
        || established::is_over(state, flow.last_seen, now(), settings)
    {
        flow.generation
    } else {
        0
    }
}
