//! bridgefwd in userspace: the loader and daemon, the control API, the commands and views, the
//! host's facts, and the lab. The packet path is not here: see `bridgefwd-ebpf` and
//! `bridgefwd-common`.

pub mod api;
pub mod audit;
pub mod cli;
pub mod commands;
pub mod daemon;
pub mod datapath;
pub mod doctor;
pub mod explain;
pub mod failure;
pub mod host;
pub mod inspect;
pub mod instance;
pub mod lab;
pub mod meant;
pub mod metrics;
pub mod policy;
pub mod terminal;
pub mod top;
pub mod trace;
pub mod views;
pub mod web;
