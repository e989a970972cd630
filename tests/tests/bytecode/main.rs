//! The compiled program, one packet at a time, through `BPF_PROG_TEST_RUN`: verdict, reason,
//! bytes out, and what is in the maps afterwards.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bench;
mod drops;
mod flows;
mod forwards;
mod fragments;
mod hairpin;
mod icmp_errors;
mod icmp_errors_v6;
mod mapping;
mod mutations;
mod nat;
mod passes;
mod protocols;
mod table;
mod toggles;
