//! The compiled program, one packet at a time, through `BPF_PROG_TEST_RUN`: verdict, reason,
//! bytes out, and what is in the maps afterwards.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bench;
mod connections;
mod drops;
mod egress;
mod flows;
mod forwards;
mod fragments;
mod generator;
mod hairpin;
mod helpers;
mod icmp_errors;
mod icmp_errors_v6;
mod ipv6;
mod kernel;
mod map_batch;
mod mapping;
mod marks;
mod mutations;
mod nat;
mod neighbours;
mod passes;
mod protocols;
mod random;
mod reassembly;
mod route_mtus;
mod sources;
mod table;
mod toggles;
mod ways;
