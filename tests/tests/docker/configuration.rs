//! The configuration file beside Docker: networks by name in it, the engine that it names, and what is
//! managed where it names no bridge.

use std::path::PathBuf;

use bridgefwd_tests::docker::EngineOptions;
use bridgefwd_tests::needs_docker;
use bridgefwd_tests::wait::until;

use crate::rig::{Shop, open};

const NETWORKS: &str = "bridges = ['shop_front', 'shop_db']\n";
const FRONT_TO_DB: &str = "[[pair]]\nfrom = 'shop_front'\nto = 'shop_db'\n";

/// The shop, and a file that its bridgefwd takes where it is told no end and no other file.
struct Declared {
    shop: Shop,
    file: PathBuf,
}

impl Declared {
    #[track_caller]
    fn new(text: &str) -> Self {
        let mut shop = Shop::new(EngineOptions::default());
        let file = shop.bridgefwd.folder().join("bridgefwd.toml");
        let environment = file.to_str().expect("UTF-8").to_owned();
        shop.bridgefwd = shop.bridgefwd.with_environment("BRIDGEFWD_CONFIG", &environment);
        let this = Self { shop, file };
        this.write(text);
        this
    }

    /// Writes the file, with the engine's socket before `text`.
    #[track_caller]
    fn write(&self, text: &str) {
        let socket = self.shop.engine.socket();
        let text = format!("docker = '{}'\n{text}", socket.display());
        std::fs::write(&self.file, text).expect("written");
    }

    #[track_caller]
    fn reload(&self, text: &str) -> String {
        self.write(text);
        self.shop.bridgefwd.ok(&["reload"])
    }
}

#[test]
fn networks_and_pairs_are_named_in_the_file() {
    needs_docker!();
    let mut site = Declared::new(&[NETWORKS, FRONT_TO_DB].concat());
    let said = site.shop.bridgefwd.ok(&["check"]);
    assert!(said.ends_with("is good: 2 bridges, 0 uplinks, 1 pair\n"), "{said}");
    site.shop.bridgefwd.start(&[]);
    // What the file says, and not all that there is.
    assert_eq!(site.shop.managed(), ["shop_db", "shop_front"]);
    assert!(site.shop.engine.fetch("web", site.shop.db()).is_some());
    assert_eq!(site.shop.bridgefwd.cli(&["plan"]).status, 0);
    assert_eq!(site.shop.bridgefwd.json(&["status"])["config"]["differences"], 0);
    let text = std::fs::read_to_string(&site.file).expect("there");
    let said = site.shop.bridgefwd.ok(&["save"]);
    assert!(said.ends_with("says what runs already\n"), "{said}");
    let saved = site.shop.bridgefwd.ok(&["save", "-"]);
    let socket = site.shop.engine.socket();
    assert!(saved.contains(&format!("docker = \"{}\"\n", socket.display())), "{saved}");
    assert!(saved.contains("bridges = [\"shop_front\", \"shop_db\"]\n"), "{saved}");
    // The network is made anew; the file's pair is that of its name.
    site.shop.engine.docker(&["rm", "--force", "db"]);
    site.shop.engine.docker(&["network", "rm", "shop_db"]);
    until("the network is gone", || site.shop.managed() == ["shop_front"]);
    assert_eq!(
        site.shop.bridgefwd.cli(&["plan"]).status,
        0,
        "that an end is away is no difference"
    );
    open(&site.shop.engine, "shop_db", "db");
    until("it is managed again", || site.shop.managed() == ["shop_db", "shop_front"]);
    until("its pair holds", || site.shop.engine.fetch("web", site.shop.db()).is_some());
    // Another engine is for another daemon.
    std::fs::write(&site.file, text.replacen("docker = ", "docker = 'no' # ", 1)).expect("written");
    let output = site.shop.bridgefwd.cli(&["plan"]);
    assert!(output.stdout.contains("! docker "), "{output:?}");
    assert!(output.stdout.contains("restart of the daemon"), "{output:?}");
    assert_eq!(site.shop.bridgefwd.cli(&["reload"]).status, 1);
    // One that comes without the engine knows bridges by their interfaces alone.
    site.shop.bridgefwd.kill();
    let output = site.shop.bridgefwd.try_start(&[]).expect_err("refused");
    assert_eq!(output.status, 2, "{output:?}");
    assert!(output.stderr.contains("no bridge or network shop_"), "{output:?}");
    site.shop.bridgefwd.start(&["--docker", socket.to_str().expect("UTF-8")]);
    assert_eq!(site.shop.managed(), ["shop_db", "shop_front"]);
    let overridden = site.shop.bridgefwd.ok(&["reload"]);
    assert!(overridden.contains("--docker"), "{overridden}");
}

#[test]
fn a_file_that_names_no_bridge_is_for_all() {
    needs_docker!();
    let mut site = Declared::new(FRONT_TO_DB);
    site.shop.bridgefwd.start(&[]);
    assert_eq!(site.shop.managed(), ["bridge", "shop_db", "shop_front"]);
    assert!(site.shop.engine.fetch("web", site.shop.db()).is_some());
    open(&site.shop.engine, "shop_cache", "cache");
    let all = ["bridge", "shop_cache", "shop_db", "shop_front"];
    until("a new network is managed", || site.shop.managed() == all);
    // From all to some, and back, in place.
    let flows = || site.shop.bridgefwd.json(&["flows"]).as_array().map(Vec::len);
    let before = flows();
    let said = site.reload(&[NETWORKS, FRONT_TO_DB].concat());
    assert!(said.contains("~ bridges  all -> shop_front shop_db"), "{said}");
    assert_eq!(site.shop.managed(), ["shop_db", "shop_front"]);
    assert_eq!(flows(), before, "what stays managed keeps its flows");
    let said = site.reload(FRONT_TO_DB);
    assert!(said.contains("~ bridges  shop_front shop_db -> all"), "{said}");
    assert_eq!(site.shop.managed(), all);
    assert_eq!(flows(), before);
    // A pair may wait for a network that is to come; a name that cannot be an end is a mistake.
    site.reload(&[FRONT_TO_DB, "[[pair]]\nfrom = 'shop_front'\nto = 'shop_new'\n"].concat());
    open(&site.shop.engine, "shop_new", "new");
    let new = site.shop.engine.address("new", "shop_new");
    until("its pair holds", || site.shop.engine.fetch("web", new).is_some());
    site.write("[[pair]]\nfrom = 'shop_front'\nto = 'host'\n");
    let output = site.shop.bridgefwd.cli(&["reload"]);
    assert_eq!(output.status, 2, "{output:?}");
    assert!(output.stderr.contains("the network host cannot be an end"), "{output:?}");
}

#[test]
fn without_the_engine_bridges_go_by_their_interfaces() {
    needs_docker!();
    let mut shop = Shop::new(EngineOptions::default());
    let file = shop.bridgefwd.folder().join("bridgefwd.toml");
    let bridge = |network: &str| {
        format!("br-{}", &shop.engine.inspect(network)["Id"].as_str().expect("an id")[..12])
    };
    let (front, db) = (bridge("shop_front"), bridge("shop_db"));
    let text = format!("docker = false\n[[pair]]\nfrom = '{front}'\nto = '{db}'\n");
    std::fs::write(&file, text).expect("written");
    let file = file.to_str().expect("UTF-8").to_owned();
    let host = format!("unix://{}", shop.engine.socket().display());
    shop.bridgefwd = shop
        .bridgefwd
        .with_environment("BRIDGEFWD_CONFIG", &file)
        .with_environment("DOCKER_HOST", &host);
    shop.bridgefwd.start(&[]);
    let mut expected = vec!["docker0".to_owned(), front, db];
    expected.sort();
    assert_eq!(shop.managed(), expected);
    assert!(shop.engine.fetch("web", shop.db()).is_some());
    assert_eq!(shop.bridgefwd.json(&["status"])["docker"], serde_json::Value::Null);
}
