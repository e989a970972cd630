//! Endpoint-independent mappings: found or made for a new flow, given back by one that is over.
//!
//! Invariants:
//!
//! - What concerns one inner endpoint, its entry of `MAPPINGS` and the one of `MAPPED` that leads back
//!   to it, is changed only by whoever holds its lock. So the count of flows in it is right.
//! - The entry of `MAPPED` goes in first, with `BPF_NOEXIST`: it is what makes an outer endpoint one
//!   inner endpoint's. An entry of `MAPPED` to which none of `MAPPINGS` leads while nobody holds the
//!   lock of its inner endpoint is left over, and whoever wants it removes it.
//! - A lock is never waited for without end. Who does not get it makes no flow, or does not release
//!   one now: either is tried again, and nothing is left half done.

use aya_ebpf::bindings::BPF_NOEXIST;
use bridgefwd_common::contract::{Endpoint, Flow, Mapping, NatMode, SlotOwner};
use bridgefwd_common::decide::mapping;
use bridgefwd_common::decide::nat::PortChoice;

use crate::flows::now_ns;
use crate::index;
use crate::maps::{FLOWS, INTERFACES, MAPPED, MAPPINGS, RELEASING};
use crate::scratch::{self, Scratch};

/// In [`Scratch::mapping`]: the new flow has none.
pub const NONE: u8 = 0;
/// It has one that is yet to be made: any outer port will do.
pub const NEW: u8 = 1;
/// It has one, and is counted in it.
pub const HELD: u8 = 2;

/// How often a lock that somebody holds is tried: some microseconds, several times as long as one is
/// mostly held.
const PATIENCE: u32 = 64;
/// Whose lock is older than this, in units of 2^20 ns, could not take it off again.
const BROKEN_AFTER: u32 = 4096;

/// Takes the lock of that key; 0 where somebody has it. Global to the verifier, as is what follows.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn lock_mapping(key: u32, attempts: u32) -> u32 {
    let generation = (now_ns() >> 20) as u32;
    for attempt in 0..PATIENCE {
        if attempt >= attempts {
            break;
        }
        if RELEASING.insert(key, SlotOwner { generation }, u64::from(BPF_NOEXIST)).is_ok() {
            return 1;
        }
    }
    // SAFETY: copied out at once.
    let since = unsafe { RELEASING.get(key) }.copied();
    if since.is_some_and(|since| generation.wrapping_sub(since.generation) > BROKEN_AFTER) {
        // Whoever comes next gets it.
        let _ = RELEASING.remove(key);
    }
    0
}

fn unlock(key: u32) {
    let _ = RELEASING.remove(key);
}

/// Finds out which mapping the flow in `SCRATCH` has, and keeps it from changing until
/// [`end_mapping`]; 0 where another CPU is changing it. From then on `source` and `ports` there are
/// those of the mapping.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn begin_mapping() -> u32 {
    let Some(opening) = scratch::current() else { return 0 };
    opening.mapping = NONE;
    opening.held = 0;
    if opening.flow_flags & Flow::MAPPED == 0 {
        return 1;
    }
    opening.inner = Endpoint::inner(&opening.original, opening.towards);
    let key = mapping::lock_key(&opening.inner);
    if lock_mapping(key, PATIENCE) == 0 {
        return 0;
    }
    opening.held = key;
    opening.mapping = NEW;
    join(opening);
    1
}

/// Joins the mapping that there is, if it is still good; else removes it.
#[inline(always)]
fn join(opening: &mut Scratch) {
    let inner = opening.inner;
    let Some(found) = MAPPINGS.get_ptr_mut(inner) else { return };
    // SAFETY: we hold the lock, so it stays, and is ours alone to change.
    let found = unsafe { &mut *found };
    let outer = found.outer(&inner);
    if is_good(opening, found) && owns(opening, &outer, found.generation) {
        found.flows += 1;
        found.from = opening.from;
        opening.source = found.address;
        opening.ports = PortChoice::only(u16::from_be_bytes(found.port));
        opening.mapping = HELD;
    } else {
        // Flows that are counted in it are cut, or have lost their address.
        forget(&outer, &inner);
        let _ = MAPPINGS.remove(inner);
    }
}

/// Is it of the pair as it is now, with an address that the end still has?
#[inline(always)]
fn is_good(opening: &Scratch, found: &Mapping) -> bool {
    if found.generation != opening.pair_generation {
        return false;
    }
    if opening.nat != NatMode::Masquerade as u8 {
        return true;
    }
    // SAFETY: an entry is replaced as a whole; one that is removed meanwhile stays readable until
    // this program ends.
    unsafe { INTERFACES.get(opening.towards) }
        .is_some_and(|end| mapping::has_address(end, &found.address))
}

/// Does the outer endpoint belong to the flow's inner one, now at the latest?
#[inline(always)]
fn owns(opening: &Scratch, outer: &Endpoint, generation: u32) -> bool {
    if let Some(mapped) = MAPPED.get_ptr_mut(outer) {
        // SAFETY: the kernel keeps a map's value readable while the program runs; it is plain words,
        // and changed only by who holds the lock of the inner endpoint in it.
        let mapped = unsafe { &mut *mapped };
        if mapped.inner(outer) != opening.inner {
            return false;
        }
        mapped.from = opening.from;
        return true;
    }
    claim(opening, outer, generation)
}

#[inline(always)]
fn claim(opening: &Scratch, outer: &Endpoint, generation: u32) -> bool {
    let inner = &opening.inner;
    let entry = Mapping {
        address: inner.address,
        port: inner.port,
        _zero: [0; 2],
        from: opening.from,
        to: inner.to,
        generation,
        flows: 0,
    };
    MAPPED.insert(outer, entry, u64::from(BPF_NOEXIST)).is_ok()
}

/// May the flow in `SCRATCH` have the source that `translated` there has? It may not where that is
/// another's outer endpoint.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn outer_is_free() -> u32 {
    let Some(opening) = scratch::current() else { return 0 };
    let outer = Endpoint::outer(&opening.translated);
    // SAFETY: copied out at once.
    let Some(mapped) = unsafe { MAPPED.get(outer) }.copied() else { return 1 };
    let inner = mapped.inner(&outer);
    if is_mapped(&inner, &outer) {
        return 0;
    }
    // Left over, or its owner is at it at this very moment.
    let key = mapping::lock_key(&inner);
    if key != opening.held && lock_mapping(key, 1) == 0 {
        return 0;
    }
    // Looked at again: it may have changed before we had the lock.
    let left_over = !is_mapped(&inner, &outer);
    if left_over {
        forget(&outer, &inner);
    }
    if key != opening.held {
        unlock(key);
    }
    u32::from(left_over)
}

/// Does the mapping of an inner endpoint lead to this outer one?
#[inline(always)]
fn is_mapped(inner: &Endpoint, outer: &Endpoint) -> bool {
    // SAFETY: read at once; where it is replaced meanwhile, the answer is the old one or the new one.
    unsafe { MAPPINGS.get(inner) }.is_some_and(|found| found.flows > 0 && found.leads_to(outer))
}

/// Removes the outer endpoint of an inner one whose lock we hold.
#[inline(always)]
fn forget(outer: &Endpoint, inner: &Endpoint) {
    // SAFETY: read at once.
    if unsafe { MAPPED.get(outer) }.is_some_and(|mapped| mapped.inner(outer) == *inner) {
        let _ = MAPPED.remove(outer);
    }
}

/// Makes the source of `translated` in `SCRATCH` the outer endpoint of the flow that is to have a new
/// mapping; 0 where somebody has it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn claim_outer() -> u32 {
    let Some(opening) = scratch::current() else { return 0 };
    let outer = Endpoint::outer(&opening.translated);
    u32::from(claim(opening, &outer, opening.pair_generation))
}

/// Undoes [`claim_outer`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn give_back_outer() -> u32 {
    let Some(opening) = scratch::current() else { return 0 };
    forget(&Endpoint::outer(&opening.translated), &opening.inner);
    1
}

/// Notes the new mapping of the flow in `SCRATCH`, which has its tuple; 0, and the tuple is free
/// again, where there is no room for it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn note_mapping() -> u32 {
    let Some(opening) = scratch::current() else { return 0 };
    if opening.mapping != NEW {
        return 1;
    }
    let outer = Endpoint::outer(&opening.translated);
    let entry = Mapping {
        address: outer.address,
        port: outer.port,
        _zero: [0; 2],
        from: opening.from,
        to: opening.towards,
        generation: opening.pair_generation,
        flows: 1,
    };
    if MAPPINGS.insert(opening.inner, entry, 0).is_err() {
        forget(&outer, &opening.inner);
        index::remove(&opening.translated.reversed());
        return 0;
    }
    opening.mapping = HELD;
    1
}

/// Ends what [`begin_mapping`] has begun; where no flow was made of it, it is counted out again.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn end_mapping(made: u32) -> u32 {
    let Some(opening) = scratch::current() else { return 0 };
    if opening.held == 0 {
        return 0;
    }
    if made == 0
        && opening.mapping == HELD
        && let Some(found) = MAPPINGS.get_ptr_mut(opening.inner)
    {
        // SAFETY: we hold the lock, so it stays, and is ours alone to change.
        let found = unsafe { &mut *found };
        opening.freed_outer = found.outer(&opening.inner);
        count_out(&opening.inner, &opening.freed_outer, found);
    }
    unlock(opening.held);
    opening.held = 0;
    1
}

/// Gives back the mapping of the flow in `slot`, which is being released; 0 where another CPU is
/// changing it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn give_back_mapping(slot: u32) -> u32 {
    let (Some(flow), Some(scratch)) = (FLOWS.get_ptr(slot), scratch::current()) else { return 0 };
    // SAFETY: array elements never move or go; it is ours to release.
    let flow = unsafe { &*flow };
    // Not on the stack, which is scarce here.
    scratch.freed = flow.mapped_endpoint();
    let inner = &scratch.freed;
    let key = mapping::lock_key(inner);
    // A flow that makes way for one of the same endpoint.
    let is_held = scratch.held == key;
    if !is_held && lock_mapping(key, PATIENCE) == 0 {
        return 0;
    }
    if let Some(found) = MAPPINGS.get_ptr_mut(inner) {
        // SAFETY: we hold the lock, so it stays, and is ours alone to change.
        let found = unsafe { &mut *found };
        scratch.freed_outer = found.outer(inner);
        // Else it is a later one, which the flow is not counted in.
        if found.generation == flow.pair_generation
            && found.address == flow.translated().src
            && found.port == flow.translated().src_port
        {
            count_out(inner, &scratch.freed_outer, found);
        }
    }
    if !is_held {
        unlock(key);
    }
    1
}

/// One flow less; with the last one the mapping ends. We hold its lock.
#[inline(always)]
fn count_out(inner: &Endpoint, outer: &Endpoint, found: &mut Mapping) {
    if found.flows > 1 {
        found.flows -= 1;
        return;
    }
    forget(outer, inner);
    let _ = MAPPINGS.remove(inner);
}
