//! What the daemon knows and changes, behind one lock: the ends it was asked to manage, the pairs by
//! the names of their ends, and the data path.
//!
//! Pairs are kept by name, because what goes away comes back as another interface.

use std::collections::{BTreeMap, BTreeSet};

use std::net::IpAddr;

use bridgefwd_common::contract::{
    Address, Family, Interface, PairKey, PairPolicy, PairState as MapState,
};

use super::direct::Direct;
use super::docker::Known;
use super::journal::Journal;
use crate::api::events::{PairEvent, What};
use crate::api::types::{Pair, PairChange, PairState};
use crate::datapath::offline::pair_view;
use crate::datapath::{Datapath, is_end};
use crate::failure::{Failure, Result};
use crate::host::names::Names;
use crate::host::routes::RouteMtus;
use crate::host::sysctl;
use crate::policy::{Ends, Nat, PairNat, PairSetup};

/// The daemon's state.
pub struct State {
    pub(super) datapath: Datapath,
    /// Names of the bridges to manage, whether they exist or not; none for all that can be ends.
    pub(super) bridges: Vec<String>,
    /// Names of the uplinks, likewise.
    pub(super) uplinks: Vec<String>,
    /// Are the bridges' ports managed too?
    pub(super) ports: bool,
    /// What things are called.
    pub(super) names: Names,
    /// What a Docker engine has told.
    pub(super) docker: Known,
    pub(super) pairs: BTreeMap<Ends, PairSetup>,
    /// What could not be done for an interface, by ifindex; tried again each second.
    pub(super) failures: BTreeMap<u32, Failure>,
    /// Bridges with more addresses than are kept.
    pub(super) crowded: BTreeSet<String>,
    /// The MTUs that routes have of their own.
    pub(super) route_mtus: RouteMtus,
    /// Where changes are told.
    pub(super) journal: Journal,
    /// Where packets are handed over at once.
    pub(super) direct: Direct,
}

impl State {
    /// With the pairs of an earlier daemon, as far as their ends are known by name. Each bridge that is
    /// asked for is from now on known as `names` has it.
    #[must_use]
    pub fn new(
        datapath: Datapath,
        bridges: Vec<String>,
        uplinks: Vec<String>,
        ports: bool,
        (names, docker): (Names, Known),
    ) -> Self {
        let direct = Direct::new(datapath.can_hand_over());
        let mut state = Self {
            datapath,
            bridges,
            uplinks,
            ports,
            names,
            docker,
            pairs: BTreeMap::new(),
            failures: BTreeMap::new(),
            crowded: BTreeSet::new(),
            route_mtus: RouteMtus::default(),
            journal: Journal::default(),
            direct,
        };
        for name in &mut state.bridges {
            if let Ok(place) = state.names.resolve(name) {
                place.end_name().clone_into(name);
            }
        }
        let asked: BTreeSet<String> = state.names_of_ends().into_iter().collect();
        let ends = state.ends_now();
        for key in state.datapath.pairs().keys() {
            if let (Some(ends), Some(policy)) =
                (names_of(&ends, key), state.datapath.pairs().get(key))
                && asked.contains(&ends.0)
                && asked.contains(&ends.1)
            {
                let nat = state.datapath.pairs().nat(policy);
                state.pairs.insert(ends, change_of(policy, nat));
            }
        }
        state
    }

    /// Allows or denies a pair.
    ///
    /// # Errors
    ///
    /// Where it is not a pair, the NAT cannot be, or the kernel refuses.
    pub fn put_pair(&mut self, from: &str, to: &str, change: &PairChange) -> Result<Pair> {
        let (key, target, (from, to)) = self.key(from, to)?;
        let before = self.datapath.pairs().get(key);
        let before = before.map(|policy| self.datapath.pairs().nat(policy)).unwrap_or_default();
        let of_family = |text: &Option<String>, family, before| match text {
            Some(text) => Nat::parse(text, family),
            None => Ok(before),
        };
        let nat = PairNat {
            v4: of_family(&change.nat, Family::V4, before.v4)?,
            v6: of_family(&change.nat6, Family::V6, before.v6)?,
            mapping: change.mapping.as_ref().map_or(Ok(before.mapping), |text| text.parse())?,
        };
        check_nat(&nat, &to, &target)?;
        let allow = change.state == PairState::Allowed;
        let change = PairSetup { allow, nat: nat.clone(), drain: change.drain };
        let policy = self.datapath.pairs_mut().set(key, change)?;
        let shown = pair_view(&from, &to, policy, &nat);
        self.enter((from, to), change_of(policy, nat));
        Ok(shown)
    }

    /// Has a pair be set so; where one of its ends is away, when that comes back. Its NAT was checked.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub(super) fn set_pair(&mut self, ends: &Ends, pair: PairSetup) -> Result<()> {
        if let Ok((key, ..)) = self.key(&ends.0, &ends.1) {
            self.datapath.pairs_mut().set(key, pair.clone())?;
        }
        self.enter(ends.clone(), pair);
        Ok(())
    }

    /// Takes a pair off the list if it is on it; its flows drain where it was set to.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub(super) fn clear_known(&mut self, ends: &Ends) -> Result<()> {
        if let Ok((key, ..)) = self.key(&ends.0, &ends.1) {
            self.datapath.pairs_mut().clear(key, false)?;
        }
        self.strike(ends);
        Ok(())
    }

    /// Takes a pair off the list. `false` where it was not on it.
    ///
    /// # Errors
    ///
    /// Where it is not a pair, or the kernel refuses.
    pub fn clear_pair(&mut self, from: &str, to: &str, drain: bool) -> Result<bool> {
        match self.key(from, to) {
            Ok((key, _, ends)) => {
                let known = self.strike(&ends);
                Ok(self.datapath.pairs_mut().clear(key, drain)? || known)
            }
            // Its bridge is away; now it will not hold again when that comes back.
            Err(_) if self.strike(&(from.into(), to.into())) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Puts a pair on the list, and tells so where that is news.
    fn enter(&mut self, ends: Ends, pair: PairSetup) {
        let before = self.pairs.insert(ends.clone(), pair.clone());
        if before.as_ref() != Some(&pair) {
            self.journal.tell(pair_event(ends, Some(&pair)));
        }
    }

    /// Takes one off it, likewise. `true` where it was on it.
    fn strike(&mut self, ends: &Ends) -> bool {
        let was = self.pairs.remove(ends).is_some();
        if was {
            self.journal.tell(pair_event(ends.clone(), None));
        }
        was
    }

    /// Makes the maps hold the pairs of all ends that exist, and no others. To be called when ends
    /// came or went.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn rekey_pairs(&mut self) -> Result<()> {
        let listed: Vec<_> = self.datapath.pairs().keys().collect();
        let ends = self.ends_now();
        for key in listed {
            let known = names_of(&ends, key).is_some_and(|ends| self.pairs.contains_key(&ends));
            if !known {
                self.datapath.pairs_mut().cut(key)?;
            }
        }
        for ((from, to), change) in &self.pairs {
            if let Ok((key, ..)) = self.key(from, to)
                && self.datapath.pairs().get(key).is_none()
            {
                self.datapath.pairs_mut().set(key, change.clone())?;
            }
        }
        Ok(())
    }

    /// The pairs of which an end is away: listed, and in no map.
    pub(super) fn absent_pairs(&self) -> impl Iterator<Item = Pair> {
        let away = |name: &str| self.end(name).is_err();
        self.pairs.iter().filter(move |((from, to), _)| away(from) || away(to)).map(
            |((from, to), change)| Pair {
                from: from.clone(),
                to: to.clone(),
                state: if change.allow { PairState::Allowed } else { PairState::Denied },
                nat: change.nat.v4.to_string(),
                nat6: change.nat.v6.to_string(),
                mapping: change.nat.mapping.to_string(),
                drain: change.drain,
                present: false,
            },
        )
    }

    /// What an operator should know.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for (family, name, setting) in sysctl::FORWARDING {
            let has_any = |end: &Interface| match family {
                Family::V4 => end.address_count > 0,
                Family::V6 => end.address_count_v6 > 0,
            };
            if sysctl::forwards(family) == Some(false)
                && self.datapath.interfaces().values().any(has_any)
            {
                warnings.push(format!(
                    "{setting} is 0, so this host forwards no {name}, nor does bridgefwd: sysctl -w \
                     {setting}=1"
                ));
            }
        }
        for name in self.names_of_ends() {
            let kind = self.kind(&name);
            match self.end(&name) {
                Err(_) => warnings.push(format!(
                    "the {kind} {name} is gone; it is managed again, with its pairs, when it \
                     comes back"
                )),
                Ok((ifindex, _)) => {
                    let end = self.datapath.interfaces().get(&ifindex);
                    if end.is_some_and(|end| end.address_count == 0 && end.address_count_v6 == 0) {
                        warnings.push(format!("the {kind} {name} has no address any more"));
                    }
                }
            }
        }
        for (from, to) in self.pairs.keys() {
            let away = [from, to].into_iter().filter(|name| self.end(name).is_err());
            for name in away.filter(|name| !self.is_asked_for(name)) {
                warnings
                    .push(format!("the pair {from} -> {to} waits for {name}, which is not there"));
            }
        }
        if let Known { socket: Some(socket), networks: Some(_), problem: Some(problem) } =
            &self.docker
        {
            warnings.push(format!(
                "the Docker engine on {} does not answer ({problem}); its networks are taken to be as \
                 they were",
                socket.display()
            ));
        }
        warnings.extend(self.overlaps());
        for name in &self.crowded {
            warnings.push(format!(
                "the {} {name} has more addresses of a family than are used for NAT; the first {} \
                 are",
                self.kind(name),
                bridgefwd_common::contract::MAX_ADDRESSES
            ));
        }
        for ((from, to), change) in &self.pairs {
            if let Ok((_, target, _)) = self.key(from, to)
                && let Some(address) = missing(&change.nat, &target)
            {
                warnings.push(format!(
                    "the pair {from} -> {to} translates to {address}, which is not an address of \
                     {to} any more"
                ));
            }
        }
        warnings.extend(self.journal.warning());
        warnings.extend(self.failures.values().map(ToString::to_string));
        warnings
    }

    /// How it goes, in a line.
    #[must_use]
    pub fn summary(&self) -> String {
        let interfaces = self.datapath.interfaces();
        let there = interfaces.values().filter(|interface| is_end(interface)).count();
        let ends = self.names_of_ends().len();
        let warnings = match self.warnings().len() {
            0 => String::new(),
            1 => "; 1 warning, see `bridgefwd status`".into(),
            several => format!("; {several} warnings, see `bridgefwd status`"),
        };
        format!(
            "{there} of {ends} ends and {} ports attached, {} of {} pairs allowed{warnings}",
            interfaces.len() - there,
            self.pairs.values().filter(|pair| pair.allow).count(),
            self.pairs.len()
        )
    }
}

fn names_of(ends: &BTreeMap<u32, String>, key: PairKey) -> Option<Ends> {
    Some((ends.get(&key.from)?.clone(), ends.get(&key.to)?.clone()))
}

/// Can packets leaving by `target` be translated like that?
pub(super) fn check_nat(nat: &PairNat, name: &str, target: &Interface) -> Result<()> {
    let Some(address) = missing(nat, target) else { return Ok(()) };
    let addresses: Vec<_> =
        addresses(target, Address::from(address).family()).map(|own| own.to_string()).collect();
    Err(Failure::usage(format!(
        "{address} is not an address of {name}, so answers would not come back to it; {name} has: \
         {}",
        if addresses.is_empty() { "none".into() } else { addresses.join(", ") }
    )))
}

/// The first address of `nat` that `target` has not.
fn missing(nat: &PairNat, target: &Interface) -> Option<IpAddr> {
    nat.by_family()
        .find_map(|(family, _, nat)| {
            nat.addresses()
                .iter()
                .find(|&&wanted| addresses(target, family).all(|own| own != wanted))
        })
        .copied()
}

/// The addresses of a family that an end has, as far as they are kept.
fn addresses(end: &Interface, family: Family) -> impl Iterator<Item = IpAddr> {
    let (count, addresses) = match family {
        Family::V4 => (end.address_count, &end.addresses),
        Family::V6 => (end.address_count_v6, &end.addresses_v6),
    };
    addresses.iter().take(count as usize).map(|entry| entry.address.into())
}

/// What is told of a pair; `None` where it is off the list.
fn pair_event((from, to): Ends, pair: Option<&PairSetup>) -> What {
    let state = match pair {
        None => "cleared",
        Some(pair) if pair.allow => "allowed",
        Some(_) => "denied",
    };
    What::Pair(PairEvent {
        from,
        to,
        state: state.into(),
        nat: pair.map(|pair| pair.nat.v4.to_string()),
        nat6: pair.map(|pair| pair.nat.v6.to_string()),
        mapping: pair.map(|pair| pair.nat.mapping.to_string()),
        drain: pair.is_some_and(|pair| pair.drain),
    })
}

/// What leads to `policy`, whose translation is `nat`.
fn change_of(policy: PairPolicy, nat: PairNat) -> PairSetup {
    PairSetup {
        allow: MapState::from_byte(policy.state) == MapState::Allowed,
        nat,
        drain: policy.flags & PairPolicy::DRAIN_LATER != 0,
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
