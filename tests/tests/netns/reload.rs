//! The configuration file while traffic runs: read again, applied, saved, and what differs from it.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use bridgefwd_tests::bridgefwd::Bridgefwd;
use bridgefwd_tests::command;
use bridgefwd_tests::needs_root;
use bridgefwd_tests::sockets::uninterrupted;
use bridgefwd_tests::topology::{Host, Options, Router};
use bridgefwd_tests::traffic::{arrives, listen, pair_up, ping, say, udp, udp_exchange};
use bridgefwd_tests::wait::{PATIENCE, until};
use serde_json::{Value, json};

/// How long to look whether something arrives that must not.
const A_MOMENT: Duration = Duration::from_millis(300);

const TWO: &str = "bridges = ['br-a', 'br-b']\n";
const THREE: &str = "bridges = ['br-a', 'br-b', 'br-c']\n";
const A_TO_B: &str = "[[pair]]\nfrom = 'br-a'\nto = 'br-b'\n";
const A_TO_C: &str = "[[pair]]\nfrom = 'br-a'\nto = 'br-c'\n";

/// A router with a host on each bridge, and a daemon with a file.
struct Declared {
    // Before the router, so that the daemon goes first.
    bridgefwd: Bridgefwd,
    router: Router,
    file: PathBuf,
}

impl Declared {
    #[track_caller]
    fn new(options: Options, text: &str, args: &[&str]) -> Self {
        let router = Router::new(options, &["br-a", "br-b", "br-c"]);
        let bridgefwd = Bridgefwd::new(&router.ns);
        let file = bridgefwd.folder().join("bridgefwd.toml");
        let mut this = Self { bridgefwd, router, file };
        this.write(text);
        this.start(args);
        this
    }

    #[track_caller]
    fn start(&mut self, args: &[&str]) {
        let file = self.file.to_str().expect("UTF-8").to_owned();
        self.bridgefwd.start(&[&["--config", &file], args].concat());
    }

    #[track_caller]
    fn write(&self, text: &str) {
        std::fs::write(&self.file, text).expect("written");
    }

    /// Writes the file anew and has the daemon read it.
    #[track_caller]
    fn reload(&self, text: &str) -> String {
        self.write(text);
        self.bridgefwd.ok(&["reload"])
    }

    /// The hosts on `br-a`, `br-b` and `br-c`.
    fn hosts(&self) -> [&Host; 3] {
        [&self.router.hosts[0], &self.router.hosts[1], &self.router.hosts[2]]
    }

    #[track_caller]
    fn flow(&self) -> Value {
        let flows = self.bridgefwd.json(&["flows", "--proto", "tcp"]);
        assert_eq!(flows.as_array().map(Vec::len), Some(1), "{flows}");
        flows[0].clone()
    }

    fn counted(&self, reason: &str) -> u64 {
        let stats = self.bridgefwd.json(&["stats"]);
        stats["reasons"][reason]["packets"].as_u64().expect("a reason of the program")
    }

    #[track_caller]
    fn pairs(&self) -> Value {
        self.bridgefwd.json(&["pair", "list"])
    }

    /// What the program is attached to.
    fn attached(&self) -> String {
        self.router.ns.command("bpftool", &["net", "show"])
    }

    /// The status, without what passes by itself.
    fn settings(&self) -> Value {
        let mut status = self.bridgefwd.json(&["status"]);
        for passing in ["pid", "uptime_s", "flows"] {
            status[passing] = Value::Null;
        }
        status
    }
}

#[test]
fn a_connection_goes_on_across_reloads_that_keep_its_pair() {
    needs_root!();
    let site = Declared::new(Options::default(), &[TWO, A_TO_B].concat(), &[]);
    let [a, b, c] = site.hosts();
    let listener = listen(&b.ns, b.at(80));
    let (mut near, mut far, _) = pair_up(&a.ns, 10_000, &listener);
    say(&mut near, &mut far, "before");
    let before = site.flow();
    for round in 0..20 {
        let text = match round % 4 {
            0 => [THREE, "unlisted = 'deny'\n", A_TO_B, A_TO_C].concat(),
            1 => [THREE, "[timers]\nicmp = 61\n", A_TO_C, "nat = 'none'\n", A_TO_B].concat(),
            2 => [TWO, "flows_per_source = 99\nports = false\n", A_TO_B].concat(),
            _ => [TWO, A_TO_B, "[[pair]]\nfrom = 'br-b'\nto = 'br-a'\nstate = 'denied'\n"].concat(),
        };
        site.reload(&text);
        say(&mut near, &mut far, "still there");
        say(&mut far, &mut near, "me too");
        let reached = ping(&a.ns, c.address, round, 1, PATIENCE);
        assert_eq!(reached, 1, "what is allowed or the kernel's, in round {round}");
    }
    let after = site.flow();
    assert_eq!(
        (&after["original"], &after["translated"]),
        (&before["original"], &before["translated"]),
        "the same flow"
    );
    let sent = |flow: &Value| flow["packets"]["original"].as_u64().expect("a count");
    assert!(sent(&after) >= sent(&before) + 20);
    assert_eq!(site.counted("flow_cut"), 0);
}

#[test]
fn a_reload_that_removes_a_pair_cuts_its_connections_unless_they_drain() {
    needs_root!();
    for drain in [false, true] {
        let with = [TWO, "unlisted = 'deny'\n", A_TO_B, &format!("drain = {drain}\n")].concat();
        let site = Declared::new(Options::default(), &with, &[]);
        let [a, b, _] = site.hosts();
        let listener = listen(&b.ns, b.at(80));
        let (mut near, mut far, _) = pair_up(&a.ns, 10_000, &listener);
        say(&mut near, &mut far, "before");
        let said = site.reload(&[TWO, "unlisted = 'deny'\n"].concat());
        let effect = if drain { "its flows finish" } else { "its flows are cut" };
        assert!(said.contains("- pair br-a -> br-b") && said.contains(effect), "{said}");
        assert_eq!(site.pairs(), json!([]));
        if drain {
            say(&mut near, &mut far, "after");
            say(&mut far, &mut near, "after");
            continue;
        }
        near.write_all(b"after").expect("written");
        far.set_read_timeout(Some(A_MOMENT)).expect("timeout");
        let heard = uninterrupted(|| far.read(&mut [0; 16]));
        assert!(heard.is_err(), "nothing arrives, not {heard:?}");
        assert!(site.counted("flow_cut") > 0);
    }
}

#[test]
fn ends_come_and_go_by_reload_while_flows_of_others_go_on() {
    needs_root!();
    let with_uplink = Options { uplink: true, ..Options::default() };
    for args in [&[][..], &["--attach", "clsact"]] {
        let site = Declared::new(with_uplink, &[TWO, A_TO_B].concat(), args);
        let [a, b, c] = site.hosts();
        let listener = listen(&b.ns, b.at(80));
        let (mut near, mut far, _) = pair_up(&a.ns, 10_000, &listener);
        say(&mut near, &mut far, "before");
        let attached = site.attached();
        let ends = || {
            let managed = site.bridgefwd.managed();
            let names = managed.iter();
            names.map(|end| end["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
        };
        let (server, client) = (udp(&c.ns, c.at(53)), udp(&a.ns, a.at(10_000)));
        assert_eq!(*udp_exchange(&client, &server, "by the kernel").ip(), a.address);

        site.reload(&[THREE, "uplinks = ['up0']\n", A_TO_B, A_TO_C].concat());
        assert_eq!(ends(), ["br-a", "br-b", "br-c", "up0"]);
        let seen = udp_exchange(&client, &server, "by us");
        assert_eq!(seen.ip().octets(), [10, 3, 0, 1], "masqueraded");
        say(&mut near, &mut far, "with more ends");

        site.reload(&[TWO, A_TO_B].concat());
        assert_eq!(ends(), ["br-a", "br-b"]);
        assert_eq!(site.attached(), attached, "nothing is left where an end has gone");
        assert_eq!(*udp_exchange(&client, &server, "the kernel again").ip(), a.address);
        say(&mut near, &mut far, "with fewer ends");
        say(&mut far, &mut near, "with fewer ends");
        assert_eq!(site.counted("flow_cut"), 0);
    }
}

#[test]
fn sighup_reads_the_file_again_and_a_wrong_one_changes_nothing() {
    needs_root!();
    let mut site = Declared::new(Options::default(), &[TWO, A_TO_B].concat(), &[]);
    let pid = site.bridgefwd.pid().to_string();
    let hang_up = || command::run("kill", &["-HUP", &pid]);
    let (pairs, attached) = (site.pairs(), site.attached());
    let wrong = [THREE, "unlisted = 'deny'\ntimres = 1\n", A_TO_C].concat();
    site.write(&wrong);
    hang_up();
    until("the mistake is logged", || site.bridgefwd.errors().contains("line 3: timres"));
    let missing = [THREE, "uplinks = ['nowhere']\nunlisted = 'deny'\n", A_TO_C].concat();
    site.write(&missing);
    hang_up();
    until("the missing end is logged", || site.bridgefwd.errors().contains("no interface nowhere"));
    assert_eq!((site.pairs(), site.attached()), (pairs, attached), "nothing has changed");
    let output = site.bridgefwd.cli(&["reload"]);
    assert_eq!(output.status, 2, "{output:?}");
    assert!(output.stderr.contains("no interface nowhere"), "{output:?}");
    let status = site.bridgefwd.json(&["status"]);
    assert_eq!((&status["unlisted"], &status["state"]), (&json!("kernel"), &json!("running")));

    site.write(&[THREE, "unlisted = 'deny'\n", A_TO_C].concat());
    hang_up();
    until("the good file holds", || site.pairs()[0]["to"] == "br-c");
    assert_eq!(site.bridgefwd.json(&["status"])["unlisted"], "deny");
    assert_eq!(site.pairs().as_array().map(Vec::len), Some(1));

    // Without a file there is nothing to read, and the daemon goes on all the same.
    site.bridgefwd.kill();
    site.bridgefwd.start(&["--bridge", "br-a", "br-b"]);
    command::run("kill", &["-HUP", &site.bridgefwd.pid().to_string()]);
    until("that is logged", || site.bridgefwd.errors().contains("without a configuration file"));
    assert_eq!(site.bridgefwd.cli(&["reload"]).status, 2);
    assert_eq!(site.bridgefwd.json(&["status"])["config"], Value::Null);
}

#[test]
fn an_end_that_cannot_be_attached_takes_everything_back() {
    needs_root!();
    let with = [TWO, "[timers]\nicmp = 70\n", A_TO_B].concat();
    let site = Declared::new(Options::default(), &with, &["--attach", "clsact"]);
    let [a, b, _] = site.hosts();
    let listener = listen(&b.ns, b.at(80));
    let (mut near, mut far, _) = pair_up(&a.ns, 10_000, &listener);
    say(&mut near, &mut far, "before");
    // An ingress qdisc is in the way of ours.
    site.router.ns.command("tc", &["qdisc", "add", "dev", "br-c", "ingress"]);
    let (pairs, settings, attached) = (site.pairs(), site.settings(), site.attached());
    site.write(&[THREE, "unlisted = 'deny'\n", A_TO_C, "nat = 'none'\n"].concat());
    let output = site.bridgefwd.cli(&["reload"]);
    assert_eq!((output.status, &output.stdout[..]), (1, ""), "{output:?}");
    assert!(output.stderr.contains("br-c"), "{output:?}");
    site.write(&with);
    assert_eq!((site.pairs(), site.settings(), site.attached()), (pairs, settings, attached));
    say(&mut near, &mut far, "after");
    say(&mut far, &mut near, "after");
    assert_eq!(site.counted("flow_cut"), 0);
    site.router.ns.command("tc", &["qdisc", "del", "dev", "br-c", "ingress"]);
    site.reload(&[THREE, A_TO_B, A_TO_C].concat());
    say(&mut near, &mut far, "once it can be");
}

#[test]
fn while_sets_change_what_both_allow_goes_on_and_what_both_refuse_stays_out() {
    needs_root!();
    let deny = "unlisted = 'deny'\n";
    let denied = "[[pair]]\nfrom = 'br-a'\nto = 'br-c'\nstate = 'denied'\n";
    let back = |nat| format!("[[pair]]\nfrom = 'br-b'\nto = 'br-a'\nnat = '{nat}'\n");
    // `br-a -> br-c` is refused by each of them, by name or by default.
    let sets = [
        [THREE, deny, A_TO_B].concat(),
        [THREE, A_TO_B, denied, &back("none")].concat(),
        [THREE, "uplinks = ['up0']\n", deny, &back("masquerade"), A_TO_B].concat(),
        [THREE, deny, denied, A_TO_B].concat(),
    ];
    let with_uplink = Options { uplink: true, ..Options::default() };
    let site = Declared::new(with_uplink, &sets[0], &[]);
    let [a, b, c] = site.hosts();
    let (server, client) = (udp(&b.ns, b.at(53)), udp(&a.ns, a.at(10_000)));
    let (shut, knocking) = (udp(&c.ns, c.at(53)), udp(&a.ns, a.at(10_001)));
    let seen = udp_exchange(&client, &server, "before");
    let done = std::sync::atomic::AtomicBool::new(false);
    let exchanged = std::thread::scope(|scope| {
        let traffic = scope.spawn(|| {
            let mut exchanged = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = knocking.send_to(b"let me in", c.at(53)).expect("sent");
                assert_eq!(udp_exchange(&client, &server, "during"), seen, "by the same flow");
                exchanged += 1;
            }
            exchanged
        });
        for round in 1..=40 {
            site.reload(&sets[round % sets.len()]);
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        traffic.join().expect("traffic")
    });
    println!("{exchanged} exchanges during 40 reloads");
    assert!(exchanged > 40, "{exchanged}");
    assert!(!arrives(&shut, A_MOMENT), "nothing that every set refuses came through");
    let refused = site.counted("unlisted_denied") + site.counted("pair_denied");
    assert!(refused >= exchanged, "{refused} of {exchanged}");
}

#[test]
fn drift_is_shown_and_saved() {
    needs_root!();
    let with = ["# ours\n", TWO, "unlisted = \"deny\" # else nothing works\n", A_TO_B].concat();
    let mut site = Declared::new(Options::default(), &with, &[]);
    let drift = |site: &Declared| site.bridgefwd.json(&["status"])["config"]["differences"].clone();
    assert_eq!(drift(&site), 0);
    let plan = |site: &Declared| site.bridgefwd.cli(&["plan"]);
    assert_eq!(plan(&site).status, 0, "nothing would change");
    for change in [
        &["pair", "allow", "br-a", "br-b", "--nat", "10.2.0.1", "--nat6", "masquerade"][..],
        &["pair", "allow", "br-b", "br-a", "--mapping", "endpoint-independent", "--drain"],
    ] {
        site.bridgefwd.ok(change);
    }
    assert_eq!(drift(&site), 2);
    let output = plan(&site);
    assert_eq!((output.status, &output.stderr[..]), (4, ""), "{output:?}");
    assert_eq!(output.stdout.lines().count(), 3, "{}", output.stdout);
    assert!(site.bridgefwd.ok(&["status"]).contains("differs in 2"));

    site.bridgefwd.ok(&["save"]);
    assert_eq!(drift(&site), 0);
    let text = std::fs::read_to_string(&site.file).expect("the file");
    assert!(text.starts_with("# ours\n") && text.contains("\"deny\" # else nothing works\n"));
    let before = (site.pairs(), site.settings());
    site.bridgefwd.ok(&["down"]);
    assert_eq!(site.bridgefwd.wait_end(), 0);
    site.start(&[]);
    assert_eq!((site.pairs(), site.settings()), before, "saved, and started again: the same");
}

#[test]
fn a_start_takes_the_file_and_keeps_the_flows_that_it_allows() {
    needs_root!();
    let with = [THREE, "[timers]\nicmp = 70\n", A_TO_B].concat();
    let mut site = Declared::new(Options::default(), &with, &[]);
    let [a, b, c] = site.hosts();
    let (listener, other) = (listen(&b.ns, b.at(80)), listen(&c.ns, c.at(80)));
    let (mut near, mut far, _) = pair_up(&a.ns, 10_000, &listener);
    site.bridgefwd.ok(&["pair", "allow", "br-a", "br-c"]);
    let (mut near_c, mut far_c, _) = pair_up(&a.ns, 10_001, &other);
    say(&mut near_c, &mut far_c, "allowed while it runs");
    site.bridgefwd.kill();
    say(&mut near, &mut far, "nobody is at home");
    say(&mut near_c, &mut far_c, "nobody is at home");
    site.write(&[THREE, A_TO_B].concat());
    site.start(&[]);
    say(&mut near, &mut far, "the file allows it");
    say(&mut far, &mut near, "the file allows it");
    near_c.write_all(b"not any more").expect("written");
    far_c.set_read_timeout(Some(A_MOMENT)).expect("timeout");
    assert!(far_c.read(&mut [0; 16]).is_err(), "what was not saved has gone");
    assert_eq!(site.pairs().as_array().map(Vec::len), Some(1));
    let status = site.bridgefwd.json(&["status"]);
    assert_eq!(status["timers"]["icmp"], 60, "what the file does not say is the default");
    assert_eq!(status["config"]["differences"], 0);
}
