//! Each source's share of the flow table: one that opens flows without end has only itself to refuse.

use aya_ebpf::bindings::BPF_NOEXIST;
use bridgefwd_common::contract::{Flow, SourceKey, SourceUse};

use crate::asm::atomic_add;
use crate::flows::now_ns;
use crate::maps::{SETTINGS, SOURCES};
use crate::{scratch, sweep};

/// How long a source that has had its share is not searched again for flows that can go.
const EXHAUSTED_NS: u64 = 10_000_000;

/// Takes a flow's worth of the share of the source in `SCRATCH`; 0 where it has none left. Global to
/// the verifier, and out of the hot path's way.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn take_share() -> u32 {
    let (Some(opening), Some(settings)) = (scratch::current(), SETTINGS.get(0)) else { return 0 };
    // A conversation of the host's own has no share.
    if opening.from == Flow::FROM_HOST {
        return 1;
    }
    let key = SourceKey::new(opening.original.src, opening.port);
    if SOURCES.get_ptr_mut(key).is_none() {
        let _ = SOURCES.insert(key, SourceUse::default(), u64::from(BPF_NOEXIST));
    }
    // Where not even that has room, there are more sources than flows.
    let Some(source) = SOURCES.get_ptr_mut(key) else { return 0 };
    // SAFETY: the kernel keeps a map's value readable while the program runs; it is plain words.
    let source = unsafe { &mut *source };
    // Counted before room is made: where all of its other flows go by that, the entry has to stay.
    // SAFETY: an aligned word of a map's value.
    unsafe { atomic_add(&raw mut source.flows, 1) };
    // SAFETY: as above; another CPU may count at the same time.
    let flows = unsafe { (&raw const source.flows).read_volatile() };
    if flows > u64::from(settings.max_flows_per_source) {
        let now = now_ns();
        if now < source.exhausted_until_ns || sweep::among_source(&mut source.search_from) == 0 {
            if now >= source.exhausted_until_ns {
                source.exhausted_until_ns = now + EXHAUSTED_NS;
            }
            // SAFETY: an aligned word of a map's value.
            unsafe { atomic_add(&raw mut source.refused, 1) };
            give_back_share();
            return 0;
        }
    }
    1
}

/// Notes where the flows of the source in `SCRATCH` begin: slots are given out one after the other, so
/// its oldest ones follow. Global to the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn begin_in(slot: u32) -> u32 {
    let Some(opening) = scratch::current() else { return 0 };
    let key = SourceKey::new(opening.original.src, opening.port);
    let Some(source) = SOURCES.get_ptr_mut(key) else { return 0 };
    // SAFETY: as in `take_share`.
    let source = unsafe { &mut *source };
    if source.flows == 1 {
        source.search_from = slot;
    }
    1
}

/// Gives it back: no flow was made. Global to the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn give_back_share() -> u32 {
    if let Some(opening) = scratch::current()
        && opening.from != Flow::FROM_HOST
    {
        give_back_of(SourceKey::new(opening.original.src, opening.port));
    }
    1
}

/// Gives back what a flow had taken.
#[inline(always)]
pub fn give_back(flow: &Flow) {
    if flow.from != Flow::FROM_HOST {
        give_back_of(SourceKey::new(flow.original().src, flow.source_port));
    }
}

#[inline(always)]
fn give_back_of(key: SourceKey) {
    let Some(source) = SOURCES.get_ptr_mut(key) else { return };
    // SAFETY: the kernel keeps a map's value readable while the program runs; it is plain words.
    let source = unsafe { &mut *source };
    if source.flows > 1 {
        // SAFETY: an aligned word of a map's value.
        unsafe { atomic_add(&raw mut source.flows, u64::MAX) };
    } else {
        // A flow that is being made at this very moment may lose its count by that; it is not given
        // back then.
        let _ = SOURCES.remove(key);
    }
}
