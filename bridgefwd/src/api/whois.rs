//! The documents of `GET /v1/whois`: who was behind a translated address and port.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::events::FlowEvent;

/// Query: who is asked for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WhoisQuery {
    /// The address as others see it.
    pub address: IpAddr,
    /// The port, or the identifier of an ICMP echo; any where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The protocol, as in `flows`; any where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proto: Option<String>,
    /// When: RFC 3339, in UTC, as in events. Now where it is absent, else the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

/// Answer.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Whois {
    /// What was asked.
    pub query: WhoisQuery,
    /// The flows that had that address and port. Several where they went to different servers, or
    /// where not everything was asked.
    pub found: Vec<Match>,
    /// The audit log that was looked through; null where there is none, or it was not needed.
    pub log: Option<LogSpan>,
    /// What should be known beside.
    pub notes: Vec<String>,
}

/// One flow.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Match {
    /// Which one.
    #[serde(flatten)]
    pub flow: FlowEvent,
    /// When it was opened.
    pub opened: String,
    /// When it was over and forgotten; null where it is alive, or nobody knows.
    pub closed: Option<String>,
    /// When its last packet came, where that is known.
    pub last_packet: Option<String>,
    /// Is it alive?
    pub live: bool,
    /// No daemon saw its end: from then on nobody knows.
    pub known_until: Option<String>,
}

/// What a log reaches over.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LogSpan {
    /// The file that is written to.
    pub path: String,
    /// The first time in it, and in those before it; null where it is empty.
    pub begins: Option<String>,
    /// The last.
    pub ends: Option<String>,
    /// Lines that could not be read: torn by a crash, or not ours.
    pub unreadable: u64,
}
