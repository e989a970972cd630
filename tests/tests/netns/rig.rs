//! What every test of this layer begins with: hosts on two bridges, and a running daemon.

use bridgefwd_tests::bridgefwd::Bridgefwd;
use bridgefwd_tests::topology::{Host, Options, Router};
use serde_json::Value;

/// The router with its daemon.
pub struct Rig {
    // Before the router, so that the daemon goes first.
    pub bridgefwd: Bridgefwd,
    pub router: Router,
}

/// The arguments that manage `br-a` and `br-b`.
pub const BRIDGES: [&str; 4] = ["--bridge", "br-a", "--bridge", "br-b"];

/// Numbers of the hosts of [`Rig::new`]: two on `br-a`, then one on `br-b`.
pub const A: usize = 0;
/// The other client.
pub const A2: usize = 1;
/// The server.
pub const B: usize = 2;

impl Rig {
    /// A daemon that manages `br-a` and `br-b`, where no pair is listed yet.
    #[track_caller]
    pub fn new(options: Options, args: &[&str]) -> Self {
        let router = Router::new(options, &["br-a", "br-a", "br-b"]);
        let bridgefwd = Bridgefwd::run(&router.ns, &[&BRIDGES, args].concat());
        Self { bridgefwd, router }
    }

    /// As [`Rig::new`], with `br-a -> br-b` allowed.
    #[track_caller]
    pub fn allowed(options: Options, args: &[&str]) -> Self {
        let rig = Self::new(options, args);
        rig.ok(&["pair", "allow", "br-a", "br-b"]);
        rig
    }

    /// The client.
    pub fn a(&self) -> &Host {
        &self.router.hosts[A]
    }

    /// The other client.
    pub fn a2(&self) -> &Host {
        &self.router.hosts[A2]
    }

    /// The server.
    pub fn b(&self) -> &Host {
        &self.router.hosts[B]
    }

    /// Runs a command that must succeed.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) {
        self.bridgefwd.ok(args);
    }

    /// Packets counted under a reason.
    #[track_caller]
    pub fn counted(&self, reason: &str) -> u64 {
        let stats = self.bridgefwd.json(&["stats"]);
        stats["reasons"][reason]["packets"].as_u64().expect("a reason of the program")
    }

    /// The flows of a protocol.
    #[track_caller]
    pub fn flows(&self, proto: &str) -> Vec<Value> {
        let flows = self.bridgefwd.json(&["flows", "--proto", proto]);
        flows.as_array().expect("a list").clone()
    }

    /// The only flow of a protocol.
    #[track_caller]
    pub fn flow(&self, proto: &str) -> Value {
        let flows = self.flows(proto);
        let [flow] = &flows[..] else { panic!("one flow, not {flows:?}") };
        flow.clone()
    }

    /// Packets that the kernel itself has forwarded in the router.
    pub fn forwarded_by_kernel(&self) -> u64 {
        self.bridgefwd.forwarded_by_kernel(&self.router.ns)
    }
}

/// Both settings of the offloads, with everything else as usual.
pub fn with_and_without_offloads() -> [Options; 2] {
    [true, false].map(|offloads| Options { offloads, ..Options::default() })
}

/// Without offloads: every captured checksum is final.
pub fn without_offloads() -> Options {
    Options { offloads: false, ..Options::default() }
}
