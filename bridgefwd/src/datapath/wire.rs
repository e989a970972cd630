//! Values of the contract as aya takes them, and maps opened by pin with their sizes checked.

use std::path::Path;

use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray};
use bytemuck::{Pod, Zeroable};

use crate::failure::{Failure, Result};

/// A value of the contract on its way into or out of a map.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Wire<T>(pub T);

// SAFETY: bytemuck's Pod promises what aya's asks for, and more: any bytes are a valid value, and
// there is no padding. The wrapper is transparent.
unsafe impl<T: Pod> aya::Pod for Wire<T> {}

/// A hash map of the contract.
pub type WireHashMap<K, V> = HashMap<MapData, Wire<K>, Wire<V>>;
/// An array of the contract.
pub type WireArray<V> = Array<MapData, Wire<V>>;
/// A per-CPU array of the contract.
pub type WirePerCpuArray<V> = PerCpuArray<MapData, Wire<V>>;

/// Opens the map that is pinned as `maps/NAME`.
///
/// # Errors
///
/// Names the pin where it is not there or not such a map.
pub fn open<M>(pin_dir: &Path, name: &str) -> Result<M>
where
    M: TryFrom<Map, Error = MapError>,
{
    let map = open_data(pin_dir, name)?;
    Map::from_map_data(map).and_then(M::try_from).map_err(|error| failed(name, "open", &error))
}

/// The bare map that is pinned as `maps/NAME`.
///
/// # Errors
///
/// Names the pin where it is not there.
pub fn open_data(pin_dir: &Path, name: &str) -> Result<MapData> {
    let path = super::pins::map(pin_dir, name);
    MapData::from_pin(&path).map_err(|error| {
        Failure::failed(format!("cannot open the pinned map {}: {}", path.display(), chain(&error)))
    })
}

/// The sum over all CPUs.
pub fn sum<T: Pod + Zeroable>(
    map: &WirePerCpuArray<T>,
    name: &str,
    index: u32,
    merge: impl Fn(&mut T, &T),
) -> Result<T> {
    let values = map.get(&index, 0).map_err(|error| failed(name, "read", &error))?;
    let mut total = T::zeroed();
    for Wire(value) in values.iter() {
        merge(&mut total, value);
    }
    Ok(total)
}

/// The failure of one operation on the map `name`.
pub fn failed(name: &str, what: &str, error: &MapError) -> Failure {
    Failure::failed(format!("cannot {what} the map {name}: {}", chain(error)))
}

/// An error with its causes, each said once.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}
