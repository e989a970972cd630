//! What `--json` prints: the fields that people script against.

use bridgefwd_common::Reason;
use bridgefwd_tests::bridgefwd::Bridgefwd;
use bridgefwd_tests::needs_root;
use bridgefwd_tests::topology::{Options, Router};
use bridgefwd_tests::traffic::{hello, ping};
use bridgefwd_tests::wait::PATIENCE;
use serde_json::{Value, json};

/// Panics unless `value` has every field of `shape`, each of its type: `0` a count, `""` a text,
/// `[]` a list. There may be more.
#[track_caller]
fn has_shape(value: &Value, shape: &Value) {
    match shape {
        Value::Object(fields) => {
            for (name, shape) in fields {
                let field = value.get(name);
                has_shape(field.unwrap_or_else(|| panic!("no {name} in {value}")), shape);
            }
        }
        Value::Number(_) => assert!(value.is_u64(), "{value} is no count"),
        Value::String(_) => assert!(value.is_string(), "{value} is no text"),
        Value::Array(_) => assert!(value.is_array(), "{value} is no list"),
        _ => {}
    }
}

fn with_traffic(test: impl FnOnce(&Bridgefwd)) {
    let router = Router::new(Options::default(), &["br-a", "br-b"]);
    let bridgefwd = Bridgefwd::run(&router.ns, &["--bridge", "br-a", "--bridge", "br-b"]);
    bridgefwd.ok(&["pair", "allow", "br-a", "br-b"]);
    bridgefwd.ok(&["pair", "deny", "br-b", "br-a"]);
    let (a, b) = (&router.hosts[0], &router.hosts[1]);
    let _connection = hello(a, b);
    assert_eq!(ping(&a.ns, b.address, 77, 1, PATIENCE), 1);
    test(&bridgefwd);
}

#[test]
fn flows() {
    needs_root!();
    with_traffic(|bridgefwd| {
        let flows = bridgefwd.json(&["flows"]);
        let flows = flows.as_array().expect("a list");
        assert_eq!(flows.len(), 3);
        let tuple = json!({ "src": "", "src_port": 0, "dst": "", "dst_port": 0 });
        let both = json!({ "original": 0, "reply": 0 });
        let shape = json!({
            "from": "", "to": "", "proto": "", "state": "", "nat": "",
            "original": tuple, "translated": tuple, "packets": both, "bytes": both,
            "age_s": 0, "idle_s": 0, "expires_s": 0,
        });
        for flow in flows {
            has_shape(flow, &shape);
            assert_eq!((&flow["from"], &flow["to"]), (&json!("br-a"), &json!("br-b")));
            assert_eq!(flow["nat"], "masquerade");
            assert_eq!(flow["original"]["src"], "10.1.0.2");
            assert_eq!(flow["translated"]["src"], "10.2.0.1");
            assert_eq!(flow["translated"]["dst"], "10.2.0.2");
            assert!(flow["expires_s"].as_u64() > Some(0));
        }
        for (proto, state, src_port, dst_port) in [
            ("tcp", "established", 10_000, 80),
            ("udp", "two_way", 10_001, 53),
            ("icmp", "echo", 77, 0),
        ] {
            let picked = bridgefwd.json(&["flows", "--proto", proto]);
            assert_eq!(picked.as_array().expect("a list").len(), 1);
            let flow = &picked[0];
            assert_eq!((&flow["proto"], &flow["state"]), (&json!(proto), &json!(state)));
            assert_eq!(flow["original"]["src_port"], src_port);
            assert_eq!(flow["original"]["dst_port"], dst_port);
        }
        let none = json!([]);
        let count = |args: &[&str]| {
            bridgefwd.json(&[&["flows"], args].concat()).as_array().expect("a list").len()
        };
        for (args, wanted) in [
            (&["--limit", "2"][..], 2),
            (&["--state", "established"], 1),
            (&["--state", "reset"], 0),
            (&["--port", "53"], 1),
            (&["--port", "10000"], 1),
            (&["--address", "10.1.0.2"], 3),
            (&["--address", "10.2.0.1", "--proto", "tcp"], 1),
            (&["--address", "10.9.9.9"], 0),
        ] {
            assert_eq!(count(args), wanted, "{args:?}");
        }
        let shown = bridgefwd.cli(&["flows", "--limit", "1"]);
        assert!(shown.stderr.contains("the first 1;"), "{}", shown.stderr);
        assert_eq!(bridgefwd.json(&["flows", "--from", "br-b"]), none);
        assert_eq!(bridgefwd.json(&["flows", "--to", "br-a"]), none);
        let both = bridgefwd.json(&["flows", "--from", "br-a", "--to", "br-b"]);
        assert_eq!(both.as_array().expect("a list").len(), 3);
    });
}

#[test]
fn stats() {
    needs_root!();
    with_traffic(|bridgefwd| {
        let stats = bridgefwd.json(&["stats"]);
        let shape = json!({
            "packets": 0, "bytes": 0, "reasons": {}, "pairs": [],
            "flows": { "live": 0, "limit": 0 },
        });
        has_shape(&stats, &shape);
        assert_eq!(stats["flows"], json!({ "live": 3, "limit": 65_536 }));
        let reasons = stats["reasons"].as_object().expect("reasons");
        assert_eq!(reasons.len(), Reason::ALL.len(), "also those that never happened");
        for reason in Reason::ALL {
            let entry = &reasons[reason.name()];
            has_shape(entry, &json!({ "packets": 0, "bytes": 0 }));
            assert_eq!(entry["verdict"], reason.verdict().name());
        }
        let pairs = stats["pairs"].as_array().expect("a list");
        assert_eq!(pairs.len(), 2);
        for pair in pairs {
            let shape =
                json!({ "from": "", "to": "", "packets": 0, "bytes": 0, "flows": 0, "refused": 0 });
            has_shape(pair, &shape);
        }
    });
}

#[test]
fn pairs() {
    needs_root!();
    with_traffic(|bridgefwd| {
        let pairs = bridgefwd.json(&["pair", "list"]);
        let pairs = pairs.as_array().expect("a list");
        assert_eq!(pairs.len(), 2);
        for pair in pairs {
            has_shape(pair, &json!({ "from": "", "to": "", "state": "", "nat": "" }));
            assert_eq!(pair["present"], true);
        }
    });
}

#[test]
fn bridges() {
    needs_root!();
    with_traffic(|bridgefwd| {
        let bridges = bridgefwd.managed();
        assert_eq!(bridges.len(), 2);
        for bridge in &bridges {
            let shape = json!({
                "name": "", "ifindex": 0, "addresses": [], "mtu": 0, "ports": [],
                "attached": "", "kind": "", "managed": true, "interface": "", "subnets": [],
                "gateways": [], "containers": [],
            });
            has_shape(bridge, &shape);
            assert_eq!((&bridge["mtu"], &bridge["kind"]), (&json!(1500), &json!("bridge")));
            let attached = bridge["attached"].as_str().expect("text");
            assert!(matches!(attached, "tcx" | "clsact"), "{attached}");
        }
        assert_eq!(bridges[0]["addresses"], json!(["10.1.0.1/24", "fd00:1::1/64"]));
        assert_eq!(bridges[0]["ports_not_attached"], json!([]));
        assert_eq!(bridges[0]["ports"], json!(["p-a2"]));
        // What is not managed comes after.
        let all = bridgefwd.json(&["bridges"]);
        let other = &all.as_array().expect("a list")[2];
        assert_eq!((&other["name"], &other["managed"]), (&json!("br-c"), &json!(false)));
        assert_eq!((&other["attached"], &other["driver"]), (&json!("no"), &json!(null)));
    });
}

#[test]
fn status() {
    needs_root!();
    with_traffic(|bridgefwd| {
        let status = bridgefwd.json(&["status"]);
        assert_eq!((&status["state"], &status["unlisted"]), (&json!("running"), &json!("kernel")));
        assert_eq!(status["pid"], bridgefwd.pid());
        assert_eq!(status["bridges"], json!(["br-a", "br-b"]));
        assert_eq!((&status["pairs_allowed"], &status["pairs_denied"]), (&json!(1), &json!(1)));
        assert_eq!((&status["ports"], &status["uplinks"]), (&json!(2), &json!([])));
        let timers = json!({
            "opening": 240, "established": 7440, "closing": 240,
            "udp_one_way": 120, "udp_two_way": 300, "icmp": 60,
        });
        assert_eq!(status["timers"], timers);
        assert_eq!(status["flows_per_source"], 16_384);
        assert_eq!(status["ports_not_attached"], 0);
    });
}

#[test]
fn tables_for_people() {
    needs_root!();
    with_traffic(|bridgefwd| {
        for (command, words) in [
            (&["flows"][..], &["10.1.0.2", "10.2.0.2", "established", "br-a", "br-b"][..]),
            (&["stats"], &["forwarded", "flow_created", "SOURCE", "p-a2"]),
            (&["stats", "--all"], &["pair_denied"]),
            (&["status"], &["running", "br-a"]),
            (&["bridges"], &["br-a", "10.1.0.1/24", "fd00:1::1/64", "p-a2"]),
            (&["pair", "list"], &["br-a", "allowed", "denied", "masquerade"]),
        ] {
            let text = bridgefwd.ok(command);
            for word in words {
                assert!(text.contains(word), "{command:?}: no {word} in\n{text}");
            }
        }
    });
}
