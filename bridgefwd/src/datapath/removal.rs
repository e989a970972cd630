//! Taking everything off again: links, filters and pins, with a daemon or without.

use std::collections::BTreeMap;
use std::path::Path;

use bridgefwd_common::contract::{AttachKind, MAP_INTERFACES};

use super::{attach, interfaces, load, pins, wire};
use crate::failure::{Failure, Result};
use crate::host::bpffs::WriterLock;
use crate::host::netlink::Snapshot;
use crate::host::qdisc::Hook;

/// What becomes of the pin folder itself.
#[derive(Clone, Copy, Debug)]
pub(super) enum Folder {
    /// It is removed as well.
    Goes,
    /// It stays, empty, and with it the lock on it.
    Stays,
}

/// Takes every link, filter and pin of ours off. `false` where there was nothing. Works also where
/// half of it is missing, and on state of other versions; called inside the network namespace.
///
/// # Errors
///
/// Where a daemon is at work there, or the first thing that could not be removed; the rest is
/// removed all the same.
pub fn remove(pin_dir: &Path) -> Result<bool> {
    match std::fs::symlink_metadata(pin_dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => {
            return Err(Failure::failed(format!(
                "cannot look into the pin folder {}: {error}; run it as root",
                pin_dir.display()
            )));
        }
        Ok(_) => {}
    }
    load::check_permission()?;
    if WriterLock::take(pin_dir)?.is_none() {
        return Err(Failure::failed(format!(
            "a daemon is at work with the pin folder {}: stop it, or reach it by its own --socket",
            pin_dir.display()
        )));
    }
    remove_held(pin_dir, Folder::Goes)
}

/// [`remove`], by whoever holds the lock.
///
/// # Errors
///
/// The first thing that could not be removed.
pub(super) fn remove_held(pin_dir: &Path, folder: Folder) -> Result<bool> {
    let ours = ["maps", "links", "programs"];
    let mut unknown = std::fs::read_dir(pin_dir)
        .map_err(|error| Failure::failed(format!("cannot read {}: {error}", pin_dir.display())))?
        .filter_map(Result::ok)
        .filter(|entry| !ours.iter().any(|ours| entry.file_name() == *ours));
    if let Some(entry) = unknown.next() {
        return Err(Failure::failed(format!(
            "{} holds {}, which is not bridgefwd's; nothing was removed. Is it the right --pin-dir?",
            pin_dir.display(),
            entry.file_name().display()
        )));
    }
    let mut problems = Vec::new();
    let mut note = |result: Result<()>| {
        if let Err(error) = result {
            problems.push(error.to_string());
        }
    };
    let places = whereabouts(pin_dir);
    // Egress last: it mends what was taken in before.
    for hook in [Hook::Ingress, Hook::Egress] {
        for (&ifindex, (name, recorded)) in &places {
            note(attach::detach(pin_dir, hook, ifindex, name, *recorded));
        }
    }
    let failed = |error: std::io::Error| {
        Failure::failed(format!("cannot remove the pins in {}: {error}", pin_dir.display()))
    };
    note(load::remove_contents(pin_dir).map_err(failed));
    if matches!(folder, Folder::Goes) {
        note(std::fs::remove_dir(pin_dir).map_err(failed));
    }
    if problems.is_empty() { Ok(true) } else { Err(Failure::failed(problems.join("; "))) }
}

/// Where our program may be attached, with the interface's name and how it was attached where that
/// is known: by the map of interfaces, by the pinned links, and where the map cannot be read by
/// looking everywhere.
fn whereabouts(pin_dir: &Path) -> BTreeMap<u32, (String, Option<AttachKind>)> {
    let names = Snapshot::take().unwrap_or_default();
    let name = |ifindex: u32| {
        names.get(ifindex).map_or_else(|| format!("#{ifindex}"), |link| link.name.clone())
    };
    let known = wire::open(pin_dir, MAP_INTERFACES).and_then(|map| interfaces::read(&map));
    let mut places: BTreeMap<_, _> = match known {
        Ok(known) => known
            .iter()
            .map(|(&ifindex, entry)| (ifindex, (name(ifindex), interfaces::attached(entry))))
            .collect(),
        Err(_) => names.all().map(|link| (link.ifindex, (link.name.clone(), None))).collect(),
    };
    for ifindex in pins::linked_interfaces(pin_dir).unwrap_or_default() {
        places.entry(ifindex).or_insert_with(|| (name(ifindex), None));
    }
    places
}
