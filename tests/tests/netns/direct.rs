//! Packets that go straight into the container, past bridge and port: where that comes to the same, and not
//! where anybody would miss them.

use std::time::Duration;

use bridgefwd_tests::capture::Capture;
use bridgefwd_tests::foreign::ForeignProgram;
use bridgefwd_tests::namespaces::Namespace;
use bridgefwd_tests::needs_root;
use bridgefwd_tests::topology::Options;
use bridgefwd_tests::traffic::{arrives, listen, pair_up, say, udp, udp_exchange};
use bridgefwd_tests::view::assert_checksums;
use bridgefwd_tests::wait::until;

use crate::rig::{BRIDGES, Rig, without_offloads};

/// Packets that an interface has received and sent, by its own count.
#[track_caller]
fn counted(ns: &Namespace, interface: &str) -> (u64, u64) {
    let all = ns.command("cat", &["/proc/thread-self/net/dev"]);
    let head = format!("{interface}:");
    let line = all.lines().find_map(|line| line.trim_start().strip_prefix(&head));
    let fields: Vec<u64> = line
        .expect("the interface")
        .split_whitespace()
        .map(|field| field.parse().expect("a number"))
        .collect();
    (fields[1], fields[9])
}

/// A connection from `a` to `b`, and one more exchange over it whenever it is asked for.
struct Exchange<'a> {
    rig: &'a Rig,
    near: std::net::TcpStream,
    far: std::net::TcpStream,
}

impl<'a> Exchange<'a> {
    #[track_caller]
    fn over(rig: &'a Rig, from: u16) -> Self {
        let listener = listen(&rig.b().ns, rig.b().at(80));
        let (near, far, _) = pair_up(&rig.a().ns, from, &listener);
        Self { rig, near, far }
    }

    /// How many packets the servers' port sent for one exchange.
    #[track_caller]
    fn by_port(&mut self) -> u64 {
        let sent = || counted(&self.rig.router.ns, &self.rig.b().port).1;
        let before = sent();
        say(&mut self.near, &mut self.far, "there");
        say(&mut self.far, &mut self.near, "and back");
        sent() - before
    }

    #[track_caller]
    fn until_direct(&mut self, when: &str) {
        until(&format!("packets go past the port {when}"), || self.by_port() == 0);
    }

    #[track_caller]
    fn until_by_port(&mut self, when: &str) {
        until(&format!("packets go by the port {when}"), || self.by_port() >= 1);
    }
}

#[test]
fn nothing_but_the_way_is_different() {
    needs_root!();
    let mut rig = Rig::allowed(without_offloads(), &[]);
    let (router_mac, server_mac) = (rig.router.mac_now("br-b"), rig.b().mac);
    let capture = Capture::start(&rig.b().ns, "eth0");
    let mut exchange = Exchange::over(&rig, 10_000);
    exchange.until_direct("at once");
    let before = capture.frames().len();
    let received = counted(&rig.b().ns, "eth0").0;
    for _ in 0..20 {
        assert_eq!(exchange.by_port(), 0);
    }
    assert!(counted(&rig.b().ns, "eth0").0 >= received + 20, "counted in the container");
    let flow = rig.flow("tcp");
    let gateway = rig.router.bridge("br-b").address;
    let port = flow["translated"]["src_port"].as_u64().expect("a port");
    let arrived = capture.picked(|frame, view| !frame.outgoing && view.protocol == 6);
    assert!(capture.frames().len() >= before + 40);
    for (frame, view) in &arrived {
        assert_eq!((view.mac_dst, view.mac_src), (server_mac, router_mac), "{view:?}");
        assert_eq!((*view.src.ip(), view.ttl), (gateway, 63), "{view:?}");
        assert_eq!(u64::from(view.src.port()), port, "{view:?}");
        assert_checksums(&frame.bytes);
    }
    drop(exchange);
    // A daemon that dies takes nothing of it along.
    let mut exchange = Exchange::over(&rig, 10_001);
    exchange.until_direct("with a daemon");
    let Exchange { near, far, .. } = exchange;
    rig.bridgefwd.kill();
    let mut exchange = Exchange { rig: &rig, near, far };
    for _ in 0..20 {
        assert_eq!(exchange.by_port(), 0);
    }
}

#[test]
fn whoever_captures_sees_all() {
    needs_root!();
    let rig = Rig::allowed(Options::default(), &[]);
    let mut exchange = Exchange::over(&rig, 10_000);
    for interface in ["br-b", &rig.b().port] {
        exchange.until_direct("while nobody captures");
        let capture = Capture::start(&rig.router.ns, interface);
        exchange.until_by_port(interface);
        say(&mut exchange.near, &mut exchange.far, "seen");
        capture.wait_for(1, |frame, view| frame.outgoing && view.payload == b"seen");
    }
    exchange.until_direct("when the capture has ended");
}

#[test]
fn nobody_is_bypassed() {
    needs_root!();
    let rig = Rig::allowed(Options::default(), &[]);
    let port = rig.b().port.clone();
    let (router, port) = (&rig.router.ns, port.as_str());
    let mut exchange = Exchange::over(&rig, 10_000);
    let obstacles: [(&str, [&[&str]; 2]); 3] = [
        (
            "with a qdisc on the port",
            [
                &["tc", "qdisc", "add", "dev", port, "root", "pfifo"],
                &["tc", "qdisc", "del", "dev", port, "root"],
            ],
        ),
        (
            "with a qdisc on the bridge",
            [
                &["tc", "qdisc", "add", "dev", "br-b", "root", "pfifo"],
                &["tc", "qdisc", "del", "dev", "br-b", "root"],
            ],
        ),
        (
            "with rules for bridges",
            [
                &["nft", "add", "table", "bridge", "of_others"],
                &["nft", "delete", "table", "bridge", "of_others"],
            ],
        ),
    ];
    for (when, [set, unset]) in obstacles {
        exchange.until_direct(&format!("before {when}"));
        router.command(set[0], &set[1..]);
        exchange.until_by_port(when);
        router.command(unset[0], &unset[1..]);
    }
    exchange.until_direct("again");
    let other = ForeignProgram::load();
    for interface in [port, "br-b"] {
        router.command("tc", &["qdisc", "add", "dev", interface, "clsact"]);
        other.egress_filter(router, interface, 9);
        exchange.until_by_port("with somebody's filter");
        let runs = other.runs();
        assert!(exchange.by_port() >= 1 && other.runs() > runs, "{interface}");
        router.command("tc", &["qdisc", "del", "dev", interface, "clsact"]);
        exchange.until_direct("without that filter");
    }
}

#[test]
fn a_neighbour_with_another_mac_is_believed() {
    needs_root!();
    let rig = Rig::allowed(Options::default(), &[]);
    let (client, server) = (udp(&rig.a().ns, rig.a().at(10_000)), udp(&rig.b().ns, rig.b().at(53)));
    let sent = || counted(&rig.router.ns, &rig.b().port).1;
    let translated = udp_exchange(&client, &server, "opens the flow");
    until("packets go past the port", || {
        let before = sent();
        udp_exchange(&client, &server, "there and back");
        sent() == before
    });
    let neighbour = |mac: &str| {
        let address = rig.b().address.to_string();
        rig.router.ns.ip(&format!("neigh replace {address} lladdr {mac} dev br-b\n"));
    };
    // It is there, and speaks by its own MAC address all the time; but the kernel says another one.
    neighbour("02:bf:77:00:00:99");
    until("what is sent to that MAC address is for nobody", || {
        server.send_to(b"I am here", translated).expect("sent");
        client.send_to(b"where?", rig.b().at(53)).expect("sent");
        !arrives(&server, Duration::from_millis(100))
    });
    neighbour(&bridgefwd_tests::topology::mac_text(rig.b().mac));
    until("it is found again", || {
        client.send_to(b"there!", rig.b().at(53)).expect("sent");
        arrives(&server, Duration::from_millis(100))
    });
}

#[test]
fn it_can_be_switched_off() {
    needs_root!();
    let mut rig = Rig::allowed(Options::default(), &[]);
    let mut exchange = Exchange::over(&rig, 10_000);
    exchange.until_direct("by default");
    assert_eq!(rig.bridgefwd.json(&["status"])["ports_direct"], 3);
    let Exchange { near, far, .. } = exchange;
    rig.bridgefwd.kill();
    rig.bridgefwd.start(&[&BRIDGES[..], &["--direct", "no"]].concat());
    let mut exchange = Exchange { rig: &rig, near, far };
    assert_eq!(rig.bridgefwd.json(&["status"])["ports_direct"], 0);
    for _ in 0..50 {
        assert!(exchange.by_port() >= 1);
    }
}

#[test]
fn without_ports_all_go_by_the_bridge() {
    needs_root!();
    let rig = Rig::allowed(Options::default(), &["--ports", "no"]);
    let mut exchange = Exchange::over(&rig, 10_000);
    for _ in 0..50 {
        assert!(exchange.by_port() >= 1);
    }
}
