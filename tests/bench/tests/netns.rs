//! That the measuring instruments work: a moment of each. What they find is not looked at, but that
//! they find something.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::process::Command;

use bridgefwd_tests::needs_root;
use serde_json::Value;

/// Runs one of them, and gives its document.
#[track_caller]
fn measured(bench: &str) -> (Value, String) {
    let folder = std::env::temp_dir()
        .join(bridgefwd_tests::namespaces::unique_name(&format!("bench-{bench}")));
    let output = Command::new(env!("CARGO_BIN_EXE_bridgefwd-bench"))
        .args([bench, "--tiny", "--commit", "abc1234", "--results"])
        .arg(&folder)
        .env("BRIDGEFWD_BIN", bridgefwd_tests::bridgefwd::binary())
        .output()
        .expect("started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let read = |path: &Path| std::fs::read_to_string(path).expect("a result");
    let json = read(&folder.join(bench).with_extension("json"));
    let text = read(&folder.join(bench).with_extension("md"));
    std::fs::remove_dir_all(&folder).expect("removed");
    (serde_json::from_str(&json).expect("JSON"), text)
}

#[test]
fn the_program_is_measured() {
    needs_root!();
    let (document, text) = measured("program");
    assert_eq!(document["commit"], "abc1234");
    let costs = document["results"]["costs"].as_array().expect("costs");
    let kinds = ["established TCP", "TCP reply", "UDP", "ICMP error", "new flow (UDP)"];
    let kinds = kinds.iter().chain(&["denied", "left to the kernel", "established TCP, IPv6"]);
    for kind in kinds {
        assert!(costs.iter().any(|cost| cost["kind"] == *kind), "{kind}");
    }
    assert!(costs.iter().all(|cost| cost["ns"]["median"].as_f64() > Some(0.0)), "{costs:?}");
    let programs = document["results"]["programs"].as_array().expect("programs");
    assert!(programs.iter().all(|program| program["translated"].as_u64() > Some(2)));
    assert!(document["results"]["bytes_a_flow"].as_f64() > Some(184.0));
    assert!(text.contains("| established TCP "), "{text}");
}

#[test]
fn the_ways_are_measured() {
    needs_root!();
    let (document, text) = measured("path");
    let figures = document["results"]["figures"].as_array().expect("figures");
    let metrics = [
        "latency",
        "latency_p99",
        "connections",
        "datagrams",
        "datagram_cpu",
        "bulk",
        "bulk_plain",
    ];
    for way in ["direct cable", "iptables, as Docker", "bridgefwd, on ports"] {
        for metric in metrics {
            let figure =
                figures.iter().find(|figure| figure["way"] == way && figure["metric"] == metric);
            let value = figure.and_then(|figure| figure["value"]["median"].as_f64());
            assert!(value > Some(0.0), "{metric} of {way}: {value:?}");
        }
    }
    let programs = document["results"]["programs"].as_array().expect("programs");
    assert_eq!(programs.len(), 3);
    for case in programs {
        assert!(case["ingress_ns"]["median"].as_f64() > case["empty_ns"]["median"].as_f64());
    }
    // As many flows as were opened, and the connection of the ping-pong.
    assert!(programs[1]["flows"].as_u64() > Some(2000), "{programs:?}");
    let targets = document["results"]["targets"].as_array().expect("targets");
    assert!(targets.iter().all(|target| !target["ratio"].is_null()), "{targets:?}");
    assert!(text.contains("| bridgefwd, on ports"), "{text}");
}

#[test]
fn large_tables_are_measured() {
    needs_root!();
    let (document, text) = measured("scale");
    let results = &document["results"];
    for figure in ["start_s", "restart_s", "down_s", "daemon_mib", "freed_s"] {
        assert!(results[figure].as_f64() > Some(0.0), "{figure}: {results}");
    }
    let commands = results["commands"].as_array().expect("commands");
    let bytes = |command: &str| {
        let of = commands.iter().find(|answer| answer["command"] == command);
        of.and_then(|answer| answer["bytes"].as_u64()).expect("bytes")
    };
    // Two thousand flows: all as JSON, the first thousand as a table.
    assert!(bytes("flows --json") > 5 * bytes("flows"), "{commands:?}");
    assert!(text.contains("| freeing |"), "{text}");
}

#[test]
fn dropping_is_measured() {
    needs_root!();
    let (document, text) = measured("xdp");
    let results = &document["results"];
    let rows = |name: &str| results[name].as_array().expect("rows").clone();
    for means in ["ours", "generic", "native"] {
        for place in ["uplink", "port"] {
            let here = |row: &&Value| row["means"] == means && row["place"] == place;
            let drops = rows("drops");
            assert_eq!(drops.iter().filter(here).count(), 2, "{means} at {place}: {drops:?}");
            let passes = rows("passes");
            let bulk = passes.iter().find(here).and_then(|row| row["bulk_mb_s"]["median"].as_f64());
            assert!(bulk > Some(0.0), "{means} at {place}: {passes:?}");
        }
    }
    for drops in rows("drops") {
        for figure in ["cpu_ns", "run_ns", "over_ours"] {
            assert!(drops[figure]["median"].as_f64() > Some(0.0), "{figure}: {drops}");
        }
    }
    assert!(text.contains("filter in native XDP |"), "{text}");
}
