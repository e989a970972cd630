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
    Reason::ALL
        .iter()
        .map(|reason| {
            let count = wire::sum(map, MAP_REASONS, *reason as u32, Counter::merge)?;
            let count = ReasonCount {
                packets: count.packets,
                bytes: count.bytes,
                verdict: reason.verdict().name().into(),
                explanation: reason.explanation().into(),
            };
            Ok((reason.name().into(), count))
        })
        .collect()
}

/// The counters of the pairs at all indices up to `last`, over all CPUs.
///
/// # Errors
///
/// The kernel's error.
pub fn pairs(map: &WirePerCpuArray<PairCounters>, last: u32) -> Result<Vec<PairCounters>> {
    wire::sums(map, MAP_PAIR_COUNTERS, last, PairCounters::merge)
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
