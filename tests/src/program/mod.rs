//! The compiled program under `BPF_PROG_TEST_RUN`, with maps of its own.

mod front;
mod mappings;
mod run;
mod tables;

use aya::maps::{Array, HashMap as BpfHashMap, Queue};
use aya::programs::SchedClassifier;
use aya::{Ebpf, EbpfLoader};
use bridgefwd::datapath::events::{self, Control, Counts, Ring};
use bridgefwd::datapath::helpers::{self, HELPERS, Helper};
use bridgefwd::datapath::kept;
use bridgefwd_common::contract::{
    ABI_VERSION, AttachKind, Interface, InterfaceAddress, Kept, MAP_FREE_SLOTS, MAP_INTERFACES,
    MAP_KEPT, MAP_PAIR_INDEX, MAP_PAIRS, MAP_POOLS, MAP_SETTINGS, MAX_ADDRESSES, PairKey,
    PairPolicy, PairRule, Pool, Role, Settings, Unlisted,
};

use crate::topology::{Bridge, Host, PREFIX_LEN, PREFIX6_LEN, Router};

pub use front::Change;
pub use run::{Buffer, Left, Outcome};
pub use tables::{Counters, Taken};

/// `TC_ACT_UNSPEC`: the kernel goes on as if we were absent.
pub const PASS: i32 = -1;
/// `TC_ACT_SHOT`.
pub const DROP: i32 = 2;
/// `TC_ACT_REDIRECT`.
pub const REDIRECT: i32 = 7;

/// The host's `ip_local_port_range` in these tests.
pub const LOCAL_PORTS: (u16, u16) = (32768, 60999);

/// A type of the contract as aya wants it.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct Plain<T>(pub T);

// SAFETY: a `bytemuck::Pod` is plain data without padding, and the wrapper is transparent.
unsafe impl<T: bytemuck::Pod> aya::Pod for Plain<T> {}

/// The loaded program and its maps.
pub struct Program {
    ebpf: Ebpf,
}

/// The compiled object: `BRIDGEFWD_OBJECT`, else what is built into the library.
fn object() -> Vec<u8> {
    match std::env::var_os("BRIDGEFWD_OBJECT") {
        Some(path) => std::fs::read(&path).unwrap_or_else(|error| panic!("{path:?}: {error}")),
        None => bridgefwd::datapath::OBJECT.to_vec(),
    }
}

/// The object with every program of it accepted, and maps of its own.
#[track_caller]
fn loaded(max_flows: u32, helpers: &[Helper]) -> Ebpf {
    let mut loader = EbpfLoader::new();
    for (name, entries) in bridgefwd::datapath::map_sizes(max_flows) {
        loader.map_max_entries(name, entries);
    }
    helpers::suit(&mut loader, helpers)
        .unwrap_or_else(|error| panic!("this kernel does not suit: {error}"));
    let mut ebpf = loader
        .load(&object())
        .unwrap_or_else(|error| panic!("the object does not load: {error:?}"));
    bridgefwd::datapath::load_programs(&mut ebpf)
        .unwrap_or_else(|error| panic!("not accepted: {error}"));
    ebpf
}

impl Program {
    /// Loads every classifier with empty maps of their own, room for `max_flows` flows, and the
    /// default settings.
    #[must_use]
    #[track_caller]
    pub fn load(max_flows: u32) -> Self {
        Self::load_with(max_flows, &HELPERS)
    }

    /// As [`load`](Self::load), as if these were the helpers that the program calls.
    #[must_use]
    #[track_caller]
    pub fn load_with(max_flows: u32, helpers: &[Helper]) -> Self {
        let mut this = Self { ebpf: loaded(max_flows, helpers) };
        this.settings(|settings| {
            *settings = Settings {
                abi: ABI_VERSION,
                unlisted: Unlisted::Kernel as u32,
                timeouts_s: Settings::DEFAULT_TIMEOUTS_S,
                max_flows,
                local_port_first: LOCAL_PORTS.0,
                local_port_last: LOCAL_PORTS.1,
                pair_generation: 0,
                last_pool: 0,
                // Nobody is refused for that unless a test says so.
                max_flows_per_source: u32::MAX,
                smallest_route_mtu: 0,
            }
        });
        let map = this.ebpf.map_mut(MAP_FREE_SLOTS).expect(MAP_FREE_SLOTS);
        let mut free = Queue::<_, u32>::try_from(map).expect(MAP_FREE_SLOTS);
        for slot in 0..max_flows {
            free.push(slot, 0).expect("a free slot");
        }
        this
    }

    /// Has flows keep their ways, in the calling thread's network namespace: from now on, those that
    /// they have kept before no more.
    ///
    /// # Errors
    ///
    /// Why that cannot be here.
    pub fn keep_ways(&mut self) -> Result<(), String> {
        let offsets = kept::offsets().map_err(|error| error.to_string())?;
        let map = self.ebpf.map_mut(MAP_KEPT).expect(MAP_KEPT);
        let mut array = Array::<_, Plain<Kept>>::try_from(map).expect(MAP_KEPT);
        let Plain(before) = array.get(&0, 0).expect(MAP_KEPT);
        let kept = Kept { epoch: before.epoch + 1, ..offsets };
        array.set(0, Plain(kept), 0).expect(MAP_KEPT);
        kept::run(&mut self.ebpf).map_err(|error| error.to_string())
    }

    /// All that is loaded, programs and maps.
    #[must_use]
    pub const fn ebpf(&self) -> &Ebpf {
        &self.ebpf
    }

    /// What the daemon takes to be told what happens. Once.
    #[must_use]
    #[track_caller]
    pub fn take_events(&mut self) -> (Ring, Control, Counts) {
        events::take(&mut self.ebpf).unwrap_or_else(|error| panic!("maps of events: {error}"))
    }

    /// One of the programs.
    #[must_use]
    #[track_caller]
    pub fn program(&self, name: &str) -> &SchedClassifier {
        let program = self.ebpf.program(name).unwrap_or_else(|| panic!("no program {name}"));
        program.try_into().unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Changes the settings.
    pub fn settings(&mut self, edit: impl FnOnce(&mut Settings)) {
        let map = self.ebpf.map_mut(MAP_SETTINGS).expect(MAP_SETTINGS);
        let mut array = Array::<_, Plain<Settings>>::try_from(map).expect(MAP_SETTINGS);
        let mut settings = array.get(&0, 0).expect("settings").0;
        edit(&mut settings);
        array.set(0, Plain(settings), 0).expect("settings");
    }

    /// Lists an interface as managed.
    pub fn manage(&mut self, ifindex: u32, interface: &Interface) {
        let map = self.ebpf.map_mut(MAP_INTERFACES).expect(MAP_INTERFACES);
        let mut map = BpfHashMap::<_, u32, Plain<Interface>>::try_from(map).expect(MAP_INTERFACES);
        map.insert(ifindex, Plain(*interface), 0).expect("an interface");
    }

    /// Manages a bridge and the ports of its hosts, as the daemon would. `edit` changes the entry.
    pub fn manage_bridge(&mut self, router: &Router, name: &str, edit: impl Fn(&mut Interface)) {
        let bridge = router.bridge(name);
        let mut entry = interface_of(bridge);
        edit(&mut entry);
        self.manage(bridge.ifindex, &entry);
        for host in router.hosts.iter().filter(|host| host.bridge == name) {
            self.manage(host.port_index, &port_of(host, &entry));
        }
    }

    /// Writes one pair at `index` and lists it.
    pub fn pair(&mut self, index: u32, key: PairKey, policy: PairPolicy, generation: u32) {
        let map = self.ebpf.map_mut(MAP_PAIRS).expect(MAP_PAIRS);
        let mut rules = Array::<_, Plain<PairRule>>::try_from(map).expect(MAP_PAIRS);
        rules.set(index, Plain(PairRule { policy, generation, key, _zero: 0 }), 0).expect("a rule");
        let map = self.ebpf.map_mut(MAP_PAIR_INDEX).expect(MAP_PAIR_INDEX);
        let mut listed = BpfHashMap::<_, Plain<PairKey>, u32>::try_from(map).expect(MAP_PAIR_INDEX);
        listed.insert(Plain(key), index, 0).expect("a pair");
    }

    /// Has a pool of addresses under `key`.
    pub fn pool(&mut self, key: u32, pool: &Pool) {
        let map = self.ebpf.map_mut(MAP_POOLS).expect(MAP_POOLS);
        let mut pools = BpfHashMap::<_, u32, Plain<Pool>>::try_from(map).expect(MAP_POOLS);
        pools.insert(key, Plain(*pool), 0).expect("a pool");
    }
}

/// The entry of a bridge.
#[must_use]
pub fn interface_of(bridge: &Bridge) -> Interface {
    let mut addresses = [InterfaceAddress::default(); MAX_ADDRESSES];
    addresses[0] = InterfaceAddress {
        address: bridge.address.into(),
        prefix_len: PREFIX_LEN,
        ..InterfaceAddress::default()
    };
    let mut addresses_v6 = [InterfaceAddress::default(); MAX_ADDRESSES];
    addresses_v6[0] = InterfaceAddress {
        address: bridge.address6.into(),
        prefix_len: PREFIX6_LEN,
        ..InterfaceAddress::default()
    };
    Interface {
        end: bridge.ifindex,
        role: Role::Bridge as u8,
        attached: AttachKind::Tcx as u8,
        router_mac: bridge.mac,
        mtu: 1500,
        route_mtu: 0,
        route_mtu_v6: 0,
        address_count: 1,
        address_count_v6: 1,
        flags: 0,
        addresses,
        addresses_v6,
        name: Interface::name_bytes(bridge.name),
    }
}

/// The entry of a host's port on the bridge that `bridge` is the entry of.
#[must_use]
pub fn port_of(host: &Host, bridge: &Interface) -> Interface {
    Interface {
        role: Role::Port as u8,
        address_count: 0,
        address_count_v6: 0,
        addresses: [InterfaceAddress::default(); MAX_ADDRESSES],
        addresses_v6: [InterfaceAddress::default(); MAX_ADDRESSES],
        name: Interface::name_bytes(&host.port),
        ..*bridge
    }
}
