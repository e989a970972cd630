//! Where flows are found by tuple: an index for each family.

use aya_ebpf::bindings::BPF_NOEXIST;
use bridgefwd_common::contract::{Family, IndexEntry, Tuple};

use crate::maps::{FLOW_INDEX_V4, FLOW_INDEX_V6};

/// The entry of an IPv4 tuple.
#[inline(always)]
pub fn get_v4(tuple: &Tuple) -> Option<IndexEntry> {
    // SAFETY: copied out at once; an entry that is replaced meanwhile fails the generation check.
    unsafe { FLOW_INDEX_V4.get(tuple.to_v4()) }.copied()
}

/// The entry of an IPv6 tuple.
#[inline(always)]
pub fn get_v6(tuple: &Tuple) -> Option<IndexEntry> {
    // SAFETY: as in `get_v4`.
    unsafe { FLOW_INDEX_V6.get(tuple) }.copied()
}

/// The entry of a tuple.
#[inline(always)]
pub fn get(tuple: &Tuple) -> Option<IndexEntry> {
    match tuple.family() {
        Family::V4 => get_v4(tuple),
        Family::V6 => get_v6(tuple),
    }
}

/// Adds an entry where there is none. `false` where there is one.
#[inline(always)]
pub fn claim(tuple: &Tuple, entry: IndexEntry) -> bool {
    let flags = u64::from(BPF_NOEXIST);
    match tuple.family() {
        Family::V4 => FLOW_INDEX_V4.insert(tuple.to_v4(), entry, flags),
        Family::V6 => FLOW_INDEX_V6.insert(tuple, entry, flags),
    }
    .is_ok()
}

/// Removes an entry.
#[inline(always)]
pub fn remove(tuple: &Tuple) {
    let _ = match tuple.family() {
        Family::V4 => FLOW_INDEX_V4.remove(tuple.to_v4()),
        Family::V6 => FLOW_INDEX_V6.remove(tuple),
    };
}
