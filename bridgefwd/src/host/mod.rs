//! Facts of the host and the few things we ask of it: interfaces, traffic control, namespaces,
//! sysctls, bpffs.

pub mod addresses;
pub mod bpf;
pub mod bpffs;
pub mod btf;
pub mod capture;
pub mod docker;
pub mod facts;
pub mod firewall;
pub mod flowtables;
pub mod headers;
pub mod inside;
pub mod map_batch;
pub mod names;
pub mod neighbours;
pub mod netfilter;
pub mod netlink;
pub mod netns;
pub mod qdisc;
pub mod routes;
pub mod sysctl;
