//! What the lab consists of: names, addresses, and what is plugged into what.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use crate::host::netns;

/// What every namespace of the lab begins with.
pub const PREFIX: &str = "bridgefwd-lab-";

/// The namespace that holds the bridges.
pub const ROUTER: &str = "bridgefwd-lab-router";

/// Logs of the servers and of the tour's daemon, as long as the lab is up.
pub const RUN_DIR: &str = "/run/bridgefwd-lab";

/// Where the servers answer HTTP (TCP).
pub const HTTP_PORT: u16 = 80;

/// Where the servers echo (TCP and UDP).
pub const ECHO_PORT: u16 = 7;

/// A bridge in the router.
#[derive(Debug, Eq, PartialEq)]
pub struct LabBridge {
    /// Its interface name.
    pub name: &'static str,
    /// Its own address, the default gateway of its hosts.
    pub gateway: Ipv4Addr,
}

/// A container-like namespace with one interface, `eth0`.
#[derive(Debug, Eq, PartialEq)]
pub struct LabHost {
    /// Its short name, as the servers say it.
    pub name: &'static str,
    /// The bridge it is plugged into.
    pub bridge: &'static LabBridge,
    /// Its address.
    pub address: Ipv4Addr,
}

/// Length of the prefix of every bridge's subnet, in bits.
pub const PREFIX_LENGTH: u8 = 16;

/// Where the clients are that the tour's permitted pair starts from.
pub const SHOP_FRONT: LabBridge =
    LabBridge { name: "shop_front", gateway: Ipv4Addr::new(172, 18, 0, 1) };
/// Where the databases are.
pub const SHOP_DB: LabBridge = LabBridge { name: "shop_db", gateway: Ipv4Addr::new(172, 19, 0, 1) };
/// What nobody is to reach.
pub const BACKOFFICE: LabBridge =
    LabBridge { name: "backoffice", gateway: Ipv4Addr::new(172, 21, 0, 1) };

/// All bridges.
pub static BRIDGES: [&LabBridge; 3] = [&SHOP_FRONT, &SHOP_DB, &BACKOFFICE];

/// On [`SHOP_FRONT`].
pub static FRONT1: LabHost = host("front1", &SHOP_FRONT, [172, 18, 0, 2]);
/// On [`SHOP_FRONT`].
pub static FRONT2: LabHost = host("front2", &SHOP_FRONT, [172, 18, 0, 3]);
/// On [`SHOP_DB`].
pub static DB1: LabHost = host("db1", &SHOP_DB, [172, 19, 0, 2]);
/// On [`SHOP_DB`].
pub static DB2: LabHost = host("db2", &SHOP_DB, [172, 19, 0, 3]);
/// On [`BACKOFFICE`].
pub static OFFICE1: LabHost = host("office1", &BACKOFFICE, [172, 21, 0, 2]);

/// All hosts.
pub static HOSTS: [&LabHost; 5] = [&FRONT1, &FRONT2, &DB1, &DB2, &OFFICE1];

const fn host(name: &'static str, bridge: &'static LabBridge, address: [u8; 4]) -> LabHost {
    let [a, b, c, d] = address;
    LabHost { name, bridge, address: Ipv4Addr::new(a, b, c, d) }
}

impl LabBridge {
    /// A MAC of its own, made from its address as Docker makes one. Without, a bridge takes the
    /// lowest of its ports and changes it when they come and go.
    #[must_use]
    pub const fn mac(&self) -> [u8; 6] {
        let [a, b, c, d] = self.gateway.octets();
        [0x02, 0x42, a, b, c, d]
    }

    /// One host on it.
    #[must_use]
    pub fn first_host(&self) -> Option<&'static LabHost> {
        HOSTS.iter().copied().find(|host| host.bridge == self)
    }
}

impl LabHost {
    /// Name of its namespace.
    #[must_use]
    pub fn netns(&self) -> String {
        format!("{PREFIX}{}", self.name)
    }

    /// The file that stands for its namespace.
    #[must_use]
    pub fn netns_path(&self) -> PathBuf {
        netns::path_of(&self.netns())
    }

    /// Name of the bridge port at the other end of its `eth0`.
    #[must_use]
    pub fn port(&self) -> String {
        format!("veth-{}", self.name)
    }

    /// What its server logs.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        PathBuf::from(RUN_DIR).join(format!("{}.log", self.name))
    }

    /// The host of that short name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        HOSTS.iter().copied().find(|host| host.name == name)
    }
}

/// The file that stands for the router's namespace.
#[must_use]
pub fn router_path() -> PathBuf {
    netns::path_of(ROUTER)
}

/// Names of all namespaces of the lab, the router's first.
pub fn namespaces() -> impl Iterator<Item = String> {
    std::iter::once(ROUTER.to_owned()).chain(HOSTS.iter().map(|host| host.netns()))
}

/// Every directional pair of bridges, in the order in which they are shown.
pub fn directions() -> impl Iterator<Item = (&'static LabBridge, &'static LabBridge)> {
    BRIDGES
        .iter()
        .flat_map(|from| BRIDGES.iter().filter(move |to| *to != from).map(move |to| (*from, *to)))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn hosts_are_in_the_subnet_of_their_bridge_and_distinct() {
        for host in HOSTS {
            assert_eq!(host.address.octets()[..2], host.bridge.gateway.octets()[..2]);
            assert_ne!(host.address, host.bridge.gateway);
            assert_eq!(LabHost::named(host.name), Some(host));
        }
        assert_eq!(HOSTS.iter().map(|host| host.address).collect::<HashSet<_>>().len(), 5);
        assert_eq!(LabHost::named("router"), None);
    }

    #[test]
    fn names_fit_interfaces_and_say_whose_they_are() {
        // IFNAMSIZ is 16 with the closing zero.
        assert!(HOSTS.iter().all(|host| host.port().len() < 16));
        assert!(BRIDGES.iter().all(|bridge| bridge.name.len() < 16));
        assert!(namespaces().all(|name| name.starts_with(PREFIX)));
        assert_eq!(namespaces().count(), 6);
    }

    #[test]
    fn six_directions() {
        let names: Vec<_> = directions().map(|(from, to)| (from.name, to.name)).collect();
        assert_eq!(names.len(), 6);
        assert_eq!(names.first(), Some(&("shop_front", "shop_db")));
        assert!(BRIDGES.iter().all(|bridge| bridge.first_host().is_some()));
    }
}
