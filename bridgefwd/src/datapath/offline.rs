//! What can be read without a daemon: counters, flows and pairs, from the pinned maps. The daemon
//! itself reads by the same [`Reader`].

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use bridgefwd_common::contract::{
    Counter, Flow, Interface, MAP_FLOWS, MAP_INTERFACES, MAP_PAIR_COUNTERS, MAP_PAIR_INDEX,
    MAP_PAIRS, MAP_POOLS, MAP_REASONS, MAP_SETTINGS, MAP_SOURCES, NatMode, PairCounters, PairKey,
    PairPolicy, PairRule, PairState, Pool, Role, Settings, SourceKey, SourceUse, Unlisted,
};
use bridgefwd_common::decide::mapping::has_address;

use super::filter::Wanted;
use super::layout::{self, Found};
use super::memory::Memory;
use super::wire::{self, Wire, WireArray, WireHashMap, WirePerCpuArray};
use super::{counters, flows, interfaces, pairs, pools, sources};
use crate::api::bridges::Bridge;
use crate::api::types::{
    self, FlowFilter, FlowTable, Pair, PairCount, PairState as StateView, Stats, Status,
};
use crate::failure::Result;
use crate::host::netlink::Snapshot;
use crate::instance::Instance;
use crate::policy::{PairNat, timers};

/// Reads the pinned maps. It never writes, so it gets in nobody's way.
pub struct Reader {
    pin_dir: PathBuf,
    pub(super) settings: WireArray<Settings>,
    pub(super) interfaces: WireHashMap<u32, Interface>,
    pub(super) pair_index: WireHashMap<PairKey, u32>,
    pub(super) rules: Memory<PairRule>,
    pools: WireHashMap<u32, Pool>,
    pair_counters: WirePerCpuArray<PairCounters>,
    pub(super) flows: Memory<Flow>,
    pub(super) sources: WireHashMap<SourceKey, SourceUse>,
    reasons: WirePerCpuArray<Counter>,
}

impl Reader {
    /// Opens what is pinned; `None` where nothing is.
    ///
    /// # Errors
    ///
    /// Where the pins are another version's or not complete, or may not be read.
    pub fn open(pin_dir: &Path) -> Result<Option<Self>> {
        match layout::inspect(pin_dir)? {
            Found::Nothing => return Ok(None),
            Found::Interrupted => return Err(layout::incomplete(pin_dir)),
            Found::Ours(_) => {}
        }
        Ok(Some(Self {
            pin_dir: pin_dir.into(),
            settings: wire::open(pin_dir, MAP_SETTINGS)?,
            interfaces: wire::open(pin_dir, MAP_INTERFACES)?,
            pair_index: wire::open(pin_dir, MAP_PAIR_INDEX)?,
            rules: Memory::map(&wire::open_data(pin_dir, MAP_PAIRS)?, MAP_PAIRS, false)?,
            pools: wire::open(pin_dir, MAP_POOLS)?,
            pair_counters: wire::open(pin_dir, MAP_PAIR_COUNTERS)?,
            flows: Memory::map(&wire::open_data(pin_dir, MAP_FLOWS)?, MAP_FLOWS, false)?,
            sources: wire::open(pin_dir, MAP_SOURCES)?,
            reasons: wire::open(pin_dir, MAP_REASONS)?,
        }))
    }

    /// The live flows that `filter` lets through, as many as it asks for; and the place of the last one,
    /// where there may be more.
    ///
    /// # Errors
    ///
    /// Where the filter names an end that is not managed, or a protocol or state that does not exist.
    pub fn flows(&self, filter: &FlowFilter) -> Result<(Vec<types::Flow>, Option<u32>)> {
        let (settings, interfaces) = (self.settings()?, interfaces::read(&self.interfaces)?);
        let wanted = Wanted::by(filter, &interfaces)?;
        let now_ns = flows::now_ns();
        let mut found = Vec::new();
        let each = |flow: &Flow| {
            if wanted.matches(flow)
                && let Some(flow) = flows::view(flow, &interfaces, &settings, now_ns)
            {
                found.push(flow);
                if found.len() == wanted.limit {
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        };
        let (flows, rules) = (&self.flows, &self.rules);
        let last = flows::find_live(flows, rules, &settings, now_ns, wanted.first, each);
        Ok((found, last))
    }

    /// All live flows that have that address, and port where one is named, on either side, before or after
    /// translation.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn flows_with(&self, address: IpAddr, port: Option<u16>) -> Result<Vec<types::Flow>> {
        let limit = Some(u32::MAX);
        let mut filter =
            FlowFilter { address: Some(address), port, limit, ..FlowFilter::default() };
        let mut all = Vec::new();
        loop {
            let (flows, next) = self.flows(&filter)?;
            all.extend(flows);
            if next.is_none() {
                return Ok(all);
            }
            filter.after = next;
        }
    }

    /// Calls `each` with every flow that is alive, as it is in the map.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn each_flow(&self, mut each: impl FnMut(&Flow)) -> Result<()> {
        let settings = self.settings()?;
        flows::for_each_live(&self.flows, &self.rules, &settings, flows::now_ns(), |flow, _| {
            each(flow);
        });
        Ok(())
    }

    /// Was the flow cut, by a change of its pair?
    #[must_use]
    pub fn is_cut(&self, flow: &Flow) -> bool {
        let rule = self.rules.read(flow.pair);
        flow.from != Flow::FROM_HOST
            && rule.is_none_or(|rule| rule.generation != flow.pair_generation)
    }

    /// Is the flow masqueraded to an address that its way out has no more, or has that gone?
    #[must_use]
    pub fn lost_its_address(&self, flow: &Flow) -> bool {
        if flow.nat != NatMode::Masquerade as u8 || !flow.translates() {
            return false;
        }
        let towards = if flow.flags & Flow::MAPPED == 0 { flow.to } else { flow.mapped_to };
        let end = self.interfaces.get(&Wire(towards), 0);
        end.is_ok_and(|Wire(end)| !has_address(&end, &flow.translated().src))
    }

    /// All counters.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn stats(&self) -> Result<Stats> {
        let interfaces = interfaces::read(&self.interfaces)?;
        let (live, by_pair) = self.live()?;
        // Seen last: it never is less than the sum over the reasons, whatever arrives meanwhile.
        let reasons = counters::reasons(&self.reasons)?;
        let seen = counters::seen(&self.reasons)?;
        let mut pairs = Vec::new();
        let index = pairs::read_index(&self.pair_index)?;
        let count = index.values().max().map_or(0, |last| last + 1);
        let counts = counters::pairs(&self.pair_counters, count)?;
        for (key, index) in index {
            let (Some(from), Some(to), Some(count)) =
                (interfaces.get(&key.from), interfaces.get(&key.to), counts.get(index as usize))
            else {
                continue;
            };
            let both = |of: fn(&Counter) -> u64| types::BothWays {
                original: of(&count.original),
                reply: of(&count.reply),
            };
            let (packets, bytes) = (both(|counter| counter.packets), both(|counter| counter.bytes));
            pairs.push(PairCount {
                from: from.name().into(),
                to: to.name().into(),
                packets: packets.original.wrapping_add(packets.reply),
                bytes: bytes.original.wrapping_add(bytes.reply),
                flows: by_pair.get(&index).copied().unwrap_or_default(),
                refused: count.refused.packets,
                packets_by_direction: packets,
                bytes_by_direction: bytes,
                flows_created: count.flows_created,
            });
        }
        pairs.sort_by(|a, b| (&a.from, &a.to).cmp(&(&b.from, &b.to)));
        let sources = sources::most(&self.sources, &interfaces, &self.settings()?)?;
        Ok(Stats { packets: seen.packets, bytes: seen.bytes, reasons, pairs, flows: live, sources })
    }

    /// The listed pairs, in order of their names.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn pairs(&self) -> Result<Vec<Pair>> {
        let interfaces = interfaces::read(&self.interfaces)?;
        let pools = pools::read(&self.pools)?;
        let mut listed = Vec::new();
        for (key, index) in pairs::read_index(&self.pair_index)? {
            if let (Some(from), Some(to)) = (interfaces.get(&key.from), interfaces.get(&key.to))
                && let Some(rule) = self.rules.read(index)
            {
                let nat = PairNat::of_policy(rule.policy, pools.get(&rule.policy.pool));
                listed.push(pair_view(from.name(), to.name(), rule.policy, &nat));
            }
        }
        listed.sort_by(|a, b| (&a.from, &a.to).cmp(&(&b.from, &b.to)));
        Ok(listed)
    }

    /// The managed ends, in order of their names.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn bridges(&self) -> Result<Vec<Bridge>> {
        Ok(bridge_views(&interfaces::read(&self.interfaces)?, &snapshot()))
    }

    /// The state of `instance`, as far as maps tell it: as of a daemon that is down.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn status(&self, instance: &Instance) -> Result<Status> {
        let settings = self.settings()?;
        let entries = interfaces::read(&self.interfaces)?;
        let pairs = self.pairs()?;
        let in_state = |state| pairs.iter().filter(|pair| pair.state == state).count() as u64;
        let direct = |interface: &&Interface| interface.flags & Interface::TO_PEER != 0;
        let attached = |interface: &&Interface| {
            !interfaces::is_end(interface) && interfaces::attached(interface).is_some()
        };
        let ends = bridge_views(&entries, &snapshot());
        let not_attached = ends.iter().flat_map(|end| &end.ports_not_attached);
        let names_of_kind = |kind| -> Vec<String> {
            ends.iter().filter(|end| end.kind == kind).map(|end| end.name.clone()).collect()
        };
        Ok(Status {
            state: "daemon down".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            abi: settings.abi,
            pid: None,
            uptime_s: None,
            unlisted: match Unlisted::from_word(settings.unlisted) {
                Unlisted::Kernel => "kernel".into(),
                Unlisted::Deny => "deny".into(),
            },
            pin_dir: self.pin_dir.display().to_string(),
            socket: instance.socket.display().to_string(),
            netns: instance.netns.clone(),
            bridges: names_of_kind("bridge"),
            uplinks: names_of_kind("uplink"),
            docker: None,
            timers: timers::in_force(&settings.timeouts_s),
            ports: entries.values().filter(attached).count() as u64,
            ports_not_attached: not_attached.count() as u64,
            ports_direct: entries.values().filter(direct).count() as u64,
            flows_per_source: settings.max_flows_per_source.into(),
            pairs_allowed: in_state(StateView::Allowed),
            pairs_denied: in_state(StateView::Denied),
            flows: self.live()?.0,
            config: None,
            warnings: timers::warnings(&settings.timeouts_s),
        })
    }

    /// The settings in force.
    pub(super) fn settings(&self) -> Result<Settings> {
        let Wire(settings) =
            self.settings.get(&0, 0).map_err(|error| wire::failed(MAP_SETTINGS, "read", &error))?;
        Ok(settings)
    }

    /// How many flows are alive: all, and by the index of their pair.
    fn live(&self) -> Result<(FlowTable, BTreeMap<u32, u64>)> {
        let (settings, interfaces) = (self.settings()?, interfaces::read(&self.interfaces)?);
        let mut by_pair = BTreeMap::new();
        let now_ns = flows::now_ns();
        flows::for_each_live(&self.flows, &self.rules, &settings, now_ns, |flow, _| {
            // As in the list of flows: one that leads to an end that is gone is not alive.
            if interfaces.contains_key(&flow.from) && interfaces.contains_key(&flow.to) {
                *by_pair.entry(flow.pair).or_default() += 1;
            }
        });
        let live = by_pair.values().sum();
        Ok((FlowTable { live, limit: settings.max_flows.into() }, by_pair))
    }
}

/// A listed pair as it is shown.
#[must_use]
pub fn pair_view(from: &str, to: &str, policy: PairPolicy, nat: &PairNat) -> Pair {
    Pair {
        from: from.into(),
        to: to.into(),
        state: match PairState::from_byte(policy.state) {
            PairState::Allowed => StateView::Allowed,
            PairState::Denied | PairState::NotListed => StateView::Denied,
        },
        nat: nat.v4.to_string(),
        nat6: nat.v6.to_string(),
        mapping: nat.mapping.to_string(),
        drain: policy.flags & (PairPolicy::DRAINING | PairPolicy::DRAIN_LATER) != 0,
        present: true,
    }
}

/// What the kernel has; nothing where it does not say.
fn snapshot() -> Snapshot {
    Snapshot::take().unwrap_or_default()
}

fn bridge_views(entries: &BTreeMap<u32, Interface>, snapshot: &Snapshot) -> Vec<Bridge> {
    let mut ports_of = BTreeMap::<u32, Vec<String>>::new();
    for port in entries.values().filter(|interface| !interfaces::is_end(interface)) {
        ports_of.entry(port.end).or_default().push(port.name().to_owned());
    }
    let mut bridges: Vec<_> = entries
        .iter()
        .filter(|(_, interface)| interfaces::is_end(interface))
        .map(|(&ifindex, interface)| {
            let mut ports = ports_of.remove(&ifindex).unwrap_or_default();
            ports.sort_unstable();
            let not_attached =
                snapshot.ports(ifindex).filter(|_| interface.role == Role::Bridge as u8);
            let mut not_attached: Vec<_> = not_attached
                .map(|port| port.name.clone())
                .filter(|port| ports.binary_search(port).is_err())
                .collect();
            not_attached.sort_unstable();
            Bridge {
                name: interface.name().into(),
                ifindex,
                addresses: interfaces::addresses(interface)
                    .map(|entry| format!("{}/{}", IpAddr::from(entry.address), entry.prefix_len))
                    .collect(),
                mtu: interface.mtu,
                ports,
                ports_not_attached: not_attached,
                attached: match interfaces::attached(interface) {
                    Some(bridgefwd_common::contract::AttachKind::Tcx) => "tcx".into(),
                    Some(_) => "clsact".into(),
                    None => "no".into(),
                },
                kind: if interface.role == Role::Uplink as u8 { "uplink" } else { "bridge" }.into(),
                managed: true,
                interface: Some(interface.name().into()),
                ..Bridge::default()
            }
        })
        .collect();
    bridges.sort_by(|a, b| a.name.cmp(&b.name));
    bridges
}
