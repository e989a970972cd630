//! What a daemon has pinned, read and changed behind its back.

use std::path::Path;

use aya::maps::{Array, HashMap as BpfHashMap, Map, MapData};
use bridgefwd_common::contract::{MAP_POOLS, MAP_SETTINGS, Pool, Settings};

use crate::program::Plain;

/// Reads the settings of a daemon, by their pin.
#[must_use]
#[track_caller]
pub fn pinned_settings(pin_dir: &Path) -> Settings {
    let data = MapData::from_pin(pin_dir.join("maps").join(MAP_SETTINGS)).expect("pinned settings");
    let array = Array::<_, Plain<Settings>>::try_from(Map::Array(data)).expect(MAP_SETTINGS);
    array.get(&0, 0).expect("settings").0
}

/// The pools of a daemon, by their pin.
#[must_use]
#[track_caller]
pub fn pinned_pools(pin_dir: &Path) -> Vec<(u32, Pool)> {
    let data = MapData::from_pin(pin_dir.join("maps").join(MAP_POOLS)).expect("pinned pools");
    let map = BpfHashMap::<_, u32, Plain<Pool>>::try_from(Map::HashMap(data)).expect(MAP_POOLS);
    map.iter().map(|entry| entry.expect("a pool")).map(|(key, pool)| (key, pool.0)).collect()
}

/// Reads and changes the settings in a pinned map, as somebody else's program might have left them.
/// Returns what they are afterwards.
#[track_caller]
pub fn edit_pinned_settings(pin_dir: &Path, edit: impl FnOnce(&mut Settings)) -> Settings {
    let data = MapData::from_pin(pin_dir.join("maps").join(MAP_SETTINGS)).expect("pinned settings");
    let mut array = Array::<_, Plain<Settings>>::try_from(Map::Array(data)).expect(MAP_SETTINGS);
    let mut settings = array.get(&0, 0).expect("settings").0;
    edit(&mut settings);
    array.set(0, Plain(settings), 0).expect("settings");
    settings
}
