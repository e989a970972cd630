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
            // There, but not managed: that name is right.
            let unmanaged = bridgefwd.cli(&["pair", change, "br-a", "br-c"]);
            refused(&unmanaged, USAGE, &["br-c"]);
            assert!(!unmanaged.stderr.contains("did you mean"), "{unmanaged:?}");
            let misspelt = bridgefwd.cli(&["pair", change, "br-a", "br-bb"]);
            refused(&misspelt, USAGE, &["br-bb", "did you mean br-b?"]);
        }
        refused(&bridgefwd.cli(&["pair", "clear", "br-a", "br-z"]), USAGE, &["br-z"]);
        for end in ["--from", "--to"] {
            let misspelt = bridgefwd.cli(&["flows", end, "bra"]);
            refused(&misspelt, USAGE, &["bra", "did you mean br-a?"]);
        }
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

/// `nat`, `nat6` and `mapping` of the only pair.
#[track_caller]
fn translation(bridgefwd: &Bridgefwd) -> [String; 3] {
    let pairs = bridgefwd.json(&["pair", "list"]);
    let field = |name: &str| pairs[0][name].as_str().expect("text").to_owned();
    [field("nat"), field("nat6"), field("mapping")]
}

#[test]
fn have_a_translation_of_each_family() {
    needs_root!();
    running(|bridgefwd, router| {
        router.ns.ip("addr add 10.2.0.7/24 dev br-b\naddr add fd00:2::7/64 dev br-b nodad\n");
        let allow = |args: &[&str]| {
            let output = bridgefwd.cli(&[&["pair", "allow", "br-a", "br-b"], args].concat());
            assert_eq!((output.status, &output.stderr[..]), (0, ""));
            output.stdout
        };
        allow(&[]);
        assert_eq!(translation(bridgefwd), ["masquerade", "none", "per-destination"]);
        let said = allow(&["--nat6", "masquerade"]);
        assert!(said.contains("nat masquerade, IPv6 masquerade"), "{said}");
        assert_eq!(translation(bridgefwd), ["masquerade", "masquerade", "per-destination"]);
        // What is said of one is not said of the other.
        allow(&["--nat", "none"]);
        assert_eq!(translation(bridgefwd), ["none", "masquerade", "per-destination"]);
        bridgefwd_tests::wait::until("the new addresses can be used", || {
            let args = ["--nat", "10.2.0.1,10.2.0.7", "--nat6", "fd00:2::7"];
            bridgefwd.cli(&[&["pair", "allow", "br-a", "br-b"], &args[..]].concat()).status == 0
        });
        allow(&["--mapping", "endpoint-independent"]);
        let now = ["10.2.0.1,10.2.0.7", "fd00:2::7", "endpoint-independent"];
        assert_eq!(translation(bridgefwd), now);
        bridgefwd.ok(&["pair", "deny", "br-a", "br-b"]);
        assert_eq!(translation(bridgefwd), now, "kept for when it is allowed again");
        let said = allow(&["--mapping", "per-destination", "--nat6", "none"]);
        assert!(said.contains("allowed, nat 10.2.0.1,10.2.0.7\n"), "{said}");
    });
}

#[test]
fn with_a_translation_that_cannot_be_are_refused() {
    needs_root!();
    running(|bridgefwd, _| {
        for (args, words) in [
            (["--nat", "10.2.0"], &["--nat", "\"10.2.0\"", "masquerade"][..]),
            (["--nat", "10.2.0.1,"], &["--nat", "\"\""]),
            (["--nat", "10.2.0.1-"], &["--nat", "10.2.0.1-"]),
            (["--nat", "fd00:2::1"], &["--nat", "fd00:2::1 is no IPv4 address", "--nat6"]),
            (["--nat6", "10.2.0.1"], &["--nat6", "10.2.0.1 is no IPv6 address"]),
            (["--nat", "10.2.0.1-10.2.0.17"], &["--nat", "at most 16"]),
            (["--nat6", "fd00:2::1-fd00:3::1"], &["--nat6", "at most 16"]),
            (["--nat", "10.2.0.7-10.2.0.1"], &["--nat", "ends before it begins"]),
            (["--nat", "10.2.0.1,10.2.0.1"], &["--nat", "10.2.0.1 is named twice"]),
            (["--nat", "10.2.0.1-10.2.0.2"], &["10.2.0.2", "br-b", "br-b has: 10.2.0.1"]),
            (["--nat6", "fd00:1::1"], &["fd00:1::1", "br-b", "br-b has: fd00:2::1"]),
            (["--mapping", "cone"], &["--mapping", "\"cone\"", "endpoint-independent"]),
        ] {
            let output = bridgefwd.cli(&[&["pair", "allow", "br-a", "br-b"], &args[..]].concat());
            refused(&output, USAGE, words);
        }
        assert_eq!(listed(bridgefwd), [] as [Value; 0]);
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
