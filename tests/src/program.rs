//! The compiled program under `BPF_PROG_TEST_RUN`, with maps of its own.

use std::collections::HashMap;

use aya::maps::{Array, HashMap as BpfHashMap, MapData, PerCpuArray, PerCpuValues, Queue};
use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use aya::{Ebpf, EbpfLoader};
use bridgefwd_common::contract::{
    ABI_VERSION, AttachKind, Counter, EGRESS_PROGRAM, Endpoint, Flow, FlowState, IndexEntry,
    Interface, InterfaceAddress, MAP_FLOW_INDEX_V4, MAP_FLOW_INDEX_V6, MAP_FLOWS, MAP_FREE_SLOTS,
    MAP_INTERFACES, MAP_MAPPED, MAP_MAPPINGS, MAP_PAIR_COUNTERS, MAP_PAIR_INDEX, MAP_PAIRS,
    MAP_POOLS, MAP_REASONS, MAP_RELEASING, MAP_SETTINGS, MAX_ADDRESSES, Mapping, PROGRAM,
    PairCounters, PairKey, PairPolicy, PairRule, Pool, Role, SEEN, SWEEP_PROGRAM, Settings,
    SlotOwner, Tuple, TupleV4, Unlisted,
};
use bridgefwd_common::{Reason, Verdict};

use crate::topology::{Bridge, Host, PREFIX_LEN, PREFIX6_LEN, Router};

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
pub(crate) struct Plain<T>(pub(crate) T);

// SAFETY: a `bytemuck::Pod` is plain data without padding, and the wrapper is transparent.
unsafe impl<T: bytemuck::Pod> aya::Pod for Plain<T> {}

/// The loaded program and its maps.
pub struct Program {
    ebpf: Ebpf,
}

/// What one packet came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// [`PASS`], [`DROP`] or [`REDIRECT`].
    pub verdict: i32,
    /// The one reason that was counted.
    pub reason: Reason,
    /// The frame afterwards.
    pub frame: Vec<u8>,
}

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

/// The compiled object: `BRIDGEFWD_OBJECT`, else what is built into the library.
fn object() -> Vec<u8> {
    match std::env::var_os("BRIDGEFWD_OBJECT") {
        Some(path) => std::fs::read(&path).unwrap_or_else(|error| panic!("{path:?}: {error}")),
        None => bridgefwd::datapath::OBJECT.to_vec(),
    }
}

impl Program {
    /// Loads both classifiers with empty maps of their own, room for `max_flows` flows, and the
    /// default settings.
    #[must_use]
    #[track_caller]
    pub fn load(max_flows: u32) -> Self {
        let mut loader = EbpfLoader::new();
        for (name, entries) in bridgefwd::datapath::map_sizes(max_flows) {
            loader.map_max_entries(name, entries);
        }
        let ebpf = loader
            .load(&object())
            .unwrap_or_else(|error| panic!("the object does not load: {error:?}"));
        let mut this = Self { ebpf };
        bridgefwd::datapath::load_programs(&mut this.ebpf)
            .unwrap_or_else(|error| panic!("not accepted: {error}"));
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
                max_flows_per_source: max_flows,
            }
        });
        let map = this.ebpf.map_mut(MAP_FREE_SLOTS).expect(MAP_FREE_SLOTS);
        let mut free = Queue::<_, u32>::try_from(map).expect(MAP_FREE_SLOTS);
        for slot in 0..max_flows {
            free.push(slot, 0).expect("a free slot");
        }
        this
    }

    fn program(&self, name: &str) -> &SchedClassifier {
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

    /// Runs the program on a frame that arrives on `ifindex`, a managed interface or not, in the
    /// calling thread's network namespace. Panics unless exactly one reason was counted, its
    /// verdict is the one that was given, and a frame that passes is untouched.
    #[track_caller]
    pub fn run(&mut self, ifindex: u32, frame: &[u8]) -> Outcome {
        let before = self.counters();
        let (verdict, after) = self.run_uncounted(PROGRAM, ifindex, frame, 0);
        self.judge(&before, frame, verdict, after)
    }

    /// As [`Program::run`], for a packet to be cut into segments of `gso_size` bytes of payload.
    #[track_caller]
    pub fn run_gso(&mut self, ifindex: u32, frame: &[u8], gso_size: u32) -> Outcome {
        let before = self.counters();
        let (verdict, after) = self.run_uncounted(PROGRAM, ifindex, frame, gso_size);
        self.judge(&before, frame, verdict, after)
    }

    #[track_caller]
    fn judge(&self, before: &Counters, frame: &[u8], verdict: i32, after: Vec<u8>) -> Outcome {
        let counted = self.counters();
        let one = Counter { packets: 1, bytes: frame.len() as u64 };
        let mut reasons = Vec::new();
        for (number, (new, old)) in (0u32..).zip(counted.reasons.iter().zip(&before.reasons)) {
            let more = Counter { packets: new.packets - old.packets, bytes: new.bytes - old.bytes };
            match Reason::from_number(number) {
                None => assert_eq!(more, one, "packets seen"),
                Some(_) if more == Counter::default() => {}
                Some(reason) => {
                    assert_eq!(more, one, "{reason:?}");
                    reasons.push(reason);
                }
            }
        }
        let [reason] = reasons[..] else { panic!("one reason for one packet, not {reasons:?}") };
        let wanted = match reason.verdict() {
            Verdict::Redirect => REDIRECT,
            Verdict::Pass => PASS,
            // What is held is a copy.
            Verdict::Drop | Verdict::Hold => DROP,
        };
        assert_eq!(verdict, wanted, "verdict of {reason:?}");
        if verdict == PASS {
            assert!(after == frame, "{reason:?}: passed, but not untouched: {after:02x?}");
        }
        Outcome { verdict, reason, frame: after }
    }

    /// As [`Program::run`], for a frame that the program translates before it passes.
    #[track_caller]
    pub fn run_through_kernel(&mut self, ifindex: u32, frame: &[u8]) -> Outcome {
        let before = self.counters();
        let (verdict, after) = self.run_uncounted(PROGRAM, ifindex, frame, 0);
        let outcome = self.judge(&before, &after, verdict, after.clone());
        assert_eq!(outcome.reason, Reason::ThroughKernel, "{frame:02x?}");
        outcome
    }

    /// Runs the program of egress on a frame that came in by `ingress`, 0 where it is the host's own,
    /// and leaves by `ifindex`: the verdict, and the frame.
    #[track_caller]
    pub fn leave(&mut self, ingress: u32, ifindex: u32, frame: &[u8]) -> (i32, Vec<u8>) {
        let mut context = [0; SK_BUFF];
        context[INGRESS..INGRESS + 4].copy_from_slice(&ingress.to_ne_bytes());
        context[IFINDEX..IFINDEX + 4].copy_from_slice(&ifindex.to_ne_bytes());
        self.run_with(EGRESS_PROGRAM, Some(&context), frame)
    }

    /// Runs the sweep once; what it returns is its own affair.
    pub fn sweep(&mut self) -> i32 {
        self.run_uncounted(SWEEP_PROGRAM, 0, &[0; 64], 0).0
    }

    /// Several threads at a time: each runs the program on its frames, one after the other, `rounds`
    /// times, and the calling thread runs the sweep meanwhile. What comes of it is for the counters to say.
    pub fn storm(&self, threads: &[Vec<(u32, Vec<u8>)>], rounds: u32) {
        std::thread::scope(|scope| {
            let senders: Vec<_> = threads
                .iter()
                .map(|frames| {
                    scope.spawn(move || {
                        for (ifindex, frame) in (0..rounds).flat_map(|_| frames) {
                            self.run_uncounted(PROGRAM, *ifindex, frame, 0);
                        }
                    })
                })
                .collect();
            while !senders.iter().all(|sender| sender.is_finished()) {
                self.run_uncounted(SWEEP_PROGRAM, 0, &[0; 64], 0);
            }
        });
    }

    #[track_caller]
    fn run_uncounted(
        &self,
        name: &str,
        ifindex: u32,
        frame: &[u8],
        gso_size: u32,
    ) -> (i32, Vec<u8>) {
        let mut context = [0; SK_BUFF];
        context[IFINDEX..IFINDEX + 4].copy_from_slice(&ifindex.to_ne_bytes());
        context[GSO_SIZE..GSO_SIZE + 4].copy_from_slice(&gso_size.to_ne_bytes());
        if gso_size > 0 {
            let segments = (frame.len() as u32).div_ceil(gso_size);
            context[GSO_SEGS..GSO_SEGS + 4].copy_from_slice(&segments.to_ne_bytes());
        }
        self.run_with(name, (ifindex != 0).then_some(&context), frame)
    }

    #[track_caller]
    fn run_with(
        &self,
        name: &str,
        context: Option<&[u8; SK_BUFF]>,
        frame: &[u8],
    ) -> (i32, Vec<u8>) {
        let mut after = vec![0; frame.len() + 256];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut after),
            ctx_in: context.map(|context| &context[..]),
            ..TestRunOptions::new()
        };
        let result = self.program(name).test_run(options);
        let result = result.unwrap_or_else(|error| panic!("{name}: test run: {error:?}"));
        after.truncate(result.data_size_out as usize);
        (result.return_value.cast_signed(), after)
    }

    /// Has a pool of addresses under `key`.
    pub fn pool(&mut self, key: u32, pool: &Pool) {
        let map = self.ebpf.map_mut(MAP_POOLS).expect(MAP_POOLS);
        let mut pools = BpfHashMap::<_, u32, Plain<Pool>>::try_from(map).expect(MAP_POOLS);
        pools.insert(key, Plain(*pool), 0).expect("a pool");
    }

    /// The endpoint-independent mappings, by their inner endpoints.
    #[must_use]
    pub fn mappings(&self) -> HashMap<Endpoint, Mapping> {
        self.endpoints(MAP_MAPPINGS)
    }

    /// The same, by their outer endpoints.
    #[must_use]
    pub fn mapped(&self) -> HashMap<Endpoint, Mapping> {
        self.endpoints(MAP_MAPPED)
    }

    fn endpoints(&self, name: &str) -> HashMap<Endpoint, Mapping> {
        let map = self.ebpf.map(name).expect(name);
        let map = BpfHashMap::<_, Plain<Endpoint>, Plain<Mapping>>::try_from(map).expect(name);
        map.iter().map(|entry| entry.expect("an entry")).map(|(at, to)| (at.0, to.0)).collect()
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

    fn entries<K: bytemuck::Pod + Into<Tuple>>(&self, name: &str) -> HashMap<Tuple, IndexEntry> {
        let map = self.ebpf.map(name).expect(name);
        let map = BpfHashMap::<_, Plain<K>, Plain<IndexEntry>>::try_from(map).expect(name);
        map.iter()
            .map(|entry| entry.expect("an entry"))
            .map(|(key, at)| (key.0.into(), at.0))
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

    /// By which tuples flows are found.
    #[must_use]
    pub fn index(&self) -> HashMap<Tuple, IndexEntry> {
        let mut index = self.entries::<Tuple>(MAP_FLOW_INDEX_V6);
        index.extend(self.entries::<TupleV4>(MAP_FLOW_INDEX_V4));
        index
    }
}

// `struct __sk_buff`: what a test run may set.
const SK_BUFF: usize = 192;
const INGRESS: usize = 36;
const IFINDEX: usize = 40;
const GSO_SEGS: usize = 164;
const GSO_SIZE: usize = 176;

fn merged<T: bytemuck::Pod + Default>(
    values: &PerCpuValues<Plain<T>>,
    merge: impl Fn(&mut T, &T),
) -> T {
    let mut sum = T::default();
    values.iter().for_each(|value| merge(&mut sum, &value.0));
    sum
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
        address_count: 1,
        address_count_v6: 1,
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
