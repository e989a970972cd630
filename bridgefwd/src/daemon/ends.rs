//! Which ends there are, by the names that they are known by: bridges asked for by name, or all that
//! there are, and uplinks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use bridgefwd_common::contract::{Interface, PairKey};

use super::state::State;
use crate::api::events::{Event, InterfaceEvent, What};
use crate::api::labels::Labels;
use crate::datapath::{addresses, is_end};
use crate::failure::{Failure, Result};
use crate::host::addresses::same_prefix;
use crate::host::names::{Names, Place};
use crate::meant::suggestion;
use crate::policy::setup::Setup;

impl State {
    /// The interfaces of the bridges to manage, as far as they exist.
    pub(super) fn interfaces_of_bridges(&self) -> Vec<String> {
        let interface = |place: &Place| place.bridge.as_ref().map(|(_, name)| name.clone());
        if self.bridges.is_empty() {
            return self.names.all_ends().filter_map(interface).collect();
        }
        let named = self.bridges.iter().filter_map(|name| self.names.resolve(name).ok());
        named.filter_map(interface).collect()
    }

    /// Takes in what things are called now: what was known under one name, and is known under another
    /// one now, keeps its pairs and stays managed. Flows of containers that are gone end.
    pub(super) fn take_in_names(&mut self, names: Names) {
        if names == self.names {
            return;
        }
        let now = |name: &str| {
            names.renamed(&self.names, name).map_or_else(|| name.to_owned(), ToOwned::to_owned)
        };
        self.bridges = self.bridges.iter().map(|name| now(name)).collect();
        let uplinks = &self.uplinks;
        let end = |name: String| if uplinks.contains(&name) { name } else { now(&name) };
        self.pairs = std::mem::take(&mut self.pairs)
            .into_iter()
            .map(|((from, to), setup)| ((end(from), end(to)), setup))
            .collect();
        let left = names.left(&self.names);
        self.names = names;
        let managed =
            left.into_iter().filter(|(end, _)| self.datapath.interfaces().contains_key(end));
        for (end, address) in managed.collect::<Vec<_>>() {
            if let Err(error) = self.datapath.end_flows_of(end, address.into()) {
                tracing::warn!("flows of a container that is gone, {address}, end later: {error}");
            }
        }
    }

    /// Names of all ends to manage, whether they exist or not: bridges, then uplinks.
    pub(super) fn names_of_ends(&self) -> Vec<String> {
        let mut names = self.bridges_by_name(&self.bridges);
        names.extend(self.uplinks.iter().cloned());
        names
    }

    /// The bridges that are meant by these names: where there are none, all that there are now.
    pub(super) fn bridges_by_name(&self, names: &[String]) -> Vec<String> {
        if names.is_empty() {
            self.names.all_ends().map(|place| place.end_name().to_owned()).collect()
        } else {
            names.to_vec()
        }
    }

    /// What messages call the end of that name.
    pub(super) fn kind(&self, name: &str) -> &'static str {
        let network = || {
            let place = self.names.known_as(name);
            place.is_some_and(|place| place.network.is_some())
        };
        if self.uplinks.iter().any(|uplink| uplink == name) {
            "uplink"
        } else if network() {
            "network"
        } else {
            "bridge"
        }
    }

    /// The managed end that a name stands for: its ifindex, and the name that it is known by.
    ///
    /// # Errors
    ///
    /// Where there is none: what the name stands for instead, or which there are.
    pub(super) fn end(&self, name: &str) -> Result<(u32, String)> {
        let interfaces = self.datapath.interfaces();
        if self.uplinks.iter().any(|uplink| uplink == name) {
            let mut ends = interfaces.iter().filter(|(_, interface)| is_end(interface));
            return ends.find(|(_, interface)| interface.name() == name).map_or_else(
                || Err(self.away(name)),
                |(&ifindex, _)| Ok((ifindex, name.to_owned())),
            );
        }
        let place = match self.names.resolve(name) {
            Ok(place) => place,
            Err(_) if self.is_known(name) => return Err(self.away(name)),
            Err(error) => return Err(self.with_uplinks(name, error)),
        };
        let ifindex = place.bridge.as_ref().map(|(ifindex, _)| *ifindex);
        match ifindex.filter(|ifindex| interfaces.get(ifindex).is_some_and(is_end)) {
            Some(ifindex) => Ok((ifindex, place.end_name().to_owned())),
            None if self.is_known(place.end_name()) => Err(self.away(name)),
            None => {
                let managed: Vec<_> = self.ends_now().into_values().collect();
                Err(Failure::usage(format!(
                    "{name} is not managed: name it with --bridge when you run bridgefwd; managed are: {}",
                    if managed.is_empty() { "none".into() } else { managed.join(", ") }
                )))
            }
        }
    }

    /// The key of a pair, its target, and the names that its ends are known by.
    pub(super) fn key(
        &self,
        from: &str,
        to: &str,
    ) -> Result<(PairKey, Interface, (String, String))> {
        let (from_index, from) = self.end(from)?;
        let (to_index, to) = self.end(to)?;
        if from_index == to_index {
            return Err(Failure::usage(format!(
                "{from} -> {to} is no pair: a pair leads from one end to another"
            )));
        }
        let target = self.datapath.interfaces().get(&to_index).copied();
        let target = target.ok_or_else(|| self.away(&to))?;
        Ok((PairKey { from: from_index, to: to_index }, target, (from, to)))
    }

    /// Managed ends that exist, and what they are known by.
    pub(super) fn ends_now(&self) -> BTreeMap<u32, String> {
        let ends = self.datapath.interfaces().iter().filter(|(_, interface)| is_end(interface));
        ends.map(|(&ifindex, interface)| (ifindex, self.name_of(ifindex, interface))).collect()
    }

    /// Managed interfaces by ifindex, as events name them.
    pub(super) fn known_interfaces(&self) -> BTreeMap<u32, InterfaceEvent> {
        let ends = self.ends_now();
        let interfaces = self.datapath.interfaces().iter();
        let event = |(&ifindex, interface): (&u32, &Interface)| {
            let end = ends.get(&ifindex);
            let event = InterfaceEvent {
                name: end.map_or_else(|| interface.name().to_owned(), Clone::clone),
                kind: end.map_or("port", |end| self.kind(end)).into(),
                of: if end.is_some() { None } else { ends.get(&interface.end).cloned() },
                state: "managed".into(),
            };
            (ifindex, event)
        };
        interfaces.map(event).collect()
    }

    /// Tells what came and what went since those were `before`.
    pub(super) fn tell_interfaces(&self, before: &BTreeMap<u32, InterfaceEvent>) {
        let now = self.known_interfaces();
        let went = before.iter().filter(|(ifindex, _)| !now.contains_key(ifindex));
        let went = went.map(|(_, event)| InterfaceEvent { state: "gone".into(), ..event.clone() });
        let came = now.iter().filter(|(ifindex, _)| !before.contains_key(ifindex));
        let changes = went.chain(came.map(|(_, event)| event.clone()));
        self.journal.tell_all(changes.map(|event| Event::now(What::Interface(event))).collect());
    }

    /// Ends whose subnets overlap: the kernel routes to one of them alone.
    pub(super) fn overlaps(&self) -> Vec<String> {
        let ends: Vec<_> = self
            .ends_now()
            .into_iter()
            .filter_map(|(ifindex, name)| Some((name, self.datapath.interfaces().get(&ifindex)?)))
            .collect();
        let overlap = |(one, two): (usize, usize)| {
            let ((name, end), (other_name, other)) = (ends.get(one)?, ends.get(two)?);
            let (one, two) = overlapping(end, other)?;
            Some(format!(
                "the subnets of {name} ({one}) and {other_name} ({two}) overlap: the kernel \
                 routes an address of both to one of them, and what comes from the other with \
                 such a source is refused (source_not_of_end)"
            ))
        };
        let subnets = ends.iter().enumerate().flat_map(|(place, (_, end))| {
            addresses(end).map(move |own| (place, IpAddr::from(own.address), own.prefix_len))
        });
        overlapping_pairs(subnets).into_iter().filter_map(overlap).collect()
    }

    /// The names that documents are to have.
    pub(super) fn labels(&self) -> Labels {
        Labels::new(self.names.clone())
    }

    /// What a managed interface is known by.
    fn name_of(&self, ifindex: u32, interface: &Interface) -> String {
        let place = self.names.of_interface(ifindex);
        place.map_or_else(|| interface.name(), Place::end_name).to_owned()
    }

    /// Is it asked for, or in a pair?
    pub(super) fn is_known(&self, name: &str) -> bool {
        self.is_asked_for(name) || self.pairs.keys().any(|(from, to)| from == name || to == name)
    }

    /// Would it be managed where it exists?
    pub(super) fn is_asked_for(&self, name: &str) -> bool {
        let mut asked = self.bridges.iter().chain(&self.uplinks);
        asked.any(|end| end == name)
            || self.bridges.is_empty()
                && self.names.all_ends().any(|place| place.end_name() == name)
    }

    /// An error about a name that is none, with the uplink that it may be meant for: names know of none.
    fn with_uplinks(&self, name: &str, error: Failure) -> Failure {
        let suggestion = suggestion(name, self.uplinks.iter().map(|uplink| &**uplink));
        match error {
            Failure::Usage(text) if !suggestion.is_empty() && !text.ends_with('?') => {
                Failure::Usage(text + &suggestion)
            }
            error => error,
        }
    }

    fn away(&self, name: &str) -> Failure {
        Failure::failed(format!(
            "the {} {name} is managed, but it does not exist at the moment",
            self.kind(name)
        ))
    }
}

/// `setup` with every end by the name that it is known by.
pub fn known_as(setup: Setup, names: &Names) -> Setup {
    let Setup { uplinks, .. } = &setup;
    let known = |name: &String| match names.resolve(name) {
        Ok(place) if !uplinks.contains(name) => place.end_name().to_owned(),
        _ => name.clone(),
    };
    let bridges = setup.bridges.iter().map(known).collect();
    let pairs = setup.pairs.iter();
    let pairs = pairs.map(|((from, to), pair)| ((known(from), known(to)), pair.clone())).collect();
    Setup { bridges, pairs, ..setup }
}

/// The first addresses, with their prefix lengths, by which the subnets of two ends overlap.
fn overlapping(one: &Interface, other: &Interface) -> Option<(String, String)> {
    for own in addresses(one) {
        for theirs in addresses(other) {
            let length = own.prefix_len.min(theirs.prefix_len);
            let ([own_ip, their_ip], shown) = (
                [own, theirs].map(|entry| IpAddr::from(entry.address)),
                |ip: IpAddr, length: u8| format!("{ip}/{length}"),
            );
            if same_prefix(own_ip, their_ip, length) {
                return Some((shown(own_ip, own.prefix_len), shown(their_ip, theirs.prefix_len)));
            }
        }
    }
    None
}

/// Whose subnets overlap, the first one first. Of two that do one holds the other, so that in the order
/// of their first addresses those that hold one come right before it.
fn overlapping_pairs(
    subnets: impl Iterator<Item = (usize, IpAddr, u8)>,
) -> BTreeSet<(usize, usize)> {
    let mut sorted: Vec<_> =
        subnets.map(|(whose, address, length)| (first(address, length), length, whose)).collect();
    sorted.sort_unstable();
    let (mut pairs, mut holding) = (BTreeSet::new(), Vec::<(IpAddr, u8, usize)>::new());
    for (address, length, whose) in sorted {
        while holding.last().is_some_and(|&(other, length, _)| !same_prefix(other, address, length))
        {
            holding.pop();
        }
        let others = holding.iter().map(|&(.., other)| other).filter(|&other| other != whose);
        pairs.extend(others.map(|other| (whose.min(other), whose.max(other))));
        holding.push((address, length, whose));
    }
    pairs
}

/// The first address of a subnet.
fn first(address: IpAddr, length: u8) -> IpAddr {
    let length = u32::from(length);
    match address {
        IpAddr::V4(own) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(length)).unwrap_or(0);
            std::net::Ipv4Addr::from_bits(own.to_bits() & mask).into()
        }
        IpAddr::V6(own) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(length)).unwrap_or(0);
            std::net::Ipv6Addr::from_bits(own.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_subnets_are_found_whatever_their_order() {
        let found = |subnets: &[(usize, &str, u8)]| -> Vec<_> {
            let subnets = subnets.iter().map(|&(end, ip, len)| (end, ip.parse().unwrap(), len));
            overlapping_pairs(subnets).into_iter().collect()
        };
        assert_eq!(found(&[(0, "10.0.1.1", 24), (1, "10.0.2.1", 24), (2, "fd00::1", 64)]), []);
        // The last one holds all others; two of them are the same.
        let subnets = [
            (0, "10.0.2.1", 24),
            (1, "10.0.1.1", 24),
            (2, "10.0.2.200", 24),
            (1, "10.0.1.129", 25),
            (3, "10.0.0.1", 16),
            (4, "10.1.0.1", 16),
        ];
        assert_eq!(found(&subnets), [(0, 2), (0, 3), (1, 3), (2, 3)]);
        assert_eq!(found(&[(0, "fd00::1", 0), (1, "fd12::1", 64)]), [(0, 1)]);
        assert_eq!(found(&[(0, "10.0.0.1", 0), (1, "192.0.2.1", 32)]), [(0, 1)]);
    }
}
