//! What most tests of this layer begin with: the shop's two networks, a container on each, the rules that
//! newer engines make, and bridgefwd.

use std::net::Ipv4Addr;

use bridgefwd_tests::bridgefwd::Bridgefwd;
use bridgefwd_tests::docker::{Engine, EngineOptions, block_as_newer_engines};

/// The shop.
pub struct Shop {
    /// Goes first: `down` needs the namespace, and the engine nothing of ours.
    pub bridgefwd: Bridgefwd,
    pub engine: Engine,
}

impl Shop {
    /// `web` on `shop_front` and `db` on `shop_db`; bridgefwd is not started.
    #[must_use]
    #[track_caller]
    pub fn new(options: EngineOptions) -> Self {
        let engine = Engine::start(options);
        for (network, container) in [("shop_front", "web"), ("shop_db", "db")] {
            open(&engine, network, container);
        }
        // Shown where a test fails.
        let bridgefwd = Bridgefwd::new(&engine.ns).with_environment("BRIDGEFWD_LOG", "debug");
        Self { bridgefwd, engine }
    }

    /// With the daemon running, following the engine, for all networks that there are.
    #[must_use]
    #[track_caller]
    pub fn running(options: EngineOptions) -> Self {
        let mut shop = Self::new(options);
        shop.run(&[]);
        shop
    }

    /// Starts the daemon, following the engine.
    #[track_caller]
    pub fn run(&mut self, args: &[&str]) {
        let socket = self.engine.socket();
        let docker = ["--docker", socket.to_str().expect("a path of ours")];
        self.bridgefwd.start(&[&docker, args].concat());
    }

    /// The address of `web`.
    #[must_use]
    pub fn web(&self) -> Ipv4Addr {
        self.engine.address("web", "shop_front")
    }

    /// The address of `db`.
    #[must_use]
    pub fn db(&self) -> Ipv4Addr {
        self.engine.address("db", "shop_db")
    }

    /// The names that `bridges` shows as managed.
    #[must_use]
    pub fn managed(&self) -> Vec<String> {
        let managed = self.bridgefwd.managed().into_iter();
        managed.map(|end| end["name"].as_str().expect("a name").to_owned()).collect()
    }
}

/// Makes a network with a container in it, guarded as newer engines do.
#[track_caller]
pub fn open(engine: &Engine, network: &str, container: &str) {
    let bridge = engine.network(network, &[]);
    engine.container(container, network, &[]);
    block_as_newer_engines(&engine.ns, engine.address(container, network), &bridge);
}
