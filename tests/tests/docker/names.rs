//! Networks and containers by their names.

use bridgefwd_tests::bridgefwd::Output;
use bridgefwd_tests::docker::{EngineOptions, Outside};
use bridgefwd_tests::needs_docker;

use crate::rig::Shop;

#[test]
fn a_container_fetches_from_another_network_by_the_names_of_both() {
    needs_docker!();
    for bridge_netfilter in [true, false] {
        let shop = Shop::running(EngineOptions { bridge_netfilter, ..EngineOptions::default() });
        assert_eq!(shop.managed(), ["bridge", "shop_db", "shop_front"]);
        let (web, db) = (shop.web(), shop.db());
        assert_eq!(shop.engine.fetch("web", db), None, "as Docker has it");
        let said = shop.bridgefwd.ok(&["pair", "allow", "shop_front", "shop_db"]);
        assert_eq!(said, "shop_front -> shop_db: allowed, nat masquerade\n");
        let gateway = shop.engine.inspect("shop_db")["IPAM"]["Config"][0]["Gateway"].clone();
        assert_eq!(shop.engine.fetch("web", db).as_deref(), gateway.as_str());
        // The other direction was not allowed.
        assert_eq!(shop.engine.fetch("db", web), None);
        let flows = shop.bridgefwd.json(&["flows", "--from", "shop_front", "--proto", "tcp"]);
        assert_eq!((&flows[0]["from"], &flows[0]["to"]), (&"shop_front".into(), &"shop_db".into()));
        assert_eq!((&flows[0]["client"], &flows[0]["server"]), (&"web".into(), &"db".into()));
        for command in [&["bridges"][..], &["flows"], &["status"], &["pair", "list"], &["stats"]] {
            println!("{}", shop.bridgefwd.ok(command));
        }
    }
}

#[test]
fn explain_knows_networks_containers_and_pairs_by_their_names() {
    needs_docker!();
    let shop = Shop::running(EngineOptions::default());
    shop.bridgefwd.ok(&["pair", "allow", "shop_front", "shop_db"]);
    let report = shop.bridgefwd.json(&["explain"]);
    let cells = report["cells"].as_array().expect("cells");
    let answer = |from: &str, to: &str| {
        let cell = cells.iter().find(|cell| cell["from"] == from && cell["to"] == to);
        let cell = cell.unwrap_or_else(|| panic!("{from} -> {to} is not there: {report:#}"));
        (cell["answer"].as_str().expect("an answer").to_owned(), !cell["bridgefwd"].is_null())
    };
    assert_eq!(answer("shop_front", "shop_db"), ("yes".into(), true));
    assert_eq!(answer("shop_db", "shop_front"), ("no".into(), false));
    // As it is.
    assert!(shop.engine.fetch("web", shop.db()).is_some());
    assert_eq!(shop.engine.fetch("db", shop.web()), None);
    let walk = shop.bridgefwd.json(&["explain", "db", "web", "tcp/80"]);
    assert_eq!((&walk["answer"], &walk["bridgefwd"]), (&"no".into(), &serde_json::Value::Null));
    println!("{}", shop.bridgefwd.ok(&["explain"]));
    println!("{}", shop.bridgefwd.ok(&["explain", "web", "db", "tcp/80"]));
}

#[test]
fn a_container_is_inspected_by_its_name_and_its_id() {
    needs_docker!();
    let shop = Shop::running(EngineOptions::default());
    shop.bridgefwd.ok(&["pair", "allow", "shop_front", "shop_db"]);
    let told = shop.engine.inspect("web");
    let id = told["Id"].as_str().expect("an id").to_owned();
    for name in ["web", &id, &id[..12]] {
        let report = shop.bridgefwd.json(&["inspect", name]);
        assert_eq!((&report["kind"], &report["name"]), (&"container".into(), &"web".into()));
        assert_eq!((&report["id"], &report["pid"]), (&told["Id"], &told["State"]["Pid"]));
        let interfaces = report["interfaces"].as_array().expect("interfaces");
        let eth0 = interfaces.iter().find(|it| it["name"] == "eth0").expect("eth0");
        let network = &told["NetworkSettings"]["Networks"]["shop_front"];
        assert_eq!(eth0["mac"], network["MacAddress"]);
        assert_eq!(eth0["addresses"][0], format!("{}/16", shop.web()));
        let port = &eth0["port"];
        let bridges = shop.bridgefwd.managed();
        let front = bridges.iter().find(|end| end["name"] == "shop_front").expect("shop_front");
        assert!(front["ports"].as_array().expect("ports").contains(&port["name"]), "{port}");
        assert_eq!((&port["bridge"], &port["attached"]), (&front["name"], &front["attached"]));
        assert_eq!(port["bridge_interface"], front["interface"]);
        assert_eq!(report["pairs"][0]["to"], "shop_db");
    }
    println!("{}", shop.bridgefwd.ok(&["inspect", "web"]));
    shop.engine.docker(&["stop", "--time", "0", "web"]);
    let refused = shop.bridgefwd.cli(&["inspect", "web"]);
    assert!(refused.status == 1 && refused.stderr.contains("web does not run"), "{refused:?}");
    let refused = shop.bridgefwd.cli(&["inspect", "wob"]);
    assert!(refused.status == 1 && refused.stderr.contains("knows none"), "{refused:?}");
}

#[test]
fn an_end_is_found_by_each_of_its_names() {
    needs_docker!();
    let mut shop = Shop::new(EngineOptions::default());
    let engine = &shop.engine;
    // As Compose makes them, and with a bridge that is called as somebody likes.
    engine.network("shop_cache", &["--opt", "com.docker.network.bridge.name=cache0"]);
    engine.container("cache", "shop_cache", &[]);
    let id = engine.inspect("shop_db")["Id"].as_str().expect("an id").to_owned();
    shop.run(&["--bridge", "shop_front", &id[..12], "cache0"]);
    assert_eq!(shop.managed(), ["shop_cache", "shop_db", "shop_front"]);
    let bridge = format!("br-{}", &id[..12]);
    for (name, known_as) in [
        ("shop_db", "shop_db"),
        (&id, "shop_db"),
        (&id[..6], "shop_db"),
        (&bridge, "shop_db"),
        ("shop_cache", "shop_cache"),
        ("cache0", "shop_cache"),
    ] {
        let said = shop.bridgefwd.ok(&["pair", "deny", "shop_front", name]);
        assert_eq!(said, format!("shop_front -> {known_as}: denied\n"), "{name}");
        let said = shop.bridgefwd.ok(&["pair", "allow", "shop_front", name]);
        assert!(said.starts_with(&format!("shop_front -> {known_as}: allowed")), "{said}");
    }
    assert_eq!(shop.bridgefwd.json(&["pair", "list"]).as_array().map(Vec::len), Some(2));
    assert!(shop.engine.fetch("web", shop.db()).is_some());
    assert!(shop.engine.fetch("web", shop.engine.address("cache", "shop_cache")).is_some());
    assert_eq!(shop.bridgefwd.json(&["flows", "--to", "cache0"]).as_array().map(Vec::len), Some(1));
    shop.bridgefwd.ok(&["pair", "clear", "shop_front", "cache0"]);
    assert_eq!(shop.bridgefwd.json(&["pair", "list"]).as_array().map(Vec::len), Some(1));
    // A network is there, and not asked for.
    let output = shop.bridgefwd.cli(&["pair", "allow", "shop_front", "bridge"]);
    assert_eq!(output.status, 2, "{output:?}");
    assert!(output.stderr.contains("bridge is not managed"), "{output:?}");
}

#[test]
fn what_cannot_be_an_end_says_what_it_is_and_disturbs_nothing() {
    needs_docker!();
    let mut shop = Shop::new(EngineOptions::default());
    let _outside = Outside::new(&shop.engine.ns);
    shop.engine.network("vault", &["--internal"]);
    shop.engine.container("safe", "vault", &[]);
    let lan = ["--driver", "macvlan", "--opt", "parent=eth0", "--subnet", "192.0.2.0/24"];
    shop.engine.network("lan", &lan);
    let vlan = ["--driver", "ipvlan", "--opt", "parent=eth0", "--subnet", "198.18.0.0/24"];
    shop.engine.docker(&[&["network", "create"], &vlan[..], &["vlan"]].concat());
    let cases: [(&str, &[&str]); 5] = [
        ("host", &["the network host cannot be an end", "interfaces of the host"]),
        ("none", &["the network none cannot be an end", "no network at all"]),
        ("vault", &["the network vault cannot be an end", "internal"]),
        ("lan", &["the network lan cannot be an end", "macvlan", "eth0"]),
        ("vlan", &["the network vlan cannot be an end", "ipvlan", "eth0"]),
    ];
    let says = |output: &Output, words: &[&str]| {
        assert_eq!((output.status, &*output.stdout), (2, ""), "{output:?}");
        let all = words.iter().chain(&["docker network create"]);
        assert!(all.clone().all(|word| output.stderr.contains(word)), "{output:?}");
    };
    let socket = shop.engine.socket();
    for (name, words) in cases {
        let socket = socket.to_str().expect("a path of ours");
        let args = ["--docker", socket, "--bridge", "shop_front", name];
        says(&shop.bridgefwd.try_start(&args).expect_err("refused"), words);
    }
    shop.run(&[]);
    assert_eq!(shop.managed(), ["bridge", "shop_db", "shop_front"]);
    for (name, words) in cases {
        says(&shop.bridgefwd.cli(&["pair", "allow", "shop_front", name]), words);
        says(&shop.bridgefwd.cli(&["pair", "allow", name, "shop_db"]), words);
        let listed = shop.bridgefwd.json(&["bridges"]);
        let listed = listed.as_array().expect("a list").iter().find(|end| end["name"] == name);
        let listed = listed.unwrap_or_else(|| panic!("{name} is not listed"));
        assert_eq!(listed["managed"], false);
        assert!(listed["problem"].as_str().is_some_and(|why| why.contains(words[0])), "{listed}");
    }
    let output = shop.bridgefwd.cli(&["pair", "allow", "shop_front", "shop_bd"]);
    assert_eq!(output.status, 2);
    assert!(output.stderr.contains("there are: bridge, shop_db, shop_front"), "{output:?}");
    shop.bridgefwd.ok(&["pair", "allow", "shop_front", "shop_db"]);
    assert!(shop.engine.fetch("web", shop.db()).is_some());
    println!("{}", shop.bridgefwd.ok(&["bridges"]));
}
