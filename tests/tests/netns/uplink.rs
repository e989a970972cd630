//! Uplinks: an ordinary interface as an end of pairs.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use bridgefwd_tests::bridgefwd::Bridgefwd;
use bridgefwd_tests::namespaces::Namespace;
use bridgefwd_tests::needs_root;
use bridgefwd_tests::topology::{Host, Options, Router};
use bridgefwd_tests::traffic::{
    connect_within, listen, pair_up, ping, say, transfer, udp, udp_exchange,
};
use bridgefwd_tests::uplink::{OUTSIDE as SERVER, UPLINK, Uplink};
use bridgefwd_tests::wait::{PATIENCE, until};
use serde_json::{Value, json};

use crate::lifecycle::traces;

const NOT_AT_ALL: Duration = Duration::from_millis(300);
const ARGS: [&str; 6] = ["--bridge", "br-a", "--uplink", "up0", "--unlisted", "deny"];

/// A router with `br-a` and, behind its uplink `up0`, the world outside: a server that knows
/// nothing of the router's inner networks.
struct Site {
    bridgefwd: Bridgefwd,
    router: Router,
}

impl Site {
    fn new() -> Self {
        let router = Router::new(Options { uplink: true, ..Options::default() }, &["br-a", "br-b"]);
        Self { bridgefwd: Bridgefwd::new(&router.ns), router }
    }

    fn allowed() -> Self {
        let mut site = Self::new();
        site.bridgefwd.start(&ARGS);
        site.bridgefwd.ok(&["pair", "allow", "br-a", "up0"]);
        site
    }

    fn a(&self) -> &Host {
        &self.router.hosts[0]
    }

    fn uplink(&self) -> &Uplink {
        self.router.uplink.as_ref().expect("an uplink")
    }

    /// The server's namespace.
    fn outside(&self) -> &Namespace {
        &self.uplink().ns
    }

    fn bridges(&self) -> Value {
        Value::Array(self.bridgefwd.managed())
    }

    /// One exchange with the server outside, from `port`; returns the client as the server sees it.
    fn exchange(&self, port: u16) -> SocketAddrV4 {
        let server = udp(self.outside(), SocketAddrV4::new(SERVER, 53));
        let client = udp(&self.a().ns, self.a().at(port));
        udp_exchange(&client, &server, "who am I?")
    }

    fn counted(&self, reason: &str) -> u64 {
        let stats = self.bridgefwd.json(&["stats"]);
        stats["reasons"][reason]["packets"].as_u64().expect("a reason")
    }
}

#[test]
fn clients_go_out_under_the_address_of_the_uplink() {
    needs_root!();
    let site = Site::allowed();
    let listener = listen(site.outside(), SocketAddrV4::new(SERVER, 80));
    let (near, far, seen) = pair_up(&site.a().ns, 0, &listener);
    assert_eq!(*seen.ip(), UPLINK);
    transfer(near, far, 4 << 20);
    assert_eq!(*site.exchange(5_000).ip(), UPLINK);
    assert_eq!(ping(&site.a().ns, SERVER, 5, 3, PATIENCE), 3);
    let by_kernel = site.bridgefwd.forwarded_by_kernel(&site.router.ns);
    assert_eq!(by_kernel, 0, "all of it took the fast path");
    let bridges = site.bridges();
    let up = bridges.as_array().expect("a list").iter().find(|end| end["name"] == "up0");
    let up = up.expect("up0 is an end");
    assert_eq!((&up["kind"], &up["ports"]), (&json!("uplink"), &json!([])));
    assert_eq!(up["addresses"][0], "192.0.2.1/24");
    let status = site.bridgefwd.json(&["status"]);
    assert_eq!((&status["bridges"], &status["uplinks"]), (&json!(["br-a"]), &json!(["up0"])));
}

#[test]
fn what_was_not_asked_for_from_outside_is_refused() {
    needs_root!();
    let site = Site::allowed();
    site.outside().ip(&format!("route add 10.0.0.0/8 via {UPLINK}\n"));
    let listener = listen(&site.a().ns, site.a().at(80));
    let refused = connect_within(NOT_AT_ALL, site.outside(), 0, site.a().at(80));
    assert!(refused.is_err(), "outside reached a client");
    assert_eq!(ping(site.outside(), site.a().address, 9, 1, NOT_AT_ALL), 0);
    assert!(site.counted("unlisted_denied") >= 2);
    // What is not between managed ends stays the kernel's: its own, and bridges without us.
    let outer = listen(site.outside(), SocketAddrV4::new(SERVER, 80));
    let (mut near, mut far, _) = pair_up(&site.router.ns, 0, &outer);
    say(&mut near, &mut far, "the router itself");
    assert_eq!(ping(site.outside(), site.router.hosts[1].address, 9, 1, PATIENCE), 1);
    // The other way round it is a pair like any other.
    site.bridgefwd.ok(&["pair", "allow", "up0", "br-a"]);
    let (_, _, seen) = pair_up(site.outside(), 0, &listener);
    assert_eq!(*seen.ip(), Ipv4Addr::new(10, 1, 0, 1));
}

#[test]
fn the_uplink_changes_its_address_and_its_mac() {
    needs_root!();
    let site = Site::allowed();
    assert_eq!(*site.exchange(5_000).ip(), UPLINK);
    site.router.ns.ip("addr del 192.0.2.1/24 dev up0\naddr add 192.0.2.7/24 dev up0\n");
    until("the new address is known", || {
        let bridges = site.bridges();
        let mut ends = bridges.as_array().expect("a list").iter();
        ends.any(|end| end["addresses"][0] == "192.0.2.7/24")
    });
    assert_eq!(*site.exchange(5_001).ip(), Ipv4Addr::new(192, 0, 2, 7));
    site.router.ns.ip("link set up0 address 02:bf:00:09:00:07 mtu 1400\n");
    until("the new MTU is known", || {
        let bridges = site.bridges();
        bridges.as_array().expect("a list").iter().any(|end| end["mtu"] == 1400)
    });
    site.outside().ip("neigh flush dev eth0\n");
    assert_eq!(*site.exchange(5_002).ip(), Ipv4Addr::new(192, 0, 2, 7));
    assert_eq!(site.bridgefwd.forwarded_by_kernel(&site.router.ns), 0);
}

#[test]
fn the_uplink_goes_and_comes_back_with_its_pair() {
    needs_root!();
    let site = Site::allowed();
    site.bridgefwd.ok(&["pair", "deny", "up0", "br-a"]);
    assert_eq!(*site.exchange(5_000).ip(), UPLINK);
    site.router.ns.ip("link del up0\n");
    until("it is gone", || site.bridges().as_array().is_some_and(|ends| ends.len() == 1));
    let status = site.bridgefwd.json(&["status"]);
    let warnings = status["warnings"].to_string();
    assert!(warnings.contains("the uplink up0 is gone"), "{warnings}");
    site.uplink().plug(&site.router.ns);
    until("it is managed again", || site.bridges().as_array().is_some_and(|ends| ends.len() == 2));
    until("its pairs hold again", || {
        let pairs = site.bridgefwd.json(&["pair", "list"]);
        pairs.as_array().is_some_and(|pairs| {
            pairs.len() == 2 && pairs.iter().all(|pair| pair["present"] == true)
        })
    });
    assert_eq!(*site.exchange(5_001).ip(), UPLINK);
}

#[test]
fn a_daemon_that_comes_back_and_one_that_goes_down() {
    needs_root!();
    let mut site = Site::new();
    let before = traces(&site.router.ns);
    let config = site.bridgefwd.folder().join("bridgefwd.toml");
    let text = "bridges = ['br-a']\nuplinks = ['up0']\nunlisted = 'deny'\n\
                [[pair]]\nfrom = 'br-a'\nto = 'up0'\n";
    std::fs::write(&config, text).expect("written");
    let config = config.to_str().expect("UTF-8").to_owned();
    site.bridgefwd.start(&["--config", &config]);
    let listener = listen(site.outside(), SocketAddrV4::new(SERVER, 80));
    let (mut near, mut far, seen) = pair_up(&site.a().ns, 0, &listener);
    assert_eq!(*seen.ip(), UPLINK);
    site.bridgefwd.kill();
    say(&mut near, &mut far, "nobody is at home");
    site.bridgefwd.start(&ARGS);
    say(&mut far, &mut near, "somebody is again");
    assert_eq!(site.bridgefwd.json(&["pair", "list"])[0]["to"], "up0");
    site.bridgefwd.ok(&["down"]);
    assert_eq!(site.bridgefwd.wait_end(), 0);
    assert_eq!(traces(&site.router.ns), before);
}
