//! What every test of this layer begins with: a router, the program, and the pair `br-a -> br-b`.

use std::net::{Ipv4Addr, SocketAddrV4};

use bridgefwd_common::Reason;
use bridgefwd_common::contract::{
    Address, MAX_POOL, NatMode, PairKey, PairPolicy, PairState, Pool,
};
use bridgefwd_tests::packets::Packet;
use bridgefwd_tests::program::{Outcome, Program};
use bridgefwd_tests::topology::{Host, Options, Router};
use bridgefwd_tests::view::assert_same_packet;

/// Index of the pair `br-a -> br-b`.
pub const A_TO_B: u32 = 3;
/// Index of the pair `br-b -> br-a`, where a test lists it.
pub const B_TO_A: u32 = 5;
/// Key of the pool, where a pair has one.
const POOL: u32 = 1;
/// Generation that the pairs begin with.
pub const GENERATION: u32 = 11;

/// The router `br-a` (two hosts), `br-b` (two hosts), `br-c` (one, not managed), with the program.
pub struct Bench<'r> {
    pub router: &'r Router,
    pub program: Program,
}

/// Runs `test` inside the router's namespace, with room for 64 flows, and `br-a -> br-b` allowed
/// with masquerading.
pub fn bench(test: impl FnOnce(&mut Bench<'_>) + Send) {
    bench_with(64, test);
}

/// As [`bench`], with room for `max_flows`.
pub fn bench_with(max_flows: u32, test: impl FnOnce(&mut Bench<'_>) + Send) {
    let hosts = ["br-a", "br-a", "br-b", "br-b", "br-c"];
    let router = Router::new(Options::default(), &hosts);
    router.learn_neighbours();
    router.ns.run(|| {
        let mut program = Program::load(max_flows);
        program.manage_bridge(&router, "br-a", |_| ());
        program.manage_bridge(&router, "br-b", |_| ());
        let mut bench = Bench { router: &router, program };
        bench.allow(NatMode::Masquerade, None);
        test(&mut bench);
    });
}

/// A policy in this state, with masquerading.
pub fn policy(state: PairState) -> PairPolicy {
    PairPolicy { state: state as u8, ..PairPolicy::default() }
}

impl Bench<'_> {
    /// The client.
    pub fn a(&self) -> &Host {
        &self.router.hosts[0]
    }

    /// Another client.
    pub fn a2(&self) -> &Host {
        &self.router.hosts[1]
    }

    /// The server.
    pub fn b(&self) -> &Host {
        &self.router.hosts[2]
    }

    /// Another server.
    pub fn b2(&self) -> &Host {
        &self.router.hosts[3]
    }

    /// The host on the bridge that is not managed.
    pub fn c(&self) -> &Host {
        &self.router.hosts[4]
    }

    /// The address that flows to `br-b` are masqueraded to.
    pub fn gateway(&self) -> Ipv4Addr {
        self.router.bridge("br-b").address
    }

    /// The key of `br-a -> br-b`.
    pub fn key(&self) -> PairKey {
        let index = |name| self.router.bridge(name).ifindex;
        PairKey { from: index("br-a"), to: index("br-b") }
    }

    /// Allows `br-a -> br-b`.
    pub fn allow(&mut self, nat: NatMode, address: Option<Ipv4Addr>) {
        let mut pool = 0;
        if let Some(address) = address {
            pool = POOL;
            let mut addresses = [Address::default(); MAX_POOL];
            addresses[0] = address.into();
            self.program.pool(pool, &Pool { count: 1, addresses, ..Pool::default() });
        }
        let policy = PairPolicy { nat: nat as u8, pool, ..policy(PairState::Allowed) };
        self.set(policy, GENERATION);
    }

    /// Sets the policy of `br-a -> br-b`.
    pub fn set(&mut self, policy: PairPolicy, generation: u32) {
        self.program.pair(A_TO_B, self.key(), policy, generation);
    }

    /// The frame of `packet` as `host` sends it to the router.
    pub fn frame(&self, host: &Host, packet: &Packet) -> Vec<u8> {
        packet.clone().macs(host.mac, self.router.bridge(host.bridge).mac).build()
    }

    /// `host` number `sender` sends `packet` to the router; it arrives on the host's port.
    #[track_caller]
    pub fn send(&mut self, sender: usize, packet: &Packet) -> Outcome {
        let host = &self.router.hosts[sender];
        let frame = self.frame(host, packet);
        self.program.run(host.port_index, &frame)
    }

    /// As [`Bench::send`]; panics unless it is counted under `reason`.
    #[track_caller]
    pub fn expect(&mut self, sender: usize, packet: &Packet, reason: Reason) -> Outcome {
        let outcome = self.send(sender, packet);
        assert_eq!(outcome.reason, reason, "{packet:?}");
        outcome
    }

    /// As [`Bench::expect`], for a frame as it is.
    #[track_caller]
    pub fn expect_frame(&mut self, sender: usize, frame: &[u8], reason: Reason) {
        let port = self.router.hosts[sender].port_index;
        let outcome = self.program.run(port, frame);
        assert_eq!(outcome.reason, reason, "{frame:02x?}");
    }

    /// `packet` is redirected under `reason`, and leaves from `src` to `dst`, byte for byte.
    #[track_caller]
    pub fn forwards(
        &mut self,
        sender: usize,
        packet: &Packet,
        reason: Reason,
        src: SocketAddrV4,
        dst: SocketAddrV4,
    ) {
        let frame = self.frame(&self.router.hosts[sender], packet);
        let outcome = self.expect(sender, packet, reason);
        let wanted = bridgefwd_tests::view::translated(&frame, src, dst);
        assert_same_packet(&outcome.frame, &wanted);
    }
}

/// Numbers of the hosts of [`Bench`], for [`Bench::send`].
pub const A: usize = 0;
/// The other client.
pub const A2: usize = 1;
/// The server.
pub const B: usize = 2;
