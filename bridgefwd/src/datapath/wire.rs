//! Values of the contract as aya takes them, and maps opened by pin with their sizes checked.

use std::ops::ControlFlow;
use std::os::fd::AsFd as _;
use std::path::Path;

use aya::maps::{Array, HashMap, IterableMap as _, Map, MapData, MapError, PerCpuArray};
use aya::util::nr_cpus;
use bytemuck::{Pod, Zeroable};

use crate::failure::{Failure, Result};
use crate::host::map_batch;

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
    let sizes = (size_of::<K>(), size_of::<V>());
    let by_batch = map_batch::for_each(map.map().fd().as_fd(), sizes, |key, value| {
        all.push((bytemuck::pod_read_unaligned(key), bytemuck::pod_read_unaligned(value)));
        ControlFlow::Continue(())
    });
    if by_batch.is_ok() {
        return Ok(all);
    }
    map.iter()
        .map(|entry| {
            entry
                .map(|(Wire(key), Wire(value))| (key, value))
                .map_err(|error| failed(name, "read", &error))
        })
        .collect()
}

/// The sums over all CPUs of the elements of an array, as far as `last`.
///
/// # Errors
///
/// The kernel's error.
pub fn sums<T: Pod + Zeroable>(
    map: &WirePerCpuArray<T>,
    name: &str,
    last: u32,
    merge: impl Fn(&mut T, &T),
) -> Result<Vec<T>> {
    let cpus = nr_cpus().map_err(|(path, error)| Failure::failed(format!("{path}: {error}")))?;
    let of_cpu = size_of::<T>().next_multiple_of(8);
    let mut all = Vec::new();
    let sizes = (size_of::<u32>(), of_cpu * cpus);
    let by_batch = map_batch::for_each(map.map().fd().as_fd(), sizes, |_, value| {
        let mut total = T::zeroed();
        for of_cpu in value.chunks_exact(of_cpu).filter_map(|value| value.get(..size_of::<T>())) {
            merge(&mut total, &bytemuck::pod_read_unaligned(of_cpu));
        }
        all.push(total);
        if all.len() > last as usize { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    if by_batch.is_ok() && all.len() > last as usize {
        return Ok(all);
    }
    (0..=last).map(|index| sum(map, name, index, &merge)).collect()
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
