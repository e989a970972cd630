//! What Docker does goes on as before: who is kept apart, who is published, names, and the way out; and
//! not one of its rules is touched.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use bridgefwd_tests::docker::{Engine, EngineOptions, Outside, rules};
use bridgefwd_tests::foreign::ForeignProgram;
use bridgefwd_tests::namespaces::Namespace;
use bridgefwd_tests::needs_docker;
use bridgefwd_tests::traffic::{connect_within, listen, ping};

use crate::rig::{Shop, open};

/// What takes longer is refused.
const ATTEMPT: Duration = Duration::from_millis(300);
const PUBLISHED: u16 = 8080;
const ON_HOST: u16 = 9000;

/// Each thing that can be tried between containers, host and world, and whether it worked.
fn tried(engine: &Engine, outside: &Outside) -> Vec<(String, bool)> {
    let inside = |name: &str| (name.to_owned(), engine.inside(name));
    let address = |name, network| engine.address(name, network);
    let [web, web2, db] = ["web", "web2", "db"].map(inside);
    let servers = [
        ("web", address("web", "shop_front"), 80),
        ("web2", address("web2", "shop_front"), 80),
        ("db", address("db", "shop_db"), 80),
        ("db, published at the host", Outside::HOST, PUBLISHED),
        ("db, published at its gateway", Ipv4Addr::new(172, 19, 0, 1), PUBLISHED),
        ("db, published at the gateway of the front", Ipv4Addr::new(172, 18, 0, 1), PUBLISHED),
        ("the host at the front", Ipv4Addr::new(172, 18, 0, 1), ON_HOST),
        ("the host at the other gateway", Ipv4Addr::new(172, 19, 0, 1), ON_HOST),
        ("the world", Outside::NAMED, ON_HOST),
    ];
    let mut all = Vec::new();
    let clients = [&web, &web2, &db];
    let mut each = |name: &str, ns: &Namespace| {
        for (server, address, port) in servers {
            let connected =
                connect_within(ATTEMPT, ns, 0, SocketAddrV4::new(address, port)).is_ok();
            all.push((format!("{name} to {server}, TCP"), connected));
            let answered = ping(ns, address, 7, 1, ATTEMPT) == 1;
            all.push((format!("{name} to {server}, ping"), answered));
        }
    };
    for (name, ns) in clients {
        each(name, ns);
    }
    each("the host", &engine.ns);
    let published = SocketAddrV4::new(Outside::HOST, PUBLISHED);
    let from_outside = connect_within(ATTEMPT, &outside.ns, 0, published).is_ok();
    all.push(("the world to what is published".into(), from_outside));
    let local = SocketAddrV4::new(Ipv4Addr::LOCALHOST, PUBLISHED);
    let by_proxy = connect_within(ATTEMPT, &engine.ns, 0, local).is_ok();
    all.push(("the host to what is published on its loopback, by docker-proxy".into(), by_proxy));
    for (name, expected) in [("web2", "172.18.0.3"), ("anything.example", "198.51.100.7")] {
        let output = engine.try_docker(&["exec", "web", "nslookup", name, "127.0.0.11"]);
        all.push((format!("{name} by Docker's name server"), output.stdout.contains(expected)));
    }
    all
}

#[test]
fn everything_but_what_is_allowed_is_as_docker_has_it() {
    needs_docker!();
    for bridge_netfilter in [true, false] {
        let mut shop = Shop::new(EngineOptions { bridge_netfilter, args: &["--dns=192.0.2.2"] });
        let outside = Outside::new(&shop.engine.ns);
        shop.engine.container("web2", "shop_front", &[]);
        let publish = format!("{PUBLISHED}:80");
        shop.engine.docker(&["rm", "--force", "db"]);
        shop.engine.container("db", "shop_db", &["--publish", &publish]);
        let _on_host = listen(&shop.engine.ns, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, ON_HOST));
        let _in_world = listen(&outside.ns, SocketAddrV4::new(Outside::NAMED, ON_HOST));
        let (rules_before, before) = (rules(&shop.engine.ns), tried(&shop.engine, &outside));
        let worked = before.iter().filter(|(_, worked)| *worked).count();
        println!("{worked} of {} work without bridgefwd", before.len());
        let works = |what: &str| before.iter().any(|(name, worked)| name == what && *worked);
        // The fixture is good for something.
        for what in [
            "web to web2, TCP",
            "web to the world, ping",
            "db to the world, TCP",
            "the world to what is published",
            "the host to what is published on its loopback, by docker-proxy",
            "web2 by Docker's name server",
            "anything.example by Docker's name server",
        ] {
            assert!(works(what), "{what}: {before:#?}");
        }
        assert!(!works("web to db, TCP") && !works("db to web, TCP") && !works("db to web, ping"));

        shop.run(&[]);
        assert_eq!(tried(&shop.engine, &outside), before, "with bridgefwd, and nothing allowed");
        assert_eq!(rules(&shop.engine.ns), rules_before, "not one rule");

        shop.bridgefwd.ok(&["pair", "allow", "shop_front", "shop_db"]);
        let allowed = |name: &str| {
            ["web to db,", "web2 to db,"]
                .iter()
                .any(|pair| name.starts_with(pair) && !name.contains("published"))
        };
        for ((name, worked), (_, did)) in tried(&shop.engine, &outside).into_iter().zip(&before) {
            assert_eq!(worked, *did || allowed(&name), "{name}, with a pair allowed");
        }
        assert_eq!(rules(&shop.engine.ns), rules_before, "not one rule");

        shop.bridgefwd.ok(&["down"]);
        shop.bridgefwd.wait_end();
        assert_eq!(tried(&shop.engine, &outside), before, "afterwards");
        assert_eq!(rules(&shop.engine.ns), rules_before, "not one rule");
    }
}

#[test]
fn programs_of_others_stay_and_still_run() {
    needs_docker!();
    let mut shop = Shop::new(EngineOptions::default());
    let other = ForeignProgram::load();
    let bridge = shop.engine.network("shop_cache", &[]);
    shop.engine.container("cache", "shop_cache", &[]);
    let ns = std::sync::Arc::clone(&shop.engine.ns);
    ns.command("tc", &["qdisc", "add", "dev", &bridge, "clsact"]);
    other.filter(&ns, &bridge, 9);
    ns.command("tc", &["qdisc", "add", "dev", "docker0", "root", "pfifo", "limit", "77"]);
    let qdiscs = || {
        ns.command("tc", &["qdisc", "show"])
            .lines()
            .filter(|line| !line.contains("veth"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let before = qdiscs();
    shop.run(&["--attach", "clsact"]);
    shop.bridgefwd.ok(&["pair", "allow", "shop_cache", "shop_db"]);
    let runs = other.runs();
    let gateway = Some("172.19.0.1".to_owned());
    assert_eq!(shop.engine.fetch("cache", shop.engine.address("db", "shop_db")), gateway);
    // What concerns the host itself is seen by both.
    assert_eq!(ping(&shop.engine.inside("cache"), Ipv4Addr::new(172, 20, 0, 1), 7, 1, ATTEMPT), 1);
    assert!(other.runs() > runs, "it still runs");
    shop.bridgefwd.ok(&["down"]);
    shop.bridgefwd.wait_end();
    assert_eq!(qdiscs(), before);
    let runs = other.runs();
    assert_eq!(ping(&shop.engine.inside("cache"), Ipv4Addr::new(172, 20, 0, 1), 8, 1, ATTEMPT), 1);
    assert!(other.runs() > runs, "and afterwards");
}

#[test]
fn a_container_on_two_managed_networks() {
    needs_docker!();
    let shop = Shop::running(EngineOptions::default());
    open(&shop.engine, "shop_cache", "cache");
    // A client on two, and a server on two.
    shop.engine.docker(&["network", "connect", "shop_cache", "web"]);
    shop.engine.docker(&["network", "connect", "shop_cache", "db"]);
    let (web, db, cache) = (
        shop.engine.address("web", "shop_front"),
        shop.db(),
        shop.engine.address("cache", "shop_cache"),
    );
    // Within a network they share nothing of ours is needed.
    assert!(shop.engine.fetch("web", shop.engine.address("db", "shop_cache")).is_some());
    assert_eq!(shop.engine.fetch("web", db), None);
    shop.bridgefwd.ok(&["pair", "allow", "shop_front", "shop_db"]);
    shop.bridgefwd.ok(&["pair", "allow", "shop_cache", "shop_db"]);
    // By whichever network its way leads, both are allowed.
    assert_eq!(shop.engine.fetch("web", db).as_deref(), Some("172.19.0.1"));
    assert_eq!(shop.engine.fetch("cache", db).as_deref(), Some("172.19.0.1"));
    // Nobody allowed these.
    assert_eq!(shop.engine.fetch("cache", web), None);
    let flows = shop.bridgefwd.json(&["flows", "--to", "shop_db"]);
    for flow in flows.as_array().expect("a list") {
        let client = if flow["original"]["src"] == cache.to_string() { "cache" } else { "web" };
        assert_eq!((&flow["client"], &flow["server"]), (&client.into(), &"db".into()), "{flow}");
    }
}
