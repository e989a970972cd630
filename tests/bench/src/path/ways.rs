//! The ways from a client to a server that are compared: each a world of its own, with the same hosts
//! and cables, all of them there at the same time.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use bridgefwd_tests::bridgefwd::Bridgefwd;
use bridgefwd_tests::command;
use bridgefwd_tests::namespaces::Namespace;
use bridgefwd_tests::topology::{Options as RouterOptions, Router};
use bridgefwd_tests::uplink::{UPLINK, Uplink};

use super::rules;

/// Networks whose rules stand before those that matter.
pub const OTHERS: u32 = 100;

/// One way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A cable between the two.
    Direct,
    /// Both on one bridge.
    SameBridge,
    /// Forwarded by the kernel, without a rule.
    Forwarded,
    /// Docker's rules, by iptables.
    Iptables,
    /// The same behind those of 100 other networks.
    IptablesOthers,
    /// Masqueraded by nftables.
    Nftables,
    /// The same with a flowtable.
    Flowtable,
    /// bridgefwd on bridges and ports.
    Ports,
    /// bridgefwd on bridges alone.
    Bridges,
    /// bridgefwd where Docker has rules for 100 other networks.
    PortsOthers,
    /// bridgefwd on an uplink and what is behind it, from outside.
    Outside,
}

impl Kind {
    /// Those that are compared by `path`.
    pub const ALL: [Self; 10] = [
        Self::Direct,
        Self::SameBridge,
        Self::Forwarded,
        Self::Iptables,
        Self::IptablesOthers,
        Self::Nftables,
        Self::Flowtable,
        Self::Ports,
        Self::Bridges,
        Self::PortsOthers,
    ];

    /// In tables and charts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct cable",
            Self::SameBridge => "same bridge",
            Self::Forwarded => "kernel, no rules",
            Self::Iptables => "iptables, as Docker",
            Self::IptablesOthers => "iptables, 100 more networks",
            Self::Nftables => "nftables masquerade",
            Self::Flowtable => "nftables flowtable",
            Self::Ports => "bridgefwd, on ports",
            Self::Bridges => "bridgefwd, on bridges",
            Self::PortsOthers => "bridgefwd, 100 more networks",
            Self::Outside => "bridgefwd, from outside",
        }
    }

    /// Is it one of ours?
    pub const fn is_ours(self) -> bool {
        matches!(self, Self::Ports | Self::Bridges | Self::PortsOthers | Self::Outside)
    }
}

/// A way that is there.
pub struct Way {
    /// Which one.
    pub kind: Kind,
    // Before the router, so that the daemon goes first.
    bridgefwd: Option<Bridgefwd>,
    hosts: Hosts,
}

enum Hosts {
    Cable {
        client: Namespace,
        server: Namespace,
    },
    Router(Router),
    /// The client is the host behind the uplink.
    Uplink(Router),
}

/// The server of a way with a cable.
const FAR_END: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 3);

impl Way {
    /// Makes it. `None`, with a word on standard error, where this machine cannot.
    #[track_caller]
    pub fn make(kind: Kind, flows: u32) -> Option<Self> {
        if kind == Kind::Direct {
            let hosts = cable();
            return Some(Self { kind, bridgefwd: None, hosts });
        }
        let places = if kind == Kind::SameBridge { ["br-a", "br-a"] } else { ["br-a", "br-b"] };
        let from_outside = kind == Kind::Outside;
        let options = RouterOptions { uplink: from_outside, ..RouterOptions::default() };
        let router = Router::new(options, &places);
        let restore = |text: String| {
            router.ns.run(|| command::run_with_input("iptables-restore", &["-w"], &text));
        };
        match kind {
            Kind::Iptables => restore(rules::docker(0)),
            Kind::IptablesOthers | Kind::PortsOthers => restore(rules::docker(OTHERS)),
            Kind::Nftables | Kind::Flowtable => {
                if let Err(why) = nft(&router.ns, &rules::nftables(kind == Kind::Flowtable)) {
                    eprintln!("NOT MEASURED: {}: {why}", kind.name());
                    return None;
                }
            }
            _ => {}
        }
        let bridgefwd = kind.is_ours().then(|| {
            let flows = flows.to_string();
            let args = ["--bridge", "br-a", "br-b", "--max-flows", &flows];
            let shares = ["--flows-per-source", &flows, "--timer", "udp_one_way=3600"];
            let ports = ["--ports", if kind == Kind::Bridges { "no" } else { "yes" }];
            let uplink: &[&str] = if from_outside { &["--uplink", "up0"] } else { &[] };
            let options = [&args[..], &shares, &ports, uplink].concat();
            let bridgefwd = Bridgefwd::run(&router.ns, &options);
            bridgefwd.ok(&["pair", "allow", if from_outside { "up0" } else { "br-a" }, "br-b"]);
            bridgefwd
        });
        let hosts = if from_outside { Hosts::Uplink(router) } else { Hosts::Router(router) };
        let way = Self { kind, bridgefwd, hosts };
        if from_outside {
            way.client().ip(&format!("route add default via {UPLINK}\n"));
        }
        // Where connections come by the thousand, closed ones must not use up the ports.
        way.client().sysctl("net/ipv4/ip_local_port_range", "1024 65535");
        way.client().sysctl("net/ipv4/tcp_tw_reuse", "1");
        Some(way)
    }

    /// The client's namespace.
    pub fn client(&self) -> &Namespace {
        match &self.hosts {
            Hosts::Cable { client, .. } => client,
            Hosts::Router(router) => &router.hosts[0].ns,
            Hosts::Uplink(router) => &uplink(router).ns,
        }
    }

    /// The server's namespace.
    pub fn server(&self) -> &Namespace {
        match &self.hosts {
            Hosts::Cable { server, .. } => server,
            Hosts::Router(router) | Hosts::Uplink(router) => &router.hosts[1].ns,
        }
    }

    /// An address of the server.
    pub fn at(&self, port: u16) -> SocketAddrV4 {
        match &self.hosts {
            Hosts::Cable { .. } => SocketAddrV4::new(FAR_END, port),
            Hosts::Router(router) | Hosts::Uplink(router) => router.hosts[1].at(port),
        }
    }

    /// The router, where there is one.
    pub fn router(&self) -> Option<&Router> {
        match &self.hosts {
            Hosts::Cable { .. } => None,
            Hosts::Router(router) | Hosts::Uplink(router) => Some(router),
        }
    }

    /// The daemon, where it is one of ours.
    pub fn bridgefwd(&self) -> Option<&Bridgefwd> {
        self.bridgefwd.as_ref()
    }

    /// Turns off what a network card would do for the stack, at both ends of every cable.
    pub fn without_offloads(&self) {
        let off = ["tx", "off", "tso", "off", "gso", "off", "gro", "off", "sg", "off"];
        let turn = |ns: &Namespace, interface: &str| {
            ns.command("ethtool", &[&["-K", interface], &off[..]].concat());
        };
        turn(self.client(), "eth0");
        turn(self.server(), "eth0");
        if let Some(router) = self.router() {
            router.hosts.iter().for_each(|host| turn(&router.ns, &host.port));
        }
    }
}

fn uplink(router: &Router) -> &Uplink {
    router.uplink.as_ref().expect("it was asked for")
}

fn cable() -> Hosts {
    let (client, server) = (Namespace::new("near"), Namespace::new("far"));
    client.ip(&format!(
        "link add eth0 type veth peer name eth0 netns {}\naddr add 10.1.0.2/24 dev eth0\n\
         link set eth0 up\n",
        server.name()
    ));
    server.ip(&format!("addr add {FAR_END}/24 dev eth0\nlink set eth0 up\n"));
    client.sysctl("net/ipv4/ip_local_port_range", "1024 65535");
    client.sysctl("net/ipv4/tcp_tw_reuse", "1");
    Hosts::Cable { client, server }
}

/// Loads rules of nftables; why not, where it cannot.
fn nft(ns: &Arc<Namespace>, text: &str) -> Result<(), String> {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    ns.run(|| {
        let mut child = Command::new("nft")
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("nft cannot be started: {error}"))?;
        if let Some(mut stdin) = child.stdin.take() {
            let _ = stdin.write_all(text.as_bytes());
        }
        let output = child.wait_with_output().map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().next().unwrap_or("no reason given").to_owned();
        Err(format!("this kernel or nft cannot: {said}"))
    })
}
