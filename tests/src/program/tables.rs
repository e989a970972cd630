//! What is in the program's maps, and what must hold of them between two packets.

use std::collections::{HashMap, HashSet};

use aya::maps::{
    Array, HashMap as BpfHashMap, MapData, PerCpuArray, PerCpuValues, ProgramArray, Queue,
};
use aya::programs::ProgramFd;
use bridgefwd_common::Reason;
use bridgefwd_common::contract::{
    COLD_PROGRAMS, Counter, Direction, Family, Flow, FlowState, IndexEntry, Interface,
    MAP_COLD_PATHS, MAP_FLOW_INDEX_V4, MAP_FLOW_INDEX_V6, MAP_FLOWS, MAP_FREE_SLOTS,
    MAP_INTERFACES, MAP_PAIR_COUNTERS, MAP_REASONS, MAP_SOURCES, PairCounters, SEEN, SourceKey,
    SourceUse, Tuple, TupleV4,
};

use super::{Plain, Program};

/// A program that is not there for the time being.
pub struct Taken(ProgramFd);

/// Every counter of the program, all CPUs together.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Counters {
    /// By [`Reason`], with [`SEEN`] at 0.
    pub reasons: Vec<Counter>,
}

impl Counters {
    /// Of all packets.
    #[must_use]
    pub fn seen(&self) -> Counter {
        self.reasons[SEEN as usize]
    }

    /// Of one reason.
    #[must_use]
    pub fn of(&self, reason: Reason) -> Counter {
        self.reasons[reason as usize]
    }

    /// Of all reasons together.
    #[must_use]
    pub fn sum(&self) -> Counter {
        let mut sum = Counter::default();
        self.reasons.iter().skip(1).for_each(|counter| sum.merge(counter));
        sum
    }
}

impl Program {
    pub(super) fn entries<K: bytemuck::Pod + std::hash::Hash + Eq, V: bytemuck::Pod>(
        &self,
        name: &str,
    ) -> HashMap<K, V> {
        let map = self.ebpf.map(name).expect(name);
        let map = BpfHashMap::<_, Plain<K>, Plain<V>>::try_from(map).expect(name);
        map.iter()
            .map(|entry| entry.expect("an entry"))
            .map(|(key, value)| (key.0, value.0))
            .collect()
    }

    /// All counters, all CPUs together.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let map = self.ebpf.map(MAP_REASONS).expect(MAP_REASONS);
        let array = PerCpuArray::<_, Plain<Counter>>::try_from(map).expect(MAP_REASONS);
        let sum = |index| {
            let values = array.get(&index, 0).expect("a counter");
            merged(&values, Counter::merge)
        };
        Counters { reasons: (0..Reason::COUNTERS).map(sum).collect() }
    }

    /// Counters of the pair at `index`.
    #[must_use]
    pub fn pair_counters(&self, index: u32) -> PairCounters {
        let map = self.ebpf.map(MAP_PAIR_COUNTERS).expect(MAP_PAIR_COUNTERS);
        let array = PerCpuArray::<_, Plain<PairCounters>>::try_from(map).expect(MAP_PAIR_COUNTERS);
        merged(&array.get(&index, 0).expect("counters"), PairCounters::merge)
    }

    /// The entry of an interface, if it is managed.
    #[must_use]
    pub fn interface(&self, ifindex: u32) -> Option<Interface> {
        let map = self.ebpf.map(MAP_INTERFACES).expect(MAP_INTERFACES);
        let map = BpfHashMap::<_, u32, Plain<Interface>>::try_from(map).expect(MAP_INTERFACES);
        map.get(&ifindex, 0).ok().map(|entry| entry.0)
    }

    /// The flows whose slots are not free, by slot.
    #[must_use]
    pub fn flows(&self) -> Vec<(u32, Flow)> {
        let map = self.ebpf.map(MAP_FLOWS).expect(MAP_FLOWS);
        let array = Array::<&MapData, Plain<Flow>>::try_from(map).expect(MAP_FLOWS);
        let flow = |slot| array.get(&slot, 0).expect("a slot").0;
        (0..array.len())
            .map(|slot| (slot, flow(slot)))
            .filter(|(_, flow)| FlowState::from_byte(flow.state) != FlowState::Free)
            .collect()
    }

    /// The only flow there is.
    #[must_use]
    #[track_caller]
    pub fn flow(&self) -> Flow {
        let flows = self.flows();
        let [(_, flow)] = flows[..] else { panic!("one flow, not {flows:?}") };
        flow
    }

    /// Changes the flow in a slot, as time or another CPU would.
    pub fn edit_flow(&mut self, slot: u32, edit: impl FnOnce(&mut Flow)) {
        let map = self.ebpf.map_mut(MAP_FLOWS).expect(MAP_FLOWS);
        let mut array = Array::<_, Plain<Flow>>::try_from(map).expect(MAP_FLOWS);
        let mut flow = array.get(&slot, 0).expect("a slot").0;
        edit(&mut flow);
        array.set(slot, Plain(flow), 0).expect("a slot");
    }

    /// Puts flows into these slots, which are free, as if packets had opened them: with their entries
    /// in the indices, but without a share of their source.
    pub fn put_flows(&mut self, flows: impl Iterator<Item = (u32, Flow)>) {
        let mut places = Vec::new();
        let mut entries = Vec::new();
        for (slot, flow) in flows {
            for direction in [Direction::Original, Direction::Reply] {
                let entry = IndexEntry::new(slot, direction, flow.generation);
                entries.push((flow.arriving(direction), entry));
            }
            places.push((slot, flow));
        }
        let map = self.ebpf.map_mut(MAP_FLOWS).expect(MAP_FLOWS);
        let mut slots = Array::<_, Plain<Flow>>::try_from(map).expect(MAP_FLOWS);
        let taken: HashSet<u32> = places.iter().map(|(slot, _)| *slot).collect();
        for (slot, flow) in places {
            slots.set(slot, Plain(flow), 0).expect("a slot");
        }
        let map = self.ebpf.map_mut(MAP_FLOW_INDEX_V4).expect(MAP_FLOW_INDEX_V4);
        let mut v4 = BpfHashMap::<_, Plain<TupleV4>, Plain<IndexEntry>>::try_from(map)
            .expect(MAP_FLOW_INDEX_V4);
        for (tuple, entry) in entries.iter().filter(|(tuple, _)| tuple.family() == Family::V4) {
            v4.insert(Plain(tuple.to_v4()), Plain(*entry), 0).expect("an entry");
        }
        let map = self.ebpf.map_mut(MAP_FLOW_INDEX_V6).expect(MAP_FLOW_INDEX_V6);
        let mut v6 = BpfHashMap::<_, Plain<Tuple>, Plain<IndexEntry>>::try_from(map)
            .expect(MAP_FLOW_INDEX_V6);
        for (tuple, entry) in entries.iter().filter(|(tuple, _)| tuple.family() == Family::V6) {
            v6.insert(Plain(*tuple), Plain(*entry), 0).expect("an entry");
        }
        let map = self.ebpf.map_mut(MAP_FREE_SLOTS).expect(MAP_FREE_SLOTS);
        let mut free = Queue::<_, u32>::try_from(map).expect(MAP_FREE_SLOTS);
        // A queue can only be emptied and filled again.
        let mut left = Vec::new();
        while let Ok(slot) = free.pop(0) {
            left.push(slot);
        }
        for slot in left.iter().filter(|slot| !taken.contains(slot)) {
            free.push(slot, 0).expect("room for a slot");
        }
    }

    /// By which tuples flows are found.
    #[must_use]
    pub fn index(&self) -> HashMap<Tuple, IndexEntry> {
        let mut index = self.entries::<Tuple, IndexEntry>(MAP_FLOW_INDEX_V6);
        let v4 = self.entries::<TupleV4, IndexEntry>(MAP_FLOW_INDEX_V4);
        index.extend(v4.into_iter().map(|(key, entry)| (key.into(), entry)));
        index
    }

    /// Puts an entry into the index, as another CPU would.
    pub fn claim(&mut self, tuple: &Tuple, entry: IndexEntry) {
        let map = self.ebpf.map_mut(MAP_FLOW_INDEX_V4).expect(MAP_FLOW_INDEX_V4);
        let mut map = BpfHashMap::<_, Plain<TupleV4>, Plain<IndexEntry>>::try_from(map)
            .expect(MAP_FLOW_INDEX_V4);
        map.insert(Plain(tuple.to_v4()), Plain(entry), 0).expect("an entry");
    }

    /// Takes it out again.
    pub fn unclaim(&mut self, tuple: &Tuple) {
        let map = self.ebpf.map_mut(MAP_FLOW_INDEX_V4).expect(MAP_FLOW_INDEX_V4);
        let mut map = BpfHashMap::<_, Plain<TupleV4>, Plain<IndexEntry>>::try_from(map)
            .expect(MAP_FLOW_INDEX_V4);
        map.remove(&Plain(tuple.to_v4())).expect("an entry");
    }

    /// Has one of the programs that the main one goes on to not be there.
    pub fn without_program(&mut self, place: u32) {
        let map = self.ebpf.map_mut(MAP_COLD_PATHS).expect(MAP_COLD_PATHS);
        let mut programs = ProgramArray::try_from(map).expect(MAP_COLD_PATHS);
        programs.clear_index(&place).expect("a program");
    }

    /// Has that program not be there until it is [given back](Self::give_program).
    pub fn take_program(&mut self, place: u32) -> Taken {
        let name = COLD_PROGRAMS[place as usize];
        let program = self.program(name).fd().expect(name).try_clone().expect(name);
        self.without_program(place);
        Taken(program)
    }

    /// Gives it back.
    pub fn give_program(&mut self, place: u32, taken: &Taken) {
        let map = self.ebpf.map_mut(MAP_COLD_PATHS).expect(MAP_COLD_PATHS);
        let mut programs = ProgramArray::try_from(map).expect(MAP_COLD_PATHS);
        programs.set(place, &taken.0, 0).expect("a program");
    }

    /// How much of the table each source has.
    #[must_use]
    pub fn sources(&self) -> HashMap<SourceKey, SourceUse> {
        self.entries(MAP_SOURCES)
    }

    /// The free slots, longest unused first.
    pub fn free_slots(&mut self) -> Vec<u32> {
        let map = self.ebpf.map_mut(MAP_FREE_SLOTS).expect(MAP_FREE_SLOTS);
        let mut queue = Queue::<_, u32>::try_from(map).expect(MAP_FREE_SLOTS);
        // A queue can only be emptied and filled again.
        let mut slots = Vec::new();
        while let Ok(slot) = queue.pop(0) {
            slots.push(slot);
        }
        for slot in &slots {
            queue.push(slot, 0).expect("room for a slot");
        }
        slots
    }

    /// Panics unless the maps agree with one another: each flow is found by exactly its two tuples,
    /// each slot is free or has a flow, and each source is counted as many flows as it has.
    #[track_caller]
    pub fn assert_consistent(&mut self) {
        let flows = self.flows();
        let mut index = self.index();
        let mut sources: HashMap<SourceKey, u64> = HashMap::new();
        for (slot, flow) in &flows {
            for direction in [Direction::Original, Direction::Reply] {
                let wanted = IndexEntry::new(*slot, direction, flow.generation);
                let found = index.remove(&flow.arriving(direction));
                assert_eq!(found, Some(wanted), "{direction:?} of {flow:?}");
            }
            let key = SourceKey::new(flow.original().src, flow.source_port);
            *sources.entry(key).or_default() += 1;
        }
        assert!(index.is_empty(), "they lead to no flow: {index:?}");
        let counted: HashMap<_, _> =
            self.sources().into_iter().map(|(key, source)| (key, source.flows)).collect();
        assert_eq!(counted, sources, "flows of each source");
        let map = self.ebpf.map(MAP_FLOWS).expect(MAP_FLOWS);
        let slots = Array::<&MapData, Plain<Flow>>::try_from(map).expect(MAP_FLOWS).len();
        let mut all = self.free_slots();
        all.extend(flows.iter().map(|(slot, _)| slot));
        all.sort_unstable();
        assert!(all.iter().copied().eq(0..slots), "each slot is free or has a flow: {all:?}");
    }
}

fn merged<T: bytemuck::Pod + Default>(
    values: &PerCpuValues<Plain<T>>,
    merge: impl Fn(&mut T, &T),
) -> T {
    let mut sum = T::default();
    values.iter().for_each(|value| merge(&mut sum, &value.0));
    sum
}
