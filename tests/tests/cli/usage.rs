//! Help, versions and typing errors; none of it needs root or a daemon.

use std::process::Command;

use bridgefwd_tests::bridgefwd::{Output, binary};

use crate::refusals::{USAGE, refused};

fn bridgefwd(args: &[&str]) -> Output {
    let output = Command::new(binary()).args(args).output().expect("started");
    Output {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

const COMMANDS: [&str; 21] = [
    "run",
    "pair",
    "flows",
    "events",
    "whois",
    "stats",
    "top",
    "status",
    "metrics",
    "doctor",
    "bridges",
    "explain",
    "inspect",
    "check",
    "plan",
    "apply",
    "reload",
    "save",
    "down",
    "lab",
    "completions",
];

#[test]
fn help_names_every_command() {
    for flag in ["--help", "-h", "help"] {
        let help = bridgefwd(&[flag]);
        assert_eq!((help.status, &help.stderr[..]), (0, ""), "{flag}");
        for word in COMMANDS {
            assert!(help.stdout.contains(word), "{flag}: {word}");
        }
        for word in ["--netns", "--socket", "--pin-dir"] {
            assert!(help.stdout.contains(word), "{flag}: {word}");
        }
    }
}

#[test]
fn every_command_has_help() {
    for command in COMMANDS {
        let help = bridgefwd(&[command, "--help"]);
        assert_eq!((help.status, &help.stderr[..]), (0, ""), "{command}");
        assert!(help.stdout.contains("Usage:"), "{command}");
    }
    for pair in ["allow", "deny", "clear", "list"] {
        assert_eq!(bridgefwd(&["pair", pair, "--help"]).status, 0, "{pair}");
    }
}

#[test]
fn version() {
    let version = bridgefwd(&["--version"]);
    assert_eq!(version.status, 0);
    assert!(version.stdout.starts_with("bridgefwd "), "{}", version.stdout);
}

#[test]
fn typing_errors() {
    for args in [
        &[][..],
        &["frobnicate"],
        &["pairs"],
        &["pair"],
        &["pair", "permit", "a", "b"],
        &["pair", "allow", "a"],
        &["pair", "allow", "a", "b", "c"],
        &["pair", "allow", "a", "b", "--nat"],
        &["pair", "allow", "a", "b", "--nat", "sometimes"],
        &["pair", "allow", "a", "b", "--nat", "10.2.0.300"],
        &["pair", "allow", "a", "b", "--nat", "::1"],
        &["flows", "--proto", "carrier-pigeon"],
        &["flows", "--jsn"],
        &["run", "--unlisted", "maybe", "--bridge", "a"],
        &["run", "--attach", "glue", "--bridge", "a"],
        &["run", "--bridge"],
        &["run", "--bridge", "a", "--timer", "icmp"],
        &["run", "--bridge", "a", "--timer", "icmp=0"],
        &["run", "--bridge", "a", "--timer", "idle=60"],
        &["run", "--bridge", "a", "--metrics", "localhost:9477"],
        &["run", "--bridge", "a", "--metrics-host", "router.example"],
        &["events", "--only", "sometimes"],
        &["events", "--count", "0"],
        &["whois"],
        &["whois", "web:80"],
        &["whois", "10.0.0.1:99999"],
        &["whois", "10.0.0.1:80", "--at", "yesterday"],
        &["metrics", "--json"],
        &["top", "--every", "never"],
        &["top", "--every", "0s"],
        &["explain", "a"],
        &["explain", "a", "b", "tcp/80", "c"],
        &["explain", "--bridge-nf", "2"],
        &["explain", "--import", "a", "b"],
        &["explain", "--rules", "/nonexistent"],
        &["inspect"],
        &["inspect", ""],
        &["inspect", "a", "b"],
        &["down", "now"],
        &["check", "a", "b"],
        &["plan", "a", "b"],
        &["reload", "a"],
        &["save", "--json"],
        &["--netns"],
    ] {
        let output = bridgefwd(args);
        refused(&output, USAGE, &[]);
    }
}

#[test]
fn a_command_that_is_nearly_right_is_suggested() {
    for (wrong, right) in [("statsu", "status"), ("flow", "flows"), ("brigdes", "bridges")] {
        let output = bridgefwd(&[wrong]);
        refused(&output, USAGE, &[right]);
    }
}

#[test]
fn bash_completes_commands_and_options() {
    let complete = |words: &str, last: usize| {
        let script = format!(
            "source <(\"$0\" completions bash) && COMP_WORDS=({words}) && COMP_CWORD={last} && \
             _bridgefwd bridgefwd \"${{COMP_WORDS[{last}]}}\" && echo \"${{COMPREPLY[@]}}\""
        );
        let output = Command::new("bash").arg("-c").arg(script).arg(binary()).output().unwrap();
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(complete("bridgefwd st", 1), "stats status");
    assert_eq!(complete("bridgefwd pair al", 2), "allow");
    assert!(complete("bridgefwd run --so", 2).contains("--socket-group"));
}

#[test]
fn each_shell_has_its_completions() {
    for (shell, word) in
        [("bash", "complete -F"), ("zsh", "#compdef bridgefwd"), ("fish", "complete -c")]
    {
        let script = bridgefwd(&["completions", shell]);
        assert_eq!((script.status, &script.stderr[..]), (0, ""), "{shell}");
        assert!(script.stdout.contains(word), "{shell}: {}", script.stdout);
    }
    refused(&bridgefwd(&["completions", "ksh"]), USAGE, &["bash", "zsh", "fish"]);
}
