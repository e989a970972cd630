//! The maps, as `bridgefwd_common::contract` has them. The loader sets the sizes and the pins.

use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, ProgramArray, Queue, RingBuf};
use bridgefwd_common::Reason;
use bridgefwd_common::contract::{
    COLD_PROGRAMS, Counter, DEFAULT_MAX_FLOWS, EVENT_RING_BYTES, Endpoint, EventBudget,
    EventControl, Flow, FragmentKey, FragmentOwner, IndexEntry, Interface, Kept, MAX_FRAGMENTS,
    MAX_INTERFACES, MAX_PAIRS, MAX_POOLS, MAX_REFUSALS, Mapping, PairCounters, PairKey, PairRule,
    Pool, RefusalCount, RefusalKey, Settings, SlotOwner, SourceKey, SourceUse, Tuple, TupleV4,
};

/// Releases under way at one time: at most one a CPU.
const MAX_RELEASING: u32 = 4096;

#[map]
pub static SETTINGS: Array<Settings> = Array::with_max_entries(1, 0);
/// The daemon maps this array into its memory.
#[map]
pub static KEPT: Array<Kept> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static INTERFACES: HashMap<u32, Interface> = HashMap::with_max_entries(MAX_INTERFACES, 0);
#[map]
pub static PAIR_INDEX: HashMap<PairKey, u32> = HashMap::with_max_entries(MAX_PAIRS, 0);
/// The daemon maps this array into its memory.
#[map]
pub static PAIRS: Array<PairRule> = Array::with_max_entries(MAX_PAIRS, BPF_F_MMAPABLE);
#[map]
pub static PAIR_COUNTERS: PerCpuArray<PairCounters> = PerCpuArray::with_max_entries(MAX_PAIRS, 0);
#[map]
pub static POOLS: HashMap<u32, Pool> = HashMap::with_max_entries(MAX_POOLS, BPF_F_NO_PREALLOC);
#[map]
pub static FLOW_INDEX_V4: HashMap<TupleV4, IndexEntry> =
    HashMap::with_max_entries(2 * DEFAULT_MAX_FLOWS, 0);
/// Takes memory for what is in it only: many hosts have no IPv6.
#[map]
pub static FLOW_INDEX_V6: HashMap<Tuple, IndexEntry> =
    HashMap::with_max_entries(2 * DEFAULT_MAX_FLOWS, BPF_F_NO_PREALLOC);
/// The daemon maps this array into its memory.
#[map]
pub static FLOWS: Array<Flow> = Array::with_max_entries(DEFAULT_MAX_FLOWS, BPF_F_MMAPABLE);
#[map]
pub static FREE_SLOTS: Queue<u32> = Queue::with_max_entries(DEFAULT_MAX_FLOWS, 0);
#[map]
pub static RELEASING: HashMap<u32, SlotOwner> = HashMap::with_max_entries(MAX_RELEASING, 0);
#[map]
pub static REASONS: PerCpuArray<Counter> = PerCpuArray::with_max_entries(Reason::COUNTERS, 0);
#[map]
pub static SWEEP_CURSOR: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub static COLD_PATHS: ProgramArray = ProgramArray::with_max_entries(COLD_PROGRAMS.len() as u32, 0);
#[map]
pub static FRAGMENTS: LruHashMap<FragmentKey, FragmentOwner> =
    LruHashMap::with_max_entries(MAX_FRAGMENTS, 0);
#[map]
pub static SOURCES: HashMap<SourceKey, SourceUse> =
    HashMap::with_max_entries(DEFAULT_MAX_FLOWS, BPF_F_NO_PREALLOC);
#[map]
pub static MAPPINGS: HashMap<Endpoint, Mapping> =
    HashMap::with_max_entries(DEFAULT_MAX_FLOWS, BPF_F_NO_PREALLOC);
#[map]
pub static MAPPED: HashMap<Endpoint, Mapping> =
    HashMap::with_max_entries(DEFAULT_MAX_FLOWS, BPF_F_NO_PREALLOC);
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(EVENT_RING_BYTES, 0);
#[map]
pub static EVENT_CONTROL: Array<EventControl> = Array::with_max_entries(1, 0);
#[map]
pub static EVENT_BUDGET: PerCpuArray<EventBudget> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub static REFUSALS: LruHashMap<RefusalKey, RefusalCount> =
    LruHashMap::with_max_entries(MAX_REFUSALS, 0);
