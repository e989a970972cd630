//! `FLOWS` read from memory: which flows are alive, and how they are shown.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::ControlFlow;

use bridgefwd_common::contract::{
    Flow, FlowSide, FlowState, Interface, NatMode, PairRule, Settings, Tuple, moment, ns_between,
};
use bridgefwd_common::decide::established::is_over;
use rustix::time::{ClockId, clock_gettime};

use super::memory::Memory;
use crate::api::types::{BothWays, Flow as FlowView, FlowTuple};

const NS_PER_S: u64 = 1_000_000_000;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMP_V6: u8 = 58;
const SCTP: u8 = 132;

/// Now: `CLOCK_MONOTONIC_COARSE`, ns. The program asks the same clock, or the exact one where the kernel
/// lacks that: what is over by this one is over for it, too.
#[must_use]
pub fn now_ns() -> u64 {
    read_clock(ClockId::MonotonicCoarse)
}

/// Now, exactly: `CLOCK_MONOTONIC`, ns.
#[must_use]
pub fn now_exact_ns() -> u64 {
    read_clock(ClockId::Monotonic)
}

fn read_clock(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    seconds.saturating_mul(NS_PER_S).saturating_add(u64::try_from(now.tv_nsec).unwrap_or_default())
}

/// Calls `each` with every flow that is alive and the rule that governs it.
///
/// Alive is what would forward a packet: made under the rule's present generation, by a pair that
/// forwards existing flows, and not over.
pub fn for_each_live(
    flows: &Memory<Flow>,
    rules: &Memory<PairRule>,
    settings: &Settings,
    now_ns: u64,
    mut each: impl FnMut(&Flow, &PairRule),
) {
    for slot in 0..flows.len() {
        if let Some((flow, rule)) = live(flows, rules, settings, now_ns, slot) {
            each(&flow, &rule);
        }
    }
}

/// Calls `each` with every flow that has a slot: also with those that are over or cut, until they
/// are freed.
pub fn for_each(flows: &Memory<Flow>, mut each: impl FnMut(&Flow)) {
    (0..flows.len()).filter_map(|slot| read(flows, slot)).for_each(|flow| each(&flow));
}

/// As [`for_each_live`], of the slots from `first` on, until `each` says that it has enough: the slot
/// that it said so at.
pub fn find_live(
    flows: &Memory<Flow>,
    rules: &Memory<PairRule>,
    settings: &Settings,
    now_ns: u64,
    first: u32,
    mut each: impl FnMut(&Flow) -> ControlFlow<()>,
) -> Option<u32> {
    (first..flows.len()).find(|&slot| {
        let live = live(flows, rules, settings, now_ns, slot);
        live.is_some_and(|(flow, _)| each(&flow).is_break())
    })
}

/// The flow in `slot` and its rule, where it is alive.
fn live(
    flows: &Memory<Flow>,
    rules: &Memory<PairRule>,
    settings: &Settings,
    now_ns: u64,
    slot: u32,
) -> Option<(Flow, PairRule)> {
    let flow = read(flows, slot)?;
    remaining_ns(&flow, settings, now_ns)?;
    let rule = rules.read(flow.pair)?;
    let forwards = rule.generation == flow.pair_generation && rule.policy.forwards_existing();
    forwards.then_some((flow, rule))
}

/// The flow in `slot`, where there is one.
fn read(flows: &Memory<Flow>, slot: u32) -> Option<Flow> {
    /// The word with the state; free slots, most of them, cost one look.
    const STATE_WORD: usize = std::mem::offset_of!(Flow, state) / 8;
    /// Should the slot change hands while it is read, look again, but not for ever.
    const ATTEMPTS: usize = 4;
    for _ in 0..ATTEMPTS {
        let word = flows.word(slot, STATE_WORD)?.load(std::sync::atomic::Ordering::Acquire);
        if word.to_ne_bytes().get(std::mem::offset_of!(Flow, state) % 8) == Some(&0) {
            return None;
        }
        let flow = flows.read(slot)?;
        let after = flows.half_word(slot, std::mem::offset_of!(Flow, generation))?;
        if after.load(std::sync::atomic::Ordering::Acquire) == flow.generation {
            return (flow.state != FlowState::Free as u8).then_some(flow);
        }
    }
    None
}

/// How long until a flow is over where no packet comes, in ns; `None` where it is over.
#[must_use]
pub fn remaining_ns(flow: &Flow, settings: &Settings, now_ns: u64) -> Option<u64> {
    let state = FlowState::from_byte(flow.state);
    let now = moment(now_ns);
    if state == FlowState::Free || is_over(flow.state, flow.last_seen, now, settings) {
        return None;
    }
    let timeout_s = settings.timeouts_s.get(state as usize).copied().unwrap_or_default();
    let timeout_ns = u64::from(timeout_s).saturating_mul(NS_PER_S);
    Some(timeout_ns.saturating_sub(ns_between(flow.last_seen, now)))
}

/// Name of an IP protocol.
#[must_use]
pub fn protocol_name(protocol: u8) -> String {
    match protocol {
        TCP => "tcp".into(),
        UDP => "udp".into(),
        ICMP => "icmp".into(),
        ICMP_V6 => "icmpv6".into(),
        SCTP => "sctp".into(),
        other => other.to_string(),
    }
}

/// A flow as it is shown; `None` where one of its ends is not managed any more.
#[must_use]
pub fn view(
    flow: &Flow,
    interfaces: &BTreeMap<u32, Interface>,
    settings: &Settings,
    now_ns: u64,
) -> Option<FlowView> {
    let name = |ifindex| interfaces.get(ifindex).map(|interface| interface.name().to_owned());
    let seconds_since = |then: u32| ns_between(then, moment(now_ns)) / NS_PER_S;
    let [original, reply] = flow.sides;
    let both = |of: fn(FlowSide) -> u64| BothWays { original: of(original), reply: of(reply) };
    Some(FlowView {
        from: name(&flow.from)?,
        to: name(&flow.to)?,
        proto: protocol_name(flow.protocol),
        state: FlowState::from_byte(flow.state).name().into(),
        nat: nat(flow),
        client: None,
        server: None,
        original: tuple(flow.original()),
        translated: tuple(flow.translated()),
        packets: both(|side| side.packets),
        bytes: both(|side| side.bytes),
        age_s: seconds_since(flow.created),
        idle_s: seconds_since(flow.last_seen),
        expires_s: remaining_ns(flow, settings, now_ns)?.div_ceil(NS_PER_S),
    })
}

/// The NAT that the flow was opened with; its pair may have another by now.
#[must_use]
pub fn nat(flow: &Flow) -> String {
    match NatMode::from_byte(flow.nat) {
        NatMode::Masquerade => "masquerade".into(),
        NatMode::None => "none".into(),
        NatMode::Address => IpAddr::from(flow.translated().src).to_string(),
    }
}

/// Addresses and ports as they are shown.
#[must_use]
pub fn tuple(tuple: Tuple) -> FlowTuple {
    FlowTuple {
        src: tuple.src.into(),
        src_port: u16::from_be_bytes(tuple.src_port),
        dst: tuple.dst.into(),
        dst_port: u16::from_be_bytes(tuple.dst_port),
    }
}

#[cfg(test)]
mod tests {
    use bridgefwd_common::contract::{ABI_VERSION, Address};
    use bytemuck::Zeroable as _;

    use super::*;

    fn settings() -> Settings {
        Settings {
            abi: ABI_VERSION,
            timeouts_s: Settings::DEFAULT_TIMEOUTS_S,
            max_flows: 16,
            ..Settings::zeroed()
        }
    }

    fn flow() -> Flow {
        let original = Tuple {
            src: Address::v4([172, 18, 0, 2]),
            dst: Address::v4([172, 19, 0, 2]),
            src_port: 40_000_u16.to_be_bytes(),
            dst_port: 80_u16.to_be_bytes(),
            protocol: TCP,
            ..Tuple::default()
        };
        Flow {
            state: FlowState::TcpEstablished as u8,
            from: 5,
            to: 7,
            created: moment(10 * NS_PER_S),
            last_seen: moment(20 * NS_PER_S),
            sides: [FlowSide { packets: 3, bytes: 300 }, FlowSide { packets: 2, bytes: 200 }],
            ..Flow::zeroed()
        }
        .between(&original, &Tuple { src: Address::v4([172, 19, 0, 1]), ..original })
    }

    fn interfaces() -> BTreeMap<u32, Interface> {
        [(5, "front"), (7, "db")]
            .into_iter()
            .map(|(ifindex, name)| {
                (ifindex, Interface { name: Interface::name_bytes(name), ..Interface::zeroed() })
            })
            .collect()
    }

    #[test]
    fn a_flow_is_over_after_its_timeout() {
        let end = (20 + 7440) * NS_PER_S;
        let soon = remaining_ns(&flow(), &settings(), end - NS_PER_S).unwrap();
        assert!(soon.abs_diff(NS_PER_S) < NS_PER_S / 50, "{soon}");
        assert!(remaining_ns(&flow(), &settings(), end - 1).is_some());
        assert_eq!(remaining_ns(&flow(), &settings(), end + NS_PER_S / 20), None);
        let free = Flow { state: FlowState::Free as u8, ..flow() };
        assert_eq!(remaining_ns(&free, &settings(), 0), None);
    }

    #[test]
    fn view_of_a_flow() {
        // Moments are in steps of some ms: half a second keeps clear of them.
        let now = 30 * NS_PER_S + NS_PER_S / 2;
        let view = view(&flow(), &interfaces(), &settings(), now).unwrap();
        assert_eq!((&*view.from, &*view.to, &*view.proto), ("front", "db", "tcp"));
        assert_eq!((&*view.state, &*view.nat), ("established", "masquerade"));
        assert_eq!((view.original.src_port, view.original.dst_port), (40_000, 80));
        assert_eq!(view.translated.src.to_string(), "172.19.0.1");
        assert_eq!(view.packets, BothWays { original: 3, reply: 2 });
        assert_eq!(view.bytes, BothWays { original: 300, reply: 200 });
        assert_eq!((view.age_s, view.idle_s, view.expires_s), (20, 10, 7430));
    }

    #[test]
    fn nat_is_what_the_flow_was_opened_with() {
        let with = |mode: NatMode| nat(&Flow { nat: mode as u8, ..flow() });
        assert_eq!(with(NatMode::Masquerade), "masquerade");
        assert_eq!(with(NatMode::Address), "172.19.0.1");
        assert_eq!(with(NatMode::None), "none");
    }

    #[test]
    fn a_flow_of_an_unknown_end_is_not_shown() {
        let lost = Flow { to: 99, ..flow() };
        assert_eq!(view(&lost, &interfaces(), &settings(), 0), None);
    }
}
