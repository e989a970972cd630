//! Frees the slots of flows that are over: a few at a time, from where the last search ended.
//!
//! The daemon asks for it every now and then; where the table is full, new flows do it themselves,
//! so that nothing wedges while the daemon is away.

use bridgefwd_common::contract::FlowState;
use bridgefwd_common::decide::{established, tcp};

use crate::flows::{self, now_ns};
use crate::maps::{FLOWS, SETTINGS, SWEEP_CURSOR};
use crate::pairs;

/// Slots looked at in one run by the daemon.
const ON_REQUEST: u32 = 256;
/// Slots looked at by a packet that finds none free.
const UNDER_PRESSURE: u32 = 32;

/// Looks at the next slots and frees what is over; how many it freed.
#[inline(always)]
pub fn on_request() -> u32 {
    sweep::<ON_REQUEST>(false)
}

/// Looks at a few slots and frees what is over, connections that are closed but still waiting
/// included.
#[inline(always)]
pub fn under_pressure() -> u32 {
    sweep::<UNDER_PRESSURE>(true)
}

#[inline(always)]
fn sweep<const SLOTS: u32>(closed_too: bool) -> u32 {
    let (Some(cursor), Some(settings)) = (SWEEP_CURSOR.get_ptr_mut(0), SETTINGS.get(0)) else {
        return 0;
    };
    // SAFETY: this CPU's element of a preallocated array.
    let mut slot = unsafe { *cursor };
    let mut freed = 0;
    for _ in 0..SLOTS {
        if slot >= settings.max_flows {
            slot = 0;
        }
        let generation = over_in_slot(slot, u32::from(closed_too));
        if generation != 0 {
            freed += flows::release(slot, generation);
        }
        slot = slot.wrapping_add(1);
    }
    // SAFETY: as above.
    unsafe { *cursor = slot };
    freed
}

/// The generation of the flow in `slot` if it is over, else 0, which is no flow's. Global to the
/// verifier: checked once, not once a turn of the loop.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn over_in_slot(slot: u32, closed_too: u32) -> u32 {
    let (Some(flow), Some(settings)) = (FLOWS.get_ptr(slot), SETTINGS.get(0)) else { return 0 };
    // SAFETY: array elements never move or go; a flow that changes hands meanwhile has another
    // generation, which `release` checks.
    let flow = unsafe { &*flow };
    if flow.state == FlowState::Free as u8 {
        return 0;
    }
    let cut = pairs::rule(flow.pair).generation != flow.pair_generation;
    let recyclable = cut || tcp::is_recyclable(FlowState::from_byte(flow.state));
    // A flow that was cut refuses its packets for as long as a closed one waits, no longer.
    let state = if cut { FlowState::TcpClosed as u8 } else { flow.state };
    if (closed_too != 0 && recyclable)
        || established::is_over(state, flow.last_seen_ns, now_ns(), settings)
    {
        flow.generation
    } else {
        0
    }
}
