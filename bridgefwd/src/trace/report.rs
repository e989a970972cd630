//! The document of a packet that was traced, as JSON and for the view. Fields are added, never renamed or
//! removed.

use serde::Serialize;

use crate::api::types::FlowTuple;
use crate::explain::report::RuleDoc;

/// What is being traced: the first line of JSON.
#[derive(Clone, Debug, Serialize)]
pub struct TraceDoc {
    /// Who.
    pub from: PartyDoc,
    /// With whom.
    pub to: PartyDoc,
    /// Where packets are watched, in the order in which those of the first one come by.
    pub watched: Vec<WatchedDoc>,
    /// What will not be known, and why.
    pub notes: Vec<String>,
}

/// One of the two.
#[derive(Clone, Debug, Serialize)]
pub struct PartyDoc {
    /// The container or namespace, else as it was asked for.
    pub name: String,
    /// Its address.
    pub address: String,
    /// `inside` (a container or namespace that is plugged in here), `host` or `beyond`.
    pub place: String,
}

/// An interface that is watched.
#[derive(Clone, Debug, Serialize)]
pub struct WatchedDoc {
    /// `container`, `port`, `bridge` or `interface`.
    pub kind: String,
    /// Its name.
    pub interface: String,
    /// The container or namespace that it is in; null for the host's own.
    pub inside: Option<String>,
    /// Is bridgefwd attached there?
    pub attached: bool,
}

/// A packet, and where it went.
#[derive(Clone, Debug, Serialize)]
pub struct PacketDoc {
    /// Which one it is, from 1 on.
    pub number: u64,
    /// When it was first seen: RFC 3339, in UTC.
    pub time: String,
    /// `there`, from the first to the second, or `back`.
    pub way: String,
    /// As in `flows`.
    pub proto: String,
    /// What it is: `SYN`, `echo request 1`.
    pub what: String,
    /// Length from the IP header on, in bytes.
    pub length: u32,
    /// Where it was, in order.
    pub stations: Vec<StationDoc>,
    /// How it ended.
    pub end: EndDoc,
}

/// A packet at one place.
#[derive(Clone, Debug, Default, Serialize)]
pub struct StationDoc {
    /// `container`, `port`, `bridge` or `interface`; `program` for bridgefwd, `kernel` for the kernel's
    /// own forwarding.
    pub kind: String,
    /// The interface's name; null for program and kernel.
    pub interface: Option<String>,
    /// The container or namespace that it is in; null for the host's own.
    pub inside: Option<String>,
    /// `in` or `out`; null for program and kernel.
    pub direction: Option<String>,
    /// ns since it was first seen; null for program and kernel.
    pub after_ns: Option<u64>,
    /// As it is there; null for program and kernel.
    pub tuple: Option<FlowTuple>,
    /// Its TTL there, likewise.
    pub ttl: Option<u8>,
    /// Of the program: the reason, as in `stats`.
    pub reason: Option<String>,
    /// Of the program: its verdict: `redirect`, `pass`, `hold` or `drop`.
    pub verdict: Option<String>,
    /// What was changed, in words.
    pub changed: Vec<String>,
}

/// How a packet ended.
#[derive(Clone, Debug, Default, Serialize)]
pub struct EndDoc {
    /// `arrived`, `left` (by an interface to elsewhere), `dropped`, or `lost` where it was seen no more
    /// and nobody said why.
    pub state: String,
    /// Where: the container's name, `host`, or an interface.
    pub at: String,
    /// Who dropped it: `bridgefwd`, `netfilter`, `kernel`, or `program` (somebody's at traffic control).
    pub by: Option<String>,
    /// Why: bridgefwd's reason, or the kernel's.
    pub reason: Option<String>,
    /// What that means, in words.
    pub meaning: Option<String>,
    /// Of the kernel: the function that dropped it.
    pub function: Option<String>,
    /// Of netfilter: the rule that decides.
    pub rule: Option<RuleDoc>,
    /// Why that rule is not known.
    pub rule_unknown: Option<String>,
}

impl EndDoc {
    /// Did it get to the other one?
    #[must_use]
    pub fn got_there(&self) -> bool {
        matches!(&*self.state, "arrived" | "left")
    }
}
