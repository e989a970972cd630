//! What it is all for, as an operator does it: two networks, one allowed to reach the other by name, and
//! whatever Compose does to them afterwards.

use std::net::Ipv4Addr;

use bridgefwd_tests::docker::{EngineOptions, rules};
use bridgefwd_tests::namespaces::Namespace;
use bridgefwd_tests::needs_docker;

use crate::life::reaches_within_a_second;
use crate::rig::{Shop, open};

/// How often everything goes and comes back.
const ROUNDS: usize = 3;

/// Packets that the rule of newer engines has dropped on their way to a container.
#[track_caller]
fn dropped_for(ns: &Namespace, container: Ipv4Addr) -> u64 {
    let table = ["-t", "raw", "-L", "PREROUTING", "-v", "-x", "-n"];
    let listed = ns.command("iptables", &table);
    let address = container.to_string();
    let mut rules = listed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let rule = rules.find(|words| words.contains(&&*address) && words.contains(&"DROP"));
    let rule = rule.unwrap_or_else(|| panic!("no rule drops what is for {address}:\n{listed}"));
    rule[0].parse().expect("a count")
}

#[test]
fn a_pair_by_name_outlives_its_networks() {
    needs_docker!();
    let mut shop = Shop::new(EngineOptions { bridge_netfilter: true, ..EngineOptions::default() });
    let ns = std::sync::Arc::clone(&shop.engine.ns);
    let called = ns.command("cat", &["/proc/sys/net/bridge/bridge-nf-call-iptables"]);
    assert_eq!(called.trim(), "1", "bridged packets meet iptables");
    // Neither a bridge nor a file, nor an engine: what there is.
    let host = format!("unix://{}", shop.engine.socket().display());
    shop.bridgefwd = shop.bridgefwd.with_environment("DOCKER_HOST", &host);
    shop.bridgefwd.start(&[]);
    assert_eq!(shop.managed(), ["bridge", "shop_db", "shop_front"]);
    let before = dropped_for(&ns, shop.db());
    assert_eq!(shop.engine.fetch("web", shop.db()), None, "as Docker has it");
    assert!(dropped_for(&ns, shop.db()) > before, "the rule is what keeps them apart");

    let said = shop.bridgefwd.ok(&["pair", "allow", "shop_front", "shop_db"]);
    assert_eq!(said, "shop_front -> shop_db: allowed, nat masquerade\n");
    for round in 0..=ROUNDS {
        let guarded = rules(&ns);
        let gateway = shop.engine.inspect("shop_db")["IPAM"]["Config"][0]["Gateway"].clone();
        assert_eq!(shop.engine.fetch("web", shop.db()).as_deref(), gateway.as_str());
        assert_eq!(rules(&ns), guarded, "nobody has changed a rule");
        // Nobody allowed the way back.
        assert_eq!(shop.engine.fetch("db", shop.web()), None);
        if round == ROUNDS {
            break;
        }
        let bridges = bridges(&shop);
        // `docker compose down`
        shop.engine.docker(&["rm", "--force", "web", "db"]);
        shop.engine.docker(&["network", "rm", "shop_front", "shop_db"]);
        // `docker compose up`, in an order that gives each the subnet that the other one had.
        let mut all = [("shop_front", "web"), ("shop_db", "db")];
        all.rotate_left((round + 1) % 2);
        for (network, container) in all {
            open(&shop.engine, network, container);
        }
        let took = reaches_within_a_second(&shop);
        println!("round {round}: reached {took:?} after the last container was up");
        assert_ne!(self::bridges(&shop), bridges, "they are other bridges");
    }
    assert_eq!(shop.bridgefwd.json(&["pair", "list"]).as_array().map(Vec::len), Some(1));
}

/// The bridges of the managed ends, in order of their names.
fn bridges(shop: &Shop) -> Vec<String> {
    let managed = shop.bridgefwd.managed().into_iter();
    managed.map(|end| end["interface"].as_str().expect("a name").to_owned()).collect()
}
