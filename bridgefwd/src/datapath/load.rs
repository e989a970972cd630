//! Loading: maps made and pinned, or those of an earlier daemon taken over, and the programs with
//! them.

use std::fs;
use std::io;
use std::path::Path;

use aya::maps::{Map, MapError, MapInfo, ProgramArray, Queue};
use aya::programs::{ProgramError, SchedClassifier};
use aya::{Ebpf, EbpfError, EbpfLoader};
use bridgefwd_common::contract::{
    ABI_VERSION, COLD_PROGRAMS, EGRESS_PROGRAM, FIND_PROGRAM, MAP_COLD_PATHS, MAP_FLOW_INDEX_V4,
    MAP_FLOW_INDEX_V6, MAP_FLOWS, MAP_FREE_SLOTS, MAP_MAPPED, MAP_MAPPINGS, MAP_POOLS,
    MAP_SETTINGS, MAP_SOURCES, MAX_POOLS, PINNED_MAPS, PROGRAM, SWEEP_PROGRAM, Settings, Unlisted,
};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities};

use super::helpers::HELPERS;
use super::layout::Found;
use super::object::OBJECT;
use super::wire::{self, Wire, WireArray, chain};
use super::{helpers, pins};
use crate::failure::{Failure, Result};
use crate::host::{bpffs, sysctl};
use crate::policy::setup::default_flows_per_source;
use crate::policy::timers::TimerChanges;

/// How many flows there would be room for in a rehearsal: hardly any memory is taken.
const REHEARSED_FLOWS: u32 = 16;

/// What the maps shall be like.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// What happens to pairs that are not listed; where `None`, what it was, else the kernel's.
    pub unlisted: Option<Unlisted>,
    /// How many of them one source can have; where `None`, what it was, else a part of all.
    pub flows_per_source: Option<u32>,
    /// Timers to set.
    pub timers: TimerChanges,
}

/// Loaded programs, with their maps pinned.
#[derive(Debug)]
pub struct Loaded {
    /// The object.
    pub ebpf: Ebpf,
    /// The settings in force.
    pub settings: Settings,
    /// Id of the map by which these programs find those of the cold paths.
    pub cold_paths: u32,
}

/// Fails where this process may not do what has to be done.
///
/// # Errors
///
/// Says which capabilities are missing.
pub fn check_permission() -> Result<()> {
    let effective = capabilities(None)
        .map_err(|error| {
            Failure::failed(format!("cannot read this process's capabilities: {error}"))
        })?
        .effective;
    // CAP_SYS_ADMIN stands for either of the younger two.
    let has = |right| effective.intersects(right | CapabilitySet::SYS_ADMIN);
    let missing: Vec<_> = [
        (has(CapabilitySet::BPF), "CAP_BPF"),
        // The programs compare packet pointers, which the verifier takes from nobody else.
        (has(CapabilitySet::PERFMON), "CAP_PERFMON"),
        (effective.contains(CapabilitySet::NET_ADMIN), "CAP_NET_ADMIN"),
    ]
    .into_iter()
    .filter_map(|(there, name)| (!there).then_some(name))
    .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "no permission: missing {}. Run it as root (sudo), or give it CAP_BPF, CAP_PERFMON, \
         CAP_NET_ADMIN and the right to write to the pin folder",
        missing.join(", ")
    )))
}

/// Loads into `pin_dir`, which exists on a BPF filesystem and was inspected.
///
/// # Errors
///
/// Where something fails; what was `found` is as it was, then, and what was made is removed again.
pub fn load(
    object: &[u8],
    pin_dir: &Path,
    found: Found,
    max_flows: u32,
    wanted: Wanted,
) -> Result<Loaded> {
    raise_memlock();
    let loaded = load_pinned(object, pin_dir, found, max_flows, wanted);
    if loaded.is_err()
        && found == Found::Nothing
        && let Err(error) = remove_contents(pin_dir)
    {
        tracing::warn!("cannot remove what was begun in {}: {error}", pin_dir.display());
    }
    loaded
}

/// Gives every program to the kernel, with small maps of their own, and lets all of it go again. Returns
/// how many programs there are.
///
/// # Errors
///
/// What the kernel refuses, with the end of the verifier's log.
pub fn rehearse() -> Result<usize> {
    raise_memlock();
    let mut loader = EbpfLoader::new();
    for (name, entries) in map_sizes(REHEARSED_FLOWS) {
        loader.map_max_entries(name, entries);
    }
    helpers::suit(&mut loader, &HELPERS)?;
    let mut ebpf = loader.load(OBJECT).map_err(explain_load)?;
    load_programs(&mut ebpf)?;
    Ok(ebpf.programs().count())
}

/// Removes all pins; the folder itself stays. The settings go first: without them, the rest is what an
/// interruption has left.
pub fn remove_contents(pin_dir: &Path) -> io::Result<()> {
    match fs::remove_file(pins::map(pin_dir, MAP_SETTINGS)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    for dir in [pins::links(pin_dir), pins::programs(pin_dir), pins::maps(pin_dir)] {
        bpffs::remove_tree(&dir)?;
    }
    Ok(())
}

/// One of the two programs.
///
/// # Errors
///
/// Where the object has none of that name.
pub fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier> {
    ebpf.program_mut(name)
        .and_then(|program| program.try_into().ok())
        .ok_or_else(|| Failure::failed(format!("the eBPF object has no classifier {name}")))
}

/// Loads all programs, and has the first go on to those of the cold paths.
///
/// # Errors
///
/// Where the kernel refuses a program: with the end of the verifier's log.
pub fn load_programs(ebpf: &mut Ebpf) -> Result<()> {
    for name in [PROGRAM, EGRESS_PROGRAM, SWEEP_PROGRAM, FIND_PROGRAM].iter().chain(&COLD_PROGRAMS)
    {
        load_program(program(ebpf, name)?).map_err(|error| explain_program(name, &error))?;
    }
    for (place, name) in (0..).zip(COLD_PROGRAMS) {
        let fd = program(ebpf, name)?
            .fd()
            .map_err(|error| explain_program(name, &error))?
            .try_clone()
            .map_err(|error| Failure::failed(format!("cannot hold {name}: {error}")))?;
        let map = cold_paths(ebpf)?;
        let mut array = ProgramArray::try_from(map)
            .map_err(|error| wire::failed(MAP_COLD_PATHS, "use", &error))?;
        array.set(place, &fd, 0).map_err(|error| wire::failed(MAP_COLD_PATHS, "fill", &error))?;
    }
    Ok(())
}

/// Loads one program. The verifier gives up where a signal waits for this thread, a timer's for
/// instance, and says that it can be tried again (EAGAIN); as by libbpf it is, a few times.
fn load_program(program: &mut SchedClassifier) -> std::result::Result<(), ProgramError> {
    const ATTEMPTS: u32 = 5;
    let mut attempt = 1;
    loop {
        match program.load() {
            Err(ProgramError::LoadError { io_error, .. })
                if io_error.kind() == io::ErrorKind::WouldBlock && attempt < ATTEMPTS =>
            {
                attempt += 1;
            }
            result => return result,
        }
    }
}

fn cold_paths(ebpf: &mut Ebpf) -> Result<&mut Map> {
    ebpf.map_mut(MAP_COLD_PATHS)
        .ok_or_else(|| Failure::failed(format!("the eBPF object has no map {MAP_COLD_PATHS}")))
}

/// Pins the map of the cold paths, under a name of its own: programs of an earlier daemon go on by
/// theirs until they are replaced. Unpinned, the kernel would empty it when the daemon ends.
fn pin_cold_paths(ebpf: &mut Ebpf, pin_dir: &Path) -> Result<u32> {
    let Map::ProgramArray(map) = cold_paths(ebpf)? else {
        return Err(Failure::failed(format!("{MAP_COLD_PATHS} is no program array")));
    };
    let info = map.info().map_err(|error| wire::failed(MAP_COLD_PATHS, "inspect", &error))?;
    let pin = pins::cold_paths(pin_dir, info.id());
    map.pin(&pin).map_err(|error| {
        Failure::failed(format!("cannot pin {}: {}", pin.display(), chain(&error)))
    })?;
    Ok(info.id())
}

fn load_pinned(
    object: &[u8],
    pin_dir: &Path,
    found: Found,
    max_flows: u32,
    wanted: Wanted,
) -> Result<Loaded> {
    for dir in [pins::maps(pin_dir), pins::links(pin_dir), pins::programs(pin_dir)] {
        make_dir(&dir)?;
    }
    let mut loader = EbpfLoader::new();
    for name in PINNED_MAPS {
        let pin = pins::map(pin_dir, name);
        if found != Found::Nothing {
            let info =
                MapInfo::from_pin(&pin).map_err(|error| wire::failed(name, "open", &error))?;
            loader.map_max_entries(name, info.max_entries());
        }
        loader.map_pin_path(name, pin);
    }
    if found == Found::Nothing {
        for (name, entries) in map_sizes(max_flows) {
            loader.map_max_entries(name, entries);
        }
    }
    helpers::suit(&mut loader, &HELPERS)?;
    let mut ebpf = loader.load(object).map_err(explain_load)?;
    load_programs(&mut ebpf)?;
    let cold_paths = pin_cold_paths(&mut ebpf, pin_dir)?;
    let settings = match found {
        Found::Ours(settings) => settings,
        Found::Nothing | Found::Interrupted => {
            fill_free_slots(pin_dir, max_flows)?;
            fresh_settings(max_flows)
        }
    };
    let settings = write_settings(pin_dir, settings, wanted)?;
    // Programs are pinned for people with bpftool; nothing depends on these pins.
    for name in [PROGRAM, EGRESS_PROGRAM, SWEEP_PROGRAM] {
        let pin = pins::programs(pin_dir).join(name);
        match fs::remove_file(&pin) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Failure::failed(format!("cannot replace {}: {error}", pin.display())));
            }
            _ => {}
        }
        program(&mut ebpf, name)?.pin(&pin).map_err(|error| {
            Failure::failed(format!("cannot pin {}: {}", pin.display(), chain(&error)))
        })?;
    }
    Ok(Loaded { ebpf, settings, cold_paths })
}

fn fresh_settings(max_flows: u32) -> Settings {
    Settings {
        abi: ABI_VERSION,
        unlisted: Unlisted::Kernel as u32,
        timeouts_s: Settings::DEFAULT_TIMEOUTS_S,
        max_flows,
        local_port_first: 0,
        local_port_last: 0,
        pair_generation: 0,
        last_pool: 0,
        max_flows_per_source: default_flows_per_source(max_flows),
        smallest_route_mtu: 0,
    }
}

/// How many elements the maps have that depend on how many flows there can be.
///
/// Of `POOLS`, which do not, the number is only settled here, where all of the kind are.
#[must_use]
pub const fn map_sizes(max_flows: u32) -> [(&'static str, u32); 8] {
    [
        (MAP_FLOWS, max_flows),
        (MAP_FREE_SLOTS, max_flows),
        (MAP_FLOW_INDEX_V4, max_flows.saturating_mul(2)),
        (MAP_FLOW_INDEX_V6, max_flows.saturating_mul(2)),
        (MAP_SOURCES, max_flows),
        (MAP_MAPPINGS, max_flows),
        (MAP_MAPPED, max_flows),
        (MAP_POOLS, MAX_POOLS),
    ]
}

/// Written last of all maps: a layout version in the settings says that the rest is complete.
fn write_settings(pin_dir: &Path, before: Settings, wanted: Wanted) -> Result<Settings> {
    let (local_port_first, local_port_last) = sysctl::local_port_range()?;
    let unlisted = wanted.unlisted.map_or(before.unlisted, |unlisted| unlisted as u32);
    let max_flows_per_source = wanted.flows_per_source.unwrap_or(before.max_flows_per_source);
    let mut settings =
        Settings { unlisted, local_port_first, local_port_last, max_flows_per_source, ..before };
    wanted.timers.apply(&mut settings.timeouts_s);
    let mut map: WireArray<Settings> = wire::open(pin_dir, MAP_SETTINGS)?;
    map.set(0, Wire(settings), 0).map_err(|error| wire::failed(MAP_SETTINGS, "write", &error))?;
    Ok(settings)
}

/// Follows the host's range of ports for its own use, where that changed since `known`.
///
/// # Errors
///
/// Where the range or the map cannot be read.
pub fn follow_port_range(pin_dir: &Path, known: &mut Settings) -> Result<bool> {
    let (first, last) = sysctl::local_port_range()?;
    if (first, last) == (known.local_port_first, known.local_port_last) {
        return Ok(false);
    }
    change_settings(pin_dir, known, |settings| {
        (settings.local_port_first, settings.local_port_last) = (first, last);
    })?;
    Ok(true)
}

/// Changes the settings, and what is `known` of them.
///
/// They are read anew before they are written: the generation of pairs is kept there too.
///
/// # Errors
///
/// The kernel's error.
pub fn change_settings(
    pin_dir: &Path,
    known: &mut Settings,
    change: impl FnOnce(&mut Settings),
) -> Result<()> {
    let mut map: WireArray<Settings> = wire::open(pin_dir, MAP_SETTINGS)?;
    let Wire(mut settings) =
        map.get(&0, 0).map_err(|error| wire::failed(MAP_SETTINGS, "read", &error))?;
    change(&mut settings);
    map.set(0, Wire(settings), 0).map_err(|error| wire::failed(MAP_SETTINGS, "write", &error))?;
    *known = settings;
    Ok(())
}

fn fill_free_slots(pin_dir: &Path, max_flows: u32) -> Result<()> {
    let mut free: Queue<_, u32> = wire::open(pin_dir, MAP_FREE_SLOTS)?;
    for slot in 0..max_flows {
        free.push(slot, 0).map_err(|error| wire::failed(MAP_FREE_SLOTS, "fill", &error))?;
    }
    Ok(())
}

fn make_dir(dir: &Path) -> Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(Failure::failed(format!("cannot make the pin folder {}: {error}", dir.display())))
        }
        _ => Ok(()),
    }
}

/// Kernels before 5.11 count maps against this limit. Where it may not be raised, loading tells
/// whether it was needed.
fn raise_memlock() {
    let unlimited = Rlimit { current: None, maximum: None };
    if let Err(error) = setrlimit(Resource::Memlock, unlimited) {
        tracing::debug!("cannot raise RLIMIT_MEMLOCK: {error}");
    }
}

fn explain_load(error: EbpfError) -> Failure {
    let text = chain(&error);
    let errno = match &error {
        EbpfError::MapError(
            MapError::CreateError { io_error, .. }
            | MapError::SyscallError(aya::sys::SyscallError { io_error, .. }),
        ) => io_error.raw_os_error(),
        _ => None,
    };
    Failure::failed(format!("cannot load the eBPF maps: {text}{}", advice(errno)))
}

fn explain_program(name: &str, error: &ProgramError) -> Failure {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            // The reason is at the end of the verifier's story.
            let tail: Vec<_> = log.lines().rev().take(12).collect();
            let tail: Vec<_> = tail.into_iter().rev().collect();
            let tail = if tail.is_empty() {
                String::new()
            } else {
                format!("\nThe kernel's verifier says:\n  {}", tail.join("\n  "))
            };
            Failure::failed(format!(
                "the kernel refuses the program {name}: {io_error}{}{tail}",
                advice(io_error.raw_os_error())
            ))
        }
        error => Failure::failed(format!("cannot load the program {name}: {}", chain(error))),
    }
}

fn advice(errno: Option<i32>) -> &'static str {
    let is = |known: Errno| errno == Some(known.raw_os_error());
    if is(Errno::NOSYS) {
        ". This kernel has no bpf() system call (CONFIG_BPF_SYSCALL)"
    } else if is(Errno::PERM) {
        ". Run it as root; where it is, see whether the memory lock limit (ulimit -l) is too low, \
         or the kernel is locked down"
    } else if is(Errno::NOMEM) {
        ". There is not enough memory for that many flows"
    } else if is(Errno::INVAL) {
        ". This kernel may lack a feature: Linux 5.10 or later is needed"
    } else {
        ""
    }
}
