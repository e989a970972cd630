//! The two routers, alike but for who forwards, and the hosts in the hands of the test.
//!
//! Hosts have no address of their own here, so that their stacks answer nothing: whatever a host
//! sends, the test has written.

use std::net::{Ipv4Addr, Ipv6Addr};

use bridgefwd_tests::bridgefwd::Bridgefwd;
use bridgefwd_tests::command::run_with_input;
use bridgefwd_tests::packets::Packet;
use bridgefwd_tests::tap::Tap;
use bridgefwd_tests::topology::{Options, Router, mac_text};
use bridgefwd_tests::uplink::Uplink;
use bridgefwd_tests::view::at;
use bridgefwd_tests::wait::{PATIENCE, poll};

use crate::case::{Sender, Sent as _, Step};
use crate::modes::Mode;
use crate::normal::{Seen, Symbols, ends, packets_of};

/// The client.
pub const A: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 3);
/// Another client on the same bridge.
pub const A2: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
/// The server.
pub const B: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 2);
/// A host on a bridge that nothing is allowed from or to.
pub const C: Ipv4Addr = Ipv4Addr::new(10, 3, 0, 2);
/// The router on the clients' bridge.
pub const NEAR: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
/// The router on the server's bridge: what clients are masqueraded to.
pub const NAT: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 1);
/// A router on the server's bridge, behind the server.
pub const BEHIND: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 99);
/// A host somewhere behind the one outside.
pub const BEYOND: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

/// The client.
pub const A6: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 3);
/// Another client on the same bridge.
pub const A2_6: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 2);
/// The server.
pub const B6: Ipv6Addr = Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 2);
/// A host on a bridge that nothing is allowed from or to.
pub const C6: Ipv6Addr = Ipv6Addr::new(0xfd00, 3, 0, 0, 0, 0, 0, 2);
/// The router on the clients' bridge.
pub const NEAR6: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 1);
/// The router on the server's bridge: what clients are masqueraded to, where they are.
pub const NAT6: Ipv6Addr = Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 1);
/// A router on the server's bridge, behind the server.
pub const BEHIND6: Ipv6Addr = Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 99);
/// A host somewhere behind the one outside.
pub const BEYOND6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x99, 0, 0, 0, 0, 0, 9);

/// MTU of the server's bridge.
pub const FAR_MTU: usize = 1400;
/// MTU of the uplink.
const UPLINK_MTU: usize = 1600;

const HOSTS: [&str; 4] = ["br-a", "br-a", "br-b", "br-c"];
/// Ends of the flow by which the test knows that everything before it has arrived.
const BARRIER: (u16, u16) = (1999, 7);
const BARRIER_BACK: &[u8] = b"barrier back";

/// One router and its hosts.
pub struct Side {
    // Before the router, so that the daemon goes first.
    bridgefwd: Option<Bridgefwd>,
    router: Router,
    taps: Vec<Tap>,
}

/// What came of a case.
pub struct Played {
    /// What every host received.
    pub seen: Vec<Seen>,
    /// Ports with which clients arrived at servers: their own, or those that the router has chosen.
    pub chosen: Vec<u16>,
}

impl Side {
    /// The kernel forwards, masquerades and filters.
    #[must_use]
    pub fn kernel(mode: Mode) -> Self {
        let router = router(mode);
        let ns = &router.ns;
        let restore = |program, rules: &str| ns.run(|| run_with_input(program, &[], rules));
        restore("iptables-restore", &rules("10.1.0.0/24", true, ""));
        // IPv6 has no rp_filter but this rule.
        let reverse_path = "*raw\n-A PREROUTING -m rpfilter --invert -j DROP\nCOMMIT\n";
        restore("ip6tables-restore", &rules("fd00:1::/64", mode.nat66, reverse_path));
        // A segment in the middle of nothing opens nothing.
        ns.sysctl("net/netfilter/nf_conntrack_tcp_loose", "0");
        ns.sysctl("net/netfilter/nf_conntrack_frag6_timeout", LATE);
        Self::wired(None, router)
    }

    /// bridgefwd forwards, on a router without any rule.
    #[must_use]
    pub fn bridgefwd(mode: Mode) -> Self {
        let router = router(mode);
        let mut args = vec!["--bridge", "br-a", "--bridge", "br-b", "--bridge", "br-c"];
        args.extend(["--uplink", "up0", "--unlisted", "deny"]);
        args.extend(if mode.clsact { &["--attach", "clsact"][..] } else { &[] });
        args.extend(if mode.ports { &[][..] } else { &["--ports", "no"] });
        let bridgefwd = Bridgefwd::run(&router.ns, &args);
        let nat = if mode.nat66 { &["--nat6", "masquerade"][..] } else { &[] };
        for to in ["br-b", "up0"] {
            bridgefwd.ok(&[&["pair", "allow", "br-a", to], nat].concat());
        }
        Self::wired(Some(bridgefwd), router)
    }

    fn wired(bridgefwd: Option<Bridgefwd>, router: Router) -> Self {
        for (host, sender) in router.hosts.iter().zip(Sender::ALL) {
            assert_eq!(host.mac, sender.mac(), "the fixed MACs of the topology");
        }
        let mut taps: Vec<_> = router.hosts.iter().map(|host| Tap::new(&host.ns, "eth0")).collect();
        taps.push(Tap::new(&outside(&router).ns, "eth0"));
        Self { bridgefwd, router, taps }
    }

    /// The router and its hosts, for real sockets: before [`Side::silence_hosts`].
    #[must_use]
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// From here on hosts send only what the test sends.
    pub fn silence_hosts(&self) {
        let hosts = self.router.hosts.iter().map(|host| &host.ns);
        for ns in hosts.chain([&outside(&self.router).ns]) {
            ns.ip("addr flush dev eth0\n");
            ns.sysctl("net/ipv6/conf/all/disable_ipv6", "1");
        }
        self.barrier();
    }

    /// Sends the frames of a case one after the other and returns what every host received.
    #[must_use]
    pub fn play(&self, steps: &[Step], symbols: &mut Symbols) -> Played {
        let mut seen: Vec<Vec<Vec<u8>>> = vec![Vec::new(); self.taps.len()];
        for step in steps {
            let learned = seen[step.by as usize].iter().rev().find_map(|frame| ends(frame));
            let chosen = learned.map(|ends| ends.source);
            self.taps[step.by as usize].send(&step.frame(chosen));
            for (all, more) in seen.iter_mut().zip(self.barrier()) {
                all.extend(more);
            }
        }
        // From the frames and not from what is shown of them: of pieces that are mixed some are lost.
        let far = [Sender::B, Sender::O].into_iter().flat_map(|host| &seen[host as usize]);
        let chosen = far.filter_map(|frame| ends(frame)).map(|ends| ends.source).collect();
        let all = Sender::ALL.iter().zip(&seen);
        let seen = all
            .map(|(host, frames)| Seen { host: host.name(), packets: packets_of(frames, symbols) })
            .collect();
        Played { seen, chosen }
    }

    /// Waits until everything that was sent has been dealt with, and returns what has arrived.
    ///
    /// The test has one CPU, whose queue for incoming packets is first in, first out: when the
    /// barrier has gone there and back, so has all that was sent before it.
    fn barrier(&self) -> Vec<Vec<Vec<u8>>> {
        let mut arrived: Vec<Vec<Vec<u8>>> = self.taps.iter().map(Tap::drain).collect();
        let forth = Packet::udp(at(A, BARRIER.0), at(B, BARRIER.1));
        self.taps[Sender::A as usize].send(&forth.frame(Sender::A));
        let port = self.await_barrier(Sender::B, &mut arrived);
        let back = Packet::udp(at(B, BARRIER.1), at(NAT, port)).payload(BARRIER_BACK);
        self.taps[Sender::B as usize].send(&back.frame(Sender::B));
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

/// What a stateful firewall has that masquerades `clients`, and lets them begin.
fn rules(clients: &str, masquerade: bool, more: &str) -> String {
    let nat = |to: &str| format!("-A POSTROUTING -o {to} -s {clients} -j MASQUERADE\n");
    let nat = if masquerade { nat("br-b") + &nat("up0") } else { String::new() };
    format!(
        "*nat\n{nat}COMMIT\n{more}\
         *filter\n\
         :FORWARD DROP\n\
         -A FORWARD -m physdev --physdev-is-bridged -j ACCEPT\n\
         -A FORWARD -m conntrack --ctstate INVALID -j DROP\n\
         -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n\
         -A FORWARD -i br-a -o br-b -m conntrack --ctstate NEW -j ACCEPT\n\
         -A FORWARD -i br-a -o up0 -m conntrack --ctstate NEW -j ACCEPT\n\
         COMMIT\n"
    )
}

/// In seconds; incomplete datagrams are kept until the world is gone: what the kernel says when it
/// gives one up would come at some time in some other case.
const LATE: &str = "600";

fn router(mode: Mode) -> Router {
    let Mode { offloads, bridge_nf, .. } = mode;
    let options = Options { offloads, bridge_nf, uplink: true, ..Options::default() };
    let router = Router::new(options, &HOSTS);
    router.learn_neighbours();
    // Silent hosts answer no ARP, from which a bridge would learn where they are.
    for host in &router.hosts {
        let mac = mac_text(host.mac);
        let entry = ["fdb", "replace", &mac, "dev", &host.port, "master", "static"];
        router.ns.command("bridge", &entry);
    }
    // No group is known to a bridge because of what a host said before the test.
    let bridges = ["br-a", "br-b", "br-c"];
    let snooping = bridges.map(|name| format!("link set {name} type bridge mcast_snooping 0\n"));
    router.ns.ip(&snooping.concat());
    router.ns.ip(&format!(
        "link set br-b mtu {FAR_MTU}\n\
         link set up0 mtu {UPLINK_MTU}\n\
         route add 203.0.113.0/24 via 192.0.2.2\n\
         route add fd00:99::/64 via fd00:9::2\n"
    ));
    outside(&router).ns.ip(&format!("link set eth0 mtu {UPLINK_MTU}\n"));
    for (key, value) in [
        ("net/ipv4/conf/all/rp_filter", "1"),
        // Every error is to be seen.
        ("net/ipv4/icmp_ratelimit", "0"),
        ("net/ipv4/icmp_ratemask", "0"),
        ("net/ipv6/icmp/ratelimit", "0"),
        ("net/ipv4/ipfrag_time", LATE),
        ("net/ipv6/ip6frag_time", LATE),
    ] {
        router.ns.sysctl(key, value);
    }
    // The same for all errors together, where a namespace has a limit of its own.
    for key in ["net/ipv4/icmp_msgs_per_sec", "net/ipv4/icmp_msgs_burst"] {
        let path = format!("/proc/sys/{key}");
        if router.ns.run(|| std::fs::exists(&path).is_ok_and(|there| there)) {
            router.ns.sysctl(key, "1000000");
        }
    }
    router
}

fn outside(router: &Router) -> &Uplink {
    router.uplink.as_ref().expect("the uplink that was asked for")
}

/// Source port of a barrier, forth or back.
fn barrier_port(frame: &[u8]) -> Option<u16> {
    let ends = ends(frame).filter(|ends| ends.protocol == 17 && frame[12..14] == [8, 0])?;
    (ends.target == BARRIER.1 || ends.source == BARRIER.1).then_some(ends.source)
}
