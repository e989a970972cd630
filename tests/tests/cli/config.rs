//! The configuration file as a person uses it: checked, planned, applied, saved, and what may lie where
//! it should.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use bridgefwd_tests::bridgefwd::{Bridgefwd, Output, binary, output_in};
use bridgefwd_tests::needs_root;
use bridgefwd_tests::topology::{Options, Router};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::refusals::{COULD_NOT, USAGE, refused};

/// `plan` has found changes.
const CHANGES: i32 = 4;
const GOOD: &str = "bridges = ['br-a', 'br-b']\n[[pair]]\nfrom = 'br-a'\nto = 'br-b'\n";

/// Runs a command that needs neither root nor a daemon.
fn plain(args: &[&str], environment: &[(&str, &Path)]) -> Output {
    let mut command = Command::new(binary());
    let output = command.args(args).envs(environment.iter().copied()).output().expect("started");
    Output {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("bfwt-").tempdir().expect("folder")
}

/// Writes a file into the folder of `bridgefwd` and returns its path.
fn file(bridgefwd: &Bridgefwd, name: &str, text: &str) -> String {
    let path = bridgefwd.folder().join(name);
    std::fs::write(&path, text).expect("written");
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn is_checked_without_a_daemon() {
    let folder = folder();
    let path = folder.path().join("bridgefwd.toml");
    let name = path.to_str().expect("UTF-8");
    std::fs::write(&path, GOOD).expect("written");
    for (args, environment) in
        [(&["check", name][..], &[][..]), (&["check"], &[("BRIDGEFWD_CONFIG", &*path)])]
    {
        let output = plain(args, environment);
        let expected = format!("{name} is good: 2 bridges, 0 uplinks, 1 pair\n");
        assert_eq!((output.status, output.stdout, &output.stderr[..]), (0, expected, ""));
    }
    std::fs::write(&path, "[timers]\nicmp = 5\n").expect("written");
    let output = plain(&["check", name], &[]);
    assert_eq!(output.status, 0, "odd, and not wrong: {output:?}");
    assert!(output.stderr.contains("RFC 5508") && output.stderr.contains("no bridge"));
    std::fs::write(&path, "brigdes = []\nunlisted = 'drop'\n").expect("written");
    let words = ["2 mistakes", "line 1: brigdes", "`bridges`", "line 2: unlisted", "\"deny\""];
    refused(&plain(&["check", name], &[]), USAGE, &words);
    refused(
        &plain(&["check"], &[("BRIDGEFWD_CONFIG", Path::new("/no/such"))]),
        USAGE,
        &["/no/such"],
    );
}

#[test]
fn whatever_lies_there_is_refused_in_words() {
    needs_root!();
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    bridgefwd_tests::command::run("mkfifo", &[at("fifo").to_str().expect("UTF-8")]);
    symlink(at("loop"), at("loop")).expect("link");
    std::fs::write(at("binary"), [0x7f, b'E', b'L', b'F', 0, 0xff]).expect("written");
    std::fs::write(at("nul"), "ports = true\0\n").expect("written");
    let deep = format!("x = {}{}", "[".repeat(100_000), "]".repeat(100_000));
    std::fs::write(at("deep"), deep).expect("written");
    std::fs::File::create(at("huge")).and_then(|file| file.set_len(1 << 40)).expect("sparse");
    let odd: Vec<PathBuf> =
        ["fifo", "loop", "binary", "nul", "deep", "huge", "", "missing"].map(at).into();
    let router = Router::new(Options::default(), &["br-a", "br-b"]);
    let bridgefwd = Bridgefwd::run(&router.ns, &["--bridge", "br-a", "br-b"]);
    for path in odd {
        let name = path.to_str().expect("UTF-8");
        for output in [
            plain(&["check", name], &[]),
            plain(&["run", "--config", name], &[]),
            bridgefwd.cli(&["plan", name]),
            bridgefwd.cli(&["apply", name]),
        ] {
            refused(&output, USAGE, &[name.trim_end_matches('/')]);
            assert!(output.stderr.len() < 1000, "{}", output.stderr);
        }
        if name.ends_with("missing") {
            continue;
        }
        let output = bridgefwd.cli(&["save", name]);
        assert!(matches!(output.status, COULD_NOT | USAGE), "{name}: {output:?}");
    }
    assert_eq!(bridgefwd.json(&["status"])["pairs_allowed"], 0);
}

#[test]
fn that_may_not_be_read_is_refused() {
    needs_root!();
    let folder = folder();
    let path = folder.path().join("secret.toml");
    std::fs::write(&path, GOOD).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("mode");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("mode");
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.arg(binary()).arg("check").arg(&path);
    let output = command.output().expect("started");
    let stderr = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(127) || stderr.contains("failed to execute") {
        bridgefwd_tests::skip::skipped("nobody may not run the binary where it lies");
        return;
    }
    assert_eq!(output.status.code(), Some(USAGE), "{stderr}");
    assert!(stderr.contains("secret.toml") && stderr.contains("ermission denied"), "{stderr}");
}

#[test]
fn is_planned_and_applied() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a", "br-b", "br-c"]);
    let bridgefwd = Bridgefwd::new(&router.ns);
    let own = file(&bridgefwd, "own.toml", GOOD);
    let mut bridgefwd = bridgefwd;
    bridgefwd.start(&["--config", &own]);
    let text = "bridges = ['br-b', 'br-a', 'br-c']\nunlisted = 'deny'\n[timers]\nicmp = '2m'\n\
                [[pair]]\nfrom = 'br-a'\nto = 'br-c'\nnat6 = 'masquerade'\n";
    let other = file(&bridgefwd, "other.toml", text);
    let expected = format!(
        "\
~ unlisted           kernel -> deny
~ timers.icmp        60s -> 120s
+ bridge br-c        managed
- pair br-a -> br-b  allowed, nat masquerade  (its flows are cut)
+ pair br-a -> br-c  allowed, nat masquerade, nat6 masquerade
5 changes by {other}; nothing has changed yet
"
    );
    let output = bridgefwd.cli(&["plan", &other]);
    assert_eq!((output.status, output.stdout, &output.stderr[..]), (CHANGES, expected, ""));
    let output = bridgefwd.cli(&["plan", &other, "--json"]);
    let plan: Value = serde_json::from_str(&output.stdout).expect("JSON");
    assert_eq!((output.status, &plan["file"]), (CHANGES, &json!(other)));
    assert_eq!(
        plan["changes"][0],
        json!({
            "action": "change", "what": "setting", "name": "unlisted", "before": "kernel",
            "after": "deny", "effect": null, "needs_restart": false,
        })
    );
    assert_eq!(bridgefwd.json(&["pair", "list"])[0]["to"], "br-b", "nothing has changed");

    let applied = bridgefwd.json(&["apply", &other]);
    assert_eq!(applied["changes"], plan["changes"]);
    assert_eq!(bridgefwd.cli(&["plan", &other]).status, 0);
    assert_eq!(bridgefwd.json(&["pair", "list"])[0]["to"], "br-c");
    // The daemon's own file is still the one that it was started with.
    let back = bridgefwd.cli(&["plan"]);
    assert!(back.status == CHANGES && back.stdout.contains(&own), "{back:?}");
    assert_eq!(bridgefwd.json(&["status"])["config"]["differences"], 5);
    let said = bridgefwd.ok(&["reload"]);
    assert!(said.ends_with(&format!("5 changes made by {own}\n")), "{said}");
    let said = bridgefwd.ok(&["apply"]);
    assert_eq!(said, format!("nothing had to change: what runs is as {own} says\n"));
}

#[test]
fn that_cannot_hold_changes_nothing() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a", "br-b"]);
    let mut bridgefwd = Bridgefwd::new(&router.ns);
    let own = file(&bridgefwd, "own.toml", GOOD);
    bridgefwd.start(&["--config", &own, "--max-flows", "1000"]);
    let before = [&["pair", "list"][..], &["bridges"]].map(|command| bridgefwd.json(command));
    for (text, status, words) in [
        ("bridges = ['br-a']\nbridges = []\n", USAGE, &["line 2", "duplicate"][..]),
        ("bridges = ['br-a', 'br-z']\nunlisted = 'deny'\n", USAGE, &["no bridge or network br-z"]),
        ("bridges = ['br-a', 'lo']\nunlisted = 'deny'\n", USAGE, &["lo is not a bridge"]),
        (
            "bridges = ['br-a']\nuplinks = ['br-b']\nunlisted = 'deny'\n",
            USAGE,
            &["br-b is a bridge"],
        ),
        (
            "bridges = ['br-a', 'br-b']\nunlisted = 'deny'\n[[pair]]\nfrom = 'br-a'\nto = 'br-b'\n\
             nat = '10.2.0.99'\n",
            USAGE,
            &["br-a -> br-b", "10.2.0.99", "br-b has: 10.2.0.1"],
        ),
    ] {
        let path = file(&bridgefwd, "wrong.toml", text);
        refused(&bridgefwd.cli(&["plan", &path]), status, words);
        refused(&bridgefwd.cli(&["apply", &path]), status, words);
    }
    // What the maps are made for is for a new start, and the option goes before the file.
    let path = file(&bridgefwd, "flows.toml", &["max_flows = 2000\n", GOOD].concat());
    let output = bridgefwd.cli(&["plan", &path]);
    assert_eq!(output.status, 0, "{output:?}");
    assert!(output.stdout.contains("--max-flows"), "{}", output.stdout);
    let now = [&["pair", "list"][..], &["bridges"]].map(|command| bridgefwd.json(command));
    assert_eq!((now, &bridgefwd.json(&["status"])["unlisted"]), (before, &json!("kernel")));
}

#[test]
fn what_needs_a_restart_is_named_and_not_half_applied() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a", "br-b"]);
    let mut bridgefwd = Bridgefwd::new(&router.ns);
    let own = file(&bridgefwd, "own.toml", GOOD);
    bridgefwd.start(&["--config", &own]);
    let text = ["max_flows = 2000\nunlisted = 'deny'\n", GOOD].concat();
    file(&bridgefwd, "own.toml", &text);
    let output = bridgefwd.cli(&["plan"]);
    assert_eq!(output.status, CHANGES, "{output:?}");
    assert!(output.stdout.contains("! max_flows "), "{}", output.stdout);
    assert!(output.stdout.contains("needs a restart"), "{}", output.stdout);
    refused(&bridgefwd.cli(&["reload"]), COULD_NOT, &["max_flows", "bridgefwd down"]);
    assert_eq!(bridgefwd.json(&["status"])["unlisted"], "kernel");
    // A daemon that comes back goes on with the maps that there are, and says so.
    bridgefwd.kill();
    bridgefwd.start(&["--config", &own]);
    assert!(bridgefwd.errors().contains("max_flows stays 65536"), "{}", bridgefwd.errors());
    let status = bridgefwd.json(&["status"]);
    assert_eq!((&status["unlisted"], &status["flows"]["limit"]), (&json!("deny"), &json!(65_536)));
    bridgefwd.ok(&["down"]);
    assert_eq!(bridgefwd.wait_end(), 0);
    bridgefwd.start(&["--config", &own]);
    let status = bridgefwd.json(&["status"]);
    assert_eq!(
        (&status["flows"]["limit"], &status["flows_per_source"]),
        (&json!(2000), &json!(500))
    );
    assert_eq!(status["config"]["differences"], 0);
}

#[test]
fn options_go_before_the_file() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a", "br-b"]);
    let mut bridgefwd = Bridgefwd::new(&router.ns);
    let text = ["unlisted = 'deny'\nports = true\ntimers.icmp = 70\ntimers.opening = 300\n", GOOD]
        .concat();
    let own = file(&bridgefwd, "own.toml", &text);
    let options =
        ["--unlisted", "kernel", "--timer", "icmp=80", "--bridge", "br-c", "br-b", "br-a"];
    bridgefwd.start(&[&["--config", &own][..], &options].concat());
    let status = || bridgefwd.json(&["status"]);
    let ruling = || {
        let status = status();
        (
            status["unlisted"].clone(),
            status["timers"]["icmp"].clone(),
            status["timers"]["opening"].clone(),
        )
    };
    assert_eq!(ruling(), (json!("kernel"), json!(80), json!(300)));
    assert_eq!(status()["bridges"], json!(["br-a", "br-b", "br-c"]));
    let said = bridgefwd.ok(&["reload"]);
    assert!(said.contains("--bridge, --unlisted, --timer, which goes before the file"), "{said}");
    assert_eq!(ruling(), (json!("kernel"), json!(80), json!(300)));
    assert_eq!(status()["config"]["differences"], 0);
}

#[test]
fn is_taken_by_default_where_no_end_is_named() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a", "br-b"]);
    let bridgefwd = Bridgefwd::new(&router.ns);
    let own = file(&bridgefwd, "own.toml", "bridges = ['br-z']\n");
    let run = |args: &[&str], config: &str| {
        let mut command = Command::new(binary());
        command.arg("--socket").arg(bridgefwd.socket()).arg("--pin-dir").arg(&bridgefwd.pin_dir);
        command.arg("run").args(args).env("BRIDGEFWD_CONFIG", config);
        output_in(&router.ns, &mut command)
    };
    refused(&run(&[], &own), USAGE, &["no bridge or network br-z"]);
    refused(&run(&["--timer", "icmp=70"], &own), USAGE, &["no bridge or network br-z"]);
    // Where an end is named nothing of it is read.
    refused(&run(&["--bridge", "br-y"], &own), USAGE, &["no bridge or network br-y"]);
    refused(&run(&[], "/no/such.toml"), USAGE, &["/no/such.toml", "No such file"]);
}

#[test]
fn is_saved() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a", "br-b"]);
    let bridgefwd = Bridgefwd::run(&router.ns, &["--bridge", "br-a", "br-b", "--timer", "icmp=90"]);
    bridgefwd.ok(&["pair", "deny", "br-b", "br-a"]);
    bridgefwd.ok(&["pair", "allow", "br-a", "br-b", "--nat", "none"]);
    let expected = "\
bridges = [\"br-a\", \"br-b\"]

[timers]
icmp = 90

[[pair]]
from = \"br-a\"
to = \"br-b\"
nat = \"none\"

[[pair]]
from = \"br-b\"
to = \"br-a\"
state = \"denied\"
";
    assert_eq!(bridgefwd.ok(&["save", "-"]), expected);
    let path = bridgefwd.folder().join("new.toml");
    let name = path.to_str().expect("UTF-8");
    let said = bridgefwd.ok(&["save", name]);
    assert_eq!(said, format!("saved to {name}: 2 bridges, 0 uplinks, 2 pairs\n"));
    assert_eq!(std::fs::read_to_string(&path).expect("there"), expected);
    assert_eq!(bridgefwd.ok(&["save", name]), format!("{name} says what runs already\n"));
    assert_eq!(plain(&["check", name], &[]).status, 0);
    // One that is wrong is somebody's work; it is not written over.
    std::fs::write(&path, "bridges = [\n").expect("written");
    refused(&bridgefwd.cli(&["save", name]), USAGE, &["line 1"]);
    assert_eq!(std::fs::read_to_string(&path).expect("there"), "bridges = [\n");
    let away = bridgefwd.folder().join("no/such/folder.toml");
    refused(&bridgefwd.cli(&["save", away.to_str().expect("UTF-8")]), COULD_NOT, &["folder.toml"]);
}

/// Colours are for terminals, and for those who want them.
#[test]
fn is_coloured_at_terminals_alone() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a", "br-b"]);
    let bridgefwd = Bridgefwd::run(&router.ns, &["--bridge", "br-a", "br-b"]);
    let path = file(&bridgefwd, "other.toml", GOOD);
    let shown = |environment: &[(&str, &str)]| {
        // `script` gives it a terminal.
        let line =
            format!("{} --socket {} plan {path}", binary().display(), bridgefwd.socket().display());
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm").env_remove("NO_COLOR");
        output_in(&router.ns, command.envs(environment.iter().copied())).stdout
    };
    assert!(shown(&[]).contains("\x1b[32m+ pair br-a -> br-b"), "{:?}", shown(&[]));
    for plain in [[("NO_COLOR", "1")], [("TERM", "dumb")]] {
        let text = shown(&plain);
        assert!(text.contains("+ pair br-a -> br-b") && !text.contains('\x1b'), "{text:?}");
    }
    assert!(!bridgefwd.cli(&["plan", &path]).stdout.contains('\x1b'));
}
