//! A project of Compose goes down and comes up again: its pair is by the names that Compose gives.

use std::path::Path;
use std::time::Instant;

use bridgefwd_tests::bridgefwd::Bridgefwd;
use bridgefwd_tests::docker::{Engine, EngineOptions, IMAGE, block_as_newer_engines};
use bridgefwd_tests::wait::until;
use bridgefwd_tests::{needs_docker, needs_programs};

use crate::life::reaches_within_a_second;
use crate::rig::Shop;

/// The project of that name.
const PROJECT: &str = "shop";

/// A service on each of two networks. Compose calls them `shop_front` and `shop_db`.
fn file() -> String {
    let service = |name: &str, network: &str| {
        format!(
            "  {name}:\n    image: {IMAGE}\n    container_name: {name}\n    init: true\n    \
             command: httpd -f -p 0.0.0.0:80 -h /www\n    networks: [{network}]\n"
        )
    };
    let (web, db) = (service("web", "front"), service("db", "db"));
    format!("version: \"3.8\"\nservices:\n{web}{db}networks:\n  front: {{}}\n  db: {{}}\n")
}

/// `docker-compose ARGS`, as somebody with that project types it.
#[track_caller]
fn compose(engine: &Engine, file: &Path, args: &[&str]) {
    let mut command = engine.client_of("docker-compose");
    command.args(["--project-name", PROJECT, "--file"]).arg(file).args(args);
    let output = command.output().expect("docker-compose");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The raw rules that newer engines make for each container.
#[track_caller]
fn block(engine: &Engine) {
    for (container, network) in [("web", "shop_front"), ("db", "shop_db")] {
        let id = engine.inspect(network)["Id"].as_str().expect("an id").to_owned();
        let address = engine.address(container, network);
        block_as_newer_engines(&engine.ns, address, &format!("br-{}", &id[..12]));
    }
}

#[test]
fn down_and_up_again() {
    needs_docker!();
    needs_programs!("docker-compose");
    let engine = Engine::start(EngineOptions::default());
    let bridgefwd = Bridgefwd::new(&engine.ns).with_environment("BRIDGEFWD_LOG", "debug");
    let mut shop = Shop { bridgefwd, engine };
    let path = shop.bridgefwd.folder().join("docker-compose.yml");
    std::fs::write(&path, file()).expect("written");

    compose(&shop.engine, &path, &["up", "--detach"]);
    block(&shop.engine);
    shop.run(&[]);
    assert_eq!(shop.managed(), ["bridge", "shop_db", "shop_front"]);
    assert_eq!(shop.engine.fetch("web", shop.db()), None, "as Docker has it");
    shop.bridgefwd.ok(&["pair", "allow", "shop_front", "shop_db"]);
    reaches_within_a_second(&shop);

    let bridges = || shop.bridgefwd.managed().into_iter().map(|end| end["interface"].clone());
    let before: Vec<_> = bridges().collect();
    for _ in 0..2 {
        compose(&shop.engine, &path, &["down"]);
        until("the networks are gone", || shop.managed() == ["bridge"]);
        let pair = &shop.bridgefwd.json(&["pair", "list"])[0];
        assert_eq!((&pair["from"], &pair["to"]), (&"shop_front".into(), &"shop_db".into()));
        assert_eq!((&pair["state"], &pair["present"]), (&"allowed".into(), &false.into()));
        let started = Instant::now();
        compose(&shop.engine, &path, &["up", "--detach"]);
        let (up, again) = (started.elapsed(), reaches_within_a_second(&shop));
        println!("up took {up:?}; web reaches db {again:?} after it");
        // By the pair, and not because these engines' isolation was late.
        block(&shop.engine);
        reaches_within_a_second(&shop);
        assert_eq!(shop.engine.fetch("db", shop.web()), None, "nobody allowed this direction");
    }
    assert!(bridges().all(|bridge| bridge == "docker0" || !before.contains(&bridge)), "other ones");
    compose(&shop.engine, &path, &["down"]);
}
