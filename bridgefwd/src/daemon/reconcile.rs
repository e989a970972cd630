//! Keeping up with the host: bridges, ports and addresses as they are now, into the data path.

use std::collections::BTreeMap;

use bridgefwd_common::contract::{Interface, MAX_ADDRESSES};

use super::route_mtus;
use super::state::{State, check_nat};
use crate::datapath::{is_end, wanted_interfaces};
use crate::failure::{Failure, Result};
use crate::host::netlink::{Changes, Link, Snapshot};
use crate::policy::PairNat;

/// Makes the data path follow the interfaces as they are now. Attaches everywhere anew where
/// `renew`.
///
/// # Errors
///
/// Where interfaces cannot be listed or pairs not be written. What fails for one interface is in
/// the state's warnings.
pub fn reconcile(state: &mut State, changes: &Changes, renew: bool) -> Result<()> {
    let snapshot = snapshot()?;
    let before = ends(state.datapath.interfaces());
    let mut wanted = wanted_interfaces(&snapshot, &state.bridges, &state.uplinks, state.ports);
    route_mtus::enter(&state.route_mtus, &mut wanted);
    let renew = renew || changes.lost;
    let mut failures = state.datapath.manage(wanted, changes, renew);
    state.datapath.note_smallest_route_mtu()?;
    if !failures.is_empty() {
        // What went away in the meantime is nobody's problem; its removal is the next event.
        let now = self::snapshot()?;
        failures.retain(|ifindex, _| now.links.contains_key(ifindex));
    }
    for (ifindex, failure) in &failures {
        if state.failures.get(ifindex).map(ToString::to_string) != Some(failure.to_string()) {
            tracing::warn!("{failure}");
        }
    }
    state.failures = failures;
    state.crowded = state
        .names_of_ends()
        .filter(|name| {
            snapshot
                .by_name(name)
                .is_some_and(|end| end.addresses.len().max(end.addresses_v6.len()) > MAX_ADDRESSES)
        })
        .cloned()
        .collect();
    let after = ends(state.datapath.interfaces());
    if before != after || renew {
        for name in before.values().filter(|name| !after.values().any(|other| other == *name)) {
            tracing::warn!("the {} {name} is gone", state.kind(name));
        }
        for name in after.values().filter(|name| !before.values().any(|other| other == *name)) {
            tracing::info!("managing the {} {name}", state.kind(name));
        }
        state.rekey_pairs()?;
    }
    Ok(())
}

/// Fails where `bridges` cannot all be managed as they are now.
///
/// # Errors
///
/// Names the bridge, what is wrong with it, and what to do.
pub fn check_ends(bridges: &[String], uplinks: &[String]) -> Result<()> {
    if bridges.is_empty() {
        return Err(Failure::usage(
            "no bridge to manage: name some with --bridge, or in the configuration",
        ));
    }
    check_these(bridges, uplinks)
}

/// Fails where these cannot all be managed as they are now.
///
/// # Errors
///
/// As [`check_ends`].
pub fn check_these(bridges: &[String], uplinks: &[String]) -> Result<()> {
    if bridges.is_empty() && uplinks.is_empty() {
        return Ok(());
    }
    let snapshot = snapshot()?;
    for (index, name) in bridges.iter().enumerate() {
        if bridges.iter().take(index).any(|earlier| earlier == name) {
            return Err(Failure::usage(format!("the bridge {name} is named twice")));
        }
        check_bridge(&snapshot, name)?;
    }
    for (index, name) in uplinks.iter().enumerate() {
        if uplinks.iter().take(index).any(|earlier| earlier == name) {
            return Err(Failure::usage(format!("the uplink {name} is named twice")));
        }
        check_uplink(&snapshot, name)?;
    }
    Ok(())
}

/// Fails where `bridge`, as it is now, cannot be what packets are translated to by `nat`.
///
/// # Errors
///
/// Names the address, and those that the bridge has.
pub fn check_nat_addresses(nat: &PairNat, bridge: &str) -> Result<()> {
    let entries =
        wanted_interfaces(&snapshot()?, &[bridge.to_owned()], &[bridge.to_owned()], false);
    match entries.values().find(|interface| is_end(interface)) {
        Some(target) => check_nat(nat, bridge, target),
        None => Ok(()),
    }
}

fn check_bridge(snapshot: &Snapshot, name: &str) -> Result<()> {
    let Some(link) = snapshot.by_name(name) else {
        let names = snapshot.bridge_names();
        return Err(Failure::usage(format!(
            "there is no interface {name} in this network namespace; bridges here are: {}",
            if names.is_empty() { "none".into() } else { names.join(", ") }
        )));
    };
    if !link.is_bridge {
        return Err(Failure::usage(format!(
            "{name} is not a bridge; bridges here are: {}",
            snapshot.bridge_names().join(", ")
        )));
    }
    if !has_address(link) {
        return Err(Failure::failed(format!(
            "the bridge {name} has neither an IPv4 nor an IPv6 address, so nothing is routed to it: add one first \
             (ip address add ADDRESS/PREFIX dev {name})"
        )));
    }
    Ok(())
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
    let master = link.master.and_then(|master| snapshot.links.get(&master));
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

fn snapshot() -> Result<Snapshot> {
    Snapshot::take()
        .map_err(|error| Failure::failed(format!("cannot list network interfaces: {error}")))
}

fn ends(interfaces: &BTreeMap<u32, Interface>) -> BTreeMap<u32, String> {
    let ends = interfaces.iter().filter(|(_, interface)| is_end(interface));
    ends.map(|(&ifindex, interface)| (ifindex, interface.name().to_owned())).collect()
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
        let links = links.into_iter().map(|link| (link.ifindex, link)).collect();
        let why = match check_bridge(&Snapshot { links }, name) {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        };
        assert_eq!(why.is_empty(), parts.is_empty(), "{why}");
        assert!(parts.iter().all(|part| why.contains(part)), "{why}");
    }

    #[test]
    fn bridges_are_checked() {
        refused("good", &[]);
        refused("six", &[]);
        refused("typo", &["typo", "bare, good, six"]);
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
        let links = links.into_iter().map(|link| (link.ifindex, link)).collect();
        let snapshot = Snapshot { links };
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
