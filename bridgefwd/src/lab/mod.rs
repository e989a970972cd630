//! The lab: a router with three bridges and container-like hosts, in network namespaces of its own,
//! with real servers to talk to; the tour, which shows bridgefwd at work in it; and lessons, each with
//! a small network of its own.

pub mod build;
pub mod conversation;
pub mod daemon;
pub mod kernel;
pub mod lesson;
pub mod live;
pub mod load;
pub mod matrix;
pub mod probe;
pub mod processes;
pub mod report;
pub mod screen;
pub mod servers;
pub mod steps;
pub mod topology;
pub mod tour;
