//! The commands as a person types them, good and bad: exit status, what is said where, and what is
//! left behind.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod config;
mod doctor;
mod documents;
mod instances;
mod lessons;
mod no_daemon;
mod pairs;
mod refusals;
mod run_errors;
mod usage;
