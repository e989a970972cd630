//! A router with bridgefwd and a little traffic, watched by TCP.

use std::net::TcpStream;

use bridgefwd_tests::bridgefwd::Bridgefwd;
use bridgefwd_tests::http::{self, Answer};
use bridgefwd_tests::topology::{Options, Router};
use bridgefwd_tests::traffic::{listen, pair_up, say, udp, udp_exchange};

/// Where the metrics are, inside the router's namespace.
pub const AT: &str = "127.0.0.1:9477";

pub struct Rig {
    // Before the router, so that the daemon goes first.
    pub bridgefwd: Bridgefwd,
    pub router: Router,
    /// A connection that is under way.
    pub connection: (TcpStream, TcpStream),
}

impl Rig {
    /// With `br-a` allowed to `br-b` and denied to `br-c`, one flow of TCP and one of UDP.
    #[track_caller]
    pub fn new() -> Self {
        let router = Router::new(Options::default(), &["br-a", "br-b", "br-c"]);
        let bridges = ["--bridge", "br-a", "br-b", "br-c", "--unlisted", "deny"];
        let watched = ["--metrics", "9477"];
        let bridgefwd = Bridgefwd::run(&router.ns, &[&bridges[..], &watched].concat());
        bridgefwd.ok(&["pair", "allow", "br-a", "br-b"]);
        bridgefwd.ok(&["pair", "deny", "br-a", "br-c"]);
        let (a, b) = (&router.hosts[0], &router.hosts[1]);
        let listener = listen(&b.ns, b.at(80));
        let (mut near, mut far, _) = pair_up(&a.ns, 10_000, &listener);
        say(&mut near, &mut far, "hello");
        let (server, client) = (udp(&b.ns, b.at(53)), udp(&a.ns, a.at(10_001)));
        udp_exchange(&client, &server, "hello");
        Self { bridgefwd, router, connection: (near, far) }
    }

    /// Asks what is served by TCP.
    #[track_caller]
    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        http::get(&self.router.ns, AT, path, headers).expect("an answer")
    }
}

/// The number of one sample in the text format.
#[track_caller]
pub fn number(text: &str, sample: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    let line = line.unwrap_or_else(|| panic!("no {sample} in\n{text}"));
    line.parse().expect("a number")
}
