//! A site: a router by the kernel or by bridgefwd, alike but for who forwards.
//!
//! What a test of behaviour says must hold for both: the kernel shows that the test is right, and
//! bridgefwd that it does the same. [`for_both`](crate::for_both) makes the two tests of one body.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::bridgefwd::Bridgefwd;
use crate::command;
use crate::namespaces::Namespace;
use crate::topology::{Host, Options, Router, address6_of};
pub use crate::uplink::{OUTSIDE, OUTSIDE6, UPLINK, UPLINK6};
use crate::wait::until;

/// Who forwards.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum By {
    /// The kernel: MASQUERADE and a FORWARD chain that lets in what belongs to a connection.
    Kernel,
    /// bridgefwd, on a router without a rule.
    Bridgefwd,
}

/// Which of the two protocols.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Family {
    /// IPv4: clients are masqueraded.
    V4,
    /// IPv6: clients keep their address.
    V6,
}

/// Places of the hosts in [`Router::hosts`]: the client.
pub const A: usize = 0;
/// Another client on the same bridge.
pub const A2: usize = 1;
/// The server.
pub const B: usize = 2;
/// Another server on the same bridge.
pub const B2: usize = 3;
/// A host on a bridge that nothing is allowed from or to.
pub const C: usize = 4;

const HOSTS: [&str; 5] = ["br-a", "br-a", "br-b", "br-b", "br-c"];

/// The router on `br-a`.
pub const NEAR: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
/// The router on `br-b`.
pub const NAT: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 1);

/// Rules that do what the pairs `br-a -> br-b` and `br-a -> up0` do.
const FILTER: &str = "*filter\n\
    :FORWARD DROP\n\
    -A FORWARD -m physdev --physdev-is-bridged -j ACCEPT\n\
    -A FORWARD -m conntrack --ctstate INVALID -j DROP\n\
    -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n\
    -A FORWARD -i br-a -o br-b -m conntrack --ctstate NEW -j ACCEPT\n\
    -A FORWARD -i br-a -o up0 -m conntrack --ctstate NEW -j ACCEPT\n\
    COMMIT\n";
const MASQUERADE: &str = "*nat\n\
    -A POSTROUTING -s 10.1.0.0/24 -o br-b -j MASQUERADE\n\
    -A POSTROUTING -s 10.1.0.0/24 -o up0 -j MASQUERADE\n\
    COMMIT\n";

/// What differs between sites.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// Of the router and its hosts.
    pub options: Options,
    /// More arguments of `bridgefwd run`.
    pub args: &'a [&'a str],
}

impl Default for Plan<'_> {
    fn default() -> Self {
        // With it, br_netfilter would do for bridges what is the router's to do.
        let options = Options { bridge_nf: false, uplink: true, ..Options::default() };
        Self { options, args: &[] }
    }
}

/// The router, its hosts, and the host outside.
pub struct Site {
    // Before the router, so that the daemon goes first.
    bridgefwd: Option<Bridgefwd>,
    /// The router and its hosts.
    pub router: Router,
}

impl Site {
    /// With everything as usual.
    #[must_use]
    #[track_caller]
    pub fn new(by: By) -> Self {
        Self::planned(by, Plan::default())
    }

    /// As planned.
    #[must_use]
    #[track_caller]
    pub fn planned(by: By, plan: Plan) -> Self {
        let router = Router::new(plan.options, &HOSTS);
        until_running(&router.ns);
        for host in &router.hosts {
            until_running(&host.ns);
        }
        unlimited_errors(&router.ns);
        let bridgefwd = match by {
            By::Kernel => {
                rules(&router.ns);
                None
            }
            By::Bridgefwd => Some(daemon(&router, plan.args)),
        };
        Self { bridgefwd, router }
    }

    /// Who forwards here.
    #[must_use]
    pub fn by(&self) -> By {
        if self.bridgefwd.is_some() { By::Bridgefwd } else { By::Kernel }
    }

    /// The daemon, where it is bridgefwd that forwards.
    #[must_use]
    pub fn bridgefwd(&self) -> Option<&Bridgefwd> {
        self.bridgefwd.as_ref()
    }

    /// As [`Site::bridgefwd`], to stop it.
    pub fn bridgefwd_mut(&mut self) -> Option<&mut Bridgefwd> {
        self.bridgefwd.as_mut()
    }

    /// The client.
    #[must_use]
    pub fn a(&self) -> &Host {
        &self.router.hosts[A]
    }

    /// The other client.
    #[must_use]
    pub fn a2(&self) -> &Host {
        &self.router.hosts[A2]
    }

    /// The server.
    #[must_use]
    pub fn b(&self) -> &Host {
        &self.router.hosts[B]
    }

    /// The other server.
    #[must_use]
    pub fn b2(&self) -> &Host {
        &self.router.hosts[B2]
    }

    /// The host that nothing is allowed from or to.
    #[must_use]
    pub fn c(&self) -> &Host {
        &self.router.hosts[C]
    }

    /// The namespace of the host outside. It knows no route to the bridges.
    #[must_use]
    #[track_caller]
    pub fn outside(&self) -> &Namespace {
        &self.router.uplink.as_ref().expect("a site has an uplink").ns
    }

    /// Packets counted under a reason; `None` where the kernel forwards.
    #[must_use]
    #[track_caller]
    pub fn counted(&self, reason: &str) -> Option<u64> {
        let stats = self.bridgefwd.as_ref()?.json(&["stats"]);
        Some(stats["reasons"][reason]["packets"].as_u64().expect("a reason of the program"))
    }

    /// What stands in the way of a packet, for messages of tests that fail: the reasons that were
    /// counted.
    #[must_use]
    pub fn reasons(&self) -> String {
        let Some(bridgefwd) = &self.bridgefwd else { return "the kernel forwards".to_owned() };
        let output = bridgefwd.cli(&["stats"]);
        output.stdout + &output.stderr
    }
}

/// The daemon with every end managed, and the two pairs allowed.
#[track_caller]
fn daemon(router: &Router, args: &[&str]) -> Bridgefwd {
    let ends = ["--bridge", "br-a", "br-b", "br-c", "--uplink", "up0", "--unlisted", "deny"];
    let bridgefwd = Bridgefwd::run(&router.ns, &[&ends[..], args].concat());
    bridgefwd.ok(&["pair", "allow", "br-a", "br-b"]);
    bridgefwd.ok(&["pair", "allow", "br-a", "up0"]);
    bridgefwd
}

/// Waits until every interface of a namespace that is up runs: what is sent before that is lost, as
/// the kernel starts the queue of a cable that was plugged in a moment later.
#[track_caller]
pub(crate) fn until_running(ns: &Namespace) {
    until("interfaces run", || {
        let text = ns.command("ip", &["-br", "link", "show", "up"]);
        text.lines().all(|line| {
            let state = line.split_whitespace().nth(1);
            // The loopback interface has no state.
            state == Some("UP") || line.starts_with("lo ")
        })
    });
}

/// Lets a namespace send every ICMP error: each is to be seen.
#[track_caller]
pub(crate) fn unlimited_errors(ns: &Namespace) {
    ns.sysctl("net/ipv4/icmp_ratelimit", "0");
    ns.sysctl("net/ipv6/icmp/ratelimit", "0");
}

/// The kernel's rules.
#[track_caller]
fn rules(ns: &Namespace) {
    ns.run(|| {
        let v4 = format!("{MASQUERADE}{FILTER}");
        command::run_with_input("iptables-restore", &["-w"], &v4);
        command::run_with_input("ip6tables-restore", &["-w"], FILTER);
    });
    // A segment in the middle of nothing opens nothing.
    ns.sysctl("net/netfilter/nf_conntrack_tcp_loose", "0");
}

impl Family {
    /// A host's address in this family.
    #[must_use]
    pub fn of(self, host: &Host) -> IpAddr {
        match self {
            Self::V4 => host.address.into(),
            Self::V6 => host.address6.into(),
        }
    }

    /// A socket address on a host.
    #[must_use]
    pub fn at(self, host: &Host, port: u16) -> SocketAddr {
        SocketAddr::new(self.of(host), port)
    }

    /// One of two addresses.
    #[must_use]
    pub fn pick(self, v4: Ipv4Addr, v6: Ipv6Addr) -> IpAddr {
        match self {
            Self::V4 => v4.into(),
            Self::V6 => v6.into(),
        }
    }

    /// The router's address on the bridge of that number: 1 is `br-a`.
    #[must_use]
    pub fn router(self, bridge: u8) -> IpAddr {
        self.pick(Ipv4Addr::new(10, bridge, 0, 1), address6_of(bridge.into(), 1))
    }

    /// The host outside.
    #[must_use]
    pub fn outside(self) -> IpAddr {
        self.pick(OUTSIDE, OUTSIDE6)
    }

    /// Any address.
    #[must_use]
    pub fn unspecified(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Self::V6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }

    /// Whom a server on `br-b` sees in the place of that client.
    #[must_use]
    pub fn seen(self, client: &Host) -> IpAddr {
        match self {
            Self::V4 => NAT.into(),
            Self::V6 => self.of(client),
        }
    }
}

/// Makes of each named function, which takes a [`By`], two tests in a module of its name:
/// `kernel` and `bridgefwd`.
#[macro_export]
macro_rules! for_both {
    ($($name:ident),+ $(,)?) => {
        $(mod $name {
            #[test]
            fn kernel() {
                $crate::needs_root!();
                super::$name($crate::site::By::Kernel);
            }

            #[test]
            fn bridgefwd() {
                $crate::needs_root!();
                super::$name($crate::site::By::Bridgefwd);
            }
        })+
    };
}

/// As [`for_both`](crate::for_both), of functions that take a [`Family`] too: four tests each.
#[macro_export]
macro_rules! for_both_families {
    ($($name:ident),+ $(,)?) => {
        $(mod $name {
            use $crate::site::{By, Family};

            #[test]
            fn kernel() {
                $crate::needs_root!();
                super::$name(By::Kernel, Family::V4);
            }

            #[test]
            fn bridgefwd() {
                $crate::needs_root!();
                super::$name(By::Bridgefwd, Family::V4);
            }

            #[test]
            fn kernel_ipv6() {
                $crate::needs_root!();
                super::$name(By::Kernel, Family::V6);
            }

            #[test]
            fn bridgefwd_ipv6() {
                $crate::needs_root!();
                super::$name(By::Bridgefwd, Family::V6);
            }
        })+
    };
}
