//! Whether flows may keep what the kernel's routing says of them, and how they hear that it changed: see
//! [`Kept`].

use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;

use aya::Ebpf;
use aya::programs::{TestRun as _, TestRunOptions};
use bridgefwd_common::contract::{FIND_PROGRAM, Kept, MAP_KEPT};

use super::load;
use super::memory::Memory;
use super::wire::{self, Wire, WireArray};
use crate::failure::{Failure, Result};
use crate::host::btf::Btf;

/// The number that the program compares.
#[derive(Debug)]
pub struct Epoch {
    memory: Memory<Kept>,
}

impl Epoch {
    /// Opens it by its pin.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn open(pin_dir: &Path) -> Result<Self> {
        Ok(Self { memory: Memory::map(&wire::open_data(pin_dir, MAP_KEPT)?, MAP_KEPT, true)? })
    }

    /// What flows have kept holds no longer.
    pub fn next(&self) {
        if let Some(word) = self.memory.word(0, std::mem::offset_of!(Kept, epoch) / 8) {
            word.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// Has flows keep their ways, where the kernel lets us see when they change; called inside the network
/// namespace.
pub fn start(ebpf: &mut Ebpf, pin_dir: &Path) {
    if let Err(error) = find(ebpf, pin_dir) {
        tracing::info!("{error}; every packet has the kernel asked for its route");
    }
}

/// Has the program find out where the kernel's number is.
///
/// # Errors
///
/// Why that cannot be.
pub fn find(ebpf: &mut Ebpf, pin_dir: &Path) -> Result<()> {
    let mut map: WireArray<Kept> = wire::open(pin_dir, MAP_KEPT)?;
    let Wire(before) = map.get(&0, 0).map_err(|error| wire::failed(MAP_KEPT, "read", &error))?;
    let offsets = offsets()?;
    let kept = Kept { epoch: before.epoch + 1, ..offsets };
    map.set(0, Wire(kept), 0).map_err(|error| wire::failed(MAP_KEPT, "write", &error))?;
    run(ebpf)
}

/// Where the members are that lead there.
///
/// # Errors
///
/// Where the kernel has no type information, or no such members.
pub fn offsets() -> Result<Kept> {
    let unknown = |error: io::Error| {
        Failure::failed(format!("no type information of the kernel (/sys/kernel/btf): {error}"))
    };
    let btf = Btf::of_kernel().map_err(unknown)?;
    let member = |structure: &str, member: &str| {
        btf.offset_of(structure, member)
            .ok_or_else(|| Failure::failed(format!("no {member} in the kernel's {structure}")))
    };
    Ok(Kept {
        device_in_buffer: member("sk_buff", "dev")?,
        net_in_device: member("net_device", "nd_net")?,
        generation_in_net: member("net", "ipv4")? + member("netns_ipv4", "rt_genid")?,
        ..Kept::default()
    })
}

/// Runs the program that finds the number, in the calling thread's network namespace.
///
/// # Errors
///
/// Where it did not.
pub fn run(ebpf: &mut Ebpf) -> Result<()> {
    let program = load::program(ebpf, FIND_PROGRAM)?;
    let mut options = TestRunOptions::new();
    options.data_in = Some(&[0; 64]);
    let found = program.test_run(options).map_err(|error| {
        Failure::failed(format!("cannot run {FIND_PROGRAM}: {}", wire::chain(&error)))
    })?;
    match found.return_value {
        1 => Ok(()),
        _ => Err(Failure::failed("the kernel does not let us see when its routes change")),
    }
}
