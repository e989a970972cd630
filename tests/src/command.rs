//! Other programs: `ip`, `tc`, `ethtool`, `bpftool`.

use std::io::Write as _;
use std::process::{Command, Stdio};

/// Runs a command to its end and returns its standard output. Panics with its errors where it
/// fails.
#[track_caller]
pub fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program} could not be started: {error}"));
    assert!(
        output.status.success(),
        "{program} {}: {}\n{}",
        args.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a command with `input` as its standard input. Panics with its errors where it fails.
#[track_caller]
pub fn run_with_input(program: &str, args: &[&str], input: &str) {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} could not be started: {error}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{program} {}: {}\n{}\n{input}",
        args.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The only process that another one has started, and that still runs.
#[must_use]
pub fn only_child(process: u32) -> Option<u32> {
    let children = format!("/proc/{process}/task/{process}/children");
    std::fs::read_to_string(children).ok()?.trim().parse().ok()
}
