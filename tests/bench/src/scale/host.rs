//! A host with very many bridges, a port on each, and two containers to talk to each other.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bridgefwd_tests::namespaces::Namespace;
use bridgefwd_tests::topology::mac_text;

/// The host.
pub struct Host {
    /// Its namespace, with the bridges.
    pub router: Arc<Namespace>,
    /// The container on the first bridge.
    pub client: Namespace,
    /// The container on the second one.
    pub server: Namespace,
    // Where the other ends of all other ports are.
    _others: Namespace,
    /// How many bridges there are.
    pub bridges: u32,
    /// How long making it took; not ours to answer for.
    pub made_in: Duration,
}

/// MAC of the client.
pub const CLIENT_MAC: [u8; 6] = [2, 0xbf, 0, 0, 0, 2];
/// MAC of the bridge that it is on.
pub const ROUTER_MAC: [u8; 6] = [2, 0xbf, 0, 0, 0, 1];

impl Host {
    /// Makes it.
    #[track_caller]
    pub fn new(bridges: u32) -> Self {
        let begun = Instant::now();
        let router = Arc::new(Namespace::new("host"));
        router.sysctl("net/ipv4/ip_forward", "1");
        let [client, server, others] = ["client", "server", "others"].map(Namespace::new);
        let mut batch = String::new();
        for number in 0..bridges {
            let name = bridge(number);
            let mac = if number == 0 {
                format!("address {}", mac_text(ROUTER_MAC))
            } else {
                String::new()
            };
            let (namespace, peer) = match number {
                0 => (&client, format!("eth0 address {}", mac_text(CLIENT_MAC))),
                1 => (&server, "eth0".to_owned()),
                number => (&others, format!("c{number}")),
            };
            let peer = format!("{peer} netns {}", namespace.name());
            let _ = write!(
                batch,
                "link add {name} {mac} type bridge forward_delay 0 stp_state 0\n\
                 addr add {}/24 dev {name}\n\
                 link set {name} up\n\
                 link add p{number} type veth peer name {peer}\n\
                 link set p{number} master {name}\n\
                 link set p{number} up\n",
                address(number, 1),
            );
        }
        router.ip(&batch);
        for (number, namespace) in [(0, &client), (1, &server)] {
            namespace.ip(&format!(
                "addr add {}/24 dev eth0\nlink set eth0 up\nroute add default via {}\n",
                address(number, 2),
                address(number, 1)
            ));
        }
        Self { router, client, server, _others: others, bridges, made_in: begun.elapsed() }
    }

    /// An address of the server.
    pub fn at(&self, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(address(1, 2), port)
    }

    /// Names of all bridges.
    pub fn names(&self) -> impl Iterator<Item = String> {
        (0..self.bridges).map(bridge)
    }

    /// So many pairs of bridges, the client's and the server's first.
    pub fn pairs(&self, count: u32) -> Vec<(String, String)> {
        (0..count)
            .map(|number| {
                let (from, distance) = (number % self.bridges, 1 + number / self.bridges);
                (bridge(from), bridge((from + distance) % self.bridges))
            })
            .collect()
    }
}

/// Name of a bridge.
pub fn bridge(number: u32) -> String {
    format!("br{number}")
}

/// An address in the network of a bridge.
fn address(number: u32, last: u8) -> Ipv4Addr {
    let [_, _, high, low] = number.to_be_bytes();
    Ipv4Addr::new(10, high, low, last)
}
