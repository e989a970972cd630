//! End to end: the real binary, real namespaces, real sockets, and captures of what went over the
//! wire.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bulk;
mod clsact;
mod counters;
mod forwarding;
mod hooks;
mod lifecycle;
mod policy;
mod pools;
mod ports;
mod rig;
mod settings;
mod translation;
mod untouched;
mod uplink;
