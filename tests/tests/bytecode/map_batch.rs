//! Maps read by many entries at a time: the same as one by one, whatever their size, and refused where the
//! kernel refuses.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;

use aya::maps::{HashMap, IterableMap as _, Map, MapData, PerCpuArray, PerCpuValues};
use aya::util::nr_cpus;
use bridgefwd::datapath::wire::{self, Wire, WireHashMap, WirePerCpuArray};
use bridgefwd::host::map_batch;
use bridgefwd_common::contract::Counter;
use bridgefwd_tests::bpf::{MAP_TYPE_HASH, MAP_TYPE_PER_CPU_ARRAY, MAP_TYPE_PROG_ARRAY, map};
use bridgefwd_tests::needs_root;

fn data(map: OwnedFd) -> MapData {
    MapData::from_fd(map).unwrap()
}

/// A hash map of this many entries, of values that tell their keys.
fn hash(entries: u32) -> WireHashMap<u32, u64> {
    let map = Map::from_map_data(data(map(MAP_TYPE_HASH, 4, 8, entries.max(1)))).unwrap();
    let mut map = HashMap::try_from(map).unwrap();
    for key in 0..entries {
        map.insert(Wire(key), Wire(u64::from(key) << 20), 0).unwrap();
    }
    map
}

#[test]
fn every_entry_of_a_hash_map_is_read_once() {
    needs_root!();
    // Of nothing, of less than is asked for at once, of just that, and of more.
    for entries in [0, 1, 1023, 1024, 1025, 5000] {
        let map = hash(entries);
        let expected: Vec<_> = (0..entries).map(|key| (key, u64::from(key) << 20)).collect();
        for mut read in
            [wire::entries(&map, "M").unwrap(), wire::entries_one_by_one(&map, "M").unwrap()]
        {
            read.sort_unstable();
            assert_eq!(read, expected, "{entries} entries");
        }
    }
}

#[test]
fn buckets_that_do_not_fit_are_asked_for_again_with_more_room() {
    needs_root!();
    let map = hash(5000);
    let mut seen = BTreeMap::<Vec<u8>, u32>::new();
    // With room for one, many a bucket has more.
    let done = map_batch::for_each(map.map(), 1, |key, value| {
        let (key, value) = (u32::from_ne_bytes(key.try_into().unwrap()), value.to_vec());
        assert_eq!(value, (u64::from(key) << 20).to_ne_bytes());
        *seen.entry(key.to_ne_bytes().to_vec()).or_default() += 1;
        ControlFlow::Continue(())
    });
    if !done.unwrap() {
        return assert!(seen.is_empty(), "handed out, and then refused");
    }
    assert_eq!(seen.len(), 5000);
    assert!(seen.values().all(|&times| times == 1));
}

#[test]
fn who_has_seen_enough_is_asked_no_more() {
    needs_root!();
    let (map, mut seen) = (hash(3000), 0);
    let done = map_batch::for_each(map.map(), 1024, |_, _| {
        seen += 1;
        if seen < 1500 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    assert_eq!(seen, if done.unwrap() { 1500 } else { 0 });
}

#[test]
fn sums_are_over_all_cpus_and_in_order() {
    needs_root!();
    const ENTRIES: u32 = 3000;
    let size = u32::try_from(size_of::<Counter>()).unwrap();
    let data = data(map(MAP_TYPE_PER_CPU_ARRAY, 4, size, ENTRIES));
    let mut array: WirePerCpuArray<Counter> =
        PerCpuArray::try_from(Map::from_map_data(data).unwrap()).unwrap();
    let cpus = u64::try_from(nr_cpus().unwrap()).unwrap();
    for index in 0..ENTRIES {
        let of_cpu = |cpu| Wire(Counter { packets: index.into(), bytes: cpu });
        let values = PerCpuValues::try_from((0..cpus).map(of_cpu).collect::<Vec<_>>()).unwrap();
        array.set(index, values, 0).unwrap();
    }
    let expected =
        |index: u32| Counter { packets: u64::from(index) * cpus, bytes: (0..cpus).sum() };
    for count in [0, 1, 1024, 1025, ENTRIES] {
        let sums = wire::sums(&array, "M", count, Counter::merge).unwrap();
        assert_eq!(sums, (0..count).map(expected).collect::<Vec<_>>());
        // As those who ask for one.
        if let Some(last) = count.checked_sub(1) {
            assert_eq!(wire::sum(&array, "M", last, Counter::merge).unwrap(), expected(last));
        }
    }
    let error = wire::sums(&array, "M", ENTRIES + 1, Counter::merge).unwrap_err().to_string();
    assert!(error.contains("cannot read the map M"), "{error}");
}

#[test]
fn a_map_that_cannot_be_read_so_is_refused_with_nothing_handed_out() {
    needs_root!();
    let map = data(map(MAP_TYPE_PROG_ARRAY, 4, 4, 8));
    let done = map_batch::for_each(&map, 8, |_, _| panic!("handed out"));
    assert!(!done.unwrap());
}
