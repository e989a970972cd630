//! `doctor` beside an engine: which one it is, whether its rules are in force, and ends by the names of
//! its networks.

use std::collections::BTreeMap;

use bridgefwd_tests::docker::EngineOptions;
use bridgefwd_tests::needs_docker;
use bridgefwd_tests::wait::until;

use crate::rig::{Shop, open};

/// Level and text of each check.
fn findings(shop: &Shop) -> BTreeMap<String, (String, String)> {
    let output = shop.bridgefwd.cli(&["doctor", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&output.stdout).expect("JSON");
    let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let findings = report["findings"].as_array().expect("findings").iter();
    findings.map(|it| (word(&it["check"]), (word(&it["level"]), word(&it["text"])))).collect()
}

#[track_caller]
fn finds(shop: &Shop, check: &str, level: &str, part: &str) {
    let findings = findings(shop);
    let (found, text) = &findings[check];
    assert!(found == level && text.contains(part), "{check}: {found}: {text}");
}

#[test]
fn the_engine_its_rules_and_its_names() {
    needs_docker!();
    let shop =
        Shop::running(EngineOptions { args: &["--live-restore"], ..EngineOptions::default() });
    shop.bridgefwd.ok(&["pair", "allow", "shop_front", "shop_db"]);
    let version = shop.engine.docker(&["version", "--format", "{{.Server.Version}}"]);
    finds(&shop, "docker", "ok", &format!("Docker {version}"));
    finds(&shop, "docker_rules", "ok", "what pairs allow does not meet them");
    finds(&shop, "ends", "ok", "managed, and there: bridge, shop_db, shop_front");
    finds(&shop, "pairs", "ok", "all 1");
    for check in ["subnets", "hooks", "forwarding"] {
        finds(&shop, check, "ok", "");
    }
    println!("{}", shop.bridgefwd.cli(&["doctor"]).stdout);

    // A network that a pair names is not there.
    shop.engine.docker(&["rm", "--force", "db"]);
    shop.engine.docker(&["network", "rm", "shop_db"]);
    until("it is gone", || !shop.managed().iter().any(|name| name == "shop_db"));
    finds(&shop, "pairs", "attention", "no bridge or network shop_db, so these wait for it");
    open(&shop.engine, "shop_db", "db");
    until("it is back", || shop.managed().iter().any(|name| name == "shop_db"));
    finds(&shop, "pairs", "ok", "all 1");

    // Another bridge of the host has some of a network's addresses.
    let ns = &shop.engine.ns;
    let front = shop.engine.inspect("shop_front")["IPAM"]["Config"][0]["Gateway"].clone();
    let front = front.as_str().expect("its gateway").replace(".0.1", ".7.1/24");
    ns.ip(&format!("link add lan type bridge\naddr add {front} dev lan\n"));
    finds(&shop, "subnets", "broken", "of shop_front and");
    finds(&shop, "subnets", "broken", &format!("{front} of lan"));
    ns.ip("link del lan\n");
    finds(&shop, "subnets", "ok", "");

    // Somebody flushes what Docker keeps networks apart with.
    ns.command("iptables", &["-F", "FORWARD"]);
    finds(&shop, "docker_rules", "attention", "no packet is shown to rules of Docker's");
    shop.engine.restart_daemon();
    finds(&shop, "docker_rules", "ok", "");

    shop.engine.stop_daemon();
    finds(&shop, "docker", "attention", "does not answer");
    shop.engine.start_daemon();
    finds(&shop, "docker", "ok", "");
}
