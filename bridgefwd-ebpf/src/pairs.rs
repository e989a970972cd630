//! The pairs: which one a packet is of, and what it says.

use bridgefwd_common::contract::{PairKey, PairPolicy, PairRule};

use crate::maps::{PAIR_INDEX, PAIRS};

/// The index of a listed pair.
#[inline(always)]
pub fn index(key: PairKey) -> Option<u32> {
    // SAFETY: copied out at once.
    unsafe { PAIR_INDEX.get(key) }.copied()
}

/// The pair's rule: its policy read as one word, so that it is the old one or the new one.
#[inline(always)]
pub fn rule(index: u32) -> PairRule {
    let Some(rule) = PAIRS.get_ptr(index) else { return PairRule::default() };
    // SAFETY: array elements never move or go; the policy is one aligned word.
    let (policy, generation, key) = unsafe {
        ((&raw const (*rule).policy).cast::<u64>().read_volatile(), (*rule).generation, (*rule).key)
    };
    PairRule { policy: bytemuck::cast::<u64, PairPolicy>(policy), generation, key, _zero: 0 }
}
