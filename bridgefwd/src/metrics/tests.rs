//! Tests of [`super`]: what is exposed, of numbers that are made up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::UNIX_EPOCH;

use super::*;
use crate::api::types::{BothWays, FlowTable, PairState, ReasonCount, Stats};
use crate::datapath::sources::SourcesUse;

fn facts(daemon: bool) -> Facts {
    let pair = |from: &str, to: &str, state, present| Pair {
        from: from.into(),
        to: to.into(),
        state,
        nat: "masquerade".into(),
        nat6: "none".into(),
        mapping: "per-destination".into(),
        drain: false,
        present,
    };
    let count = PairCount {
        from: "front".into(),
        to: "db".into(),
        packets: 9,
        bytes: 900,
        flows: 2,
        refused: 4,
        packets_by_direction: BothWays { original: 5, reply: 4 },
        bytes_by_direction: BothWays { original: 500, reply: 400 },
        flows_created: 7,
    };
    let reason = ReasonCount {
        packets: 5,
        bytes: 500,
        verdict: "redirect".into(),
        explanation: String::new(),
    };
    let stats = Stats {
        packets: 20,
        bytes: 2_000,
        reasons: BTreeMap::from([("forwarded".into(), reason)]),
        pairs: vec![count],
        flows: FlowTable { live: 2, limit: 64 },
        sources: Vec::new(),
    };
    let ends = ("front".to_owned(), "db".to_owned());
    let measured = Measurement {
        stats,
        slots_used: 3,
        flows: BTreeMap::from([(("tcp".to_owned(), "established"), 2)]),
        by_pair: BTreeMap::from([(ends, PairUse { standing: 2, busiest_ports: 0.25 })]),
        sources: SourcesUse { with_flows: 2, at_limit: 1, refused: 1 },
        flows_per_source: 16,
        bridges: 2,
        uplinks: 1,
        ports: 5,
        abi: 2,
    };
    let started = UNIX_EPOCH + Duration::from_millis(1_500);
    let last = (UNIX_EPOCH + Duration::from_secs(2), Duration::from_millis(250));
    let work = Work { reconciles: 3, reconcile_errors: 1, last_reconcile: Some(last), resyncs: 1 };
    let pairs = vec![
        pair("db", "gone\"\\", PairState::Denied, false),
        pair("front", "db", PairState::Allowed, true),
    ];
    let ended = |count: &PairCount, has: PairUse| count.flows_created - has.standing;
    let daemon = daemon.then_some(Daemon { started, warnings: 1, failing: 2, work });
    Facts::new(measured, pairs, ended, daemon)
}

#[test]
fn what_is_exposed() {
    let text = expose(facts(true), Format::Text).unwrap();
    for line in [
        "# TYPE bridgefwd_reason_packets_total counter",
        "bridgefwd_start_time_seconds 1.5",
        "bridgefwd_last_reconcile_duration_seconds 0.25",
        "bridgefwd_reconcile_errors_total 1",
        "bridgefwd_ends{kind=\"uplink\"} 1",
        "bridgefwd_seen_bytes_total 2000",
        "bridgefwd_reason_bytes_total{reason=\"forwarded\",verdict=\"redirect\"} 500",
        "bridgefwd_pair_allowed{from=\"front\",to=\"db\"} 1",
        "bridgefwd_pair_allowed{from=\"db\",to=\"gone\\\"\\\\\"} 0",
        "bridgefwd_pair_present{from=\"db\",to=\"gone\\\"\\\\\"} 0",
        "bridgefwd_pair_packets_total{from=\"front\",to=\"db\",direction=\"reply\"} 4",
        "bridgefwd_pair_flows_opened_total{from=\"front\",to=\"db\"} 7",
        "bridgefwd_pair_flows_ended_total{from=\"front\",to=\"db\"} 5",
        "bridgefwd_pair_source_ports_ratio{from=\"front\",to=\"db\"} 0.25",
        "bridgefwd_flows{protocol=\"tcp\",state=\"established\"} 2",
        "bridgefwd_flow_table_used_slots 3",
        "bridgefwd_sources_at_limit 1",
    ] {
        assert!(text.lines().any(|is| is == line), "no {line} in\n{text}");
    }
    let info =
        format!("bridgefwd_build_info{{version=\"{}\",abi=\"2\"}} 1", env!("CARGO_PKG_VERSION"));
    assert!(text.contains(&info), "{text}");
}

#[test]
fn each_family_is_exposed_once_under_its_name() {
    let text = expose(facts(true), Format::Text).unwrap();
    let exposed: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let named: Vec<String> = FAMILIES.iter().map(Family::full_name).collect();
    assert_eq!(exposed, named);
    assert_eq!(named.iter().collect::<BTreeSet<_>>().len(), named.len());
    for family in FAMILIES {
        assert!(!family.help.ends_with('.'), "{}: the library ends it", family.full_name());
    }
}

#[test]
fn open_metrics_ends_with_its_mark() {
    let text = expose(facts(true), Format::OpenMetrics).unwrap();
    assert!(text.ends_with("# EOF\n"));
    assert!(
        text.contains("# TYPE bridgefwd_seen_bytes counter\n# UNIT bridgefwd_seen_bytes bytes\n")
    );
}

#[test]
fn without_a_daemon_there_is_what_the_maps_hold() {
    let text = expose(facts(false), Format::Text).unwrap();
    assert!(text.contains("bridgefwd_seen_packets_total 20"));
    assert!(!text.contains("bridgefwd_start_time") && !text.contains("reconcile"), "{text}");
}

#[test]
fn a_client_gets_what_it_understands() {
    for (accept, format) in [
        ("", Format::Text),
        ("*/*", Format::Text),
        ("text/plain;version=0.0.4", Format::Text),
        ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2", Format::OpenMetrics),
        ("text/html, application/openmetrics-text", Format::OpenMetrics),
        ("application/openmetrics-text;q=0", Format::Text),
    ] {
        assert_eq!(Format::accepted(accept), format, "{accept}");
    }
}
