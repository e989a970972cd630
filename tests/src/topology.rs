//! A router with bridges, and hosts plugged into them as containers are.

use std::fmt::Display;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::sync::Arc;

use crate::namespaces::Namespace;
use crate::uplink::Uplink;

/// Length of every bridge's IPv4 subnet prefix.
pub const PREFIX_LEN: u8 = 24;
/// Length of every bridge's IPv6 subnet prefix.
pub const PREFIX6_LEN: u8 = 64;

/// One bridge of the router.
#[derive(Clone, Debug)]
pub struct Bridge {
    /// `br-a`, `br-b` or `br-c`.
    pub name: &'static str,
    /// Its ifindex.
    pub ifindex: u32,
    /// Its MAC: the router's, as hosts on it see it.
    pub mac: [u8; 6],
    /// Its IPv4 address: `10.1.0.1`, `10.2.0.1` or `10.3.0.1`.
    pub address: Ipv4Addr,
    /// Its IPv6 address: `fd00:1::1`, `fd00:2::1` or `fd00:3::1`.
    pub address6: Ipv6Addr,
}

/// One host: a namespace with `eth0`, plugged into a bridge.
#[derive(Debug)]
pub struct Host {
    /// Its namespace.
    pub ns: Namespace,
    /// Name of its bridge.
    pub bridge: &'static str,
    /// Its IPv4 address, from `.2` on.
    pub address: Ipv4Addr,
    /// Its IPv6 address, from `::2` on.
    pub address6: Ipv6Addr,
    /// MAC of its `eth0`.
    pub mac: [u8; 6],
    /// Name of its bridge port in the router.
    pub port: String,
    /// ifindex of its bridge port in the router.
    pub port_index: u32,
}

impl Host {
    /// A socket address on this host.
    #[must_use]
    pub fn at(&self, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(self.address, port)
    }

    /// An IPv6 socket address on this host.
    #[must_use]
    pub fn at6(&self, port: u16) -> SocketAddrV6 {
        SocketAddrV6::new(self.address6, port, 0, 0)
    }
}

/// What differs between topologies.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Checksum offload, TSO and GSO on both sides of every host's cable.
    pub offloads: bool,
    /// `net.bridge.bridge-nf-call-iptables` and `-ip6tables`, where the kernel has them.
    pub bridge_nf: bool,
    /// `net.ipv4.ip_forward`.
    pub forwarding: bool,
    /// `net.ipv6.conf.all.forwarding`.
    pub forwarding6: bool,
    /// MTU of bridges and hosts.
    pub mtu: u32,
    /// Bridges have a MAC of their own, as Docker's have, and not that of a port.
    pub fixed_macs: bool,
    /// With `up0`, and somebody [outside](Uplink).
    pub uplink: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            offloads: true,
            bridge_nf: true,
            forwarding: true,
            forwarding6: true,
            mtu: 1500,
            fixed_macs: true,
            uplink: false,
        }
    }
}

/// A router namespace with the bridges `br-a`, `br-b` and `br-c`, and its hosts.
#[derive(Debug)]
pub struct Router {
    /// The router's namespace.
    pub ns: Arc<Namespace>,
    /// Its hosts, in the order in which they were plugged in.
    pub hosts: Vec<Host>,
    /// Its uplink, where [`Options::uplink`] asks for one.
    pub uplink: Option<Uplink>,
    options: Options,
    bridges: Vec<Bridge>,
}

const BRIDGES: [&str; 3] = ["br-a", "br-b", "br-c"];

impl Router {
    /// A router with one host on each named bridge, in that order; a name may come more than once.
    #[must_use]
    #[track_caller]
    pub fn new(options: Options, hosts: &[&'static str]) -> Self {
        let ns = Arc::new(Namespace::new("router"));
        ns.sysctl("net/ipv4/ip_forward", if options.forwarding { "1" } else { "0" });
        enable_ipv6(&ns, options.forwarding6);
        ns.run(|| {
            for family in ["iptables", "ip6tables"] {
                // Absent where br_netfilter is not loaded: then nothing can be called.
                let nf = format!("/proc/sys/net/bridge/bridge-nf-call-{family}");
                if std::fs::exists(&nf).is_ok_and(|there| there) {
                    std::fs::write(&nf, if options.bridge_nf { "1" } else { "0" }).unwrap();
                }
            }
        });
        let mut batch = String::new();
        for (number, name) in (1..).zip(BRIDGES) {
            let mac = if options.fixed_macs {
                format!("address {}", mac_text(mac_of(number, 1)))
            } else {
                String::new()
            };
            batch += &format!(
                "link add {name} {mac} mtu {} type bridge forward_delay 0 stp_state 0\n\
                 addr add 10.{number}.0.1/{PREFIX_LEN} dev {name}\n\
                 addr add {}/{PREFIX6_LEN} dev {name} nodad\n\
                 link set {name} up\n",
                options.mtu,
                address6_of(number.into(), 1),
            );
        }
        ns.ip(&batch);
        let bridges = (1u8..)
            .zip(BRIDGES)
            .map(|(number, name)| {
                let (ifindex, mac) = link(&ns, name);
                let address6 = address6_of(number.into(), 1);
                Bridge { name, ifindex, mac, address: Ipv4Addr::new(10, number, 0, 1), address6 }
            })
            .collect();
        let uplink = options.uplink.then(|| Uplink::new(&ns, options));
        let mut router = Self { ns, hosts: Vec::new(), uplink, options, bridges };
        for bridge in hosts {
            router.plug(bridge);
        }
        router
    }

    /// The bridge of that name, as it was made.
    #[must_use]
    #[track_caller]
    pub fn bridge(&self, name: &str) -> &Bridge {
        self.bridges.iter().find(|bridge| bridge.name == name).expect("a bridge of the router")
    }

    /// The MAC of a bridge as it is now.
    #[must_use]
    pub fn mac_now(&self, name: &str) -> [u8; 6] {
        link(&self.ns, name).1
    }

    /// Plugs one more host into a bridge and returns its place in [`Router::hosts`].
    #[track_caller]
    pub fn plug(&mut self, bridge: &'static str) -> usize {
        let number = (1..).zip(BRIDGES).find(|(_, name)| *name == bridge).expect("a bridge").0;
        let before = self.hosts.iter().filter(|host| host.bridge == bridge).count();
        let last = 2 + u8::try_from(before).expect("few hosts");
        let (address, mac) = (Ipv4Addr::new(10, number, 0, last), mac_of(number, last));
        let address6 = address6_of(number.into(), last.into());
        let port = format!("p-{}{last}", &bridge[3..]);
        let ns = Namespace::new(&port);
        enable_ipv6(&ns, false);
        let mtu = self.options.mtu;
        // Docker makes the cable like this too: the far end is moved before it is plugged in.
        self.ns.ip(&format!(
            "link add {port} mtu {mtu} type veth peer name eth0 mtu {mtu} address {} netns {}\n",
            mac_text(mac),
            ns.name()
        ));
        if !self.options.offloads {
            without_offloads(&self.ns, &port);
            without_offloads(&ns, "eth0");
        }
        ns.ip(&format!(
            "addr add {address}/{PREFIX_LEN} dev eth0\n\
             addr add {address6}/{PREFIX6_LEN} dev eth0 nodad\n\
             link set eth0 up\n\
             route add default via 10.{number}.0.1\n\
             route add default via {}\n",
            address6_of(number.into(), 1)
        ));
        // A port needs no IPv6 of its own, and with it would send reports to its host.
        self.ns.sysctl(&format!("net/ipv6/conf/{port}/disable_ipv6"), "1");
        self.ns.ip(&format!("link set {port} master {bridge}\nlink set {port} up\n"));
        let port_index = link(&self.ns, &port).0;
        self.hosts.push(Host { ns, bridge, address, address6, mac, port, port_index });
        self.hosts.len() - 1
    }

    /// Tells the router the MAC of every host and of the one outside, for tests in which nobody
    /// answers ARP or neighbour solicitations.
    pub fn learn_neighbours(&self) {
        let line = |address: &dyn Display, mac, interface| {
            let mac = mac_text(mac);
            format!("neigh replace {address} lladdr {mac} dev {interface} nud permanent\n")
        };
        let hosts = self.hosts.iter().flat_map(|host| {
            [
                line(&host.address, host.mac, host.bridge),
                line(&host.address6, host.mac, host.bridge),
            ]
        });
        let outside = self.uplink.iter().flat_map(|up| {
            [line(&up.outside, up.outside_mac, "up0"), line(&up.outside6, up.outside_mac, "up0")]
        });
        self.ns.ip(&hosts.chain(outside).collect::<String>());
    }
}

/// MAC of an interface: the router is host 1.
#[must_use]
pub fn mac_of(network: u8, host: u8) -> [u8; 6] {
    [0x02, 0xbf, 0, network, 0, host]
}

/// `fd00:NETWORK::HOST`: the router is host 1.
#[must_use]
pub fn address6_of(network: u16, host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, network, 0, 0, 0, 0, 0, host)
}

/// Turns IPv6 on in a namespace of [`Namespace::new`], before its interfaces are made. Addresses are
/// usable at once, and come from the test alone.
pub(crate) fn enable_ipv6(ns: &Namespace, forwarding: bool) {
    for scope in ["all", "default"] {
        for (key, value) in [
            ("accept_dad", "0"),
            ("dad_transmits", "0"),
            ("accept_ra", "0"),
            ("router_solicitations", "0"),
            ("forwarding", if forwarding { "1" } else { "0" }),
            ("disable_ipv6", "0"),
        ] {
            ns.sysctl(&format!("net/ipv6/conf/{scope}/{key}"), value);
        }
    }
}

/// Turns off what a network card would do for the stack: every checksum on the wire is final.
pub(crate) fn without_offloads(ns: &Namespace, interface: &str) {
    let features = ["tx", "off", "tso", "off", "gso", "off", "gro", "off", "sg", "off"];
    ns.command("ethtool", &[&["-K", interface], &features[..]].concat());
}

/// `02:bf:00:01:00:02`.
#[must_use]
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// ifindex and MAC of a link.
pub(crate) fn link(ns: &Namespace, name: &str) -> (u32, [u8; 6]) {
    let text = ns.command("ip", &["-j", "link", "show", "dev", name]);
    let json: serde_json::Value = serde_json::from_str(&text).expect("ip -j prints JSON");
    let ifindex = json[0]["ifindex"].as_u64().and_then(|index| index.try_into().ok());
    let mut mac = [0; 6];
    let digits = json[0]["address"].as_str().expect("address").split(':');
    for (byte, text) in mac.iter_mut().zip(digits) {
        *byte = u8::from_str_radix(text, 16).expect("a MAC");
    }
    (ifindex.expect("ifindex"), mac)
}
