//! What the user wants: pairs and their NAT as they are written, the configuration file, and how what
//! runs differs from it.

pub mod config;
pub mod difference;
mod docker;
pub mod listen;
mod nat;
mod pair;
pub mod setup;
pub mod timers;

pub use docker::DockerChoice;
pub use nat::{Mapping, Nat, PairNat};
pub use pair::{Ends, PairSetup};
