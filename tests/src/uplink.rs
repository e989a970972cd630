//! A router's uplink, an ordinary interface, and the world behind it.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::namespaces::Namespace;
use crate::topology::{
    Options, PREFIX_LEN, PREFIX6_LEN, address6_of, enable_ipv6, link, mac_of, mac_text,
    without_offloads,
};

/// The router's IPv4 address outside.
pub const UPLINK: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The host outside.
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The router's IPv6 address outside.
pub const UPLINK6: Ipv6Addr = Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 1);
/// The host outside.
pub const OUTSIDE6: Ipv6Addr = Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 2);

/// Number of the outer network in MACs and IPv6 addresses.
const NETWORK: u8 = 9;

/// `up0` of a router, and the host at its other end, which knows nothing of the inner networks.
#[derive(Debug)]
pub struct Uplink {
    /// The namespace of the host outside; its interface is `eth0`.
    pub ns: Namespace,
    /// ifindex of `up0` as it was first plugged in.
    pub ifindex: u32,
    /// MAC of `up0`.
    pub mac: [u8; 6],
    /// [`OUTSIDE`].
    pub outside: Ipv4Addr,
    /// [`OUTSIDE6`].
    pub outside6: Ipv6Addr,
    /// MAC of the host outside.
    pub outside_mac: [u8; 6],
    options: Options,
}

impl Uplink {
    /// Makes the world outside and plugs it into the router.
    #[must_use]
    #[track_caller]
    pub fn new(router: &Namespace, options: Options) -> Self {
        debug_assert_eq!(OUTSIDE6, address6_of(NETWORK.into(), 2));
        let ns = Namespace::new("outside");
        enable_ipv6(&ns, false);
        let mut uplink = Self {
            ns,
            ifindex: 0,
            mac: mac_of(NETWORK, 1),
            outside: OUTSIDE,
            outside6: OUTSIDE6,
            outside_mac: mac_of(NETWORK, 2),
            options,
        };
        uplink.plug(router);
        uplink.ifindex = link(router, "up0").0;
        uplink
    }

    /// Makes `up0` in the router, as after it was deleted there.
    #[track_caller]
    pub fn plug(&self, router: &Namespace) {
        let mtu = self.options.mtu;
        router.ip(&format!(
            "link add up0 mtu {mtu} address {} type veth peer name eth0 mtu {mtu} address {} netns {}\n\
             addr add {UPLINK}/{PREFIX_LEN} dev up0\n\
             addr add {UPLINK6}/{PREFIX6_LEN} dev up0 nodad\n",
            mac_text(self.mac),
            mac_text(self.outside_mac),
            self.ns.name()
        ));
        if !self.options.offloads {
            without_offloads(router, "up0");
            without_offloads(&self.ns, "eth0");
        }
        router.ip("link set up0 up\n");
        self.ns.ip(&format!(
            "addr add {OUTSIDE}/{PREFIX_LEN} dev eth0\n\
             addr add {OUTSIDE6}/{PREFIX6_LEN} dev eth0 nodad\n\
             link set eth0 up\n"
        ));
    }
}
