//! A router with bridgefwd and a little traffic, watched by TCP.

use std::net::TcpStream;

use bridgefwd_tests::bridgefwd::Bridgefwd;
use bridgefwd_tests::http::{self, Answer};
use bridgefwd_tests::topology::{Options, Router};
use bridgefwd_tests::traffic::{hello, udp};
use bridgefwd_tests::wait::until;

/// Where the metrics are, inside the router's namespace.
pub const AT: &str = "127.0.0.1:9477";

/// A bridge whose name would be markup, if anybody took it for that.
const ODD_NAME: &str = "x<i>";

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
        Self::with(&[])
    }

    /// And with a bridge that is called [`ODD_NAME`].
    #[track_caller]
    pub fn with_odd_name() -> Self {
        Self::with(&[ODD_NAME])
    }

    #[track_caller]
    fn with(more: &[&str]) -> Self {
        let router = Router::new(Options::default(), &["br-a", "br-b", "br-c"]);
        more.iter().for_each(|name| router.ns.ip(&bridge(name, 9)));
        let bridges = [&["--bridge", "br-a", "br-b", "br-c"], more].concat();
        let watched = ["--unlisted", "deny", "--metrics", "9477"];
        let bridgefwd = Bridgefwd::run(&router.ns, &[&bridges[..], &watched].concat());
        bridgefwd.ok(&["pair", "allow", "br-a", "br-b"]);
        bridgefwd.ok(&["pair", "deny", "br-a", "br-c"]);
        let connection = hello(&router.hosts[0], &router.hosts[1]);
        Self { bridgefwd, router, connection }
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

/// Eleven bridges, of which each is allowed to each other, and very many flows.
pub struct Crowd {
    pub bridgefwd: Bridgefwd,
    pub router: Router,
}

impl Crowd {
    /// With so many flows, to as many ports of one server from 20000 on.
    #[track_caller]
    pub fn new(flows: u16) -> Self {
        let router = Router::new(Options::default(), &["br-a", "br-b"]);
        let more: Vec<String> = (4..12).map(|number| format!("br-{number}")).collect();
        let batch: String = (4..12).zip(&more).map(|(number, name)| bridge(name, number)).collect();
        router.ns.ip(&batch);
        let names = ["br-a", "br-b", "br-c"].into_iter().chain(more.iter().map(|name| &name[..]));
        let names: Vec<&str> = names.collect();
        let arguments = [&["--bridge"], &names[..], &["--metrics", "9477"]].concat();
        let bridgefwd = Bridgefwd::run(&router.ns, &arguments);
        for from in &names {
            for to in names.iter().filter(|to| *to != from) {
                bridgefwd.ok(&["pair", "allow", from, to]);
            }
        }
        let (a, b) = (&router.hosts[0], &router.hosts[1]);
        let client = udp(&a.ns, a.at(10_000));
        // Some are answered by an error, which the next call would report.
        let mut open = || {
            (20_000..20_000 + flows).for_each(|port| {
                let _ = client.send_to(b"hello", b.at(port));
            });
            bridgefwd.json(&["stats"])["flows"]["live"] == flows
        };
        until("all flows are open", &mut open);
        Self { bridgefwd, router }
    }
}

/// What makes one more bridge.
fn bridge(name: &str, number: u8) -> String {
    format!(
        "link add {name} type bridge forward_delay 0 stp_state 0\n\
         addr add 10.{number}.0.1/24 dev {name}\nlink set {name} up\n"
    )
}
