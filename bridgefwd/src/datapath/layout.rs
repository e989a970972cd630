//! Whether what is pinned is ours, complete, and of this version's layout.

use std::fs;
use std::io;
use std::path::Path;

use aya::maps::{MapError, MapInfo, MapType};
use bridgefwd_common::Reason;
use bridgefwd_common::contract::{
    ABI_VERSION, Counter, DEFAULT_MAX_FLOWS, Endpoint, Flow, FragmentKey, FragmentOwner,
    IndexEntry, Interface, Kept, MAP_FLOW_INDEX_V4, MAP_FLOW_INDEX_V6, MAP_FLOWS, MAP_FRAGMENTS,
    MAP_FREE_SLOTS, MAP_INTERFACES, MAP_KEPT, MAP_MAPPED, MAP_MAPPINGS, MAP_PAIR_COUNTERS,
    MAP_PAIR_INDEX, MAP_PAIRS, MAP_POOLS, MAP_REASONS, MAP_RELEASING, MAP_SETTINGS, MAP_SOURCES,
    MAP_SWEEP_CURSOR, Mapping, PINNED_MAPS, PairCounters, PairKey, PairRule, Pool, Settings,
    SlotOwner, SourceKey, SourceUse, Tuple, TupleV4,
};

use super::pins;
use super::wire::{self, Wire, WireArray};
use crate::failure::{Failure, Result};
use crate::policy::setup::MAX_FLOWS;

/// What a pin folder holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// What is left of a start, or of a `down`, that was interrupted: of no use to anybody.
    Interrupted,
    /// All our maps, in this layout.
    Ours(Settings),
}

/// Looks what is there, and changes nothing.
///
/// # Errors
///
/// Where something is pinned that is not ours, not complete, or of another layout: with what it is
/// and how to get rid of it.
pub fn inspect(pin_dir: &Path) -> Result<Found> {
    let entries = match fs::read_dir(pin_dir) {
        Ok(entries) => entries.filter_map(|entry| entry.ok().map(|entry| entry.file_name())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => {
            return Err(Failure::failed(format!(
                "cannot read the pin folder {}: {error}",
                pin_dir.display()
            )));
        }
    };
    let mut empty = true;
    for name in entries {
        empty = false;
        if !["maps", "links", "programs"].iter().any(|ours| name == *ours) {
            return Err(Failure::failed(format!(
                "the pin folder {} holds {}, which is not bridgefwd's: choose another --pin-dir",
                pin_dir.display(),
                name.display()
            )));
        }
    }
    if empty {
        return Ok(Found::Nothing);
    }
    check_layout(pin_dir)
}

/// Fails as [`inspect`] does where `pin_dir` does not hold the state of this version.
fn check_layout(pin_dir: &Path) -> Result<Found> {
    // The version first: another version's maps may well differ in other ways, too.
    let abi = match MapInfo::from_pin(pins::map(pin_dir, MAP_SETTINGS)) {
        Ok(info) if info.value_size() as usize == size_of::<Settings>() => {
            let array: WireArray<Settings> = wire::open(pin_dir, MAP_SETTINGS)?;
            let Wire(settings) =
                array.get(&0, 0).map_err(|error| wire::failed(MAP_SETTINGS, "read", &error))?;
            settings
        }
        Ok(info) => {
            return Err(stale(
                pin_dir,
                &format!(
                    "state of another version (its settings have {} bytes; those of layout \
                     version {ABI_VERSION} have {})",
                    info.value_size(),
                    size_of::<Settings>()
                ),
            ));
        }
        // Written last and removed first.
        Err(MapError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => {
            return interrupted(pin_dir);
        }
        // Who may not look must not take it for a rest to be cleared.
        Err(error) => return Err(wire::failed(MAP_SETTINGS, "open", &error)),
    };
    match abi.abi {
        ABI_VERSION => {}
        0 => return interrupted(pin_dir),
        other => {
            return Err(stale(
                pin_dir,
                &format!(
                    "state of layout version {other}, and this is bridgefwd {} with layout \
                     version {ABI_VERSION}",
                    env!("CARGO_PKG_VERSION")
                ),
            ));
        }
    }
    for name in PINNED_MAPS {
        let Ok(info) = MapInfo::from_pin(pins::map(pin_dir, name)) else {
            return Err(stale(pin_dir, &format!("state that is not complete (no map {name})")));
        };
        let found = (info.map_type().ok(), info.key_size() as usize, info.value_size() as usize);
        let (map_type, key, value) = expected(name);
        if found != (Some(map_type), key, value) {
            return Err(stale(
                pin_dir,
                &format!(
                    "a map {name} that is not of layout version {ABI_VERSION} (type {:?}, key {} \
                     bytes, value {} bytes; expected {map_type:?}, {key}, {value})",
                    found.0, found.1, found.2
                ),
            ));
        }
    }
    Ok(Found::Ours(abi))
}

/// [`Found::Interrupted`], if all that is there is known by its name: it is going to be removed.
fn interrupted(pin_dir: &Path) -> Result<Found> {
    let ours = |folder: &Path, name: &str| {
        if folder == pins::maps(pin_dir) {
            PINNED_MAPS.contains(&name)
        } else if folder == pins::links(pin_dir) {
            pins::is_link(name)
        } else {
            pins::is_program(name)
        }
    };
    for folder in [pins::maps(pin_dir), pins::links(pin_dir), pins::programs(pin_dir)] {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.filter_map(io::Result::ok) {
            if !entry.file_name().to_str().is_some_and(|name| ours(&folder, name)) {
                return Err(Failure::failed(format!(
                    "the pin folder {} holds {}, which is not bridgefwd's: choose another --pin-dir",
                    pin_dir.display(),
                    entry.path().display()
                )));
            }
        }
    }
    Ok(Found::Interrupted)
}

/// Type of a pinned map, and the sizes of its key and value in bytes.
fn expected(name: &str) -> (MapType, usize, usize) {
    const INDEX: usize = size_of::<u32>();
    match name {
        MAP_INTERFACES => (MapType::Hash, INDEX, size_of::<Interface>()),
        MAP_PAIR_INDEX => (MapType::Hash, size_of::<PairKey>(), INDEX),
        MAP_KEPT => (MapType::Array, INDEX, size_of::<Kept>()),
        MAP_PAIRS => (MapType::Array, INDEX, size_of::<PairRule>()),
        MAP_PAIR_COUNTERS => (MapType::PerCpuArray, INDEX, size_of::<PairCounters>()),
        MAP_FLOW_INDEX_V4 => (MapType::Hash, size_of::<TupleV4>(), size_of::<IndexEntry>()),
        MAP_FLOW_INDEX_V6 => (MapType::Hash, size_of::<Tuple>(), size_of::<IndexEntry>()),
        MAP_FLOWS => (MapType::Array, INDEX, size_of::<Flow>()),
        MAP_FREE_SLOTS => (MapType::Queue, 0, INDEX),
        MAP_RELEASING => (MapType::Hash, INDEX, size_of::<SlotOwner>()),
        MAP_REASONS => (MapType::PerCpuArray, INDEX, size_of::<Counter>()),
        MAP_FRAGMENTS => (MapType::LruHash, size_of::<FragmentKey>(), size_of::<FragmentOwner>()),
        MAP_SWEEP_CURSOR => (MapType::PerCpuArray, INDEX, INDEX),
        MAP_POOLS => (MapType::Hash, INDEX, size_of::<Pool>()),
        MAP_SOURCES => (MapType::Hash, size_of::<SourceKey>(), size_of::<SourceUse>()),
        MAP_MAPPINGS | MAP_MAPPED => (MapType::Hash, size_of::<Endpoint>(), size_of::<Mapping>()),
        _ => (MapType::Array, INDEX, size_of::<Settings>()),
    }
}

/// Reasons are only ever appended: pinned counters that are too few are another version's.
///
/// # Errors
///
/// As [`inspect`].
pub fn check_reasons(pin_dir: &Path) -> Result<()> {
    match MapInfo::from_pin(pins::map(pin_dir, MAP_REASONS)) {
        Ok(info) if info.max_entries() < Reason::COUNTERS => Err(stale(
            pin_dir,
            &format!(
                "counters of {} reasons, and this version has {}",
                info.max_entries(),
                Reason::COUNTERS
            ),
        )),
        _ => Ok(()),
    }
}

/// What to tell who wants to read what an interruption has left.
pub fn incomplete(pin_dir: &Path) -> Failure {
    Failure::failed(format!(
        "the pin folder {} holds what a start, or a `down`, that was interrupted has left: \
         `bridgefwd run` begins anew, `bridgefwd down` (with the same --pin-dir, --netns) removes it",
        pin_dir.display()
    ))
}

/// How many flows there can be: what it was, else what is asked for, else the default.
///
/// # Errors
///
/// Where that many make no sense, or `must` is not what it was: says what to do.
pub fn check_max_flows(
    pin_dir: &Path,
    found: Found,
    must: Option<u32>,
    otherwise: Option<u32>,
) -> Result<u32> {
    let asked = must.or(otherwise).unwrap_or(DEFAULT_MAX_FLOWS);
    if !MAX_FLOWS.contains(&asked) {
        return Err(Failure::usage(format!(
            "{asked} flows at most: it must be between {} and {}",
            MAX_FLOWS.start(),
            MAX_FLOWS.end()
        )));
    }
    match (found, must) {
        (Found::Nothing | Found::Interrupted, _) => Ok(asked),
        (Found::Ours(settings), Some(must)) if settings.max_flows != must => {
            Err(Failure::failed(format!(
                "the state in {} is for {} flows, and {must} are asked for: leave that option \
                 out, or remove the state first with `bridgefwd down`",
                pin_dir.display(),
                settings.max_flows
            )))
        }
        (Found::Ours(settings), _) => Ok(settings.max_flows),
    }
}

fn stale(pin_dir: &Path, what: &str) -> Failure {
    Failure::failed(format!(
        "the pin folder {} holds {what}. It was left alone; `bridgefwd down` (with the same \
         --pin-dir, --netns) removes it, and its flows with it",
        pin_dir.display()
    ))
}
