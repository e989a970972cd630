//! One more router behind a bridge or the uplink, and a host behind it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::namespaces::Namespace;
use crate::site::{Family, Site, unlimited_errors, until_running};
use crate::topology::{address6_of, enable_ipv6};

/// Makes the host outside a router to another one, and the site's router send to it by default.
/// Returns the host behind it, and its address.
#[must_use]
#[track_caller]
pub fn beyond_the_uplink(site: &Site, family: Family, mtu: u32) -> (Namespace, IpAddr) {
    let (outside, host) = (site.outside(), Namespace::new("far"));
    enable_ipv6(&host, false);
    unlimited_errors(outside);
    outside.sysctl("net/ipv4/ip_forward", "1");
    outside.sysctl("net/ipv6/conf/all/forwarding", "1");
    let gateway = family.pick(Ipv4Addr::new(198, 51, 100, 1), address6_of(10, 1));
    let address = family.pick(Ipv4Addr::new(198, 51, 100, 2), address6_of(10, 2));
    let length = if family == Family::V4 { "24" } else { "64 nodad" };
    outside.ip(&format!(
        "link add eth1 type veth peer name eth0 netns {}\n\
         addr add {gateway}/{} dev eth1{}\n\
         link set eth1 mtu {mtu} up\n",
        host.name(),
        &length[..2],
        &length[2..],
    ));
    host.ip(&format!(
        "addr add {address}/{} dev eth0{}\n\
         link set eth0 up\n\
         route add default via {gateway}\n",
        &length[..2],
        &length[2..],
    ));
    site.router.ns.ip(&format!("route add default via {} dev up0\n", family.outside()));
    for ns in [outside, &host] {
        until_running(ns);
    }
    (host, address)
}

/// A router in `br-b`, and a host behind it. The site's router has the routes.
pub struct Beyond {
    /// The router: `eth0` on `br-b`, `eth1` behind.
    pub router: Namespace,
    /// The host; its interface is `eth0`.
    pub host: Namespace,
}

impl Beyond {
    /// The router's address on `br-b`.
    pub const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 254);
    /// Its IPv6 address there.
    pub const ROUTER6: Ipv6Addr = Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 254);
    /// The host behind it.
    pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 2);
    /// Its IPv6 address.
    pub const HOST6: Ipv6Addr = Ipv6Addr::new(0xfd00, 20, 0, 0, 0, 0, 0, 2);

    /// Plugs it in.
    #[must_use]
    #[track_caller]
    pub fn new(site: &Site) -> Self {
        let this = Self { router: Namespace::new("beyond"), host: Namespace::new("behind") };
        this.router.sysctl("net/ipv4/ip_forward", "1");
        enable_ipv6(&this.router, true);
        enable_ipv6(&this.host, false);
        unlimited_errors(&this.router);
        site.router.ns.ip(&format!(
            "link add p-beyond type veth peer name eth0 netns {}\n\
             link set p-beyond addrgenmode none\n\
             link set p-beyond master br-b\n\
             link set p-beyond up\n",
            this.router.name()
        ));
        let (near, near6) = (Family::V4.router(2), Family::V6.router(2));
        this.router.ip(&format!(
            "addr add {}/24 dev eth0\n\
             addr add {}/64 dev eth0 nodad\n\
             link set eth0 up\n\
             link add eth1 type veth peer name eth0 netns {}\n\
             addr add 10.20.0.1/24 dev eth1\n\
             addr add {}/64 dev eth1 nodad\n\
             link set eth1 up\n\
             route add default via {near}\n\
             route add default via {near6}\n",
            Self::ROUTER,
            Self::ROUTER6,
            this.host.name(),
            address6_of(20, 1),
        ));
        this.host.ip(&format!(
            "addr add {}/24 dev eth0\n\
             addr add {}/64 dev eth0 nodad\n\
             link set eth0 up\n\
             route add default via 10.20.0.1\n\
             route add default via {}\n",
            Self::HOST,
            Self::HOST6,
            address6_of(20, 1),
        ));
        site.router.ns.ip(&format!(
            "route add 10.20.0.0/24 via {} dev br-b\n\
             route add {}/64 via {} dev br-b\n",
            Self::ROUTER,
            address6_of(20, 0),
            Self::ROUTER6,
        ));
        for ns in [&*site.router.ns, &this.router, &this.host] {
            until_running(ns);
        }
        this
    }

    /// The host's address.
    #[must_use]
    pub fn host_address(family: Family) -> IpAddr {
        family.pick(Self::HOST, Self::HOST6)
    }

    /// The router's address on `br-b`.
    #[must_use]
    pub fn router_address(family: Family) -> IpAddr {
        family.pick(Self::ROUTER, Self::ROUTER6)
    }
}
