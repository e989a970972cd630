//! The documents of the API. People script against them: fields are added, never renamed or removed.

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bridges::DockerStatus;
use super::config::ConfigState;

/// A number for each direction of a flow.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct BothWays {
    /// As the opening packet went.
    pub original: u64,
    /// Back.
    pub reply: u64,
}

/// Addresses and ports of one side of the translation.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub struct FlowTuple {
    /// Source address.
    pub src: IpAddr,
    /// Source port; the identifier of an ICMP echo.
    pub src_port: u16,
    /// Destination address.
    pub dst: IpAddr,
    /// Destination port; 0 for ICMP.
    pub dst_port: u16,
}

/// One live flow.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Flow {
    /// The end that opened it.
    pub from: String,
    /// The end that answers.
    pub to: String,
    /// `tcp`, `udp`, `icmp` or `icmpv6`; of others that have a name their name, else the number.
    pub proto: String,
    /// Where it is in its life: `opening`, `established`, `one_way` and so on.
    pub state: String,
    /// `masquerade`, `none`, or the address that its pair had when it was opened.
    pub nat: String,
    /// The container that opened it, where that is known.
    #[serde(default)]
    pub client: Option<String>,
    /// The container that answers, likewise.
    #[serde(default)]
    pub server: Option<String>,
    /// As the client sent it.
    pub original: FlowTuple,
    /// As the server sees it.
    pub translated: FlowTuple,
    /// Packets forwarded.
    pub packets: BothWays,
    /// Bytes forwarded, Ethernet headers included.
    pub bytes: BothWays,
    /// Seconds since it was opened.
    pub age_s: u64,
    /// Seconds since its last packet.
    pub idle_s: u64,
    /// Seconds until it is over where no packet comes.
    pub expires_s: u64,
}

/// Query of `GET /v1/flows`: which flows; what is absent does not matter.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FlowFilter {
    /// Opened by this end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Answered by this end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// `tcp`, `udp`, `icmp`, `icmpv6` or `sctp`, or the number of a protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proto: Option<String>,
    /// In this state, as [`Flow::state`] has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// With this address on either side, before or after translation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// With this port, or identifier of an ICMP query, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// At most so many; 1000 where it is absent, and 10,000 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only those after this place of the table, as an earlier answer had it in its header
    /// [`NEXT_FLOWS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u32>,
}

/// Header of an answer of `GET /v1/flows` that is not all: what to give as [`FlowFilter::after`] for
/// more.
pub const NEXT_FLOWS: &str = "bridgefwd-next";

/// One listed pair.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Pair {
    /// The end that opens flows.
    pub from: String,
    /// The end that answers.
    pub to: String,
    /// `allowed` or `denied`.
    pub state: PairState,
    /// Of IPv4: `masquerade`, `none`, or addresses and ranges with commas between.
    pub nat: String,
    /// Of IPv6, likewise.
    #[serde(default = "none")]
    pub nat6: String,
    /// `per-destination` or `endpoint-independent`.
    #[serde(default = "per_destination")]
    pub mapping: String,
    /// Its flows drain when it is turned off or its NAT changes.
    #[serde(default)]
    pub drain: bool,
    /// Both ends exist; where not, it holds again when they do.
    #[serde(default = "yes")]
    pub present: bool,
}

const fn yes() -> bool {
    true
}

fn none() -> String {
    "none".into()
}

fn per_destination() -> String {
    "per-destination".into()
}

/// State of a listed pair.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PairState {
    /// New flows are made.
    Allowed,
    /// Everything is dropped.
    Denied,
}

/// Body of `PUT /v1/pairs/{from}/{to}`.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PairChange {
    /// The state it gets.
    pub state: PairState,
    /// Of IPv4: `masquerade`, `none`, or addresses and ranges with commas between; where absent, what
    /// it had, else `masquerade`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nat: Option<String>,
    /// Of IPv6, likewise; where absent, what it had, else `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nat6: Option<String>,
    /// `per-destination` or `endpoint-independent`; where absent, what it had, else the former.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<String>,
    /// Let the flows that exist finish.
    #[serde(default)]
    pub drain: bool,
}

impl PairChange {
    /// To that state; the rest stays as it is.
    #[must_use]
    pub const fn to(state: PairState) -> Self {
        Self { state, nat: None, nat6: None, mapping: None, drain: false }
    }
}

/// Answer of `DELETE /v1/pairs/{from}/{to}`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Cleared {
    /// It was listed before.
    pub cleared: bool,
}

/// Answer of `POST /v1/down`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Leaving {
    /// Process id of the daemon that is going.
    pub pid: u32,
}

/// Counters of one reason.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ReasonCount {
    /// Packets.
    pub packets: u64,
    /// Bytes, Ethernet headers included.
    pub bytes: u64,
    /// `redirect`, `pass`, `drop`, or `hold`: kept until it can go on, and counted again then.
    pub verdict: String,
    /// What it means.
    #[serde(default)]
    pub explanation: String,
}

/// Counters of one pair.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct PairCount {
    /// The end that opens flows.
    pub from: String,
    /// The end that answers.
    pub to: String,
    /// Packets forwarded, both directions together.
    pub packets: u64,
    /// Bytes forwarded, both directions together.
    pub bytes: u64,
    /// Live flows.
    pub flows: u64,
    /// Packets dropped because of this pair.
    pub refused: u64,
    /// Packets forwarded in each direction.
    #[serde(default)]
    pub packets_by_direction: BothWays,
    /// Bytes forwarded in each direction.
    #[serde(default)]
    pub bytes_by_direction: BothWays,
    /// Flows opened since the pair was listed.
    #[serde(default)]
    pub flows_created: u64,
}

/// How full the flow table is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct FlowTable {
    /// Flows that are alive.
    pub live: u64,
    /// Flows there can be.
    pub limit: u64,
}

/// How much of the flow table a source has.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Source {
    /// Who it is: the name of the bridge port that its packets come by, else its address.
    pub source: String,
    /// The end of that port; null where it is an address.
    pub bridge: Option<String>,
    /// Flows that it has.
    pub flows: u64,
    /// Flows that it can have.
    pub limit: u64,
    /// Flows that it was refused since it had any.
    pub refused: u64,
}

/// Answer of `GET /v1/stats`.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Stats {
    /// Packets seen.
    pub packets: u64,
    /// Bytes seen.
    pub bytes: u64,
    /// Every reason, also those that never happened.
    pub reasons: BTreeMap<String, ReasonCount>,
    /// Every listed pair.
    pub pairs: Vec<PairCount>,
    /// The flow table.
    pub flows: FlowTable,
    /// Those that have most of it, or were refused flows: at most ten.
    #[serde(default)]
    pub sources: Vec<Source>,
}

/// Seconds without a packet after which flows are over.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Timers {
    /// TCP, handshake not complete.
    pub opening: u64,
    /// TCP, open in one direction at least.
    pub established: u64,
    /// TCP, closed or reset.
    pub closing: u64,
    /// UDP and protocols without connections, no answer yet.
    pub udp_one_way: u64,
    /// UDP and protocols without connections, answered.
    pub udp_two_way: u64,
    /// ICMP echo.
    pub icmp: u64,
}

/// Answer of `GET /v1/status`.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Status {
    /// `running`, or `daemon down` where it was read from the pins.
    pub state: String,
    /// Version of the daemon.
    pub version: String,
    /// Layout version of the maps.
    pub abi: u32,
    /// Process id of the daemon.
    pub pid: Option<u32>,
    /// Seconds since the daemon became ready.
    pub uptime_s: Option<u64>,
    /// What happens to pairs that are not listed: `kernel` or `deny`.
    pub unlisted: String,
    /// Where the maps and links are pinned.
    pub pin_dir: String,
    /// The control socket.
    pub socket: String,
    /// The network namespace, as the user named it.
    pub netns: Option<String>,
    /// Names of the managed bridges.
    pub bridges: Vec<String>,
    /// Names of the managed uplinks.
    #[serde(default)]
    pub uplinks: Vec<String>,
    /// The Docker engine that is followed; null where there is none to follow, or no daemon.
    #[serde(default)]
    pub docker: Option<DockerStatus>,
    /// The timers in force.
    #[serde(default)]
    pub timers: Timers,
    /// How many ports are attached.
    pub ports: u64,
    /// How many ports of managed bridges are not: `run --ports no` leaves them alone.
    #[serde(default)]
    pub ports_not_attached: u64,
    /// At how many of them packets are handed to the container at once, past bridge and port.
    #[serde(default)]
    pub ports_direct: u64,
    /// How many flows one source can have.
    #[serde(default)]
    pub flows_per_source: u64,
    /// How many pairs are allowed.
    pub pairs_allowed: u64,
    /// How many pairs are denied.
    pub pairs_denied: u64,
    /// The flow table.
    pub flows: FlowTable,
    /// The configuration file, and how what runs stands to it; null where there is none.
    #[serde(default)]
    pub config: Option<ConfigState>,
    /// What an operator should know: ports that could not be attached and the like.
    pub warnings: Vec<String>,
}

/// Body of every answer that is not a success.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Problem {
    /// `usage` where the caller asked wrongly (exit status 2), `failed` where it could not be done (1).
    pub kind: ProblemKind,
    /// What is wrong, with the name of the thing, and what to do.
    pub error: String,
}

/// Who has to act on a [`Problem`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProblemKind {
    /// The caller asked wrongly.
    Usage,
    /// It could not be done.
    Failed,
}
