//! Who was it? Asked of flows that are alive, and of the audit log when they are over.

use std::path::PathBuf;
use std::time::SystemTime;

use bridgefwd::api::events::rfc3339;
use bridgefwd_tests::bridgefwd::Bridgefwd;
use bridgefwd_tests::needs_root;
use bridgefwd_tests::topology::{Options, Router};
use bridgefwd_tests::traffic::{udp, udp_exchange};
use bridgefwd_tests::wait::until;
use serde_json::Value;

const FILE: &str = "bridges = ['br-a', 'br-b']\nmax_flows = 256\n[timers]\nudp_two_way = 1\n\
                    [[pair]]\nfrom = 'br-a'\nto = 'br-b'\n";

/// A router whose daemon has an audit log, or none.
struct Watched {
    // Before the router, so that the daemon goes first.
    bridgefwd: Bridgefwd,
    router: Router,
    log: PathBuf,
}

impl Watched {
    fn new(text: &str) -> Self {
        let router = Router::new(Options::default(), &["br-a", "br-a", "br-b"]);
        let mut bridgefwd = Bridgefwd::new(&router.ns);
        let log = bridgefwd.folder().join("audit.jsonl");
        let text = text.replace("LOG", log.to_str().expect("UTF-8"));
        std::fs::write(bridgefwd.folder().join("f.toml"), text).expect("written");
        start(&mut bridgefwd);
        Self { bridgefwd, router, log }
    }

    fn with_log() -> Self {
        Self::new(&format!("{FILE}[audit]\npath = 'LOG'\n"))
    }

    /// A question from a port of the host of that number, answered; as whom the server has seen it.
    fn ask(&self, host: usize, port: u16) -> String {
        let (from, to) = (&self.router.hosts[host], &self.router.hosts[2]);
        let server = udp(&to.ns, to.at(53));
        udp_exchange(&udp(&from.ns, from.at(port)), &server, "question").to_string()
    }

    /// The answer, and whether somebody was found.
    fn whois(&self, args: &[&str]) -> (bool, Value) {
        let output = self.bridgefwd.cli(&[&["whois", "--json"], args].concat());
        assert!(output.status == 0 || output.status == 1, "{output:?}");
        let answer: Value = serde_json::from_str(&output.stdout).expect("JSON");
        assert_eq!(output.status == 1, answer["found"].as_array().unwrap().is_empty(), "{answer}");
        (output.status == 0, answer)
    }

    fn is_over(&self) {
        until("the flow is over and that is written", || {
            std::fs::read_to_string(&self.log)
                .is_ok_and(|text| text.contains(r#""event":"closed""#))
        });
    }

    fn address(&self, host: usize) -> String {
        self.router.hosts[host].address.to_string()
    }
}

fn start(bridgefwd: &mut Bridgefwd) {
    let file = bridgefwd.folder().join("f.toml").to_str().expect("UTF-8").to_owned();
    bridgefwd.start(&["--config", &file]);
}

fn now() -> String {
    rfc3339(SystemTime::now())
}

#[test]
fn whois_knows_the_living_with_and_without_a_daemon() {
    needs_root!();
    let mut watched = Watched::new(&FILE.replace("udp_two_way = 1", "udp_two_way = 60"));
    let seen = watched.ask(0, 10_000);
    let (found, answer) = watched.whois(&[&seen]);
    assert!(found, "{answer}");
    let known = &answer["found"][0];
    assert_eq!(
        (&known["original"]["src"], &known["live"]),
        (&watched.address(0).into(), &true.into())
    );
    let (found, answer) = watched.whois(&["10.2.0.1:9"]);
    assert!(!found && answer["notes"][0].as_str().unwrap().contains("no audit log"), "{answer}");
    let said = watched.bridgefwd.cli(&["whois", &seen]);
    assert!(
        said.stdout.starts_with(&format!("{seen} is {}:10000\n", watched.address(0))),
        "{said:?}"
    );
    watched.bridgefwd.kill();
    let output = watched.bridgefwd.cli(&["whois", &seen]);
    assert_eq!(output.status, 0, "{output:?}");
    assert!(output.stdout.contains(&watched.address(0)), "{output:?}");
    assert!(output.stderr.contains("read from the pins"), "{output:?}");
}

#[test]
fn whois_knows_who_it_was_when_the_flow_is_over_and_the_daemon_another_one() {
    needs_root!();
    let mut watched = Watched::with_log();
    let before = now();
    let seen = watched.ask(0, 10_000);
    let during = now();
    watched.is_over();
    let (found, answer) = watched.whois(&[&seen]);
    assert!(found, "{answer}");
    assert_eq!(answer["found"][0]["live"], false);
    // The other host gets the same port of the same address, and is told apart by the time.
    std::fs::remove_file(&watched.log).expect("removed, while it is written to");
    watched.bridgefwd.kill();
    start(&mut watched.bridgefwd);
    let (found, answer) = watched.whois(&[&seen, "--at", &during]);
    assert!(!found, "the log has gone: {answer}");
    assert!(answer["notes"][0].as_str().unwrap().contains("too long ago"), "{answer}");
    let one = watched.ask(0, 10_000);
    let first = now();
    watched.is_over();
    // A crash in the middle of a line.
    watched.bridgefwd.kill();
    let mut text = std::fs::read(&watched.log).expect("the log");
    text.extend_from_slice(br#"{"time":"2026-11-"#);
    std::fs::write(&watched.log, text).expect("written");
    start(&mut watched.bridgefwd);
    let two = watched.ask(1, 10_000);
    assert_eq!((&one, &two), (&seen, &seen), "the port is kept");
    let second = now();
    for (at, host) in [(&first, 0), (&second, 1)] {
        let (found, answer) = watched.whois(&[&seen, "--at", at, "--proto", "udp"]);
        assert!(found, "{answer}");
        let clients: Vec<_> = answer["found"].as_array().unwrap().iter().collect();
        assert_eq!(clients.len(), 1, "{answer}");
        assert_eq!(clients[0]["original"]["src"], watched.address(host), "at {at}");
        assert_eq!(answer["log"]["unreadable"], 1, "the torn line");
    }
    let (found, answer) = watched.whois(&[&seen, "--at", &before]);
    assert!(!found, "{answer}");
    assert!(!watched.whois(&[&seen, "--proto", "tcp", "--at", &second]).0);
}

#[test]
fn a_flow_that_outlives_its_daemon_is_still_known() {
    needs_root!();
    let text = FILE.replace("udp_two_way = 1", "udp_two_way = 60");
    let mut watched = Watched::new(&format!("{text}[audit]\npath = 'LOG'\n"));
    let seen = watched.ask(0, 10_000);
    watched.bridgefwd.kill();
    start(&mut watched.bridgefwd);
    until("what is there is written", || {
        std::fs::read_to_string(&watched.log)
            .is_ok_and(|text| text.contains(r#""event":"present""#))
    });
    let at = now();
    watched.bridgefwd.ok(&["pair", "clear", "br-a", "br-b"]);
    let (found, answer) = watched.whois(&[&seen, "--at", &at]);
    assert!(found, "{answer}");
    assert_eq!(answer["found"].as_array().unwrap().len(), 1, "{answer}");
    assert_eq!(answer["found"][0]["original"]["src"], watched.address(0));
}

#[test]
fn a_log_that_cannot_be_opened_is_told_before_anything_is_done() {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a", "br-b"]);
    let mut bridgefwd = Bridgefwd::new(&router.ns);
    let file = bridgefwd.folder().join("f.toml");
    for (audit, part) in [
        ("[audit]\npath = '/no/such/audit.jsonl'\n", "/no/such/audit.jsonl"),
        ("[audit]\n", "audit.path: is missing"),
        ("[audit]\npath = 'here'\n", "absolute path"),
        ("[audit]\npath = '/x'\nsize_mb = 0\n", "from 1 to 1048576"),
    ] {
        std::fs::write(&file, format!("{FILE}{audit}")).expect("written");
        let refused = bridgefwd.try_start(&["--config", file.to_str().expect("UTF-8")]);
        let output = refused.expect_err("refused");
        assert!(output.stderr.contains(part), "{audit}: {output:?}");
        assert!(!bridgefwd.pin_dir.exists(), "nothing was pinned");
    }
}
