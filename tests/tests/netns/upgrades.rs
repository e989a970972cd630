//! Daemons that are killed, come back, are replaced by another build and told of other files, under load:
//! no connection, no datagram and no count is lost. And ones that are killed while they start or go:
//! what is left is never in the way.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use bridgefwd::host::bpf::tcx_programs;
use bridgefwd::host::qdisc::Hook;
use bridgefwd_tests::bridgefwd::{Bridgefwd, binary};
use bridgefwd_tests::namespaces::Namespace;
use bridgefwd_tests::topology::{Options, Router};
use bridgefwd_tests::traffic::{listen, pair_up, ping, udp};
use bridgefwd_tests::wait::{PATIENCE, until};
use bridgefwd_tests::{command, needs_root, other_build};
use serde_json::Value;

use crate::lifecycle::traces;
use crate::load::{Load, Over};
use crate::rig::{BRIDGES, Rig};

/// Connections that are open all the time.
const CONNECTIONS: u16 = 200;
/// How often the daemon is killed. Each time one of another build comes back, and replaces every program.
const KILLS: usize = 20;
/// How often it is asked to end, besides.
const ENDS: usize = 5;
/// How often the file is changed and read again after each start: 100 times in all.
const RELOADS: usize = 4;
/// Interrupted starts, and interrupted ends.
const INTERRUPTIONS: u32 = 12;

/// Packets of everybody, and those of the reasons under which something would be lost.
fn counts(rig: &Rig) -> (u64, u64) {
    let stats = rig.bridgefwd.json(&["stats"]);
    let packets = |reason: &str| stats["reasons"][reason]["packets"].as_u64().expect("a count");
    let forwarded = ["forwarded", "forwarded_reply", "flow_created"].map(packets).iter().sum();
    let lost = stats["reasons"].as_object().expect("reasons").iter();
    // What is dropped of `neighbour_asked` are copies, by which the kernel asks where the neighbour is.
    let lost = lost
        .filter(|(name, reason)| reason["verdict"] == "drop" && name.as_str() != "neighbour_asked");
    (forwarded, lost.map(|(name, _)| packets(name)).sum())
}

/// The tags of the programs at every hook of the router: what they are, whoever has loaded them.
fn tags(ns: &Namespace) -> BTreeSet<String> {
    let json = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    let mut programs: BTreeSet<u64> = BTreeSet::new();
    let filters = json(&ns.command("bpftool", &["-j", "net", "show"]))[0]["tc"].clone();
    programs.extend(filters.as_array().expect("a list").iter().filter_map(|at| at["id"].as_u64()));
    let links = json(&ns.command("ip", &["-j", "link", "show"]));
    for link in links.as_array().expect("a list") {
        let ifindex = link["ifindex"].as_u64().and_then(|ifindex| u32::try_from(ifindex).ok());
        for hook in [Hook::Ingress, Hook::Egress] {
            // An older kernel has no such hooks.
            let ids = ns.run(|| tcx_programs(ifindex.expect("a number"), hook)).unwrap_or_default();
            programs.extend(ids.into_iter().map(u64::from));
        }
    }
    let tag = |id: &u64| {
        let shown = json(&ns.command("bpftool", &["-j", "prog", "show", "id", &id.to_string()]));
        shown["tag"].as_str().expect("a tag").to_owned()
    };
    programs.iter().map(tag).collect()
}

/// What the file says the `number`th time. What is said of `br-a -> br-b` never changes, and much else
/// does: ends, settings, other pairs, and `ports` where that costs nothing. By clsact it does: the kernel
/// drops what is leaving an interface while such a qdisc is added to it or removed.
fn file(number: usize, attach: &str) -> String {
    const A_TO_B: &str = "[[pair]]\nfrom = 'br-a'\nto = 'br-b'\n";
    let rest = match number % 5 {
        0 => {
            "unlisted = 'deny'\nbridges = ['br-a', 'br-b', 'br-c']\n\
              [[pair]]\nfrom = 'br-a'\nto = 'br-c'\nnat = 'none'\n"
        }
        1 => {
            "bridges = ['br-a', 'br-b', 'br-c']\n\
              [[pair]]\nfrom = 'br-c'\nto = 'br-b'\n"
        }
        2 => "flows_per_source = 500\nbridges = ['br-b', 'br-a']\ntimers.icmp = 70\n",
        3 => "bridges = ['br-a', 'br-b']\n[[pair]]\nfrom = 'br-b'\nto = 'br-a'\nstate = 'denied'\n",
        // Of all bridges, then, which are these three.
        _ => "",
    };
    let ports = number % 5 != 1 || attach == "clsact";
    format!("docker = 'no'\nports = {ports}\n{rest}{A_TO_B}")
}

/// Changes the file and has the daemon read it, by the command and by the signal in turns.
fn reload(rig: &Rig, path: &Path, text: &str, by_signal: bool) {
    std::fs::write(path, text).expect("written");
    if by_signal {
        assert!(rig.bridgefwd.json(&["status"])["config"]["differences"].as_u64() > Some(0));
        command::run("kill", &["-HUP", &rig.bridgefwd.pid().to_string()]);
    } else {
        let said = rig.bridgefwd.ok(&["reload"]);
        assert!(said.contains(" made by "), "there was nothing to change: {said}");
    }
    until("what runs is as the file says", || {
        rig.bridgefwd.json(&["status"])["config"]["differences"] == 0
    });
}

/// Fails where the load does not go on, and shows what became of it.
#[track_caller]
fn goes_on(load: &Load, rig: &Rig, when: &str, reloads: usize) {
    if !load.goes_on() {
        let shown = [&["stats", "--all"][..], &["flows", "--proto", "udp"], &["bridges"]];
        let shown = shown.map(|command| rig.bridgefwd.cli(command).stdout).join("\n");
        panic!("no traffic {when}, after {reloads} reloads:\n{shown}");
    }
}

fn nothing_is_lost(attach: &str) {
    needs_root!();
    let router = Router::new(Options::default(), &["br-a", "br-a", "br-b"]);
    let mut rig = Rig { bridgefwd: Bridgefwd::new(&router.ns), router };
    let path = rig.bridgefwd.folder().join("bridgefwd.toml");
    std::fs::write(&path, file(0, attach)).expect("written");
    let builds = [binary(), other_build::write(rig.bridgefwd.folder())];
    let name = path.to_str().expect("UTF-8").to_owned();
    let args = ["--config", &name, "--attach", attach];
    rig.bridgefwd.start(&args);
    let (a, b) = (&rig.router.hosts[0].ns, &rig.router.hosts[2].ns);
    let (at_a, at_b) = (rig.a().at(20_000), rig.b().at(53));
    let listener = listen(b, rig.b().at(80));
    let mut ends: Vec<_> = (0..CONNECTIONS)
        .map(|number| {
            let (near, far, _) = pair_up(a, 10_000 + number, &listener);
            (near, far)
        })
        .collect();
    let (client, server) = (udp(a, at_a), udp(b, at_b));
    client.connect(at_b).expect("connected");
    let load = Load::default();
    let (mut reloads, mut replaced) = (0, 0);
    thread::scope(|scope| {
        let over = Over(&load);
        scope.spawn(|| load.connections(&mut ends));
        scope.spawn(|| load.datagrams(&client, &server));
        let (mut before, mut running) = (counts(&rig), tags(&rig.router.ns));
        for restart in 1..=KILLS + ENDS {
            if restart % (KILLS / ENDS + 1) == 0 {
                command::run("kill", &["-TERM", &rig.bridgefwd.pid().to_string()]);
                assert_eq!(rig.bridgefwd.wait_end(), 0);
            } else {
                rig.bridgefwd.kill();
            }
            goes_on(&load, &rig, "without a daemon", reloads);
            rig.bridgefwd.use_program(&builds[restart % 2]);
            rig.bridgefwd.start(&args);
            let now = tags(&rig.router.ns);
            assert!(!now.is_empty() && now.is_disjoint(&running), "{running:?}, then {now:?}");
            running = now;
            replaced += 1;
            for _ in 0..RELOADS {
                reloads += 1;
                reload(&rig, &path, &file(reloads, attach), reloads % 2 == 1);
            }
            goes_on(&load, &rig, "with a daemon of another build, and other files", reloads);
            let now = counts(&rig);
            assert!(now.0 > before.0, "{before:?}, then {now:?}");
            before = now;
        }
        goes_on(&load, &rig, "in the end", reloads);
        drop(over);
    });
    let asked = load.asked();
    println!(
        "{attach}: {CONNECTIONS} connections, {} rounds on each, {asked} datagrams; the daemon killed \
         {KILLS} times and ended {ENDS} times, programs replaced by another build's {replaced} times, \
         {reloads} reloads",
        load.rounds()
    );
    let flow = rig.flow("udp");
    // One more says that it is over.
    assert_eq!(flow["packets"]["original"], asked + 1, "{flow}");
    assert_eq!(flow["packets"]["reply"], asked, "{flow}");
    assert_eq!(rig.flows("tcp").len(), usize::from(CONNECTIONS));
    assert_eq!(counts(&rig).1, 0, "{}", rig.bridgefwd.json(&["stats"]));
    assert_eq!(rig.forwarded_by_kernel(), 0);
}

#[test]
fn nothing_is_lost_when_programs_are_replaced_by_tcx() {
    nothing_is_lost("tcx");
}

#[test]
fn nothing_is_lost_when_filters_are_replaced() {
    nothing_is_lost("clsact");
}

/// Starts the program with `args` and kills it after `delay`, if it has not ended until then.
fn interrupt(bridgefwd: &Bridgefwd, router: &Router, args: &[&str], delay: Duration) {
    let mut command = bridgefwd.command_line(args[0]);
    command.args(&args[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = router.ns.run(|| command.spawn().expect("started"));
    // Nothing is waited for: the time is what the test is about.
    thread::sleep(delay);
    child.kill().expect("killed");
    child.wait().expect("ended");
}

#[test]
fn what_an_interruption_leaves_is_in_nobody_s_way() {
    needs_root!();
    for attach in ["auto", "clsact"] {
        let router = Router::new(Options::default(), &["br-a", "br-b"]);
        let (a, b) = (&router.hosts[0], &router.hosts[1]);
        let run = [&["run"], &BRIDGES[..], &["--attach", attach]].concat();
        let before = traces(&router.ns);
        let mut bridgefwd = Bridgefwd::new(&router.ns);
        // How long the whole of each takes here.
        let took = bridgefwd.start(&run[1..]);
        bridgefwd.kill();
        let begin = Instant::now();
        bridgefwd.ok(&["down"]);
        let gone = begin.elapsed();
        for number in 0..INTERRUPTIONS {
            // All along the way, and a little longer.
            let part = |whole: Duration| whole.mul_f64(1.2) * number / INTERRUPTIONS;
            interrupt(&bridgefwd, &router, &run, part(took));
            match number % 4 {
                0 => {}
                // Somebody begins to clear up, and is interrupted too.
                1 => interrupt(&bridgefwd, &router, &["down"], part(gone)),
                _ => {
                    bridgefwd.start(&run[1..]);
                    bridgefwd.kill();
                    interrupt(&bridgefwd, &router, &["down"], part(gone));
                }
            }
            if number % 2 == 0 {
                bridgefwd.start(&run[1..]);
                if number % 10 == 0 {
                    bridgefwd.ok(&["pair", "allow", "br-a", "br-b"]);
                    assert_eq!(ping(&a.ns, b.address, 7, 1, PATIENCE), 1);
                }
                bridgefwd.kill();
            }
            bridgefwd.ok(&["down"]);
            assert_eq!(traces(&router.ns), before, "{attach}, interruption {number}");
            assert!(!bridgefwd.pin_dir.exists());
        }
    }
}
