//! What `--json` really prints is what `bridgefwd schema` says.

use std::process::Command;

use bridgefwd_tests::bridgefwd::{Bridgefwd, binary};
use bridgefwd_tests::listener::Listener;
use bridgefwd_tests::needs_root;
use bridgefwd_tests::topology::{Options, Router};
use bridgefwd_tests::traffic::{hello, ping};
use bridgefwd_tests::wait::PATIENCE;
use serde_json::{Value, json};

/// What is wrong with a document by the schema of that name.
pub fn complaints(name: &str, document: &Value) -> Vec<String> {
    let output = Command::new(binary()).args(["schema", name]).output().expect("started");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let schema: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let complaint =
        |error: jsonschema::ValidationError<'_>| format!("{}: {error}", error.instance_path());
    validator.iter_errors(document).map(complaint).collect()
}

/// Panics unless a document is as its schema says, and the schema notices where it is not.
#[track_caller]
pub fn check(name: &str, document: &Value) {
    assert_eq!(complaints(name, document), [""; 0], "{name}: {document:#}");
    // Every field is promised: without any one of them it is another document.
    let object = if document.is_array() { &document[0] } else { document };
    for field in object.as_object().unwrap_or_else(|| panic!("{name}: {document}")).keys() {
        let mut without = object.clone();
        without.as_object_mut().expect("an object").remove(field);
        let without = if document.is_array() { json!([without]) } else { without };
        assert!(!complaints(name, &without).is_empty(), "{name} does without {field}");
    }
}

#[test]
fn documents_are_as_their_schemas_say() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a", "br-b"]);
    let config = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(config.path(), "bridges = [\"br-a\", \"br-b\"]\n").expect("written");
    let config = config.path().to_str().expect("text");
    let bridgefwd = Bridgefwd::run(&router.ns, &["--config", config, "--unlisted", "deny"]);
    bridgefwd.ok(&["pair", "allow", "br-a", "br-b", "--nat6", "masquerade"]);
    let (a, b) = (&router.hosts[0], &router.hosts[1]);
    let mut listener = Listener::start(&router.ns, &bridgefwd, &[]);
    let _connection = hello(a, b);
    assert_eq!(ping(&a.ns, b.address, 77, 1, PATIENCE), 1);
    assert_eq!(ping(&b.ns, a.address, 78, 1, std::time::Duration::from_millis(200)), 0);
    bridgefwd.ok(&["pair", "deny", "br-b", "br-a"]);
    for (name, command) in [
        ("status", &["status"][..]),
        ("bridges", &["bridges"]),
        ("pairs", &["pair", "list"]),
        ("flows", &["flows"]),
        ("stats", &["stats"]),
        ("inspect", &["inspect", router.hosts[0].ns.name()]),
        ("explain", &["explain"]),
        ("explain-way", &["explain", "br-a", "br-b", "tcp/80"]),
    ] {
        check(name, &bridgefwd.json(command));
    }
    // These have an exit status of their own.
    let whois = format!("{}:10000", router.bridge("br-b").address);
    for (name, command) in [
        ("doctor", &["doctor", "--json"][..]),
        ("plan", &["plan", "--json"]),
        ("whois", &["whois", &whois, "--json"]),
        ("whois", &["whois", "192.0.2.1:1", "--json"]),
    ] {
        let output = bridgefwd.cli(command);
        let document = serde_json::from_str(&output.stdout);
        check(name, &document.unwrap_or_else(|error| panic!("{command:?}: {error}: {output:?}")));
    }
    for kind in ["pair", "refused", "opened"] {
        if !listener.heard.iter().any(|event| event["event"] == kind) {
            listener.wait(kind, |event| event["event"] == kind);
        }
    }
    for event in &listener.heard {
        assert_eq!(complaints("events", event), [""; 0], "{event:#}");
    }
    let unknown = json!({ "time": "2026-11-25T16:03:08Z", "event": "something" });
    assert!(!complaints("events", &unknown).is_empty());
}

#[test]
fn all_schemas_at_once() {
    let output = Command::new(binary()).arg("schema").output().expect("started");
    let all: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let all = all.as_object().expect("an object");
    assert!(all.len() > 10 && all.contains_key("flows") && all.contains_key("lab-walk"));
    for (name, schema) in all {
        assert!(jsonschema::meta::is_valid(schema), "{name}");
        assert!(schema["title"].as_str().is_some_and(|title| title.starts_with("bridgefwd ")));
    }
}
