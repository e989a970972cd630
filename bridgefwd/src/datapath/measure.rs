//! Everything that metrics are made of, by one walk over the flows.

use std::collections::BTreeMap;

use bridgefwd_common::contract::{Flow, FlowState, Role, Settings};

use super::offline::Reader;
use super::port_use::PortUse;
use super::sources::SourcesUse;
use super::{flows, interfaces, pairs, sources};
use crate::api::labels::Labels;
use crate::api::types::Stats;
use crate::failure::Result;

/// What the maps hold at one time.
#[derive(Clone, Debug)]
pub struct Measurement {
    /// Counters, as `stats` has them.
    pub stats: Stats,
    /// Slots of the flow table that are not free: also those of flows that are over or cut, until they
    /// are freed.
    pub slots_used: u64,
    /// Live flows by the name of their protocol and of their state.
    pub flows: BTreeMap<(String, &'static str), u64>,
    /// What each listed pair has of the flow table, by the names of its ends.
    pub by_pair: BTreeMap<(String, String), PairUse>,
    /// How the table is shared out.
    pub sources: SourcesUse,
    /// How many flows one source can have.
    pub flows_per_source: u64,
    /// Managed bridges.
    pub bridges: u64,
    /// Managed uplinks.
    pub uplinks: u64,
    /// Bridge ports that are attached.
    pub ports: u64,
    /// Layout version of the maps.
    pub abi: u32,
}

/// What a pair has of the flow table.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PairUse {
    /// Flows that were made and are not over or cut: the live ones, and those that wait for a pair that
    /// is turned off to be turned on again.
    pub standing: u64,
    /// Share of the source ports in use, from 0 to 1, where most are.
    pub busiest_ports: f64,
}

impl Measurement {
    /// Gives ends the names that people use.
    pub fn label(&mut self, labels: &Labels) {
        labels.stats(&mut self.stats);
        let named =
            std::mem::take(&mut self.by_pair).into_iter().map(|((mut from, mut to), has)| {
                labels.ends_of(&mut from, &mut to);
                ((from, to), has)
            });
        self.by_pair = named.collect();
    }
}

/// What one walk over the flows finds.
#[derive(Debug, Default)]
struct Walk {
    slots_used: u64,
    standing: BTreeMap<u32, u64>,
    live: BTreeMap<(u8, u8), u64>,
    ports: PortUse,
}

impl Reader {
    /// Measures.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn measure(&self) -> Result<Measurement> {
        let settings = self.settings()?;
        let ends = interfaces::read(&self.interfaces)?;
        let walk = self.walk(&settings);
        // Later than the walk: no flow is counted as standing that was not made.
        let stats = self.stats()?;
        let busiest = walk.ports.busiest();
        let mut by_pair = BTreeMap::new();
        for (key, index) in pairs::read_index(&self.pair_index)? {
            if let (Some(from), Some(to)) = (ends.get(&key.from), ends.get(&key.to)) {
                let has = PairUse {
                    standing: walk.standing.get(&index).copied().unwrap_or_default(),
                    busiest_ports: busiest.get(&index).copied().unwrap_or_default(),
                };
                by_pair.insert((from.name().to_owned(), to.name().to_owned()), has);
            }
        }
        let mut flows = BTreeMap::new();
        for ((protocol, state), count) in walk.live {
            let state = FlowState::from_byte(state).name();
            // Two states can have one name.
            *flows.entry((flows::protocol_name(protocol), state)).or_default() += count;
        }
        let of_role = |role| ends.values().filter(|end| end.role == role as u8).count() as u64;
        let attached = ends
            .values()
            .filter(|port| !interfaces::is_end(port) && interfaces::attached(port).is_some());
        Ok(Measurement {
            stats,
            slots_used: walk.slots_used,
            flows,
            by_pair,
            sources: sources::usage(&self.sources, &settings)?,
            flows_per_source: settings.max_flows_per_source.into(),
            bridges: of_role(Role::Bridge),
            uplinks: of_role(Role::Uplink),
            ports: attached.count() as u64,
            abi: settings.abi,
        })
    }

    fn walk(&self, settings: &Settings) -> Walk {
        let mut walk = Walk::default();
        let now_ns = flows::now_ns();
        flows::for_each(&self.flows, |flow: &Flow| {
            walk.slots_used += 1;
            walk.ports.add(flow, settings);
            let Some(rule) = self.rules.read(flow.pair) else { return };
            if rule.generation == flow.pair_generation
                && flows::remaining_ns(flow, settings, now_ns).is_some()
            {
                *walk.standing.entry(flow.pair).or_default() += 1;
                if rule.policy.forwards_existing() {
                    let key = (flow.protocol, flow.state);
                    *walk.live.entry(key).or_default() += 1;
                }
            }
        });
        walk
    }
}
