//! What is pinned where: `maps/NAME`, `links/IFINDEX`, `links/IFINDEX-egress` and `programs/NAME` below
//! the pin folder.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bridgefwd_common::contract::{EGRESS_PROGRAM, MAP_COLD_PATHS, PROGRAM, SWEEP_PROGRAM};

use crate::host::qdisc::Hook;

/// What the pin of a link at egress ends with.
const EGRESS: &str = "-egress";

/// The folder of maps.
#[must_use]
pub fn maps(pin_dir: &Path) -> PathBuf {
    pin_dir.join("maps")
}

/// The folder of TCX links.
#[must_use]
pub fn links(pin_dir: &Path) -> PathBuf {
    pin_dir.join("links")
}

/// The folder of programs.
#[must_use]
pub fn programs(pin_dir: &Path) -> PathBuf {
    pin_dir.join("programs")
}

/// The pin of the map with this id that leads to the cold paths of some load of the programs.
#[must_use]
pub fn cold_paths(pin_dir: &Path, id: u32) -> PathBuf {
    programs(pin_dir).join(format!("{MAP_COLD_PATHS}-{id}"))
}

/// Removes the pins of all maps of cold paths but this one.
///
/// # Errors
///
/// The first that could not be removed.
pub fn retire_cold_paths(pin_dir: &Path, keep: u32) -> io::Result<()> {
    let keep = cold_paths(pin_dir, keep);
    for entry in fs::read_dir(programs(pin_dir))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(MAP_COLD_PATHS) && path != keep {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Is that the name of a pin in the folder of links?
#[must_use]
pub fn is_link(name: &str) -> bool {
    name.strip_suffix(EGRESS).unwrap_or(name).parse::<u32>().is_ok()
}

/// Is that the name of a pin in the folder of programs?
#[must_use]
pub fn is_program(name: &str) -> bool {
    name.starts_with(MAP_COLD_PATHS) || [PROGRAM, EGRESS_PROGRAM, SWEEP_PROGRAM].contains(&name)
}

/// The pin of one map.
#[must_use]
pub fn map(pin_dir: &Path, name: &str) -> PathBuf {
    maps(pin_dir).join(name)
}

/// The pin of one interface's link.
#[must_use]
pub fn link(pin_dir: &Path, ifindex: u32, hook: Hook) -> PathBuf {
    let suffix = match hook {
        Hook::Ingress => "",
        Hook::Egress => EGRESS,
    };
    links(pin_dir).join(format!("{ifindex}{suffix}"))
}

/// The interfaces that have a link pinned.
///
/// # Errors
///
/// Where the folder is there and cannot be read.
pub fn linked_interfaces(pin_dir: &Path) -> io::Result<BTreeSet<u32>> {
    let mut interfaces = BTreeSet::new();
    match fs::read_dir(links(pin_dir)) {
        Ok(entries) => {
            for entry in entries {
                let name = entry?.file_name();
                let name = name.to_str().unwrap_or_default();
                interfaces.extend(name.strip_suffix(EGRESS).unwrap_or(name).parse::<u32>().ok());
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(interfaces)
}
