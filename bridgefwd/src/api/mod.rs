//! The control API: JSON over HTTP on a Unix socket. Every command is a client of it, and `--json`
//! prints what it answers.

pub mod bridges;
pub mod client;
pub mod config;
pub mod events;
pub mod labels;
pub mod trace;
pub mod types;
pub mod whois;
