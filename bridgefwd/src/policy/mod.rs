//! What the user wants: NAT as it is written, and the configuration file.

pub mod config;
pub mod listen;
mod nat;
pub mod timers;

pub use nat::{Mapping, Nat, PairNat};
