//! Documents by the names that people use: those read from the maps have the names of interfaces, and
//! no container.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::bridges::{Bridge, Container};
use super::types::{Flow, FlowFilter, Pair, Stats, Status};
use crate::failure::{Failure, Result};
use crate::host::names::{Names, Place};
use crate::host::netlink::{Link, Snapshot};
use crate::meant::suggestion;

/// Which names there are for interfaces, and for addresses behind them.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    names: Names,
    /// By the interface's name.
    ends: BTreeMap<String, String>,
    /// By the name of the end, and the address.
    containers: BTreeMap<(String, IpAddr), String>,
}

impl Labels {
    /// Of the places that there are.
    #[must_use]
    pub fn new(names: Names) -> Self {
        let mut labels = Self::default();
        for place in names.places() {
            let Some((_, interface)) = &place.bridge else { continue };
            let end = place.end_name().to_owned();
            for endpoint in place.network.iter().flat_map(|network| &network.endpoints) {
                for &address in &endpoint.addresses {
                    labels.containers.insert((end.clone(), address), endpoint.container.clone());
                }
            }
            labels.ends.insert(interface.clone(), end);
        }
        labels.names = names;
        labels
    }

    /// `filter` with the names of interfaces, which those read from the maps have, in place of those that
    /// people use. `ends` tells the managed ones; it is asked only where the filter names one, for it may
    /// have thousands to look at.
    ///
    /// # Errors
    ///
    /// Where it names an end that is not managed, or that of `ends`.
    pub fn by_interface(
        &self,
        filter: &FlowFilter,
        ends: impl FnOnce() -> Result<Vec<Bridge>>,
    ) -> Result<FlowFilter> {
        if filter.from.is_none() && filter.to.is_none() {
            return Ok(filter.clone());
        }
        let ends = ends()?;
        let interface = |name: &Option<String>| {
            name.as_ref().map(|name| self.interface(name, &ends)).transpose()
        };
        let (from, to) = (interface(&filter.from)?, interface(&filter.to)?);
        Ok(FlowFilter { from, to, ..filter.clone() })
    }

    /// The interface of the managed end that `name` stands for.
    fn interface(&self, name: &str, ends: &[Bridge]) -> Result<String> {
        let known = self.names.resolve(name).map_or(name, Place::end_name);
        let mut managed = Vec::new();
        for end in ends {
            let mut label = end.name.clone();
            self.end(&mut label);
            if label == known {
                return Ok(end.name.clone());
            }
            managed.push(label);
        }
        managed.sort();
        // Of what is there the name is right.
        let others = managed.iter().map(|name| &**name).filter(|_| !self.names.knows(name));
        let suggestion = suggestion(name, others);
        Err(Failure::usage(format!(
            "{name} is not a managed bridge or uplink; managed are: {}{suggestion}",
            if managed.is_empty() { "none".into() } else { managed.join(", ") }
        )))
    }

    /// Everything on the host that has to do with ends: the managed ones, as they were read from the
    /// maps, then all others, each by their names.
    #[must_use]
    pub fn bridges(&self, snapshot: &Snapshot, managed: Vec<Bridge>) -> Vec<Bridge> {
        bridges(&self.names, snapshot, managed)
    }

    /// Flows between ends, and the containers that talk.
    pub fn flows(&self, flows: &mut [Flow]) {
        for flow in flows {
            self.ends_of(&mut flow.from, &mut flow.to);
            flow.client = self.container(&flow.from, flow.original.src);
            flow.server = self.container(&flow.to, flow.original.dst);
        }
    }

    /// Counters of pairs and of sources.
    pub fn stats(&self, stats: &mut Stats) {
        for pair in &mut stats.pairs {
            self.ends_of(&mut pair.from, &mut pair.to);
        }
        stats.pairs.sort_by(|a, b| (&a.from, &a.to).cmp(&(&b.from, &b.to)));
        for bridge in stats.sources.iter_mut().filter_map(|source| source.bridge.as_mut()) {
            self.end(bridge);
        }
    }

    /// Pairs.
    pub fn pairs(&self, pairs: &mut [Pair]) {
        for pair in &mut *pairs {
            self.ends_of(&mut pair.from, &mut pair.to);
        }
        pairs.sort_by(|a, b| (&a.from, &a.to).cmp(&(&b.from, &b.to)));
    }

    /// Names of bridges.
    pub fn status(&self, status: &mut Status) {
        for bridge in &mut status.bridges {
            self.end(bridge);
        }
        status.bridges.sort();
    }

    fn end(&self, interface: &mut String) {
        if let Some(end) = self.ends.get(interface) {
            end.clone_into(interface);
        }
    }

    /// The two ends of a pair.
    pub fn ends_of(&self, from: &mut String, to: &mut String) {
        self.end(from);
        self.end(to);
    }

    /// The container behind an end that has this address.
    #[must_use]
    pub fn container(&self, end: &str, address: IpAddr) -> Option<String> {
        self.containers.get(&(end.to_owned(), address)).cloned()
    }
}

fn bridges(names: &Names, snapshot: &Snapshot, mut managed: Vec<Bridge>) -> Vec<Bridge> {
    let mut others = Vec::new();
    for place in names.places() {
        let link = place.bridge.as_ref().and_then(|(ifindex, _)| snapshot.get(*ifindex));
        let known = managed.iter_mut().find(|bridge| {
            place.bridge.as_ref().is_some_and(|(ifindex, _)| *ifindex == bridge.ifindex)
        });
        match known {
            Some(bridge) => describe(bridge, place),
            None => {
                let mut bridge = unmanaged(link, snapshot);
                describe(&mut bridge, place);
                others.push(bridge);
            }
        }
    }
    managed.sort_by(|a, b| a.name.cmp(&b.name));
    others.sort_by(|a, b| a.name.cmp(&b.name));
    managed.append(&mut others);
    managed
}

/// What its place says of a bridge.
fn describe(bridge: &mut Bridge, place: &Place) {
    place.end_name().clone_into(&mut bridge.name);
    bridge.interface = place.bridge.as_ref().map(|(_, name)| name.clone());
    bridge.problem.clone_from(&place.unusable);
    let Some(network) = &place.network else { return };
    network.name.clone_into(&mut bridge.name);
    if place.unusable.is_none() {
        place.name.clone_into(&mut bridge.name);
    }
    bridge.driver = Some(network.driver.clone());
    bridge.network_id = Some(network.id.clone());
    bridge.subnets.clone_from(&network.subnets);
    bridge.gateways = network.gateways.iter().map(ToString::to_string).collect();
    if bridge.gateways.is_empty() {
        // Of its first network Docker does not say it.
        let own = bridge.addresses.iter().filter_map(|own| own.split('/').next());
        bridge.gateways = own.map(ToOwned::to_owned).collect();
    }
    let containers = network.endpoints.iter().map(|endpoint| Container {
        name: endpoint.container.clone(),
        addresses: endpoint.addresses.iter().map(ToString::to_string).collect(),
    });
    bridge.containers = containers.collect();
}

fn unmanaged(link: Option<&Link>, snapshot: &Snapshot) -> Bridge {
    let mut ports: Vec<_> = link
        .into_iter()
        .flat_map(|link| snapshot.ports(link.ifindex))
        .map(|port| port.name.clone())
        .collect();
    ports.sort_unstable();
    let addresses =
        link.into_iter().flat_map(|link| link.addresses.iter().chain(&link.addresses_v6));
    Bridge {
        ifindex: link.map_or(0, |link| link.ifindex),
        addresses: addresses.map(|own| format!("{}/{}", own.address, own.prefix_len)).collect(),
        mtu: link.map_or(0, |link| link.mtu),
        ports_not_attached: ports,
        attached: "no".into(),
        kind: if link.is_some() { "bridge" } else { "network" }.into(),
        ..Bridge::default()
    }
}
