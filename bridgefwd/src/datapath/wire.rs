//! Values of the contract as aya takes them, and maps opened by pin with their sizes checked.

use std::ops::ControlFlow;
use std::path::Path;

use aya::maps::{Array, HashMap, IterableMap as _, Map, MapData, MapError, PerCpuArray};
use bytemuck::{Pod, Zeroable};

use crate::failure::{Failure, Result};
use crate::host::map_batch;

/// Entries that are read by one system call, where the kernel can.
const AT_ONCE: u32 = 1024;

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

/// All entries of a hash map, in any order.
///
/// # Errors
///
/// The kernel's error.
pub fn entries<K: Pod, V: Pod>(map: &WireHashMap<K, V>, name: &str) -> Result<Vec<(K, V)>> {
    let mut all = Vec::new();
    let done = map_batch::for_each(map.map(), AT_ONCE, |key, value| {
        all.push((bytemuck::pod_read_unaligned(key), bytemuck::pod_read_unaligned(value)));
        ControlFlow::Continue(())
    });
    if done.map_err(|error| unreadable(name, &error))? {
        return Ok(all);
    }
    entries_one_by_one(map, name)
}

/// The same, on kernels that give one at a time.
///
/// # Errors
///
/// The kernel's error.
pub fn entries_one_by_one<K: Pod, V: Pod>(
    map: &WireHashMap<K, V>,
    name: &str,
) -> Result<Vec<(K, V)>> {
    map.iter()
        .map(|entry| {
            entry
                .map(|(Wire(key), Wire(value))| (key, value))
                .map_err(|error| failed(name, "read", &error))
        })
        .collect()
}

/// The first `count` elements of an array, each the sum over all CPUs.
///
/// # Errors
///
/// The kernel's error, also where there are not so many.
pub fn sums<T: Pod + Zeroable>(
    map: &WirePerCpuArray<T>,
    name: &str,
    count: u32,
    merge: impl Fn(&mut T, &T),
) -> Result<Vec<T>> {
    let mut all = Vec::new();
    if count == 0 {
        return Ok(all);
    }
    let stride = size_of::<T>().next_multiple_of(8);
    let done = map_batch::for_each(map.map(), count.min(AT_ONCE), |_, value| {
        let mut total = T::zeroed();
        for of_cpu in value.chunks_exact(stride).filter_map(|value| value.get(..size_of::<T>())) {
            merge(&mut total, &bytemuck::pod_read_unaligned(of_cpu));
        }
        all.push(total);
        if all.len() < count as usize { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    // In order, since an array's keys are.
    if done.map_err(|error| unreadable(name, &error))? && all.len() == count as usize {
        return Ok(all);
    }
    (0..count).map(|index| sum(map, name, index, &merge)).collect()
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

fn unreadable(name: &str, error: &std::io::Error) -> Failure {
    Failure::failed(format!("cannot read the map {name}: {error}"))
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
