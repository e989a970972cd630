//! What every test of this layer begins with: a router, the program, and the pair `br-a -> br-b`.

use std::fmt::Debug;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use bridgefwd_common::Reason;
use bridgefwd_common::contract::{
    Address, MAX_POOL, NatMode, PairKey, PairPolicy, PairState, Pool,
};
use bridgefwd_tests::packets::Packet;
use bridgefwd_tests::packets6::Packet6;
use bridgefwd_tests::program::{Buffer, Outcome, PASS, Program};
use bridgefwd_tests::topology::{Host, Options, Router};
use bridgefwd_tests::view::{assert_same_packet, translated};
use bridgefwd_tests::view6::{assert_checksums6, translated6};

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

/// A packet of either family, to be put on a wire.
pub trait Frame: Clone + Debug {
    /// The frame between these MACs.
    fn between(&self, src: [u8; 6], dst: [u8; 6]) -> Vec<u8>;
}

impl Frame for Packet {
    fn between(&self, src: [u8; 6], dst: [u8; 6]) -> Vec<u8> {
        self.clone().macs(src, dst).build()
    }
}

impl Frame for Packet6 {
    fn between(&self, src: [u8; 6], dst: [u8; 6]) -> Vec<u8> {
        self.clone().macs(src, dst).build()
    }
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
        let program = Bench::program_of(&router, max_flows);
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
    /// A program that manages both bridges, without any pair.
    pub fn program_of(router: &Router, max_flows: u32) -> Program {
        Self::managing(router, Program::load(max_flows))
    }

    /// That program, which manages both bridges from now on.
    pub fn managing(router: &Router, mut program: Program) -> Program {
        program.manage_bridge(router, "br-a", |_| ());
        program.manage_bridge(router, "br-b", |_| ());
        program
    }

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

    /// The IPv6 address that flows to `br-b` are masqueraded to.
    pub fn gateway6(&self) -> Ipv6Addr {
        self.router.bridge("br-b").address6
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
        let nat = nat as u8;
        let policy = PairPolicy { nat, nat_v6: nat, pool, ..policy(PairState::Allowed) };
        self.set(policy, GENERATION);
    }

    /// Sets the policy of `br-a -> br-b`.
    pub fn set(&mut self, policy: PairPolicy, generation: u32) {
        self.program.pair(A_TO_B, self.key(), policy, generation);
    }

    /// The frame of `packet` as `host` sends it to the router.
    pub fn frame(&self, host: &Host, packet: &impl Frame) -> Vec<u8> {
        packet.between(host.mac, self.router.bridge(host.bridge).mac)
    }

    /// `host` number `sender` sends `packet` to the router; it arrives on the host's port.
    #[track_caller]
    pub fn send(&mut self, sender: usize, packet: &impl Frame) -> Outcome {
        let host = &self.router.hosts[sender];
        let frame = self.frame(host, packet);
        self.program.run(host.port_index, &frame)
    }

    /// As [`Bench::send`]; panics unless it is counted under `reason`.
    #[track_caller]
    pub fn expect(&mut self, sender: usize, packet: &impl Frame, reason: Reason) -> Outcome {
        let outcome = self.send(sender, packet);
        assert_eq!(outcome.reason, reason, "{packet:?}");
        outcome
    }

    /// `packet` is the kernel's to forward, and it gets it as it is.
    #[track_caller]
    pub fn through_kernel(&mut self, sender: usize, packet: &impl Frame) {
        let frame = self.frame(&self.router.hosts[sender], packet);
        let outcome = self.expect(sender, packet, Reason::ThroughKernel);
        assert!(outcome.frame == frame, "not untouched: {packet:?} became {:02x?}", outcome.frame);
    }

    /// The kernel is to forward the reply `packet`, and gets it addressed to the client at `dst`, with
    /// every checksum right and the TTL that it came with.
    #[track_caller]
    pub fn handed_over(&mut self, sender: usize, packet: &Packet, dst: SocketAddrV4) {
        // What is translated has one hop less.
        let one_more = packet.clone().with(|packet| packet.ttl += 1);
        let one_more = self.frame(&self.router.hosts[sender], &one_more);
        let src = bridgefwd_tests::view::View::of(&one_more).expect("IPv4").src;
        let outcome = self.expect(sender, packet, Reason::ThroughKernel);
        assert_eq!(outcome.verdict, PASS);
        assert_same_packet(&outcome.frame, &translated(&one_more, src, dst));
    }

    /// The same of IPv6.
    #[track_caller]
    pub fn handed_over6(
        &mut self,
        sender: usize,
        packet: &Packet6,
        src: SocketAddrV6,
        dst: SocketAddrV6,
    ) {
        let one_more = packet.clone().with(|packet| packet.hop_limit += 1);
        let one_more = self.frame(&self.router.hosts[sender], &one_more);
        let outcome = self.expect(sender, packet, Reason::ThroughKernel);
        let wanted = translated6(&one_more, src, dst);
        assert_checksums6(&outcome.frame);
        assert!(outcome.frame == wanted, "found {:02x?}\nwanted {wanted:02x?}", outcome.frame);
    }

    /// As [`Bench::expect`], for a frame as it is.
    #[track_caller]
    pub fn expect_frame(&mut self, sender: usize, frame: &[u8], reason: Reason) {
        let port = self.router.hosts[sender].port_index;
        let outcome = self.program.run(port, frame);
        assert_eq!(outcome.reason, reason, "{frame:02x?}");
    }

    /// `frame`, which came in by `came_by` (0: the host sends it), leaves by `ifindex`; how it does.
    #[track_caller]
    pub fn leaves(&self, came_by: u32, ifindex: u32, frame: &[u8]) -> Vec<u8> {
        let left = self.program.leave(&Buffer { came_by, ..Buffer::at(ifindex) }, frame);
        assert_eq!(left.dropped, None, "{frame:02x?}");
        left.frame
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
        assert_same_packet(&outcome.frame, &translated(&frame, src, dst));
    }

    /// The same of IPv6.
    #[track_caller]
    pub fn forwards6(
        &mut self,
        sender: usize,
        packet: &Packet6,
        reason: Reason,
        src: SocketAddrV6,
        dst: SocketAddrV6,
    ) {
        let frame = self.frame(&self.router.hosts[sender], packet);
        let outcome = self.expect(sender, packet, reason);
        let wanted = translated6(&frame, src, dst);
        assert_checksums6(&outcome.frame);
        assert!(outcome.frame == wanted, "found {:02x?}\nwanted {wanted:02x?}", outcome.frame);
    }
}

/// Numbers of the hosts of [`Bench`], for [`Bench::send`].
pub const A: usize = 0;
/// The other client.
pub const A2: usize = 1;
/// The server.
pub const B: usize = 2;
