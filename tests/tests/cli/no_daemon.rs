//! Commands where no daemon runs.

use std::sync::Arc;

use bridgefwd_tests::bridgefwd::Bridgefwd;
use bridgefwd_tests::namespaces::Namespace;
use bridgefwd_tests::needs_root;
use bridgefwd_tests::topology::{Options, Router};
use serde_json::Value;

use crate::refusals::{NO_DAEMON, refused};

/// `bridges` is none of them: it tells what there is also where nothing was ever started.
const READING: [&[&str]; 4] = [&["pair", "list"], &["flows"], &["stats"], &["status"]];

#[test]
fn nothing_was_ever_started() {
    needs_root!();
    let ns = Arc::new(Namespace::new("empty"));
    let bridgefwd = Bridgefwd::new(&ns);
    for command in READING {
        refused(&bridgefwd.cli(command), NO_DAEMON, &["bridgefwd run"]);
        let output = bridgefwd.cli(&[command, &["--json"]].concat());
        assert_eq!(output.status, NO_DAEMON, "{output:?}");
    }
    for change in ["allow", "deny", "clear"] {
        let output = bridgefwd.cli(&["pair", change, "br-a", "br-b"]);
        refused(&output, NO_DAEMON, &["bridgefwd run"]);
    }
    for command in ["plan", "apply", "reload", "save"] {
        refused(&bridgefwd.cli(&[command]), NO_DAEMON, &["bridgefwd run"]);
    }
    assert!(!bridgefwd.pin_dir.exists() && !bridgefwd.socket().exists());
}

#[test]
fn bridges_are_shown_before_anything_is_managed() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a"]);
    let bridgefwd = Bridgefwd::new(&router.ns);
    let output = bridgefwd.cli(&["bridges", "--json"]);
    assert_eq!(output.status, 0, "{output:?}");
    assert!(output.stderr.contains("daemon is not running"), "{output:?}");
    let bridges: Value = serde_json::from_str(&output.stdout).expect("JSON");
    assert_eq!(bridges.as_array().map(Vec::len), Some(3), "{bridges}");
    assert_eq!((&bridges[0]["name"], &bridges[0]["managed"]), (&"br-a".into(), &false.into()));
    assert_eq!(bridges[0]["ports_not_attached"][0], "p-a2");
}

#[test]
fn down_has_nothing_to_do() {
    needs_root!();
    let ns = Arc::new(Namespace::new("empty"));
    let bridgefwd = Bridgefwd::new(&ns);
    let output = bridgefwd.cli(&["down"]);
    assert!(matches!(output.status, 0 | NO_DAEMON), "{output:?}");
    assert!(!bridgefwd.pin_dir.exists());
}

#[test]
fn a_namespace_that_is_not_there() {
    needs_root!();
    let ns = Arc::new(Namespace::new("empty"));
    let bridgefwd = Bridgefwd::new(&ns).in_netns("bfwt-no-such-namespace");
    for command in READING {
        let output = bridgefwd.cli(command);
        assert!(output.status != 0 && output.stdout.is_empty(), "{output:?}");
    }
    let mut bridgefwd = bridgefwd;
    let output = bridgefwd.try_start(&["--bridge", "br-a"]).expect_err("no namespace");
    assert!(matches!(output.status, 1 | 2), "{output:?}");
    assert!(output.stderr.contains("bfwt-no-such-namespace"), "{output:?}");
}

#[test]
fn counters_and_flows_are_read_from_the_pins() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a", "br-b"]);
    let mut bridgefwd = Bridgefwd::run(&router.ns, &["--bridge", "br-a", "--bridge", "br-b"]);
    bridgefwd.ok(&["pair", "allow", "br-a", "br-b"]);
    let (a, b) = (&router.hosts[0], &router.hosts[1]);
    let patience = bridgefwd_tests::wait::PATIENCE;
    assert_eq!(bridgefwd_tests::traffic::ping(&a.ns, b.address, 7, 2, patience), 2);
    let before = [&["pair", "list"][..], &["bridges"]].map(|command| bridgefwd.json(command));
    bridgefwd.kill();
    let read = |command: &[&str]| -> Value {
        let output = bridgefwd.cli(&[command, &["--json"]].concat());
        assert_eq!(output.status, 0, "{command:?}: {output:?}");
        serde_json::from_str(&output.stdout).expect("JSON")
    };
    assert_eq!(read(&["flows"])[0]["packets"]["original"], 2);
    assert_eq!(read(&["stats"])["reasons"]["forwarded_reply"]["packets"], 2);
    assert_eq!(read(&["pair", "list"]), before[0]);
    assert_eq!(read(&["bridges"]), before[1]);
    // What it left is shown, and that it is gone.
    let status = bridgefwd.cli(&["status", "--json"]);
    assert_eq!(status.status, NO_DAEMON, "{status:?}");
    let status: Value = serde_json::from_str(&status.stdout).expect("JSON");
    assert_eq!(status["state"], "daemon down");
    // There is nobody to change anything.
    refused(&bridgefwd.cli(&["pair", "deny", "br-a", "br-b"]), NO_DAEMON, &["bridgefwd run"]);
}
