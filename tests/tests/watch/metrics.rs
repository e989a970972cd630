//! The metrics: what they say is so, and who may ask.

use bridgefwd_tests::bridgefwd::Bridgefwd;
use bridgefwd_tests::command;
use bridgefwd_tests::http;
use bridgefwd_tests::topology::{Options, Router};
use bridgefwd_tests::traffic::{say, udp};
use bridgefwd_tests::wait::until;
use bridgefwd_tests::{needs_programs, needs_root};
use serde_json::json;

use crate::rig::{AT, Rig, number};

#[test]
fn they_are_what_stats_says() {
    needs_root!();
    let rig = Rig::new();
    let text = rig.bridgefwd.ok(&["metrics"]);
    let stats = rig.bridgefwd.json(&["stats"]);
    let pair = &stats["pairs"][0];
    let of = |name: &str| number(&text, &format!("bridgefwd_{name}{{from=\"br-a\",to=\"br-b\"}}"));
    assert_eq!(json!(of("pair_flows") as u64), pair["flows"]);
    assert_eq!(json!(of("pair_flows_opened_total") as u64), pair["flows_created"]);
    assert_eq!(of("pair_allowed"), 1.0);
    for direction in ["original", "reply"] {
        let labels = format!("{{from=\"br-a\",to=\"br-b\",direction=\"{direction}\"}}");
        let packets = number(&text, &format!("bridgefwd_pair_packets_total{labels}"));
        assert_eq!(json!(packets as u64), pair["packets_by_direction"][direction]);
    }
    assert_eq!(number(&text, "bridgefwd_pair_allowed{from=\"br-a\",to=\"br-c\"}"), 0.0);
    let established = "bridgefwd_flows{protocol=\"tcp\",state=\"established\"}";
    assert_eq!(number(&text, established), 1.0);
    assert_eq!(number(&text, "bridgefwd_flow_table_slots"), 65_536.0);
    assert_eq!(number(&text, "bridgefwd_flow_table_used_slots"), 2.0);
    assert_eq!(number(&text, "bridgefwd_sources"), 1.0);
    assert_eq!(number(&text, "bridgefwd_ports"), 3.0);
    // Each server has one port in use, of those that are not the host's own.
    let share = of("pair_source_ports_ratio");
    assert!(share > 0.0 && share < 1.0 / 1024.0, "{share}");
}

#[test]
fn every_packet_is_under_one_reason() {
    needs_root!();
    let rig = Rig::new();
    let text = rig.bridgefwd.ok(&["metrics"]);
    let by_reason = text.lines().filter(|line| line.starts_with("bridgefwd_reason_packets_total{"));
    let sum: f64 =
        by_reason.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum();
    // Packets that come between the two looks are seen, and under no reason yet.
    let seen = number(&text, "bridgefwd_seen_packets_total");
    assert!(sum > 0.0 && sum <= seen && seen - sum <= 4.0, "{sum} of {seen}");
}

#[test]
fn flows_that_are_cut_have_ended_and_dormant_ones_have_not() {
    needs_root!();
    let rig = Rig::new();
    let of = |name: &str| {
        let text = rig.bridgefwd.ok(&["metrics"]);
        number(&text, &format!("bridgefwd_{name}{{from=\"br-a\",to=\"br-b\"}}"))
    };
    rig.bridgefwd.ok(&["pair", "deny", "br-a", "br-b"]);
    assert_eq!((of("pair_flows"), of("pair_flows_ended_total")), (0.0, 0.0));
    rig.bridgefwd.ok(&["pair", "allow", "br-a", "br-b"]);
    assert_eq!((of("pair_flows"), of("pair_flows_ended_total")), (2.0, 0.0));
    // Another NAT cuts them.
    rig.bridgefwd.ok(&["pair", "allow", "br-a", "br-b", "--nat", "none"]);
    assert_eq!((of("pair_flows"), of("pair_flows_ended_total")), (0.0, 2.0));
    assert_eq!(of("pair_flows_opened_total"), 2.0);
}

#[test]
fn the_daemon_counts_its_own_work() {
    needs_root!();
    let rig = Rig::new();
    let of = |name: &str| number(&rig.bridgefwd.ok(&["metrics"]), &format!("bridgefwd_{name}"));
    let before = of("reconciles_total");
    rig.router.ns.ip("addr add 10.1.0.77/24 dev br-a\n");
    until("the new address is taken in", || of("reconciles_total") > before);
    assert!(of("last_reconcile_timestamp_seconds") >= of("start_time_seconds"));
    assert_eq!((of("reconcile_errors_total"), of("failing_interfaces")), (0.0, 0.0));
    assert_eq!((of("netlink_resyncs_total"), of("warnings")), (0.0, 0.0));
    rig.router.ns.ip("link set br-c down\nlink del br-c\n");
    until("a bridge that is gone is a warning", || of("warnings") == 1.0);
    let text = rig.bridgefwd.ok(&["metrics"]);
    assert_eq!(number(&text, "bridgefwd_pair_present{from=\"br-a\",to=\"br-c\"}"), 0.0);
}

#[test]
fn a_source_at_its_limit_is_counted() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a", "br-b"]);
    let run = ["--bridge", "br-a", "br-b", "--flows-per-source", "2"];
    let bridgefwd = Bridgefwd::run(&router.ns, &run);
    bridgefwd.ok(&["pair", "allow", "br-a", "br-b"]);
    let (a, b) = (&router.hosts[0], &router.hosts[1]);
    let client = udp(&a.ns, a.at(10_000));
    for port in 1..=3 {
        client.send_to(b"x", b.at(port)).expect("sent");
    }
    let of = |name: &str| number(&bridgefwd.ok(&["metrics"]), &format!("bridgefwd_{name}"));
    until("a source is refused", || of("sources_refused") == 1.0);
    assert_eq!((of("sources"), of("sources_at_limit"), of("source_flows_limit")), (1.0, 1.0, 2.0));
}

#[test]
fn without_a_daemon_the_pins_are_read() {
    needs_root!();
    let mut rig = Rig::new();
    rig.bridgefwd.kill();
    let (near, far) = &mut rig.connection;
    say(near, far, "still there");
    let output = rig.bridgefwd.cli(&["metrics"]);
    assert_eq!(output.status, 0, "{output:?}");
    assert!(output.stderr.contains("the daemon is not running"), "{output:?}");
    assert_eq!(number(&output.stdout, "bridgefwd_pair_flows{from=\"br-a\",to=\"br-b\"}"), 2.0);
    assert!(!output.stdout.contains("bridgefwd_start_time"), "{output:?}");
}

#[test]
fn promtool_finds_nothing_wrong() {
    needs_root!();
    needs_programs!("promtool");
    let rig = Rig::new();
    let text = rig.bridgefwd.ok(&["metrics"]);
    command::run_with_input("promtool", &["check", "metrics"], &text);
}

#[test]
fn they_are_served_on_loopback_for_those_who_name_it() {
    needs_root!();
    let rig = Rig::new();
    let plain = rig.get("/metrics", &[]);
    assert_eq!(plain.status, 200);
    assert_eq!(plain.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(number(&plain.body, "bridgefwd_flow_table_slots"), 65_536.0);
    let open = rig.get("/metrics", &[("accept", "application/openmetrics-text; version=1.0.0")]);
    let media_type = open.header("content-type");
    assert_eq!(media_type, Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert!(open.body.ends_with("# EOF\n"));
    // A name that somebody else may have made to lead here.
    let rebound = rig.get("/metrics", &[("host", "attacker.example:9477")]);
    assert_eq!(rebound.status, 403);
    assert!(rebound.body.contains("--metrics-host"), "{}", rebound.body);
    // Not from elsewhere.
    let router = rig.router.bridge("br-a").address;
    let outside = http::get(&rig.router.hosts[0].ns, &format!("{router}:9477"), "/metrics", &[]);
    assert!(outside.is_err(), "{outside:?}");
}

#[test]
fn nothing_can_be_changed_by_tcp() {
    needs_root!();
    let rig = Rig::new();
    let denied = json!({ "state": "denied" });
    for (method, path, body) in [
        ("PUT", "/v1/pairs/br-a/br-b", Some(&denied)),
        ("DELETE", "/v1/pairs/br-a/br-b", None),
        ("POST", "/v1/down", None),
        ("POST", "/v1/stats", None),
    ] {
        let answer = http::send(&rig.router.ns, method, AT, path, &[], body).expect("an answer");
        assert!(matches!(answer.status, 404 | 405), "{method} {path}: {answer:?}");
    }
    let pairs = rig.bridgefwd.json(&["pair", "list"]);
    assert_eq!(pairs[0]["state"], "allowed");
    assert_eq!(rig.bridgefwd.json(&["status"])["state"], "running");
}

#[test]
fn an_address_that_is_taken_is_named_and_nothing_is_left() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a", "br-b"]);
    let _taken = router.ns.run(|| std::net::TcpListener::bind(AT).expect("free"));
    let mut bridgefwd = Bridgefwd::new(&router.ns);
    let output = bridgefwd
        .try_start(&["--bridge", "br-a", "br-b", "--metrics", "9477"])
        .expect_err("it is taken");
    assert_eq!(output.status, 1, "{output:?}");
    assert!(output.stderr.contains("127.0.0.1:9477"), "{output:?}");
    assert!(!bridgefwd.pin_dir.exists() && !bridgefwd.socket().exists());
}
