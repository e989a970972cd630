//! The documents about what there is on the host: bridges, Docker networks and their containers. As with
//! [`types`](super::types), fields are added, never renamed or removed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A running container in a network.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Its addresses there.
    pub addresses: Vec<String>,
}

/// One managed end, or what could be one, or a Docker network that cannot: managed ones come first.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Bridge {
    /// What it is known by: the network's name, else the interface's.
    pub name: String,
    /// ifindex of its interface; 0 for a network without one.
    pub ifindex: u32,
    /// Addresses with their prefix length, IPv4 first: `172.18.0.1/16`, `fd00::1/64`.
    pub addresses: Vec<String>,
    /// MTU in bytes.
    pub mtu: u32,
    /// Names of its ports that are attached.
    pub ports: Vec<String>,
    /// Names of its ports that are not: `run --ports no` leaves them alone.
    #[serde(default)]
    pub ports_not_attached: Vec<String>,
    /// `tcx` or `clsact`; `no` where it is not managed.
    pub attached: String,
    /// `bridge` or `uplink`; `network` for a Docker network without a bridge.
    pub kind: String,
    /// Is it managed?
    #[serde(default = "yes")]
    pub managed: bool,
    /// Name of its interface; null for a network without one.
    #[serde(default)]
    pub interface: Option<String>,
    /// Docker's driver; null for what is no network of Docker's.
    #[serde(default)]
    pub driver: Option<String>,
    /// Docker's id of the network, likewise.
    #[serde(default)]
    pub network_id: Option<String>,
    /// Docker's subnets of the network: `172.18.0.0/16`.
    #[serde(default)]
    pub subnets: Vec<String>,
    /// The host's addresses in them.
    #[serde(default)]
    pub gateways: Vec<String>,
    /// The running containers in the network.
    #[serde(default)]
    pub containers: Vec<Container>,
    /// Why it cannot be an end, and what to do; null where it can.
    #[serde(default)]
    pub problem: Option<String>,
}

/// The Docker engine that is followed.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct DockerStatus {
    /// Its socket.
    pub socket: String,
    /// How many networks it has told of.
    pub networks: u64,
    /// Why it does not answer now; null where it does.
    pub problem: Option<String>,
}

const fn yes() -> bool {
    true
}
