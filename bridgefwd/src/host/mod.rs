//! The host's facts, and the few things we ask of it: interfaces, namespaces, traffic control,
//! sysctls, bpffs.

pub mod bpffs;
pub mod netlink;
pub mod netns;
pub mod qdisc;
pub mod sysctl;
