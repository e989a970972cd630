//! `POOLS`: the addresses that pairs translate to, where they are named one by one.
//!
//! A pool is written under a key that was never used before the policy that names it, is never
//! changed, and goes when no policy names it any more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bridgefwd_common::contract::{MAP_POOLS, Pool};

use super::wire::{self, Wire, WireHashMap};
use crate::failure::Result;

/// The map, and what is in it.
#[derive(Debug)]
pub struct Pools {
    map: WireHashMap<u32, Pool>,
    entries: BTreeMap<u32, Pool>,
}

impl Pools {
    /// Opens the pinned map.
    ///
    /// # Errors
    ///
    /// Where it cannot be read.
    pub fn open(pin_dir: &Path) -> Result<Self> {
        let map = wire::open(pin_dir, MAP_POOLS)?;
        let entries = read(&map)?;
        Ok(Self { map, entries })
    }

    /// The pool under that key.
    #[must_use]
    pub fn get(&self, key: u32) -> Option<&Pool> {
        self.entries.get(&key)
    }

    /// Adds one under a key that is not used.
    ///
    /// # Errors
    ///
    /// Where there are too many.
    pub fn add(&mut self, key: u32, pool: Pool) -> Result<()> {
        self.map
            .insert(Wire(key), Wire(pool), 0)
            .map_err(|error| wire::failed(MAP_POOLS, "write", &error))?;
        self.entries.insert(key, pool);
        Ok(())
    }

    /// Removes all but those that are `named`.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn keep(&mut self, named: &BTreeSet<u32>) -> Result<()> {
        let unnamed: Vec<_> =
            self.entries.keys().filter(|key| !named.contains(key)).copied().collect();
        for key in unnamed {
            self.map
                .remove(&Wire(key))
                .map_err(|error| wire::failed(MAP_POOLS, "write", &error))?;
            self.entries.remove(&key);
        }
        Ok(())
    }
}

/// All entries of the map, by key.
///
/// # Errors
///
/// The kernel's error.
pub fn read(map: &WireHashMap<u32, Pool>) -> Result<BTreeMap<u32, Pool>> {
    Ok(wire::entries(map, MAP_POOLS)?.into_iter().collect())
}
