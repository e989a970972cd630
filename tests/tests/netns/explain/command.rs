//! The command itself, on the rules of a live host.

use bridgefwd_tests::bridgefwd::Bridgefwd;
use bridgefwd_tests::command::run_with_input;
use bridgefwd_tests::needs_root;
use bridgefwd_tests::topology::{Options, Router};

const ISOLATED: &str = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n\
    -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
    -A FORWARD -i br-b -o br-c -j ACCEPT\nCOMMIT\n";

/// The answer of a cell.
fn answer(report: &serde_json::Value, from: &str, to: &str) -> String {
    let cells = report["cells"].as_array().expect("cells");
    let cell = cells.iter().find(|cell| cell["from"] == from && cell["to"] == to);
    cell.expect("the cell")["answer"].as_str().expect("an answer").to_owned()
}

#[test]
fn shows_the_live_host_and_the_pairs_that_run_there() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a", "br-b"]);
    router.ns.run(|| run_with_input("iptables-restore", &[], ISOLATED));
    let mut bridgefwd = Bridgefwd::new(&router.ns);
    let report = bridgefwd.json(&["explain"]);
    assert_eq!(answer(&report, "br-a", "br-b"), "no");
    assert_eq!(answer(&report, "br-b", "br-c"), "yes");
    assert_eq!(answer(&report, "br-c", "br-b"), "no");
    assert_eq!(report["bridge_nf"], true);

    bridgefwd.start(&["--bridge", "br-a", "br-b"]);
    bridgefwd.ok(&["pair", "allow", "br-a", "br-b"]);
    let report = bridgefwd.json(&["explain"]);
    assert_eq!(answer(&report, "br-a", "br-b"), "yes");
    assert_eq!(answer(&report, "br-b", "br-a"), "no");
    let walk = bridgefwd.json(&["explain", "br-a", "br-b", "tcp/80"]);
    assert_eq!(walk["bridgefwd"], "allows this pair before any of these rules");
    assert_eq!(walk["parts"][0]["answer"], "no");
}
