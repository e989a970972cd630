//! Freeing expired flows. Only the program frees slots, so that nobody else competes with it for
//! them; we run the part of it that does so.

use aya::Ebpf;
use aya::programs::{TestRun as _, TestRunOptions};
use bridgefwd_common::contract::{Address, SWEEP_PROGRAM, SweepRequest};

use super::load;
use super::wire::chain;
use crate::failure::{Failure, Result};

/// Slots that the program looks at in one run.
const SLOTS_A_RUN: u32 = 256;
/// In how many calls each slot is looked at once: called every second, 10 s.
const CALLS_A_ROUND: u32 = 10;

/// Looks at a tenth of `max_flows` slots, and frees what is over.
///
/// # Errors
///
/// The kernel's error.
pub fn part(ebpf: &mut Ebpf, max_flows: u32) -> Result<()> {
    run(ebpf, SweepRequest::default(), max_flows.div_ceil(SLOTS_A_RUN * CALLS_A_ROUND))
}

/// Looks at all slots: what ends flows before their time does so at once.
///
/// # Errors
///
/// The kernel's error.
pub fn all(ebpf: &mut Ebpf, max_flows: u32) -> Result<()> {
    // One call stays on one CPU, and each CPU's search goes round.
    run(ebpf, SweepRequest::default(), max_flows.div_ceil(SLOTS_A_RUN))
}

/// Frees every flow from or to an address behind an end: who had it is gone.
///
/// # Errors
///
/// The kernel's error.
pub fn address(ebpf: &mut Ebpf, end: u32, address: Address, max_flows: u32) -> Result<()> {
    run(ebpf, SweepRequest { end, address }, max_flows.div_ceil(SLOTS_A_RUN))
}

fn run(ebpf: &mut Ebpf, request: SweepRequest, runs: u32) -> Result<()> {
    let frame = request.frame();
    let program = load::program(ebpf, SWEEP_PROGRAM)?;
    let mut options = TestRunOptions::new();
    options.data_in = Some(&frame);
    options.repeat = runs.max(1);
    program.test_run(options).map_err(|error| {
        Failure::failed(format!("cannot run {SWEEP_PROGRAM} to free flows: {}", chain(&error)))
    })?;
    Ok(())
}
