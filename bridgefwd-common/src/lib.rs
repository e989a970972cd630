//! What bridgefwd's eBPF program and its daemon share.
//!
//! Two things live here, and nothing else does:
//!
//! - [`contract`]: the layout of every BPF map, byte for byte, and the names they are pinned under.
//! - The pure logic of the packet path: [`packet`] reads and sums headers, [`decide`] says what to
//!   do with a packet. It is given values and returns values: no maps, no pointers, no clocks, no
//!   I/O. The same code runs inside the kernel and in the tests on the host.
//!
//! Every outcome of the packet path has one name: [`Reason`].
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
#[macro_use]
extern crate std;

pub mod contract;
pub mod decide;
pub mod packet;
mod reason;

pub use reason::{Reason, Verdict};
