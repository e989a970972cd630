//! The layout of the BPF maps: what the program and the daemon must agree on, byte for byte.
//!
//! Maps hash and compare every byte of a key, so there is no implicit padding anywhere: each gap is
//! a named field that is always zero, and each size is asserted. Addresses and ports are in wire
//! order, copied straight from the header; everything else is in host order.
//!
//! A change of anything in this module that an older program or daemon would misread takes a new
//! [`ABI_VERSION`].

mod address;
mod body;
mod connection;
mod counters;
mod dropped;
mod event;
mod flow;
mod flow_state;
mod fragment;
mod interface;
mod kept;
mod mapping;
mod moment;
mod pair;
mod settings;
mod source;
mod sweep;
mod tuple;

pub use address::{Address, Family};
pub use body::{Body, Way};
pub use connection::TcpSide;
pub use counters::{Counter, PairCounters, SEEN};
pub use dropped::{
    DROP_HEADERS, DROP_RING_BYTES, DROPS_PROGRAM, DropLayout, DropRecord, MAP_DROP_ADDRESSES,
    MAP_DROP_LAYOUT, MAP_DROPS, MAX_DROP_ADDRESSES,
};
pub use event::{
    EVENT_CLOSED, EVENT_HEADERS, EVENT_OPENED, EVENT_REFUSED, EVENT_RING_BYTES, EVENT_TRACED,
    EventBudget, EventControl, FlowRecord, MAX_REFUSALS, PacketRecord, REFUSALS_TOLD_A_SECOND,
    REFUSALS_TOLD_EACH_NS, RefusalCount, RefusalKey, TRACED_TOLD_A_SECOND,
};
pub use flow::{Direction, Flow, FlowSide, IndexEntry, SlotOwner};
pub use flow_state::FlowState;
pub use fragment::{FRAGMENT_TIMEOUT_NS, FragmentKey, FragmentOwner};
pub use interface::{AttachKind, Interface, InterfaceAddress, MAX_ADDRESSES, NAME_LEN, Role};
pub use kept::{Kept, NOTHING_KEPT};
pub use mapping::{Endpoint, Mapping};
pub use moment::{MOMENT_SHIFT, moment, ns_between};
pub use pair::{MAX_POOL, NatMode, PairKey, PairPolicy, PairRule, PairState, Pool};
pub use settings::{Settings, TIMEOUTS, Unlisted};
pub use source::{SourceKey, SourceUse};
pub use sweep::SweepRequest;
pub use tuple::{Tuple, TupleV4};

/// Version of the pinned maps' layout. Pinned state of another version is refused, never misread.
pub const ABI_VERSION: u32 = 4;

/// Name of the classifier that is attached at ingress of ends and ports.
pub const PROGRAM: &str = "bridgefwd";
/// Name of the classifier that is attached at egress of ends.
pub const EGRESS_PROGRAM: &str = "bridgefwd_egress";
/// Name of the classifier that frees expired flows; never attached, run by the daemon.
pub const SWEEP_PROGRAM: &str = "bridgefwd_sweep";

/// Name of the classifier that finds the kernel's number for [`Kept`]; never attached, run by the daemon.
pub const FIND_PROGRAM: &str = "bridgefwd_find";

/// Names of the classifiers that [`PROGRAM`] and [`EGRESS_PROGRAM`] go on to for what is not everyday
/// traffic; their places in [`MAP_COLD_PATHS`] are their places here. Each has a stack of its own, and
/// the everyday path does not pay for what they do.
pub const COLD_PROGRAMS: [&str; 10] = [
    "bridgefwd_open",
    "bridgefwd_icmp",
    "bridgefwd_v6",
    "bridgefwd_kernel",
    "bridgefwd_pieces",
    "bridgefwd_neigh",
    "bridgefwd_quote",
    "bridgefwd_host",
    "bridgefwd_rare",
    "bridgefwd_front",
];
/// Place of the program that opens flows.
pub const COLD_OPEN: u32 = 0;
/// Place of the program that forwards ICMP errors.
pub const COLD_ICMP: u32 = 1;
/// Place of the program for IPv6.
pub const COLD_V6: u32 = 2;
/// Place of the program for what the kernel forwards and we translate: options, extension headers,
/// and what it has to answer itself.
pub const COLD_KERNEL: u32 = 3;
/// Place of the program that holds the pieces of fragmented packets until all are there.
pub const COLD_PIECES: u32 = 4;
/// Place of the program for neighbours that are not known yet.
pub const COLD_NEIGHBOUR: u32 = 5;
/// Place of the program that, at egress, mends what the host's own ICMP errors quote.
pub const COLD_QUOTE: u32 = 6;
/// Place of the program that, at egress, has the host's own conversations give way to flows.
pub const COLD_HOST: u32 = 7;
/// Place of the program for segments that open or reset a connection.
pub const COLD_RARE: u32 = 8;

/// Place of the program that begins with what [`PROGRAM`] does not forward itself.
pub const COLD_FRONT: u32 = 9;

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
/// `HashMap<TupleV4, IndexEntry>`: both directions of every IPv4 flow, as their packets look on
/// arrival.
pub const MAP_FLOW_INDEX_V4: &str = "FLOW_INDEX_V4";
/// `HashMap<Tuple, IndexEntry>`: the same for IPv6.
pub const MAP_FLOW_INDEX_V6: &str = "FLOW_INDEX_V6";
/// `Array<Flow>`, mapped into the daemon's memory: one slot a flow, both directions.
pub const MAP_FLOWS: &str = "FLOWS";
/// `Queue<u32>`: the free slots of [`MAP_FLOWS`], longest unused first.
pub const MAP_FREE_SLOTS: &str = "FREE_SLOTS";
/// `HashMap<u32, SlotOwner>`: the slots that are being released, and the mappings that are being
/// changed, at this moment.
pub const MAP_RELEASING: &str = "RELEASING";
/// `PerCpuArray<Counter>` by [`Reason`](crate::Reason), with [`SEEN`] at index 0.
pub const MAP_REASONS: &str = "REASONS";
/// `PerCpuArray<u32>`, one element: where this CPU's search for expired flows goes on.
pub const MAP_SWEEP_CURSOR: &str = "SWEEP_CURSOR";

/// `LruHashMap<FragmentKey, FragmentOwner>`: packets whose first piece has been forwarded.
pub const MAP_FRAGMENTS: &str = "FRAGMENTS";

/// `HashMap<u32, Pool>`: addresses to translate to, by [`PairPolicy::pool`].
pub const MAP_POOLS: &str = "POOLS";
/// `HashMap<SourceKey, SourceUse>`: how much of the flow table each source has.
pub const MAP_SOURCES: &str = "SOURCES";
/// `HashMap<Endpoint, Mapping>`: endpoint-independent mappings, by their inner endpoint.
pub const MAP_MAPPINGS: &str = "MAPPINGS";
/// `HashMap<Endpoint, Mapping>`: the same, by their outer endpoint. What is in here is taken: no flow
/// of anybody else gets that outer address and port.
pub const MAP_MAPPED: &str = "MAPPED";

/// `Array<Kept>`, one element, mapped into the daemon's memory.
pub const MAP_KEPT: &str = "KEPT";

/// `RingBuf` of [`FlowRecord`]s and [`PacketRecord`]s; not pinned, like the other maps of events.
pub const MAP_EVENTS: &str = "EVENTS";
/// `Array<EventControl>`, one element.
pub const MAP_EVENT_CONTROL: &str = "EVENT_CONTROL";
/// `PerCpuArray<EventBudget>`, one element.
pub const MAP_EVENT_BUDGET: &str = "EVENT_BUDGET";
/// `LruHashMap<RefusalKey, RefusalCount>`.
pub const MAP_REFUSALS: &str = "REFUSALS";

/// Every map that is pinned, in no order that matters.
pub const PINNED_MAPS: [&str; 18] = [
    MAP_SETTINGS,
    MAP_KEPT,
    MAP_INTERFACES,
    MAP_PAIR_INDEX,
    MAP_PAIRS,
    MAP_PAIR_COUNTERS,
    MAP_FLOW_INDEX_V4,
    MAP_FLOW_INDEX_V6,
    MAP_FLOWS,
    MAP_FREE_SLOTS,
    MAP_RELEASING,
    MAP_REASONS,
    MAP_SWEEP_CURSOR,
    MAP_FRAGMENTS,
    MAP_POOLS,
    MAP_SOURCES,
    MAP_MAPPINGS,
    MAP_MAPPED,
];

/// How many interfaces (bridges and ports together) can be managed.
pub const MAX_INTERFACES: u32 = 16_384;
/// How many pairs can be listed at one time.
pub const MAX_PAIRS: u32 = 16_384;
/// How many fragmented packets are followed at one time; beyond it the longest unused are forgotten.
pub const MAX_FRAGMENTS: u32 = 8192;
/// How many pools there can be at one time.
pub const MAX_POOLS: u32 = 16_384;
/// How many flows there can be where nothing else is said.
pub const DEFAULT_MAX_FLOWS: u32 = 65_536;
/// Where nothing else is said, one source can have this part of all flows: one in so many.
pub const DEFAULT_SOURCE_SHARE: u32 = 4;
