//! The lab: a router with three bridges and container-like hosts, in network namespaces of its own,
//! with real servers to talk to; and the tour, which shows bridgefwd at work in it.

pub mod build;
pub mod servers;
pub mod topology;

pub mod daemon;
pub mod probe;
pub mod processes;
