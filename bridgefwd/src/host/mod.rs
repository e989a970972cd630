//! Facts of the host and the few things we ask of it: interfaces, traffic control, sysctls, bpffs.

pub mod bpffs;
pub mod netlink;
pub mod qdisc;
pub mod sysctl;
