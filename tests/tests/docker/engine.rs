//! That the engine of the tests is what it seems: a Docker engine that keeps networks apart, and
//! leaves nothing behind.

use bridgefwd_tests::docker::{Engine, EngineOptions, Outside};
use bridgefwd_tests::needs_docker;

#[test]
fn an_engine_of_our_own_keeps_networks_apart() {
    needs_docker!();
    let begin = std::time::Instant::now();
    let engine = Engine::start(EngineOptions::default());
    println!("ready after {:?}", begin.elapsed());
    let outside = Outside::new(&engine.ns);
    engine.network("shop_front", &[]);
    engine.network("shop_db", &[]);
    engine.container("web", "shop_front", &[]);
    engine.container("web2", "shop_front", &[]);
    engine.container("db", "shop_db", &[]);
    println!("containers after {:?}", begin.elapsed());
    let (web2, db) = (engine.address("web2", "shop_front"), engine.address("db", "shop_db"));
    let web = engine.address("web", "shop_front").to_string();
    assert_eq!(engine.fetch("web", web2), Some(web));
    assert_eq!(engine.fetch("web", db), None);
    println!("fetched after {:?}", begin.elapsed());
    assert_eq!(engine.inside("web").command("ip", &["-o", "link", "show"]).lines().count(), 2);
    engine.restart_daemon();
    engine.docker(&["start", "web"]);
    println!("restarted after {:?}", begin.elapsed());
    drop(outside);
    let name = engine.ns.name().to_owned();
    drop(engine);
    println!("gone after {:?}", begin.elapsed());
    assert!(!std::env::temp_dir().join(&name).exists());
}
