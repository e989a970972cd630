//! Networks, containers and the engine come and go, and come back otherwise: rules that were given by
//! name hold again by themselves.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use bridgefwd_tests::bridgefwd::Bridgefwd;
use bridgefwd_tests::docker::EngineOptions;
use bridgefwd_tests::namespaces::Namespace;
use bridgefwd_tests::needs_docker;
use bridgefwd_tests::traffic::{connect_within, listen, pair_up, say};
use bridgefwd_tests::wait::{poll, until};

use crate::rig::{Shop, open};

const SECOND: Duration = Duration::from_secs(1);
/// Of one attempt to connect: less than it takes to send a lost SYN again.
const ATTEMPT: Duration = Duration::from_millis(200);

/// Waits until `web` reaches `db`; at most a second.
#[track_caller]
pub fn reaches_within_a_second(shop: &Shop) -> Duration {
    reaches(&shop.bridgefwd, &shop.engine.inside("web"), shop.db())
}

#[track_caller]
fn reaches(bridgefwd: &Bridgefwd, web: &Namespace, db: Ipv4Addr) -> Duration {
    let begin = Instant::now();
    let reached = poll(SECOND, || connect_within(ATTEMPT, web, 0, SocketAddrV4::new(db, 80)).ok());
    assert!(reached.is_some(), "not within a second: {}", bridgefwd.ok(&["bridges"]));
    begin.elapsed()
}

#[test]
fn a_network_that_is_made_again_has_its_pairs() {
    needs_docker!();
    let shop = Shop::running(EngineOptions::default());
    shop.bridgefwd.ok(&["pair", "allow", "shop_front", "shop_db"]);
    reaches_within_a_second(&shop);
    for (network, container) in [("shop_db", "db"), ("shop_front", "web")] {
        shop.engine.docker(&["rm", "--force", container]);
        shop.engine.docker(&["network", "rm", network]);
        until("the network is gone", || !shop.managed().iter().any(|name| name == network));
        let pair = &shop.bridgefwd.json(&["pair", "list"])[0];
        assert_eq!((&pair["state"], &pair["present"]), (&"allowed".into(), &false.into()));
        open(&shop.engine, network, container);
        println!("{network}: again after {:?}", reaches_within_a_second(&shop));
    }
    // Everything of both at once, and by other interfaces than before.
    shop.engine.docker(&["rm", "--force", "web", "db"]);
    shop.engine.docker(&["network", "rm", "shop_front", "shop_db"]);
    open(&shop.engine, "shop_db", "db");
    open(&shop.engine, "shop_front", "web");
    println!("both: again after {:?}", reaches_within_a_second(&shop));
    // What was never allowed is not allowed now either.
    assert_eq!(shop.engine.fetch("db", shop.web()), None);
}

#[test]
fn flows_of_a_container_that_is_stopped_end() {
    needs_docker!();
    let shop = Shop::running(EngineOptions::default());
    shop.bridgefwd.ok(&["pair", "allow", "shop_front", "shop_db"]);
    let flows = || shop.bridgefwd.json(&["flows"]).as_array().expect("a list").len();
    for (change, container) in
        [("restart", "db"), ("stop", "db"), ("restart", "web"), ("kill", "web")]
    {
        let listener = listen(&shop.engine.inside("db"), SocketAddrV4::new(shop.db(), 8080));
        let (mut near, mut far, _) = pair_up(&shop.engine.inside("web"), 0, &listener);
        say(&mut near, &mut far, "hello");
        assert_eq!(flows(), 1, "{change} {container}");
        shop.engine.docker(&[change, container]);
        let gone = poll(SECOND, || (flows() == 0).then_some(()));
        assert!(gone.is_some(), "{change} {container}: {}", shop.bridgefwd.ok(&["flows"]));
        if change != "restart" {
            shop.engine.docker(&["start", container]);
        }
        reaches_within_a_second(&shop);
        until("the flow of the attempt is over", || {
            shop.bridgefwd.ok(&["pair", "clear", "shop_front", "shop_db"]);
            shop.bridgefwd.ok(&["pair", "allow", "shop_front", "shop_db"]);
            flows() == 0
        });
    }
}

#[test]
fn the_engine_is_restarted_under_live_flows() {
    needs_docker!();
    let shop =
        Shop::running(EngineOptions { args: &["--live-restore"], ..EngineOptions::default() });
    shop.bridgefwd.ok(&["pair", "allow", "shop_front", "shop_db"]);
    let listener = listen(&shop.engine.inside("db"), SocketAddrV4::new(shop.db(), 8080));
    let (mut near, mut far, _) = pair_up(&shop.engine.inside("web"), 0, &listener);
    say(&mut near, &mut far, "before");
    let warned =
        || shop.bridgefwd.json(&["status"])["warnings"].to_string().contains("does not answer");

    shop.engine.stop_daemon();
    until("status says so", warned);
    say(&mut near, &mut far, "while it is away");
    say(&mut far, &mut near, "and back");
    assert_eq!(shop.managed(), ["bridge", "shop_db", "shop_front"]);
    shop.bridgefwd.ok(&["pair", "deny", "shop_db", "shop_front"]);

    shop.engine.start_daemon();
    until("it is heard of again", || !warned());
    say(&mut near, &mut far, "after");
    say(&mut far, &mut near, "and back");
    // And what is made after that is followed.
    open(&shop.engine, "shop_cache", "cache");
    until("a new network is managed", || shop.managed().iter().any(|name| name == "shop_cache"));
    println!("{:?}", reaches_within_a_second(&shop));
}

#[test]
fn the_socket_vanishes_and_comes_back() {
    needs_docker!();
    let shop = Shop::running(EngineOptions::default());
    let socket = shop.engine.socket();
    let aside = socket.with_extension("aside");
    let (web, db) = (shop.engine.inside("web"), shop.db());
    // As a connection that broke off, and nobody there to make a new one to.
    std::fs::rename(&socket, &aside).expect("moved");
    shop.bridgefwd.ok(&["pair", "allow", "shop_front", "shop_db"]);
    reaches(&shop.bridgefwd, &web, db);
    std::fs::rename(&aside, &socket).expect("moved back");
    open(&shop.engine, "shop_cache", "cache");
    until("a new network is managed", || shop.managed().iter().any(|name| name == "shop_cache"));
}

#[test]
fn a_daemon_that_takes_over_knows_pairs_by_their_names() {
    needs_docker!();
    let mut shop = Shop::running(EngineOptions::default());
    shop.bridgefwd.ok(&["pair", "allow", "shop_front", "shop_db"]);
    let pairs = shop.bridgefwd.json(&["pair", "list"]);
    shop.bridgefwd.kill();
    // The data path goes on alone.
    reaches_within_a_second(&shop);
    shop.run(&[]);
    assert_eq!(shop.bridgefwd.json(&["pair", "list"]), pairs);
    shop.engine.docker(&["rm", "--force", "db"]);
    shop.engine.docker(&["network", "rm", "shop_db"]);
    open(&shop.engine, "shop_db", "db");
    reaches_within_a_second(&shop);
}

#[test]
fn an_engine_that_comes_later_gives_its_bridges_names() {
    needs_docker!();
    let mut shop =
        Shop::new(EngineOptions { args: &["--live-restore"], ..EngineOptions::default() });
    let bridge =
        |network| format!("br-{}", &shop.engine.inspect(network)["Id"].as_str().unwrap()[..12]);
    let (front, db) = (bridge("shop_front"), bridge("shop_db"));
    shop.engine.stop_daemon();
    let socket = format!("unix://{}", shop.engine.socket().display());
    let bridgefwd = Bridgefwd::new(&shop.engine.ns).with_environment("DOCKER_HOST", &socket);
    shop.bridgefwd = bridgefwd;
    shop.bridgefwd.start(&["--bridge", &front, &db]);
    shop.bridgefwd.ok(&["pair", "allow", &front, &db]);
    shop.engine.start_daemon();
    until("they are known by name", || shop.managed() == ["shop_db", "shop_front"]);
    let pair = &shop.bridgefwd.json(&["pair", "list"])[0];
    assert_eq!((&pair["from"], &pair["to"]), (&"shop_front".into(), &"shop_db".into()));
    reaches_within_a_second(&shop);
}
