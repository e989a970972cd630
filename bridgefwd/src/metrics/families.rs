//! The list of metrics.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::registry::Unit;

use super::{Daemon, Facts, Family, Kind, Number, PairFacts, Sample};
use crate::api::types::{PairCount, PairState, ReasonCount};
use crate::datapath::measure::PairUse;

const NO_UNIT: Option<Unit> = None;
const BYTES: Option<Unit> = Some(Unit::Bytes);
const SECONDS: Option<Unit> = Some(Unit::Seconds);
const PAIR: &[&str] = &["from", "to"];
const PAIR_DIRECTION: &[&str] = &["from", "to", "direction"];
const REASON: &[&str] = &["reason", "verdict"];

/// Every metric, in the order in which they are shown.
pub const FAMILIES: &[Family] = &[
    family(
        Kind::Info,
        "build",
        NO_UNIT,
        &["version", "abi"],
        "Version of the program and of the maps' layout",
        |facts| {
            let version = env!("CARGO_PKG_VERSION").to_owned();
            vec![(vec![version, facts.measured.abi.to_string()], Number::Count(1))]
        },
    ),
    family(
        Kind::Gauge,
        "start_time",
        SECONDS,
        &[],
        "When the daemon became ready, since 1970",
        |facts| of_daemon(facts, |daemon| since_1970(daemon.started)),
    ),
    family(
        Kind::Gauge,
        "warnings",
        NO_UNIT,
        &[],
        "Warnings that `bridgefwd status` shows",
        |facts| of_daemon(facts, |daemon| Number::Count(daemon.warnings)),
    ),
    family(
        Kind::Gauge,
        "failing_interfaces",
        NO_UNIT,
        &[],
        "Interfaces that could not be managed as they should; tried again each second",
        |facts| of_daemon(facts, |daemon| Number::Count(daemon.failing)),
    ),
    family(
        Kind::Counter,
        "reconciles",
        NO_UNIT,
        &[],
        "Times that the data path was made to follow interfaces and addresses",
        |facts| of_daemon(facts, |daemon| Number::Count(daemon.work.reconciles)),
    ),
    family(
        Kind::Counter,
        "reconcile_errors",
        NO_UNIT,
        &[],
        "Times that this left something undone",
        |facts| of_daemon(facts, |daemon| Number::Count(daemon.work.reconcile_errors)),
    ),
    family(
        Kind::Gauge,
        "last_reconcile_timestamp",
        SECONDS,
        &[],
        "When that was done last, since 1970",
        |facts| of_last_reconcile(facts, |(ended, _)| since_1970(ended)),
    ),
    family(Kind::Gauge, "last_reconcile_duration", SECONDS, &[], "How long it took", |facts| {
        of_last_reconcile(facts, |(_, took)| Number::Real(took.as_secs_f64()))
    }),
    family(
        Kind::Counter,
        "netlink_resyncs",
        NO_UNIT,
        &[],
        "Times that news from the kernel was lost or broke off, so that everything was asked anew",
        |facts| of_daemon(facts, |daemon| Number::Count(daemon.work.resyncs)),
    ),
    family(Kind::Gauge, "ends", NO_UNIT, &["kind"], "Managed bridges and uplinks", |facts| {
        let measured = &facts.measured;
        [("bridge", measured.bridges), ("uplink", measured.uplinks)]
            .map(|(kind, count)| (vec![kind.to_owned()], Number::Count(count)))
            .into()
    }),
    family(Kind::Gauge, "ports", NO_UNIT, &[], "Bridge ports that are attached", |facts| {
        one(facts.measured.ports)
    }),
    family(Kind::Counter, "seen_packets", NO_UNIT, &[], "Packets seen", |facts| {
        one(facts.measured.stats.packets)
    }),
    family(Kind::Counter, "seen", BYTES, &[], "Bytes seen, Ethernet headers included", |facts| {
        one(facts.measured.stats.bytes)
    }),
    family(
        Kind::Counter,
        "reason_packets",
        NO_UNIT,
        REASON,
        "Packets by the reason under which they ended; the sum is what was seen",
        |facts| by_reason(facts, |count| count.packets),
    ),
    family(
        Kind::Counter,
        "reason",
        BYTES,
        REASON,
        "Bytes by the reason under which their packets ended",
        |facts| by_reason(facts, |count| count.bytes),
    ),
    family(
        Kind::Gauge,
        "pair_allowed",
        NO_UNIT,
        PAIR,
        "1 for a listed pair that is allowed, 0 for one that is denied",
        |facts| {
            let is_allowed = |facts: &PairFacts| u64::from(facts.pair.state == PairState::Allowed);
            by_listed_pair(facts, is_allowed)
        },
    ),
    family(
        Kind::Gauge,
        "pair_present",
        NO_UNIT,
        PAIR,
        "1 for a listed pair whose ends exist, 0 where one is away",
        |facts| by_listed_pair(facts, |facts| u64::from(facts.pair.present)),
    ),
    family(
        Kind::Counter,
        "pair_packets",
        NO_UNIT,
        PAIR_DIRECTION,
        "Packets forwarded, by the direction of their flow",
        |facts| {
            by_direction(facts, |count| {
                [count.packets_by_direction.original, count.packets_by_direction.reply]
            })
        },
    ),
    family(
        Kind::Counter,
        "pair",
        BYTES,
        PAIR_DIRECTION,
        "Bytes forwarded, by the direction of their flow",
        |facts| {
            by_direction(facts, |count| {
                [count.bytes_by_direction.original, count.bytes_by_direction.reply]
            })
        },
    ),
    family(
        Kind::Counter,
        "pair_refused_packets",
        NO_UNIT,
        PAIR,
        "Packets dropped because of the pair: denied, cut, or out of resources",
        |facts| by_pair(facts, |count, _, _| Number::Count(count.refused)),
    ),
    family(Kind::Gauge, "pair_flows", NO_UNIT, PAIR, "Live flows", |facts| {
        by_pair(facts, |count, _, _| Number::Count(count.flows))
    }),
    family(
        Kind::Counter,
        "pair_flows_opened",
        NO_UNIT,
        PAIR,
        "Flows opened since the pair was listed",
        |facts| by_pair(facts, |count, _, _| Number::Count(count.flows_created)),
    ),
    family(
        Kind::Counter,
        "pair_flows_ended",
        NO_UNIT,
        PAIR,
        "Flows that have expired or were cut since the pair was listed",
        |facts| by_pair(facts, |_, _, ended| Number::Count(ended)),
    ),
    family(
        Kind::Gauge,
        "pair_source_ports_ratio",
        NO_UNIT,
        PAIR,
        "Share of the source ports in use towards the server, as the address, that has most of them in use: at 1 it gets no further flow",
        |facts| by_pair(facts, |_, has, _| Number::Real(has.busiest_ports)),
    ),
    family(Kind::Gauge, "flows", NO_UNIT, &["protocol", "state"], "Live flows", |facts| {
        let flows = facts.measured.flows.iter();
        flows
            .map(|((protocol, state), count)| {
                (vec![protocol.clone(), (*state).to_owned()], Number::Count(*count))
            })
            .collect()
    }),
    family(Kind::Gauge, "flow_table_slots", NO_UNIT, &[], "Flows that there can be", |facts| {
        one(facts.measured.stats.flows.limit)
    }),
    family(
        Kind::Gauge,
        "flow_table_used_slots",
        NO_UNIT,
        &[],
        "Slots in use: also by flows that are over, or wait for their pair, until they are freed",
        |facts| one(facts.measured.slots_used),
    ),
    family(
        Kind::Gauge,
        "source_flows_limit",
        NO_UNIT,
        &[],
        "Flows that one source can have",
        |facts| one(facts.measured.flows_per_source),
    ),
    family(
        Kind::Gauge,
        "sources",
        NO_UNIT,
        &[],
        "Sources that have flows: bridge ports, and addresses where packets come by none",
        |facts| one(facts.measured.sources.with_flows),
    ),
    family(
        Kind::Gauge,
        "sources_at_limit",
        NO_UNIT,
        &[],
        "Sources that have as many flows as one can have",
        |facts| one(facts.measured.sources.at_limit),
    ),
    family(
        Kind::Gauge,
        "sources_refused",
        NO_UNIT,
        &[],
        "Sources that were refused flows since they had any",
        |facts| one(facts.measured.sources.refused),
    ),
];

const fn family(
    kind: Kind,
    name: &'static str,
    unit: Option<Unit>,
    labels: &'static [&'static str],
    help: &'static str,
    samples: fn(&Facts) -> Vec<Sample>,
) -> Family {
    Family { name, unit, kind, labels, help, samples }
}

fn one(count: u64) -> Vec<Sample> {
    vec![(Vec::new(), Number::Count(count))]
}

fn of_daemon(facts: &Facts, number: impl Fn(&Daemon) -> Number) -> Vec<Sample> {
    facts.daemon.iter().map(|daemon| (Vec::new(), number(daemon))).collect()
}

fn of_last_reconcile(
    facts: &Facts,
    number: impl Fn((SystemTime, Duration)) -> Number,
) -> Vec<Sample> {
    let last = facts.daemon.as_ref().and_then(|daemon| daemon.work.last_reconcile);
    last.into_iter().map(|last| (Vec::new(), number(last))).collect()
}

fn since_1970(time: SystemTime) -> Number {
    // A clock that is before 1970 is wrong, and not by how much.
    Number::Real(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64())
}

fn by_reason(facts: &Facts, number: impl Fn(&ReasonCount) -> u64) -> Vec<Sample> {
    let reasons = facts.measured.stats.reasons.iter();
    reasons
        .map(|(name, count)| {
            (vec![name.clone(), count.verdict.clone()], Number::Count(number(count)))
        })
        .collect()
}

fn ends(facts: &PairFacts) -> Vec<String> {
    vec![facts.pair.from.clone(), facts.pair.to.clone()]
}

fn by_listed_pair(facts: &Facts, number: impl Fn(&PairFacts) -> u64) -> Vec<Sample> {
    facts.pairs.iter().map(|pair| (ends(pair), Number::Count(number(pair)))).collect()
}

fn by_pair(facts: &Facts, number: impl Fn(&PairCount, &PairUse, u64) -> Number) -> Vec<Sample> {
    let sample = |pair: &PairFacts| {
        let (count, has) = pair.has.as_ref()?;
        Some((ends(pair), number(count, has, pair.ended)))
    };
    facts.pairs.iter().filter_map(sample).collect()
}

fn by_direction(facts: &Facts, numbers: impl Fn(&PairCount) -> [u64; 2]) -> Vec<Sample> {
    let samples = |pair: &PairFacts| {
        let (count, _) = pair.has.as_ref()?;
        let directions = ["original", "reply"].into_iter().zip(numbers(count));
        let ends = ends(pair);
        let sample = move |(direction, number): (&str, u64)| {
            ([&ends[..], &[direction.to_owned()]].concat(), Number::Count(number))
        };
        Some(directions.map(sample))
    };
    facts.pairs.iter().filter_map(samples).flatten().collect()
}
