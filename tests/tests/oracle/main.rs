//! The kernel as the oracle: the same frames through a router that forwards and masquerades by the
//! kernel, and through one with bridgefwd and no rule at all; what every host receives is compared.
//!
//! A case is an entry in `cases`; a difference that is meant is an entry in `differences`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod case;
mod cases;
mod compare;
mod differences;
mod fixtures;
mod modes;
mod net;
mod normal;
mod normal6;
mod seeded;
mod sockets;
mod world;
