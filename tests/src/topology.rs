//! A router with bridges, and hosts plugged into them as containers are.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use crate::namespaces::Namespace;

/// Length of every bridge's subnet prefix.
pub const PREFIX_LEN: u8 = 24;

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
}

/// What differs between topologies.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Checksum offload, TSO and GSO on both sides of every host's cable.
    pub offloads: bool,
    /// `net.bridge.bridge-nf-call-iptables`, where the kernel has it.
    pub bridge_nf: bool,
    /// `net.ipv4.ip_forward`.
    pub forwarding: bool,
    /// MTU of bridges and hosts.
    pub mtu: u32,
    /// Bridges have a MAC of their own, as Docker's have, and not that of a port.
    pub fixed_macs: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { offloads: true, bridge_nf: true, forwarding: true, mtu: 1500, fixed_macs: true }
    }
}

/// A router namespace with the bridges `br-a`, `br-b` and `br-c`, and its hosts.
#[derive(Debug)]
pub struct Router {
    /// The router's namespace.
    pub ns: Arc<Namespace>,
    /// Its hosts, in the order in which they were plugged in.
    pub hosts: Vec<Host>,
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
        // Absent where br_netfilter is not loaded: then nothing can be called.
        let nf = "/proc/sys/net/bridge/bridge-nf-call-iptables";
        ns.run(|| {
            if std::fs::exists(nf).is_ok_and(|there| there) {
                std::fs::write(nf, if options.bridge_nf { "1" } else { "0" }).unwrap();
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
                 link set {name} up\n",
                options.mtu
            );
        }
        ns.ip(&batch);
        let bridges = (1u8..)
            .zip(BRIDGES)
            .map(|(number, name)| {
                let (ifindex, mac) = link(&ns, name);
                Bridge { name, ifindex, mac, address: Ipv4Addr::new(10, number, 0, 1) }
            })
            .collect();
        let mut router = Self { ns, hosts: Vec::new(), options, bridges };
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
        let port = format!("p-{}{last}", &bridge[3..]);
        let ns = Namespace::new(&port);
        let mtu = self.options.mtu;
        // Docker makes the cable like this too: the far end is moved before it is plugged in.
        self.ns.ip(&format!(
            "link add {port} mtu {mtu} type veth peer name eth0 mtu {mtu} address {} netns {}\n",
            mac_text(mac),
            ns.name()
        ));
        if !self.options.offloads {
            let features = ["tx", "off", "tso", "off", "gso", "off", "gro", "off", "sg", "off"];
            self.ns.command("ethtool", &[&["-K", &port], &features[..]].concat());
            ns.command("ethtool", &[&["-K", "eth0"], &features[..]].concat());
        }
        ns.ip(&format!(
            "addr add {address}/{PREFIX_LEN} dev eth0\n\
             link set eth0 up\n\
             route add default via 10.{number}.0.1\n"
        ));
        self.ns.ip(&format!("link set {port} master {bridge}\nlink set {port} up\n"));
        let port_index = link(&self.ns, &port).0;
        self.hosts.push(Host { ns, bridge, address, mac, port, port_index });
        self.hosts.len() - 1
    }

    /// Tells the router the MAC of every host, for tests in which nobody answers ARP.
    pub fn learn_neighbours(&self) {
        let lines = self.hosts.iter().map(|host| {
            let (address, mac) = (host.address, mac_text(host.mac));
            format!("neigh replace {address} lladdr {mac} dev {} nud permanent\n", host.bridge)
        });
        self.ns.ip(&lines.collect::<String>());
    }
}

fn mac_of(network: u8, host: u8) -> [u8; 6] {
    [0x02, 0xbf, 0, network, 0, host]
}

/// `02:bf:00:01:00:02`.
#[must_use]
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// ifindex and MAC of a link.
fn link(ns: &Namespace, name: &str) -> (u32, [u8; 6]) {
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
