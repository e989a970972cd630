//! The two routers, alike but for who forwards, and the hosts in the hands of the test.
//!
//! Hosts have no address of their own here, so that their stacks answer nothing: whatever a host
//! sends, the test has written.

use std::net::Ipv4Addr;

use bridgefwd_tests::bridgefwd::Bridgefwd;
use bridgefwd_tests::packets::Packet;
use bridgefwd_tests::tap::Tap;
use bridgefwd_tests::topology::{Options, Router, mac_text};
use bridgefwd_tests::view::at;
use bridgefwd_tests::wait::{PATIENCE, poll};

use crate::case::{Sender, Step};
use crate::normal::{Seen, Symbols, packets_of};

/// The client.
pub const A: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
/// Another client on the same bridge.
pub const A2: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 3);
/// The server.
pub const B: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 2);
/// A host on a bridge that nothing is allowed from or to.
pub const C: Ipv4Addr = Ipv4Addr::new(10, 3, 0, 2);
/// The router on the clients' bridge.
pub const NEAR: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
/// The router on the server's bridge: what clients are masqueraded to.
pub const NAT: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 1);
/// MTU of the server's bridge; everywhere else it is 1500.
pub const FAR_MTU: usize = 1400;

const HOSTS: [&str; 4] = ["br-a", "br-a", "br-b", "br-c"];
/// Ends of the flow by which the test knows that everything before it has arrived.
const BARRIER: (u16, u16) = (1999, 7);
const BARRIER_BACK: &[u8] = b"barrier back";

/// MAC of the interface with this address.
#[must_use]
pub fn mac(address: Ipv4Addr) -> [u8; 6] {
    let [_, network, _, host] = address.octets();
    [0x02, 0xbf, 0, network, 0, host]
}

/// One router and its hosts.
pub struct Side {
    // Before the router, so that the daemon goes first.
    bridgefwd: Option<Bridgefwd>,
    router: Router,
    taps: Vec<Tap>,
}

impl Side {
    /// The kernel forwards, masquerades and filters.
    #[must_use]
    pub fn kernel(bridge_nf: bool) -> Self {
        let router = router(bridge_nf);
        let ns = &router.ns;
        let rules = "*nat\n\
            -A POSTROUTING -o br-b -s 10.1.0.0/24 -j MASQUERADE\n\
            COMMIT\n\
            *filter\n\
            :FORWARD DROP\n\
            -A FORWARD -m physdev --physdev-is-bridged -j ACCEPT\n\
            -A FORWARD -m conntrack --ctstate INVALID -j DROP\n\
            -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n\
            -A FORWARD -i br-a -o br-b -m conntrack --ctstate NEW -j ACCEPT\n\
            COMMIT\n";
        ns.run(|| bridgefwd_tests::command::run_with_input("iptables-restore", &[], rules));
        // A segment in the middle of nothing opens nothing.
        ns.sysctl("net/netfilter/nf_conntrack_tcp_loose", "0");
        Self::wired(None, router)
    }

    /// bridgefwd forwards, on a router without any rule.
    #[must_use]
    pub fn bridgefwd(bridge_nf: bool) -> Self {
        let router = router(bridge_nf);
        let ends = ["--bridge", "br-a", "--bridge", "br-b", "--bridge", "br-c"];
        let bridgefwd = Bridgefwd::run(&router.ns, &[&ends[..], &["--unlisted", "deny"]].concat());
        bridgefwd.ok(&["pair", "allow", "br-a", "br-b"]);
        Self::wired(Some(bridgefwd), router)
    }

    fn wired(bridgefwd: Option<Bridgefwd>, router: Router) -> Self {
        for host in &router.hosts {
            assert_eq!(host.mac, mac(host.address), "the fixed MACs of the topology");
        }
        let taps = router.hosts.iter().map(|host| Tap::new(&host.ns, "eth0")).collect();
        Self { bridgefwd, router, taps }
    }

    /// The router and its hosts, for real sockets: before [`Side::silence_hosts`].
    #[must_use]
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// From here on hosts send only what the test sends.
    pub fn silence_hosts(&self) {
        for host in &self.router.hosts {
            host.ns.ip("addr flush dev eth0\n");
        }
        self.barrier();
    }

    /// Sends the frames of a case one after the other and returns what every host received.
    #[must_use]
    pub fn play(&self, steps: &[Step], ports: std::ops::Range<u16>) -> Vec<Seen> {
        let mut seen: Vec<Vec<Vec<u8>>> = vec![Vec::new(); self.taps.len()];
        for step in steps {
            let learned = seen[Sender::B as usize].iter().rev().find_map(|frame| nat_port(frame));
            self.taps[step.by as usize].send(&step.frame(learned));
            for (all, more) in seen.iter_mut().zip(self.barrier()) {
                all.extend(more);
            }
        }
        let mut symbols = Symbols::new(ports);
        let names = ["a", "a2", "b", "c"];
        let all = names.iter().zip(&seen);
        all.map(|(name, frames)| Seen { host: name, packets: packets_of(frames, &mut symbols) })
            .collect()
    }

    /// Waits until everything that was sent has been dealt with, and returns what has arrived.
    ///
    /// The test has one CPU, whose queue for incoming packets is first in, first out: when the
    /// barrier has gone there and back, so has all that was sent before it.
    fn barrier(&self) -> Vec<Vec<Vec<u8>>> {
        let mut arrived: Vec<Vec<Vec<u8>>> = self.taps.iter().map(Tap::drain).collect();
        let forth = Packet::udp(at(A, BARRIER.0), at(B, BARRIER.1)).macs(mac(A), mac(NEAR));
        self.taps[Sender::A as usize].send(&forth.build());
        let port = self.await_barrier(Sender::B, &mut arrived);
        let back = Packet::udp(at(B, BARRIER.1), at(NAT, port)).payload(BARRIER_BACK);
        self.taps[Sender::B as usize].send(&back.macs(mac(B), mac(NAT)).build());
        self.await_barrier(Sender::A, &mut arrived);
        for (all, tap) in arrived.iter_mut().zip(&self.taps) {
            all.extend(tap.drain());
            all.retain(|frame| barrier_port(frame).is_none());
        }
        arrived
    }

    /// Waits for the barrier at a host and returns its source port there.
    fn await_barrier(&self, host: Sender, arrived: &mut [Vec<Vec<u8>>]) -> u16 {
        let (tap, all) = (&self.taps[host as usize], &mut arrived[host as usize]);
        let port = poll(PATIENCE, || {
            all.extend(tap.drain());
            all.iter().find_map(|frame| barrier_port(frame))
        });
        port.unwrap_or_else(|| {
            let errors = self.bridgefwd.as_ref().map(Bridgefwd::errors);
            panic!("the flow that separates the steps is not forwarded any more: {errors:?}")
        })
    }
}

fn router(bridge_nf: bool) -> Router {
    let options = Options { offloads: false, bridge_nf, ..Options::default() };
    let router = Router::new(options, &HOSTS);
    router.learn_neighbours();
    // Silent hosts answer no ARP, from which a bridge would learn where they are.
    for host in &router.hosts {
        let mac = mac_text(host.mac);
        let entry = ["fdb", "replace", &mac, "dev", &host.port, "master", "static"];
        router.ns.command("bridge", &entry);
    }
    router.ns.ip(&format!("link set br-b mtu {FAR_MTU}\n"));
    for (key, value) in [
        ("net/ipv4/conf/all/rp_filter", "1"),
        // Every error is to be seen.
        ("net/ipv4/icmp_ratelimit", "0"),
    ] {
        router.ns.sysctl(key, value);
    }
    router
}

fn udp_ports(frame: &[u8]) -> Option<(u16, u16)> {
    let is_udp = frame.len() >= 42 && frame[12..15] == [8, 0, 0x45] && frame[23] == 17;
    let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    is_udp.then(|| (word(34), word(36)))
}

/// Source port of a barrier, forth or back.
fn barrier_port(frame: &[u8]) -> Option<u16> {
    let (from, to) = udp_ports(frame)?;
    (to == BARRIER.1 || from == BARRIER.1).then_some(from)
}

/// The source port that the router chose for a packet with ports.
fn nat_port(frame: &[u8]) -> Option<u16> {
    let ours = frame.len() >= 38 && frame[26..30] == NAT.octets() && [6, 17].contains(&frame[23]);
    ours.then(|| u16::from_be_bytes([frame[34], frame[35]]))
}
