//! What `run` is asked for, held against the host as it is before anything is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bridgefwd_common::contract::MAX_PAIRS;

use super::docker::Known;
use super::state::check_nat;
use crate::datapath::{is_end, wanted_interfaces};
use crate::failure::{Failure, Result};
use crate::host::names::{Names, Place};
use crate::host::netlink::{Link, Snapshot};
use crate::policy::setup::Setup;
use crate::policy::{Ends, PairNat, PairSetup};

/// Fails where there is nothing that could be managed, although all is asked for.
///
/// # Errors
///
/// Says where was looked.
pub fn any_end(names: &Names, docker: &Known) -> Result<()> {
    if docker.networks.is_some() || names.all_ends().next().is_some() {
        return Ok(());
    }
    let socket = docker.socket.as_deref().map(Path::display);
    let engine = socket.map(|socket| format!(", and no Docker engine on {socket}"));
    Err(Failure::usage(format!(
        "there is no bridge to manage in this network namespace{}: name one with --bridge when it is \
         there",
        engine.unwrap_or_default()
    )))
}

/// Fails where these cannot all be managed as they are now.
///
/// # Errors
///
/// Names the bridge or uplink, what is wrong with it, and what to do.
pub fn ends(
    names: &Names,
    snapshot: &Snapshot,
    bridges: &[String],
    uplinks: &[String],
) -> Result<()> {
    let mut seen = BTreeMap::new();
    for name in bridges {
        let place = check_bridge(names, snapshot, name)?;
        if let Some(earlier) = seen.insert(place.bridge.clone(), name) {
            return Err(Failure::usage(if earlier == name {
                format!("the bridge {name} is named twice")
            } else {
                format!("{earlier} and {name} are the same bridge: name it once")
            }));
        }
    }
    for (index, name) in uplinks.iter().enumerate() {
        if uplinks.iter().take(index).any(|earlier| earlier == name) {
            return Err(Failure::usage(format!("the uplink {name} is named twice")));
        }
        check_uplink(snapshot, name)?;
    }
    Ok(())
}

/// Fails where an end, as its interface is now, cannot be what packets are translated to by `nat`.
///
/// # Errors
///
/// Names the address, and those that the end has.
fn nat_addresses(snapshot: &Snapshot, nat: &PairNat, end: &str, interface: &str) -> Result<()> {
    let interface = [interface.to_owned()];
    let entries = wanted_interfaces(snapshot, &interface, &interface, false);
    match entries.values().find(|interface| is_end(interface)) {
        Some(target) => check_nat(nat, end, target),
        None => Ok(()),
    }
}

fn check_bridge<'a>(names: &'a Names, snapshot: &Snapshot, name: &str) -> Result<&'a Place> {
    let place = names.resolve(name).map_err(|error| {
        if snapshot.by_name(name).is_none() {
            return error;
        }
        let bridges = snapshot.bridge_names();
        Failure::usage(format!(
            "{name} is not a bridge; bridges here are: {}",
            if bridges.is_empty() { "none".into() } else { bridges.join(", ") }
        ))
    })?;
    match &place.unusable {
        // An internal network by the name of its bridge: whoever says so means it.
        Some(_) if place.network.as_ref().is_some_and(|network| network.internal) => Ok(place),
        Some(why) => Err(Failure::failed(why.clone())),
        None => Ok(place),
    }
}

fn check_uplink(snapshot: &Snapshot, name: &str) -> Result<()> {
    let Some(link) = snapshot.by_name(name) else {
        return Err(Failure::usage(format!(
            "there is no interface {name} in this network namespace to be an uplink"
        )));
    };
    if link.is_bridge {
        return Err(Failure::usage(format!(
            "{name} is a bridge, not an uplink: manage it with --bridge {name}"
        )));
    }
    let master = link.master.and_then(|master| snapshot.get(master));
    if let Some(bridge) = master.filter(|master| master.is_bridge) {
        return Err(Failure::usage(format!(
            "{name} is a port of the bridge {0}, so it cannot be an uplink: manage {0} instead, or \
             take {name} out of it",
            bridge.name
        )));
    }
    if link.mac == [0; 6] {
        return Err(Failure::usage(format!(
            "{name} has no Ethernet address, and bridgefwd works on Ethernet frames: it cannot be \
             an uplink"
        )));
    }
    if !has_address(link) {
        return Err(Failure::failed(format!(
            "the uplink {name} has neither an IPv4 nor an IPv6 address to translate to: add one \
             first (ip address add ADDRESS/PREFIX dev {name})"
        )));
    }
    Ok(())
}

/// Link-local ones do not count: nothing is routed by them.
fn has_address(link: &Link) -> bool {
    !link.addresses.is_empty() || !link.addresses_v6.is_empty()
}

/// Fails where pairs of `setup` that are not `known` cannot be. Where all ends are managed that there
/// are, one that is not there yet may come.
///
/// # Errors
///
/// Names the pair, the end, and what is wrong with it.
pub fn pairs(
    setup: &Setup,
    known: &BTreeMap<Ends, PairSetup>,
    names: &Names,
    snapshot: &Snapshot,
) -> Result<()> {
    if setup.pairs.len() > MAX_PAIRS as usize {
        return Err(Failure::usage(format!(
            "there are {} pairs, and at most {MAX_PAIRS} can be listed",
            setup.pairs.len()
        )));
    }
    let named: BTreeSet<&String> = setup.bridges.iter().chain(&setup.uplinks).collect();
    for (ends, pair) in &setup.pairs {
        let (from, to) = ends;
        let wrong =
            |what: &str| Failure::usage(format!("configuration, pair {from} -> {to}: {what}"));
        for name in [from, to].into_iter().filter(|name| !named.contains(name)) {
            check_managed(setup, names, name).map_err(|error| wrong(&error.to_string()))?;
        }
        if from == to {
            return Err(wrong("a pair leads from one end to another"));
        }
        // Most name no address, and there may be thousands of pairs.
        let named = pair.nat.by_family().any(|(_, _, nat)| !nat.addresses().is_empty());
        if named && known.get(ends).is_none_or(|known| known.nat != pair.nat) {
            let place = names.resolve(to).ok().and_then(|place| place.bridge.as_ref());
            let interface = place.map_or(to, |(_, interface)| interface);
            nat_addresses(snapshot, &pair.nat, to, interface)
                .map_err(|error| wrong(&error.to_string()))?;
        }
    }
    Ok(())
}

/// Is one that `setup` does not name an end of it, as far as that can be told?
fn check_managed(setup: &Setup, names: &Names, name: &str) -> Result<()> {
    let Setup { bridges, uplinks, .. } = setup;
    let place = match names.resolve(name) {
        Ok(place) => place,
        Err(_) if bridges.is_empty() && !names.knows(name) => return Ok(()),
        Err(error) if bridges.is_empty() => return Err(error),
        Err(_) => return Err(unmanaged(name, &[&bridges[..], uplinks].concat())),
    };
    if bridges.is_empty() && names.all_ends().any(|end| end == place) {
        return Ok(());
    }
    let ends = if bridges.is_empty() {
        names.all_ends().map(|end| end.name.clone()).collect()
    } else {
        [&bridges[..], uplinks].concat()
    };
    Err(unmanaged(name, &ends))
}

fn unmanaged(name: &str, ends: &[String]) -> Failure {
    Failure::usage(format!("{name} is not managed; managed are: {}", ends.join(", ")))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::host::addresses::Address;

    #[track_caller]
    fn refused(name: &str, parts: &[&str]) {
        let address =
            Address { address: IpAddr::from([10, 0, 0, 1]), prefix_len: 24, deprecated: false };
        let links = [
            Link { ifindex: 1, name: "lo".into(), ..Link::default() },
            Link { ifindex: 2, name: "bare".into(), is_bridge: true, ..Link::default() },
            Link {
                ifindex: 3,
                name: "good".into(),
                is_bridge: true,
                addresses: vec![address],
                ..Link::default()
            },
            Link {
                ifindex: 4,
                name: "six".into(),
                is_bridge: true,
                addresses_v6: vec![Address {
                    address: IpAddr::from([0xfd00; 8]),
                    prefix_len: 64,
                    deprecated: false,
                }],
                ..Link::default()
            },
        ];
        let snapshot = Snapshot::of(links);
        let why = match check_bridge(&Names::new(&snapshot, &[]), &snapshot, name) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        assert_eq!(why.is_empty(), parts.is_empty(), "{why}");
        assert!(parts.iter().all(|part| why.contains(part)), "{why}");
    }

    #[test]
    fn bridges_are_checked() {
        refused("good", &[]);
        refused("six", &[]);
        refused("typo", &["typo", "good, six"]);
        refused("lo", &["lo is not a bridge", "bare, good, six"]);
        refused("bare", &["bare has neither an IPv4 nor", "ip address add"]);
    }

    #[test]
    fn uplinks_are_checked() {
        let address =
            Address { address: IpAddr::from([10, 0, 0, 1]), prefix_len: 24, deprecated: false };
        let link = |ifindex, name: &str| Link {
            ifindex,
            name: name.into(),
            mac: [2, 0, 0, 0, 0, 1],
            addresses: vec![address],
            ..Link::default()
        };
        let links = [
            Link { mac: [0; 6], ..link(1, "lo") },
            Link { is_bridge: true, ..link(2, "br") },
            Link { master: Some(2), ..link(3, "port") },
            Link { addresses: Vec::new(), ..link(4, "bare") },
            link(5, "good"),
        ];
        let snapshot = Snapshot::of(links);
        for (name, part) in [
            ("lo", "no Ethernet address"),
            ("br", "--bridge br"),
            ("port", "port of the bridge br"),
            ("bare", "neither an IPv4 nor"),
            ("typo", "no interface typo"),
        ] {
            let why = check_uplink(&snapshot, name).unwrap_err().to_string();
            assert!(why.contains(part), "{why}");
        }
        check_uplink(&snapshot, "good").unwrap();
    }
}
