//! `pair`: what is listed, what is refused, and how long it takes.

use std::time::{Duration, Instant};

use bridgefwd_tests::bridgefwd::Bridgefwd;
use bridgefwd_tests::needs_root;
use bridgefwd_tests::topology::{Options, Router};
use serde_json::{Value, json};

use crate::refusals::{USAGE, refused};

fn running(test: impl FnOnce(&Bridgefwd, &Router)) {
    let router = Router::new(Options::default(), &["br-a", "br-b"]);
    let bridgefwd = Bridgefwd::run(&router.ns, &["--bridge", "br-a", "--bridge", "br-b"]);
    test(&bridgefwd, &router);
}

/// `from`, `to`, `state` and `nat` of every listed pair.
fn listed(bridgefwd: &Bridgefwd) -> Vec<Value> {
    let pairs = bridgefwd.json(&["pair", "list"]);
    let pairs = pairs.as_array().expect("a list").iter();
    pairs.map(|pair| json!([pair["from"], pair["to"], pair["state"], pair["nat"]])).collect()
}

#[test]
fn are_listed_changed_and_cleared() {
    needs_root!();
    running(|bridgefwd, _| {
        assert_eq!(listed(bridgefwd), [] as [Value; 0]);
        for (args, want) in [
            (&["allow", "br-a", "br-b"][..], json!(["br-a", "br-b", "allowed", "masquerade"])),
            (&["deny", "br-a", "br-b"], json!(["br-a", "br-b", "denied", "masquerade"])),
            (
                &["allow", "br-a", "br-b", "--nat", "none"],
                json!(["br-a", "br-b", "allowed", "none"]),
            ),
            // What is not said stays.
            (&["allow", "br-a", "br-b"], json!(["br-a", "br-b", "allowed", "none"])),
            (
                &["allow", "br-a", "br-b", "--nat", "10.2.0.1"],
                json!(["br-a", "br-b", "allowed", "10.2.0.1"]),
            ),
            (
                &["allow", "br-a", "br-b", "--nat", "masquerade", "--drain"],
                json!(["br-a", "br-b", "allowed", "masquerade"]),
            ),
        ] {
            bridgefwd.ok(&[&["pair"], args].concat());
            assert_eq!(listed(bridgefwd), [want], "{args:?}");
        }
        bridgefwd.ok(&["pair", "deny", "br-b", "br-a"]);
        assert_eq!(listed(bridgefwd).len(), 2, "a pair has a direction");
        bridgefwd.ok(&["pair", "clear", "br-a", "br-b"]);
        assert_eq!(listed(bridgefwd), [json!(["br-b", "br-a", "denied", "masquerade"])]);
        let text = bridgefwd.ok(&["pair", "list"]);
        assert!(
            text.contains("br-b") && text.contains("br-a") && text.contains("denied"),
            "{text}"
        );
    });
}

#[test]
fn of_unknown_bridges_are_refused() {
    needs_root!();
    running(|bridgefwd, _| {
        for change in ["allow", "deny"] {
            refused(&bridgefwd.cli(&["pair", change, "br-a", "br-z"]), USAGE, &["br-z"]);
            refused(&bridgefwd.cli(&["pair", change, "br-y", "br-b"]), USAGE, &["br-y"]);
            // There, but not managed.
            refused(&bridgefwd.cli(&["pair", change, "br-a", "br-c"]), USAGE, &["br-c"]);
        }
        refused(&bridgefwd.cli(&["pair", "clear", "br-a", "br-z"]), USAGE, &["br-z"]);
        assert_eq!(listed(bridgefwd), [] as [Value; 0]);
    });
}

#[test]
fn of_a_bridge_with_itself_are_refused() {
    needs_root!();
    running(|bridgefwd, _| {
        refused(&bridgefwd.cli(&["pair", "allow", "br-a", "br-a"]), USAGE, &["br-a"]);
        assert_eq!(listed(bridgefwd), [] as [Value; 0]);
    });
}

#[test]
fn with_an_address_that_the_target_has_not_are_refused() {
    needs_root!();
    running(|bridgefwd, _| {
        for address in ["10.2.0.9", "10.1.0.1", "192.0.2.1"] {
            let output = bridgefwd.cli(&["pair", "allow", "br-a", "br-b", "--nat", address]);
            refused(&output, USAGE, &[address, "br-b"]);
        }
        assert_eq!(listed(bridgefwd), [] as [Value; 0]);
        bridgefwd.ok(&["pair", "allow", "br-a", "br-b"]);
        let output = bridgefwd.cli(&["pair", "allow", "br-a", "br-b", "--nat", "10.2.0.9"]);
        refused(&output, USAGE, &["10.2.0.9"]);
        assert_eq!(listed(bridgefwd), [json!(["br-a", "br-b", "allowed", "masquerade"])]);
    });
}

#[test]
fn that_are_not_listed_can_be_cleared_again() {
    needs_root!();
    running(|bridgefwd, _| {
        let output = bridgefwd.cli(&["pair", "clear", "br-a", "br-b"]);
        assert_eq!((output.status, &output.stderr[..]), (0, ""), "{}", output.stdout);
    });
}

#[test]
fn change_fast() {
    needs_root!();
    running(|bridgefwd, _| {
        let times = (0..20).map(|round| {
            let change = if round % 2 == 0 { "allow" } else { "deny" };
            let begin = Instant::now();
            bridgefwd.ok(&["pair", change, "br-a", "br-b"]);
            begin.elapsed()
        });
        let mut times: Vec<Duration> = times.collect();
        times.sort();
        println!("a toggle takes {:?} (median of 20), {:?} at most", times[10], times[19]);
        // A figure, not a limit: others may be using the machine.
        assert!(times[10] < Duration::from_secs(2));
    });
}
