//! The layout of the BPF maps: what the program and the daemon must agree on, byte for byte.
//!
//! Maps hash and compare every byte of a key, so there is no implicit padding anywhere: each gap is
//! a named field that is always zero, and each size is asserted. Addresses and ports are in wire
//! order, copied straight from the header; everything else is in host order.
//!
//! A change of anything in this module that an older program or daemon would misread takes a new
//! [`ABI_VERSION`].

mod counters;
mod flow;
mod interface;
mod pair;
mod settings;

pub use counters::{Counter, PairCounters, SEEN};
pub use flow::{
    Direction, FRAGMENT_TIMEOUT_NS, Flow, FlowSide, FlowState, FragmentKey, FragmentOwner,
    IndexEntry, SlotOwner, Tuple,
};
pub use interface::{AttachKind, Interface, InterfaceAddress, MAX_ADDRESSES, NAME_LEN, Role};
pub use pair::{NatMode, PairKey, PairPolicy, PairRule, PairState};
pub use settings::{Settings, TIMEOUTS, Unlisted};

/// Version of the pinned maps' layout. Pinned state of another version is refused, never misread.
pub const ABI_VERSION: u32 = 1;

/// Name of the classifier that is attached to bridges and ports.
pub const PROGRAM: &str = "bridgefwd";
/// Name of the classifier that frees expired flows; never attached, run by the daemon.
pub const SWEEP_PROGRAM: &str = "bridgefwd_sweep";

/// Names of the classifiers that [`PROGRAM`] goes on to for what is not everyday traffic; their
/// places in [`MAP_COLD_PATHS`] are their places here. Each has a stack of its own, and the
/// everyday path does not pay for what they do.
pub const COLD_PROGRAMS: [&str; 2] = ["bridgefwd_open", "bridgefwd_icmp"];
/// Place of the program that opens flows.
pub const COLD_OPEN: u32 = 0;
/// Place of the program that forwards ICMP errors.
pub const COLD_ICMP: u32 = 1;

/// `ProgramArray`: the [`COLD_PROGRAMS`]. Each load of the programs has one of its own, so it is not
/// among the [`PINNED_MAPS`]; but it must be pinned, or the kernel empties it when the daemon ends.
pub const MAP_COLD_PATHS: &str = "COLD_PATHS";
/// `Array<Settings>`, one element.
pub const MAP_SETTINGS: &str = "SETTINGS";
/// `HashMap<u32, Interface>` by ifindex: every bridge and port that is managed.
pub const MAP_INTERFACES: &str = "INTERFACES";
/// `HashMap<PairKey, u32>`: the index in [`MAP_PAIRS`] of a pair that is listed.
pub const MAP_PAIR_INDEX: &str = "PAIR_INDEX";
/// `Array<PairRule>`, mapped into the daemon's memory.
pub const MAP_PAIRS: &str = "PAIRS";
/// `PerCpuArray<PairCounters>`, the same index as [`MAP_PAIRS`].
pub const MAP_PAIR_COUNTERS: &str = "PAIR_COUNTERS";
/// `HashMap<Tuple, IndexEntry>`: both directions of every flow, as their packets look on arrival.
pub const MAP_FLOW_INDEX: &str = "FLOW_INDEX";
/// `Array<Flow>`, mapped into the daemon's memory: one slot a flow, both directions.
pub const MAP_FLOWS: &str = "FLOWS";
/// `Queue<u32>`: the free slots of [`MAP_FLOWS`], longest unused first.
pub const MAP_FREE_SLOTS: &str = "FREE_SLOTS";
/// `HashMap<u32, SlotOwner>`: the slots that are being released at this moment.
pub const MAP_RELEASING: &str = "RELEASING";
/// `PerCpuArray<Counter>` by [`Reason`](crate::Reason), with [`SEEN`] at index 0.
pub const MAP_REASONS: &str = "REASONS";
/// `PerCpuArray<u32>`, one element: where this CPU's search for expired flows goes on.
pub const MAP_SWEEP_CURSOR: &str = "SWEEP_CURSOR";

/// `LruHashMap<FragmentKey, FragmentOwner>`: packets whose first piece has been forwarded.
pub const MAP_FRAGMENTS: &str = "FRAGMENTS";

/// Every map that is pinned, in no order that matters.
pub const PINNED_MAPS: [&str; 12] = [
    MAP_SETTINGS,
    MAP_INTERFACES,
    MAP_PAIR_INDEX,
    MAP_PAIRS,
    MAP_PAIR_COUNTERS,
    MAP_FLOW_INDEX,
    MAP_FLOWS,
    MAP_FREE_SLOTS,
    MAP_RELEASING,
    MAP_REASONS,
    MAP_SWEEP_CURSOR,
    MAP_FRAGMENTS,
];

/// How many interfaces (bridges and ports together) can be managed.
pub const MAX_INTERFACES: u32 = 16_384;
/// How many pairs can be listed at one time.
pub const MAX_PAIRS: u32 = 16_384;
/// How many fragmented packets are followed at one time; beyond it the longest unused are forgotten.
pub const MAX_FRAGMENTS: u32 = 8192;
/// How many flows there can be where nothing else is said.
pub const DEFAULT_MAX_FLOWS: u32 = 65_536;
