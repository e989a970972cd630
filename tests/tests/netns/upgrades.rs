//! Daemons that are killed, come back, and are replaced, under load: no connection, no datagram and no
//! count is lost. And ones that are killed while they start or go: what is left is never in the way.

use std::net::TcpStream;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bridgefwd_tests::bridgefwd::Bridgefwd;
use bridgefwd_tests::needs_root;
use bridgefwd_tests::topology::{Options, Router};
use bridgefwd_tests::traffic::{listen, pair_up, ping, say, udp};
use bridgefwd_tests::wait::{PATIENCE, until};

use crate::lifecycle::traces;
use crate::rig::{BRIDGES, Rig};

/// Connections that are open all the time.
const CONNECTIONS: u16 = 200;
/// How often the daemon is killed, and how often it is asked to end; each new one has all programs replaced.
const RESTARTS: usize = 10;
/// Datagrams that are on their way at one time: no more than the sockets hold.
const ON_THEIR_WAY: u64 = 32;
/// Interrupted starts, and interrupted ends.
const INTERRUPTIONS: u32 = 12;

/// What the load has done so far.
#[derive(Default)]
struct Load {
    over: AtomicBool,
    rounds: AtomicU64,
    asked: AtomicU64,
    answered: AtomicU64,
}

impl Load {
    /// Says something on each connection, there and back, again and again.
    fn connections(&self, ends: &mut [(TcpStream, TcpStream)]) {
        while !self.over.load(Ordering::Relaxed) {
            let round = self.rounds.load(Ordering::Relaxed);
            for (near, far) in &mut *ends {
                say(near, far, &format!("{round:08}"));
                say(far, near, &format!("{round:08}"));
            }
            self.rounds.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends datagrams with a number each, and has every one of them answered in order.
    fn datagrams(&self, client: &std::net::UdpSocket, server: &std::net::UdpSocket) {
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut buffer = [0; 8];
                for number in 0.. {
                    let (length, from) = server.recv_from(&mut buffer).expect("a datagram is lost");
                    let heard = u64::from_ne_bytes(buffer);
                    if heard == u64::MAX {
                        return;
                    }
                    assert_eq!((length, heard), (8, number), "a datagram is lost on its way");
                    server.send_to(&buffer, from).expect("answered");
                }
            });
            let mut buffer = [0; 8];
            let mut sent = 0;
            loop {
                while sent < self.answered.load(Ordering::Relaxed) + ON_THEIR_WAY
                    && !self.over.load(Ordering::Relaxed)
                {
                    client.send(&sent.to_ne_bytes()).expect("sent");
                    sent += 1;
                    self.asked.store(sent, Ordering::Relaxed);
                }
                let answered = self.answered.load(Ordering::Relaxed);
                if answered == sent {
                    break;
                }
                client.recv(&mut buffer).expect("an answer is lost");
                assert_eq!(u64::from_ne_bytes(buffer), answered, "an answer is lost on its way");
                self.answered.store(answered + 1, Ordering::Relaxed);
            }
            client.send(&u64::MAX.to_ne_bytes()).expect("sent");
        });
    }

    /// Waits until every connection, and a datagram, got through after now.
    fn goes_on(&self, what: &str) {
        let (rounds, answered) =
            (self.rounds.load(Ordering::Relaxed), self.answered.load(Ordering::Relaxed));
        until(what, || {
            self.rounds.load(Ordering::Relaxed) > rounds
                && self.answered.load(Ordering::Relaxed) > answered
        });
    }
}

/// Ends the load also where the test panics, so that its threads end.
struct Over<'a>(&'a Load);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

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

fn nothing_is_lost(attach: &str) {
    needs_root!();
    let args = [&BRIDGES[..], &["--attach", attach]].concat();
    let mut rig = Rig::allowed(Options::default(), &["--attach", attach]);
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
    thread::scope(|scope| {
        let over = Over(&load);
        scope.spawn(|| load.connections(&mut ends));
        scope.spawn(|| load.datagrams(&client, &server));
        let mut before = counts(&rig);
        for restart in 0..2 * RESTARTS {
            if restart % 2 == 0 {
                rig.bridgefwd.kill();
            } else {
                let pid = rig.bridgefwd.pid().to_string();
                bridgefwd_tests::command::run("kill", &["-TERM", &pid]);
                assert_eq!(rig.bridgefwd.wait_end(), 0);
            }
            load.goes_on("traffic without a daemon");
            rig.bridgefwd.start(&args);
            let now = counts(&rig);
            assert!(now.0 > before.0, "{before:?}, then {now:?}");
            before = now;
        }
        load.goes_on("traffic in the end");
        drop(over);
    });
    let asked = load.asked.load(Ordering::Relaxed);
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
