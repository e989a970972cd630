//! `INTERFACES`: which bridges and ports are managed, and what the program has to know of them.

use std::collections::BTreeMap;
use std::path::Path;

use bridgefwd_common::contract::{
    AttachKind, Interface, InterfaceAddress, MAP_INTERFACES, MAX_ADDRESSES, Role,
};

use super::wire::{self, Wire, WireHashMap};
use crate::failure::Result;
use crate::host::addresses::Address;
use crate::host::netlink::{Link, Snapshot};

/// The map, and what is in it.
#[derive(Debug)]
pub struct Interfaces {
    map: WireHashMap<u32, Interface>,
    entries: BTreeMap<u32, Interface>,
}

impl Interfaces {
    /// Opens the pinned map.
    ///
    /// # Errors
    ///
    /// Where it cannot be read.
    pub fn open(pin_dir: &Path) -> Result<Self> {
        let map = wire::open(pin_dir, MAP_INTERFACES)?;
        let entries = read(&map)?;
        Ok(Self { map, entries })
    }

    /// What is in it, by ifindex.
    #[must_use]
    pub const fn entries(&self) -> &BTreeMap<u32, Interface> {
        &self.entries
    }

    /// Writes one entry.
    ///
    /// # Errors
    ///
    /// Where there are too many.
    pub fn set(&mut self, ifindex: u32, interface: Interface) -> Result<()> {
        self.map
            .insert(Wire(ifindex), Wire(interface), 0)
            .map_err(|error| wire::failed(MAP_INTERFACES, "write", &error))?;
        self.entries.insert(ifindex, interface);
        Ok(())
    }

    /// Removes one entry. The program leaves what comes from there to the kernel.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn remove(&mut self, ifindex: u32) -> Result<()> {
        match self.map.remove(&Wire(ifindex)) {
            Ok(()) | Err(aya::maps::MapError::KeyNotFound) => {}
            Err(aya::maps::MapError::SyscallError(error))
                if error.io_error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(wire::failed(MAP_INTERFACES, "write", &error)),
        }
        self.entries.remove(&ifindex);
        Ok(())
    }
}

/// All entries of the map, by ifindex.
///
/// # Errors
///
/// The kernel's error.
pub fn read(map: &WireHashMap<u32, Interface>) -> Result<BTreeMap<u32, Interface>> {
    Ok(wire::entries(map, MAP_INTERFACES)?.into_iter().collect())
}

/// How an interface says that it is attached.
#[must_use]
pub const fn attached(interface: &Interface) -> Option<AttachKind> {
    match interface.attached {
        1 => Some(AttachKind::Tcx),
        2 => Some(AttachKind::Clsact),
        3 => Some(AttachKind::OwnClsact),
        _ => None,
    }
}

/// The addresses of both families that an entry has; a port's has none.
pub fn addresses(interface: &Interface) -> impl Iterator<Item = &InterfaceAddress> {
    let v4 = interface.addresses.iter().take(interface.address_count as usize);
    v4.chain(interface.addresses_v6.iter().take(interface.address_count_v6 as usize))
}

/// Is it an end of pairs, rather than a port?
#[must_use]
pub const fn is_end(interface: &Interface) -> bool {
    interface.role != Role::Port as u8
}

/// The smallest MTU that a route by any of them has of its own; 0 where there is none.
#[must_use]
pub fn smallest_route_mtu(entries: &BTreeMap<u32, Interface>) -> u32 {
    let mtus = entries.values().flat_map(|entry| [entry.route_mtu, entry.route_mtu_v6]);
    mtus.filter(|&mtu| mtu != 0).min().unwrap_or_default()
}

/// The entries for the bridges of these names, as far as they exist, and their ports where they are
/// asked for and the bridge keeps no VLANs apart, and for the uplinks; by ifindex, not attached.
#[must_use]
pub fn wanted(
    snapshot: &Snapshot,
    bridges: &[String],
    uplinks: &[String],
    ports: bool,
) -> BTreeMap<u32, Interface> {
    let mut entries = BTreeMap::new();
    for name in bridges {
        let Some(bridge) = snapshot.by_name(name).filter(|link| link.is_bridge) else { continue };
        entries.insert(bridge.ifindex, entry(bridge, bridge, Role::Bridge));
        // At a port's ingress nothing tells of which VLAN a frame will be; on a bridge that keeps VLANs
        // apart the bridge says which of them come to it.
        for port in snapshot.ports(bridge.ifindex).filter(|_| ports && !bridge.vlan_aware) {
            entries.insert(port.ifindex, entry(port, bridge, Role::Port));
        }
    }
    for name in uplinks {
        // One that was plugged into a managed bridge is a port of it until it is taken out again.
        if let Some(uplink) = snapshot.by_name(name).filter(|link| !link.is_bridge)
            && uplink.master.is_none_or(|master| !entries.contains_key(&master))
        {
            entries.entry(uplink.ifindex).or_insert_with(|| entry(uplink, uplink, Role::Uplink));
        }
    }
    entries
}

fn entry(link: &Link, end: &Link, role: Role) -> Interface {
    let of_end = |from: &[Address]| {
        let mut addresses = [InterfaceAddress::default(); MAX_ADDRESSES];
        let mut count = 0;
        if role != Role::Port {
            for (to, from) in addresses.iter_mut().zip(from) {
                to.address = from.address.into();
                to.prefix_len = from.prefix_len;
                to.flags = if from.deprecated { InterfaceAddress::DEPRECATED } else { 0 };
                count += 1;
            }
        }
        (count, addresses)
    };
    let (address_count, addresses) = of_end(&link.addresses);
    let (address_count_v6, addresses_v6) = of_end(&link.addresses_v6);
    Interface {
        end: end.ifindex,
        role: role as u8,
        attached: 0,
        router_mac: end.mac,
        mtu: link.mtu,
        route_mtu: 0,
        route_mtu_v6: 0,
        address_count,
        address_count_v6,
        flags: 0,
        addresses,
        addresses_v6,
        name: Interface::name_bytes(&link.name),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use super::*;

    fn v6() -> IpAddr {
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1).into()
    }

    fn snapshot() -> Snapshot {
        let address =
            Address { address: IpAddr::from([172, 18, 0, 1]), prefix_len: 16, deprecated: false };
        let links = [
            Link {
                ifindex: 5,
                name: "front".into(),
                is_bridge: true,
                vlan_aware: false,
                master: None,
                mac: [2, 0, 0, 0, 0, 5],
                mtu: 1500,
                addresses: vec![address; MAX_ADDRESSES + 1],
                addresses_v6: vec![Address { address: v6(), prefix_len: 64, deprecated: false }],
                ..Link::default()
            },
            Link { ifindex: 6, name: "p6".into(), master: Some(5), mtu: 1400, ..Link::default() },
            Link { ifindex: 7, name: "other".into(), is_bridge: true, ..Link::default() },
            Link { ifindex: 8, name: "p8".into(), master: Some(7), ..Link::default() },
        ];
        Snapshot::of(links)
    }

    fn with(link: Link) -> Snapshot {
        let there = [5, 6, 7, 8].map(|ifindex| snapshot().get(ifindex).cloned().unwrap());
        Snapshot::of(there.into_iter().chain([link]))
    }

    #[test]
    fn bridges_bring_their_ports() {
        let entries = wanted(&snapshot(), &["front".into(), "gone".into()], &[], true);
        assert_eq!(entries.keys().copied().collect::<Vec<_>>(), [5, 6]);
        let (bridge, port) = (entries[&5], entries[&6]);
        assert_eq!((bridge.end, bridge.role, bridge.name()), (5, Role::Bridge as u8, "front"));
        assert_eq!(bridge.address_count as usize, MAX_ADDRESSES);
        assert_eq!(IpAddr::from(bridge.addresses[0].address), IpAddr::from([172, 18, 0, 1]));
        assert_eq!((bridge.address_count_v6, bridge.addresses_v6[0].prefix_len), (1, 64));
        assert_eq!(IpAddr::from(bridge.addresses_v6[0].address), v6());
        assert_eq!((port.end, port.role, port.mtu), (5, Role::Port as u8, 1400));
        assert_eq!(port.router_mac, [2, 0, 0, 0, 0, 5]);
        assert_eq!((port.address_count, port.address_count_v6), (0, 0));
        assert!(is_end(&bridge) && !is_end(&port));
    }

    #[test]
    fn ports_of_a_bridge_that_keeps_vlans_apart_are_left_alone() {
        let front = snapshot().get(5).cloned().unwrap();
        let snapshot = with(Link { vlan_aware: true, ..front });
        let entries = wanted(&snapshot, &["front".into(), "other".into()], &[], true);
        assert_eq!(entries.keys().copied().collect::<Vec<_>>(), [5, 7, 8]);
    }

    #[test]
    fn uplinks_are_ends_of_their_own() {
        let address =
            Address { address: IpAddr::from([192, 0, 2, 9]), prefix_len: 24, deprecated: false };
        let up = Link {
            ifindex: 9,
            name: "up".into(),
            mac: [2, 0, 0, 0, 0, 9],
            mtu: 1400,
            addresses: vec![address],
            ..Link::default()
        };
        let snapshot = with(up);
        let bridges = ["front".into()];
        let uplinks = ["up", "p6", "other", "gone"].map(String::from);
        let entries = wanted(&snapshot, &bridges, &uplinks, true);
        assert_eq!(entries.keys().copied().collect::<Vec<_>>(), [5, 6, 9]);
        let up = entries[&9];
        assert_eq!((up.end, up.role, up.mtu), (9, Role::Uplink as u8, 1400));
        assert_eq!((up.router_mac, up.address_count), ([2, 0, 0, 0, 0, 9], 1));
        assert!(is_end(&up));
        let far = IpAddr::from([198, 51, 100, 1]).into();
        let chosen = up.masquerade_address(&far, &far).map(IpAddr::from);
        assert_eq!(chosen, Some(IpAddr::from([192, 0, 2, 9])));
        assert_eq!(entries[&6].role, Role::Port as u8, "a port of a managed bridge stays one");
        let without = wanted(&snapshot, &bridges, &uplinks, false);
        assert_eq!(without.keys().copied().collect::<Vec<_>>(), [5, 9], "nor is it an uplink");
    }
}
