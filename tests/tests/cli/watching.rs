//! `--watch` where the output is no terminal, and numbers to the last digit.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};

use bridgefwd_tests::bridgefwd::Bridgefwd;
use bridgefwd_tests::needs_root;
use bridgefwd_tests::topology::{Options, Router};
use bridgefwd_tests::traffic::hello;
use bridgefwd_tests::wait::{PATIENCE, poll};
use serde_json::Value;

use crate::refusals::{NO_DAEMON, USAGE, refused};

fn router() -> (Bridgefwd, Router) {
    let router = Router::new(Options::default(), &["br-a", "br-b"]);
    let bridgefwd = Bridgefwd::run(&router.ns, &["--bridge", "br-a", "br-b"]);
    bridgefwd.ok(&["pair", "allow", "br-a", "br-b"]);
    (bridgefwd, router)
}

/// A command that goes on, on a pipe.
fn start(router: &Router, bridgefwd: &Bridgefwd, args: &[&str]) -> Child {
    let mut command = bridgefwd.command_line(args[0]);
    command.args(&args[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    router.ns.run(|| command.spawn().expect("started"))
}

/// Its exit status, once it has ended by itself, and what it said on standard error.
#[track_caller]
fn ended(mut child: Child) -> (Option<i32>, String) {
    let status = poll(PATIENCE, || child.try_wait().expect("status"));
    let Some(status) = status else {
        let _ = child.kill();
        panic!("it goes on: {:?}", child.wait());
    };
    let mut errors = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut errors).expect("text");
    (status.code(), errors)
}

#[test]
fn on_a_pipe_one_comes_after_the_other() {
    needs_root!();
    let (bridgefwd, router) = router();
    let mut child = start(&router, &bridgefwd, &["pair", "list", "--watch", "0.1"]);
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let lines: Vec<_> = lines.take(7).map(|line| line.expect("text")).collect();
    let [first, header, pair, gap, second, again, _] = &lines[..] else { panic!("{lines:?}") };
    assert!(header.starts_with("FROM") && again == header, "{lines:?}");
    assert!(pair.starts_with("br-a") && gap.is_empty(), "{lines:?}");
    // 2026-11-25 17:03:08+01:00
    for time in [first, second] {
        assert!(time.starts_with("20") && time.contains(':') && time.len() >= 20, "{time}");
    }
    // Nobody reads any more.
    assert_eq!(ended(child), (Some(0), String::new()));
}

#[test]
fn a_reader_that_goes_is_noticed_before_the_next_look() {
    needs_root!();
    let (bridgefwd, router) = router();
    let mut child = start(&router, &bridgefwd, &["status", "--watch", "3600"]);
    let mut first = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    stdout.read_line(&mut first).expect("a line");
    drop(stdout);
    assert_eq!(ended(child), (Some(0), String::new()));
}

#[test]
fn json_is_a_document_a_line() {
    needs_root!();
    let (bridgefwd, router) = router();
    let _connection = hello(&router.hosts[0], &router.hosts[1]);
    let documents = |command: &[&str]| -> Vec<Value> {
        let args = [command, &["--json", "--watch", "0.1"]].concat();
        let mut child = start(&router, &bridgefwd, &args);
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().take(3);
        let parse = |line: std::io::Result<String>| serde_json::from_str(&line.expect("text"));
        let documents = lines.map(|line| parse(line).expect("JSON")).collect();
        assert_eq!(ended(child), (Some(0), String::new()), "{command:?}");
        documents
    };
    for flows in documents(&["flows"]) {
        assert_eq!(flows.as_array().expect("a list").len(), 2);
        assert_eq!(flows[0]["from"], "br-a");
    }
    for status in documents(&["status"]) {
        assert_eq!(status["state"], "running");
    }
    for (command, field) in [(&["bridges"][..], "name"), (&["pair", "list"], "from")] {
        for document in documents(command) {
            assert!(document[0][field].is_string(), "{document}");
        }
    }
    let stats = documents(&["stats"]);
    assert!(stats[0]["packets"].as_u64() <= stats[2]["packets"].as_u64());
}

#[test]
fn a_daemon_that_goes_and_comes_is_followed() {
    needs_root!();
    let (mut bridgefwd, router) = router();
    let mut child = start(&router, &bridgefwd, &["status", "--json", "--watch", "0.1"]);
    let stdout = child.stdout.take().expect("a pipe");
    let mut states = BufReader::new(stdout).lines().map(|line| {
        let status: Value = serde_json::from_str(&line.expect("text")).expect("JSON");
        status["state"].as_str().expect("text").to_owned()
    });
    assert_eq!(states.next().as_deref(), Some("running"));
    bridgefwd.kill();
    assert!(states.any(|state| state == "daemon down"));
    bridgefwd.start(&["--bridge", "br-a", "br-b"]);
    assert!(states.any(|state| state == "running"));
    drop(states);
    let (status, errors) = ended(child);
    assert_eq!(status, Some(0), "{errors}");
    assert!(errors.contains("error: ") && errors.contains("bridgefwd run"), "{errors}");
}

#[test]
fn what_cannot_be_shown_once_is_not_watched() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a"]);
    let bridgefwd = Bridgefwd::new(&router.ns);
    for command in [&["flows", "--watch"][..], &["stats", "--watch", "--json"]] {
        refused(&bridgefwd.cli(command), NO_DAEMON, &["bridgefwd run"]);
    }
    for wrong in ["0", "never", "2h"] {
        refused(&bridgefwd.cli(&["flows", "--watch", wrong]), USAGE, &["--watch"]);
    }
}

#[test]
fn numbers_to_the_last_digit() {
    needs_root!();
    let (bridgefwd, router) = router();
    let _connection = hello(&router.hosts[0], &router.hosts[1]);
    let flow = &bridgefwd.json(&["flows", "--proto", "tcp"])[0];
    let both = |what: &str| format!("{}/{}", flow[what]["original"], flow[what]["reply"]);
    let (packets, bytes) = (both("packets"), both("bytes"));
    let line = bridgefwd.ok(&["flows", "--proto", "tcp", "--bytes"]);
    let words: Vec<_> = line.lines().nth(1).expect("a flow").split_whitespace().collect();
    assert!(words.contains(&&*packets) && words.contains(&&*bytes), "{packets} {bytes}: {line}");
    assert!(!bridgefwd.ok(&["flows", "--proto", "tcp"]).contains(&bytes));
    let counted = bridgefwd.json(&["stats"]);
    let shown = bridgefwd.ok(&["stats", "--bytes"]);
    let pair = &counted["pairs"][0];
    assert!(shown.contains(&format!("  {}  ", pair["bytes"])), "{pair}\n{shown}");
    assert!(shown.lines().next().expect("a line").contains(" bytes seen;"), "{shown}");
}
