//! The document that `bridgefwd inspect` answers with, as JSON and for the view. Fields are added, never
//! renamed or removed.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::api::types::Pair;

/// A container, a process or a network namespace, as the network sees it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// `container`, `namespace` or `process`.
    pub kind: String,
    /// How it was found: the container's name, the namespace's, or the process' own.
    pub name: String,
    /// The container's id; null for others.
    pub id: Option<String>,
    /// The process that was meant, or with which the container was started, as its engine counts them;
    /// null for a namespace.
    pub pid: Option<u32>,
    /// Inode number of its network namespace.
    pub namespace: u64,
    /// Is that the namespace that bridgefwd works in?
    pub is_host: bool,
    /// Processes in it, as far as they can be seen from here.
    pub pids: Vec<u32>,
    /// Its interfaces, by ifindex.
    pub interfaces: Vec<Interface>,
    /// The routes of its main table.
    pub routes: Vec<Route>,
    /// Settings that decide what it forwards and accepts: `net.ipv4.ip_forward` and the like.
    pub sysctls: BTreeMap<String, String>,
    /// The listed pairs of the bridges that it is on.
    pub pairs: Vec<Pair>,
}

/// An interface of it.
#[derive(Clone, Debug, Serialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its ifindex, inside.
    pub ifindex: u32,
    /// Its MAC address: `02:42:ac:12:00:02`; null for one without.
    pub mac: Option<String>,
    /// MTU in bytes.
    pub mtu: u32,
    /// Is it switched on?
    pub up: bool,
    /// Addresses with their prefix length, IPv4 first; link-local ones of IPv6 are left out.
    pub addresses: Vec<String>,
    /// The host's end of its veth pair; null where it has none there.
    pub port: Option<Port>,
}

/// The host's end of a veth pair.
#[derive(Clone, Debug, Serialize)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its ifindex, on the host.
    pub ifindex: u32,
    /// The bridge that it is a port of, by the name that it is known by; null where it is none's.
    pub bridge: Option<String>,
    /// The name of that bridge's interface.
    pub bridge_interface: Option<String>,
    /// By what bridgefwd is attached to the port: `tcx` or `clsact`; `no` where it is not.
    pub attached: String,
    /// The same of the bridge.
    pub bridge_attached: String,
}

/// A route of it.
#[derive(Clone, Debug, Serialize)]
pub struct Route {
    /// `default`, or a prefix.
    pub to: String,
    /// The next router; null where there is none between.
    pub via: Option<String>,
    /// The interface that it leaves by.
    pub interface: Option<String>,
    /// The source that is chosen for it.
    pub source: Option<String>,
    /// Among several to the same place the smallest is taken.
    pub metric: u32,
}
