//! The documents of `GET /v1/trace`, one a line: what the program says of the packets of two addresses.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::types::FlowTuple;

/// Query of `GET /v1/trace`: packets that one of these two sends or receives.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TraceQuery {
    /// One address.
    pub a: IpAddr,
    /// The other.
    pub b: IpAddr,
}

/// What the program says.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "told", rename_all = "snake_case")]
pub enum Told {
    /// The first line: from now on the program tells.
    Listening {
        /// Process id of the daemon.
        pid: u32,
    },
    /// A packet ended in the program: it was dropped, held, or left to the kernel. Of packets that are
    /// redirected the program says nothing.
    Ended(Ended),
    /// A flow was opened, of which one of the addresses is a party.
    Opened(Opened),
    /// So many lines were not told, since they were not read in time.
    Missed {
        /// How many.
        lines: u64,
    },
}

/// How a packet ended in the program.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Ended {
    /// When: `CLOCK_MONOTONIC`, ns.
    pub time_ns: u64,
    /// The reason, as in `stats`.
    pub reason: String,
    /// ifindex of the interface where the program ran.
    pub ifindex: u32,
    /// How the packet begins, from the Ethernet header on, in hexadecimal.
    pub headers: String,
}

/// A flow that was opened.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Opened {
    /// When: `CLOCK_MONOTONIC`, ns.
    pub time_ns: u64,
    /// IP protocol number.
    pub protocol: u8,
    /// As the client sent it.
    pub original: FlowTuple,
    /// As the server sees it.
    pub translated: FlowTuple,
}
