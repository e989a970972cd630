//! `bridgefwd trace` between containers by their names: where Docker keeps their networks apart, and where a
//! pair lets one through.

use bridgefwd_tests::docker::EngineOptions;
use bridgefwd_tests::trace_page::{self, OF_DOCKER, lasting};
use bridgefwd_tests::{needs_docker, skip};
use serde_json::{Value, json};

use crate::rig::Shop;

/// What a connection from `web` to `db` is asked to show.
const PROBE: [&str; 7] = ["trace", "web", "db", "--probe", "--port", "80", "--json"];

/// What is watched, and the packets of a connection from `web` to `db`.
#[track_caller]
fn probe(shop: &Shop, status: i32) -> (Value, Vec<Value>) {
    let output = shop.bridgefwd.cli(&PROBE);
    assert_eq!((output.status, &*output.stderr), (status, ""), "{}", output.stdout);
    let mut lines = output.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    (lines.next().expect("what is watched"), lines.collect())
}

/// Where a packet was and as what: `web eth0 out 172.18.0.2 172.19.0.2`; of program and kernel the name.
fn places(packet: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let place = |station: &Value| {
        let inside = station["inside"].as_str().map(|name| format!("{name} ")).unwrap_or_default();
        match station["interface"].as_str() {
            Some(name) => {
                let (direction, tuple) = (text(&station["direction"]), &station["tuple"]);
                let (src, dst) = (text(&tuple["src"]), text(&tuple["dst"]));
                format!("{inside}{name} {direction} {src} {dst}")
            }
            None => text(&station["kind"]),
        }
    };
    packet["stations"].as_array().expect("stations").iter().map(place).collect()
}

/// Bridge and only port of a network.
fn end(shop: &Shop, network: &str) -> (String, String) {
    let managed = shop.bridgefwd.managed();
    let end = managed.iter().find(|end| end["name"] == network).expect("a managed network");
    let text = |value: &Value| value.as_str().expect("a name").to_owned();
    (text(&end["interface"]), text(&end["ports"][0]))
}

#[test]
fn a_connection_between_networks_ends_at_dockers_rule_until_a_pair_allows_it() {
    needs_docker!();
    for bridge_netfilter in [true, false] {
        let shop = Shop::running(EngineOptions { bridge_netfilter, ..EngineOptions::default() });
        let (web, db) = (shop.web(), shop.db());
        let ((front, web_port), (back, db_port)) =
            (end(&shop, "shop_front"), end(&shop, "shop_db"));
        let before = |place: &str| format!("{place} {web} {db}");
        // The rule of newer engines has it first, and without that the one that all have.
        for (chain, rule) in [
            ("PREROUTING", format!("-d {db}/32 ! -i {back} -j DROP")),
            ("DOCKER-ISOLATION-STAGE-2", format!("-o {back} -j DROP")),
        ] {
            if chain != "PREROUTING" {
                shop.engine.ns.command("iptables", &["-t", "raw", "-F", "PREROUTING"]);
            }
            let (watched, packets) = probe(&shop, 1);
            if watched["notes"] != json!([]) {
                return skip::skipped("this kernel says nothing of what it drops");
            }
            let [syn] = &packets[..] else { panic!("one packet: {packets:#?}") };
            let first = [before("web eth0 out"), before(&format!("{web_port} in"))];
            assert_eq!(places(syn)[..3], [&first[..], &["program".into()]].concat(), "{syn:#}");
            assert_eq!(syn["stations"][2]["reason"], "not_listed");
            let ended = &syn["end"];
            let said = ["state", "by", "at", "reason"].map(|key| ended[key].clone());
            assert_eq!(said, ["dropped", "netfilter", &front, "NETFILTER_DROP"], "{ended:#}");
            assert_eq!(
                (&ended["rule"]["chain"], &ended["rule"]["text"]),
                (&json!(chain), &json!(rule))
            );
        }
        shop.bridgefwd.ok(&["pair", "allow", "shop_front", "shop_db"]);
        let gateway = shop.engine.inspect("shop_db")["IPAM"]["Config"][0]["Gateway"].clone();
        let gateway = gateway.as_str().expect("an address");
        // Twice: at first the neighbour is not known, and those rules drop the copy by which the kernel asks.
        for round in 0..2 {
            let (_, packets) = probe(&shop, 0);
            let of = |what| packets.iter().find(|packet| packet["what"] == what).expect("there");
            let (syn, answer) = (of("SYN"), of("SYN,ACK"));
            let after = |place: &str| format!("{place} {gateway} {db}");
            let expected = [
                before("web eth0 out"),
                before(&format!("{web_port} in")),
                "program".into(),
                after(&format!("{back} out")),
                after(&format!("{db_port} out")),
                after("db eth0 in"),
            ];
            assert_eq!(places(syn), expected, "{round}: {syn:#}");
            let expected = [
                format!("db eth0 out {db} {gateway}"),
                format!("{db_port} in {db} {gateway}"),
                "program".into(),
                format!("{front} out {db} {web}"),
                format!("{web_port} out {db} {web}"),
                format!("web eth0 in {db} {web}"),
            ];
            assert_eq!(places(answer), expected, "{round}: {answer:#}");
            for (packet, at) in [(syn, "db"), (answer, "web")] {
                let end = &packet["end"];
                assert_eq!((&end["state"], &end["at"]), (&json!("arrived"), &json!(at)), "{round}");
            }
        }
    }
}

#[test]
fn the_page_shows_what_is_printed() {
    needs_docker!();
    let shop = Shop::running(EngineOptions::default());
    let mut page = trace_page::shown();
    page.retain(|it| it.section == OF_DOCKER);
    assert!(page.len() >= 3, "{page:#?}");
    for shown in page {
        let words: Vec<&str> = shown.command.split(' ').collect();
        let ["bridgefwd", args @ ..] = &words[..] else { panic!("{}", shown.command) };
        let output = shop.bridgefwd.cli(args);
        assert_eq!(output.stderr, "", "$ {}", shown.command);
        if output.stdout.contains("note:") {
            return skip::skipped("this kernel says nothing of what it drops");
        }
        let (printed, expected) = (lasting(&output.stdout), lasting(&shown.printed));
        assert_eq!(printed, expected, "$ {}\n{}", shown.command, output.stdout);
    }
}
