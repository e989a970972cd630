//! What to do with a packet: values in, a [`Plan`] or a [`Reason`] out.
//!
//! - [`policy`]: may this packet open a flow?
//! - [`established`]: what does a packet of a known flow do?
//! - [`mapping`]: who has a mapping that is the same for every destination?
//! - [`nat`]: which source does it leave with?
//! - [`reassembly`]: which pieces of a datagram are there?
//! - [`tcp`]: where is a connection in its life?
//! - [`tcp_window`]: which segments of it may be believed?
//! - [`translate`]: the header bytes that change.

pub mod established;
pub mod mapping;
pub mod nat;
pub mod policy;
pub mod reassembly;
pub mod tcp;
mod tcp_side;
mod tcp_syn;
pub mod tcp_window;
pub mod translate;

use crate::Reason;
use crate::contract::{Address, Tuple};

/// How a packet leaves. Made only after every check has passed: nothing that fails later may let
/// the packet go on to the kernel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Plan {
    /// Addresses and ports it leaves with.
    pub leaving: Tuple,
    /// TTL it leaves with; at least 1.
    pub ttl: u8,
    /// ifindex of the end that it leaves by.
    pub out_end: u32,
    /// Address of the neighbour that it is sent to.
    pub next_hop: Address,
    /// That neighbour's MAC address, where it is known.
    pub neighbour: Option<[u8; 6]>,
    /// What it is counted under.
    pub reason: Reason,
}

/// What the kernel's routing says of a destination.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Route {
    /// It is forwarded by this interface to this neighbour.
    Via {
        /// ifindex of the way out.
        ifindex: u32,
        /// The neighbour.
        next_hop: Address,
        /// Its MAC address, where it is known.
        neighbour: Option<[u8; 6]>,
    },
    /// It would be, but is larger than the way out allows.
    TooBig,
    /// It is not forwarded.
    No(Reason),
}
