//! Counters: those of reasons, and those of pairs.

use std::collections::BTreeMap;

use aya::maps::PerCpuValues;
use aya::util::nr_cpus;
use bridgefwd_common::Reason;
use bridgefwd_common::contract::{Counter, MAP_PAIR_COUNTERS, MAP_REASONS, PairCounters, SEEN};
use bytemuck::Zeroable as _;

use super::wire::{self, Wire, WirePerCpuArray};
use crate::api::types::ReasonCount;
use crate::failure::{Failure, Result};

/// All packets seen, over all CPUs.
///
/// # Errors
///
/// The kernel's error.
pub fn seen(map: &WirePerCpuArray<Counter>) -> Result<Counter> {
    wire::sum(map, MAP_REASONS, SEEN, Counter::merge)
}

/// Every reason by name, over all CPUs.
///
/// # Errors
///
/// The kernel's error.
pub fn reasons(map: &WirePerCpuArray<Counter>) -> Result<BTreeMap<String, ReasonCount>> {
    let last = Reason::ALL.iter().map(|reason| *reason as u32).max().unwrap_or_default();
    let counts = wire::sums(map, MAP_REASONS, last + 1, Counter::merge)?;
    let of = |reason: Reason| counts.get(reason as usize).copied().unwrap_or_default();
    let all = Reason::ALL.iter().map(|&reason| {
        let count = of(reason);
        let count = ReasonCount {
            packets: count.packets,
            bytes: count.bytes,
            verdict: reason.verdict().name().into(),
            explanation: reason.explanation().into(),
        };
        (reason.name().into(), count)
    });
    Ok(all.collect())
}

/// The counters of the pairs at the first `count` indices, over all CPUs.
///
/// # Errors
///
/// The kernel's error.
pub fn pairs(map: &WirePerCpuArray<PairCounters>, count: u32) -> Result<Vec<PairCounters>> {
    wire::sums(map, MAP_PAIR_COUNTERS, count, PairCounters::merge)
}

/// Sets the counters of the pair at `index` to zero.
///
/// # Errors
///
/// The kernel's error.
pub fn reset_pair(map: &mut WirePerCpuArray<PairCounters>, index: u32) -> Result<()> {
    let cpus = nr_cpus().map_err(|(path, error)| Failure::failed(format!("{path}: {error}")))?;
    let zeros = PerCpuValues::try_from(vec![Wire(PairCounters::zeroed()); cpus])
        .map_err(|error| Failure::failed(format!("cannot zero {MAP_PAIR_COUNTERS}: {error}")))?;
    map.set(index, zeros, 0).map_err(|error| wire::failed(MAP_PAIR_COUNTERS, "write", &error))
}
