//! What the user wants: pairs and their NAT as they are written, the configuration file, and how what
//! runs differs from it.

pub mod config;
pub mod difference;
pub mod listen;
mod nat;
mod pair;
pub mod setup;
pub mod timers;

pub use nat::{Mapping, Nat, PairNat};
pub use pair::{Ends, PairSetup};
