//! `doctor`: in order where all is in order, and each check that can be made to fail here does.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;

use bridgefwd_common::contract::Settings;
use bridgefwd_tests::bridgefwd::{Bridgefwd, binary, output_in};
use bridgefwd_tests::foreign::ForeignProgram;
use bridgefwd_tests::namespaces::Namespace;
use bridgefwd_tests::needs_root;
use bridgefwd_tests::pins::edit_pinned_settings;
use bridgefwd_tests::skip::skipped;
use bridgefwd_tests::topology::{Options, Router};
use serde_json::Value;

const OK: i32 = 0;
const ATTENTION: i32 = 4;
const BROKEN: i32 = 5;

/// A router with a daemon, a pair, and nothing that a doctor would mind.
struct Patient {
    // Before the router, so that the daemon goes first.
    bridgefwd: Bridgefwd,
    router: Router,
}

/// Level and text of each check.
type Findings = BTreeMap<String, (String, String)>;

impl Patient {
    #[track_caller]
    fn new(args: &[&str]) -> Self {
        let router = Router::new(Options::default(), &["br-a", "br-b"]);
        for name in ["all", "br-a", "br-b"] {
            router.ns.sysctl(&format!("net/ipv4/conf/{name}/rp_filter"), "0");
        }
        let ends = ["--bridge", "br-a", "br-b"];
        let bridgefwd = Bridgefwd::run(&router.ns, &[&ends[..], args].concat());
        bridgefwd.ok(&["pair", "allow", "br-a", "br-b"]);
        Self { bridgefwd, router }
    }

    /// What it says, and its exit status.
    #[track_caller]
    fn examine(&self, args: &[&str]) -> (Findings, i32) {
        let output = self.bridgefwd.cli(&[&["doctor", "--json"], args].concat());
        assert_eq!(output.stderr, "");
        (findings(&output.stdout), output.status)
    }

    /// Panics unless that check ended like that, said `part`, and the exit status is that of the worst.
    #[track_caller]
    fn finds(&self, check: &str, level: &str, part: &str) {
        let (findings, status) = self.examine(&[]);
        let (found, text) = &findings[check];
        assert!(found == level && text.contains(part), "{check}: {found}: {text}");
        let broken = findings.values().any(|(level, _)| level == "broken");
        assert_eq!(status, if broken { BROKEN } else { ATTENTION }, "{findings:#?}");
    }
}

#[track_caller]
fn findings(json: &str) -> Findings {
    let report: Value = serde_json::from_str(json).expect(json);
    let findings = report["findings"].as_array().expect("findings").iter().map(|finding| {
        let word = |name: &str| finding[name].as_str().expect(name).to_owned();
        let level = word("level");
        let mends = finding["mend"].as_str().is_some_and(|mend| !mend.is_empty());
        assert_eq!(mends, level == "attention" || level == "broken", "{finding}");
        (word("check"), (level, word("text")))
    });
    findings.collect()
}

#[test]
fn all_is_in_order() {
    needs_root!();
    let patient = Patient::new(&[]);
    let (mut findings, status) = patient.examine(&[]);
    // Not shown in a namespace; a tracked connection of another test is none of ours.
    let jit = findings.remove("jit").expect("a check").0;
    assert_eq!(jit, "unchecked");
    assert!(findings.len() > 20, "{findings:#?}");
    let others: Vec<_> = findings.iter().filter(|(_, (level, _))| level != "ok").collect();
    assert!(others.is_empty(), "{others:#?}");
    assert_eq!(status, ATTENTION, "what was not checked is not in order");
    assert_ne!(status, OK);
}

#[test]
fn settings_of_the_kernel() {
    needs_root!();
    let patient = Patient::new(&["--ports", "no"]);
    patient.finds("br_netfilter", "attention", "2 ports are not attached");
    let ns = &patient.router.ns;
    ns.sysctl("net/ipv4/conf/br-a/rp_filter", "1");
    ns.sysctl("net/ipv4/ip_local_reserved_ports", "30000-30010,40000");
    patient.finds("rp_filter", "attention", "strict on br-a:");
    ns.sysctl("net/ipv4/conf/all/rp_filter", "1");
    ns.sysctl("net/ipv4/ip_forward", "0");
    ns.sysctl("net/ipv6/conf/all/forwarding", "0");
    let (findings, status) = patient.examine(&[]);
    for (check, level, part) in [
        ("forwarding", "broken", "net.ipv4.ip_forward is 0"),
        ("forwarding6", "broken", "net.ipv6.conf.all.forwarding is 0"),
        ("daemon", "attention", "ip_forward"),
        ("rp_filter", "attention", "strict on br-a, br-b:"),
        ("reserved_ports", "attention", "30000-30010 are reserved"),
    ] {
        let (found, text) = &findings[check];
        assert!(found == level && text.contains(part), "{check}: {found}: {text}");
    }
    assert_eq!(status, BROKEN);
    ns.sysctl("net/ipv4/ip_local_port_range", "1024 65535");
    patient.finds("local_ports", "attention", "0 are left");
}

#[test]
fn neighbours_in_the_network() {
    needs_root!();
    let patient = Patient::new(&[]);
    let ns = &patient.router.ns;
    ns.ip("addr add 10.1.0.200/25 dev br-b\n");
    patient.finds("subnets", "broken", "10.1.0.1/24 of br-a and 10.1.0.200/25 of br-b");
    ns.ip("addr del 10.1.0.200/25 dev br-b\n");

    ns.command("tc", &["qdisc", "add", "dev", "br-a", "clsact"]);
    let foreign = ForeignProgram::load();
    foreign.egress_filter(ns, "br-a", 100);
    patient.finds("hooks", "attention", "at egress of br-a");
    ns.command("tc", &["qdisc", "del", "dev", "br-a", "clsact"]);

    let (findings, _) = patient.examine(&[]);
    for check in ["subnets", "hooks"] {
        assert_eq!(findings[check].0, "ok", "{findings:#?}");
    }
}

#[test]
fn a_flowtable_on_a_bridge() {
    needs_root!();
    let patient = Patient::new(&[]);
    let mut nft = Command::new("nft");
    nft.arg(
        "add table inet t { flowtable fast { hook ingress priority 0; devices = { br-b }; }; }",
    );
    let made = output_in(&patient.router.ns, &mut nft);
    if made.stderr.contains("No such file or directory") {
        skipped("this kernel has no flowtables (CONFIG_NF_FLOW_TABLE)");
        return;
    }
    assert_eq!(made.status, 0, "{}", made.stderr);
    patient.finds("flowtables", "attention", "fast on br-b");
}

#[test]
fn ends_that_go() {
    needs_root!();
    let patient = Patient::new(&[]);
    patient.router.ns.ip("link del br-b\n");
    patient.finds("ends", "attention", "not there: br-b");
    patient.finds("pairs", "attention", "br-a -> br-b");
    patient.bridgefwd.ok(&["pair", "clear", "br-a", "br-b"]);
    patient.finds("pairs", "attention", "none is listed");
}

#[test]
fn pins_without_a_daemon_and_of_another_version() {
    needs_root!();
    let mut patient = Patient::new(&[]);
    patient.bridgefwd.kill();
    patient.finds("daemon", "attention", "goes on by what is pinned");
    patient.finds("pins", "ok", "");
    edit_pinned_settings(&patient.bridgefwd.pin_dir, |settings| settings.abi += 1);
    patient.finds("pins", "broken", "layout version");
    let mut abi = 0;
    let whole = |settings: &mut Settings| abi = std::mem::take(&mut settings.abi);
    edit_pinned_settings(&patient.bridgefwd.pin_dir, whole);
    patient.finds("pins", "attention", "interrupted");
    edit_pinned_settings(&patient.bridgefwd.pin_dir, |settings| settings.abi = abi - 1);
}

#[test]
fn files_and_folders() {
    needs_root!();
    let ns = Arc::new(Namespace::new("doctor"));
    let bridgefwd = Bridgefwd::new(&ns);
    let file = bridgefwd.folder().join("it.toml");
    let path = file.to_str().unwrap();
    let examine = |text: &str| {
        std::fs::write(&file, text).unwrap();
        findings(&bridgefwd.cli(&["doctor", "--json", "--config", path]).stdout)
    };
    let found =
        examine("bridges = [\"nobody\", \"else\"]\n[[pair]]\nfrom = \"nobody\"\nto = \"else\"\n");
    assert_eq!(found["configuration"].0, "ok", "{found:#?}");
    assert_eq!(found["ends"].0, "attention", "{found:#?}");
    assert!(found["pairs"].1.contains("nobody -> else"), "{found:#?}");
    // There is nothing to look at, so nothing of it is in order.
    for check in ["hooks", "subnets", "rp_filter", "forwarding", "forwarding6", "flowtables"] {
        assert_eq!(found[check].0, "unchecked", "{found:#?}");
    }
    assert_eq!(examine("")["configuration"].0, "attention");
    assert_eq!(examine("bridges = 7\n")["configuration"].0, "broken");

    let mut command = Command::new(binary());
    command.args(["--pin-dir", bridgefwd.folder().to_str().unwrap(), "doctor", "--json"]);
    let elsewhere = output_in(&ns, &mut command);
    let found = findings(&elsewhere.stdout);
    assert_eq!((found["bpffs"].0.as_str(), elsewhere.status), ("broken", BROKEN));
}

#[test]
fn without_rights_nothing_is_in_order_that_was_not_checked() {
    needs_root!();
    let patient = Patient::new(&[]);
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(binary());
    command.arg("--socket").arg(patient.bridgefwd.socket());
    command.arg("--pin-dir").arg(&patient.bridgefwd.pin_dir).args(["doctor", "--json"]);
    let output = output_in(&patient.router.ns, &mut command);
    let found = findings(&output.stdout);
    for check in
        ["rights", "helpers", "programs", "attaching", "daemon", "pins", "hooks", "flowtables"]
    {
        assert_eq!(found[check].0, "unchecked", "{found:#?}");
    }
    // What anybody may read is read.
    for check in ["kernel", "btf", "bpffs", "local_ports"] {
        assert_eq!(found[check].0, "ok", "{found:#?}");
    }
    assert_eq!(output.status, ATTENTION);
}

#[test]
fn people_read_a_line_a_check() {
    needs_root!();
    let patient = Patient::new(&[]);
    let output = patient.bridgefwd.cli(&["doctor"]);
    assert!(!output.stdout.contains('\u{1b}'), "no colour in a pipe: {}", output.stdout);
    let lines: Vec<_> = output.stdout.lines().collect();
    assert!(lines[0].starts_with("ok         kernel          Linux "), "{}", output.stdout);
    assert!(lines.last().unwrap().ends_with(" in order, 1 not checked"), "{}", output.stdout);
}
