//! Endpoint-independent mappings, and the locks that changes of them and of flows take.

use std::collections::HashMap;

use aya::maps::HashMap as BpfHashMap;
use bridgefwd_common::contract::{
    Endpoint, MAP_MAPPED, MAP_MAPPINGS, MAP_RELEASING, Mapping, SlotOwner,
};

use super::{Plain, Program};

impl Program {
    /// The endpoint-independent mappings, by their inner endpoints.
    #[must_use]
    pub fn mappings(&self) -> HashMap<Endpoint, Mapping> {
        self.entries(MAP_MAPPINGS)
    }

    /// The same, by their outer endpoints.
    #[must_use]
    pub fn mapped(&self) -> HashMap<Endpoint, Mapping> {
        self.entries(MAP_MAPPED)
    }

    /// Has an outer endpoint in `MAPPED`, as if somebody had begun to make a mapping.
    pub fn put_mapped(&mut self, outer: Endpoint, mapping: Mapping) {
        let map = self.ebpf.map_mut(MAP_MAPPED).expect(MAP_MAPPED);
        let mut map =
            BpfHashMap::<_, Plain<Endpoint>, Plain<Mapping>>::try_from(map).expect(MAP_MAPPED);
        map.insert(Plain(outer), Plain(mapping), 0).expect("a mapping");
    }

    /// Has an entry in `RELEASING`, as if another CPU were at it.
    pub fn hold(&mut self, key: u32, owner: SlotOwner) {
        let map = self.ebpf.map_mut(MAP_RELEASING).expect(MAP_RELEASING);
        let mut map = BpfHashMap::<_, u32, Plain<SlotOwner>>::try_from(map).expect(MAP_RELEASING);
        map.insert(key, Plain(owner), 0).expect("a lock");
    }

    /// Removes it.
    pub fn let_go(&mut self, key: u32) {
        let map = self.ebpf.map_mut(MAP_RELEASING).expect(MAP_RELEASING);
        let mut map = BpfHashMap::<_, u32, Plain<SlotOwner>>::try_from(map).expect(MAP_RELEASING);
        map.remove(&key).expect("a lock");
    }

    /// What is being released or changed.
    #[must_use]
    pub fn releasing(&self) -> Vec<u32> {
        let map = self.ebpf.map(MAP_RELEASING).expect(MAP_RELEASING);
        let map = BpfHashMap::<_, u32, Plain<SlotOwner>>::try_from(map).expect(MAP_RELEASING);
        map.keys().map(|key| key.expect("a key")).collect()
    }
}
