//! What decides, beside its rules, whom a host lets reach whom: its networks, addresses and settings.

use std::net::{IpAddr, Ipv4Addr};

use super::netlink::{Link, Snapshot};
use super::{firewall, sysctl};
use crate::api::bridges::Bridge;
use crate::explain::ends::{Container, Facts, Network};
use crate::failure::{Failure, Result};

/// What the host is, beside its rules: seen from the calling thread's network namespace, with the names
/// of `ends`.
///
/// # Errors
///
/// The kernel does not say which interfaces there are.
pub fn here(ends: &[Bridge]) -> Result<Facts> {
    let mut facts = Facts {
        outside: firewall::default_route(),
        bridge_nf: sysctl::bridge_nf(),
        forwarding: sysctl::forwards(bridgefwd_common::contract::Family::V4),
        ..Facts::default()
    };
    let links = Snapshot::take()
        .map_err(|error| Failure::failed(format!("cannot list network interfaces: {error}")))?;
    for link in links.all() {
        facts.addresses.extend(v4(link).map(|(address, _)| address));
        let Some((gateway, length)) = v4(link).next().filter(|_| link.is_bridge) else { continue };
        let end = ends.iter().find(|end| end.interface.as_ref() == Some(&link.name));
        facts.networks.push(Network {
            name: end.map_or(&link.name, |end| &end.name).clone(),
            bridge: link.name.clone(),
            subnet: Some((gateway, length)),
            gateway: Some(gateway),
            containers: end.map(containers).unwrap_or_default(),
        });
    }
    Ok(facts)
}

/// The IPv4 addresses of an interface, with their prefix lengths.
fn v4(link: &Link) -> impl Iterator<Item = (Ipv4Addr, u8)> {
    link.addresses.iter().filter_map(|address| match address.address {
        IpAddr::V4(v4) => Some((v4, address.prefix_len)),
        IpAddr::V6(_) => None,
    })
}

/// What Docker has plugged into a network, as far as it has IPv4 there.
fn containers(end: &Bridge) -> Vec<Container> {
    let each = end.containers.iter().flat_map(|container| {
        let v4 = container.addresses.iter().filter_map(|address| address.parse().ok());
        v4.map(|address| Container { name: container.name.clone(), address })
    });
    each.collect()
}
