//! Fixtures of the whole-system tests: namespaces, topologies, traffic, captures, the running
//! daemon, and the compiled program under `BPF_PROG_TEST_RUN`.
//!
//! Everything is made in network namespaces of the test's own and goes away with the value that
//! stands for it. A fixture that fails panics with what was wrong: that is the test's failure.
#![allow(clippy::unwrap_used, clippy::expect_used)]

pub mod attached;
pub mod beyond;
pub mod booted;
pub mod bpf;
pub mod bridgefwd;
pub mod browser;
pub mod capture;
pub mod command;
pub mod docker;
pub mod enclosed;
pub mod foreign;
pub mod http;
pub mod inject;
pub mod installed;
pub mod namespaces;
pub mod notify;
pub mod other_build;
pub mod packets;
pub mod packets6;
pub mod pins;
pub mod program;
pub mod raw;
pub mod replaced;
pub mod site;
pub mod skip;
pub mod sockets;
pub mod tap;
pub mod topology;
pub mod trace_page;
pub mod traffic;
pub mod unit;
pub mod uplink;
pub mod view;
pub mod view6;
pub mod wait;

mod link_layer;
pub mod listener;
