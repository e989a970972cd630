//! Plays each case on both routers and compares.

use std::fmt::Write as _;

use bridgefwd_tests::needs_root;

use crate::case::{Case, PORTS, Step};
use crate::cases;
use crate::differences::{ALLOWED, mark};
use crate::normal::Seen;
use crate::world::Side;

/// Ports of the first case.
const FIRST_PORT: u16 = 2000;
/// Cases have ports below the range that Linux takes for its own connections.
const END: u16 = 32_000;

/// Both routers, driven by one thread on one CPU.
pub struct Pair {
    kernel: Side,
    bridgefwd: Side,
}

impl Pair {
    /// With silent hosts.
    pub fn new(bridge_nf: bool) -> Self {
        let pair = Self { kernel: Side::kernel(bridge_nf), bridgefwd: Side::bridgefwd(bridge_nf) };
        one_cpu();
        pair.kernel.silence_hosts();
        pair.bridgefwd.silence_hosts();
        pair
    }

    /// How the two differ; `None`: not at all.
    pub fn difference(&self, steps: &[Step], ports: std::ops::Range<u16>) -> Option<String> {
        let wanted = self.kernel.play(steps, ports.clone());
        let found = self.bridgefwd.play(steps, ports);
        (wanted != found).then(|| show(&wanted, &found))
    }
}

/// The queue of incoming packets is one of each CPU: on one CPU everything stays in order.
fn one_cpu() {
    let mut set = rustix::thread::CpuSet::new();
    set.set(rustix::thread::sched_getcpu());
    rustix::thread::sched_setaffinity(None, &set).expect("affinity");
}

fn show(wanted: &[Seen], found: &[Seen]) -> String {
    let mut text = String::new();
    for (wanted, found) in wanted.iter().zip(found).filter(|(wanted, found)| wanted != found) {
        for line in wanted.packets.iter().filter(|line| !found.packets.contains(line)) {
            let _ = writeln!(text, "    only the kernel, at {}: {line}", wanted.host);
        }
        for line in found.packets.iter().filter(|line| !wanted.packets.contains(line)) {
            let _ = writeln!(text, "    only bridgefwd, at {}: {line}", found.host);
        }
        if text.is_empty() {
            let _ = writeln!(text, "    at {}, in another order or number", wanted.host);
        }
    }
    text
}

/// Plays them all and panics where one differs that must not, or agrees that was marked.
fn play(pair: &Pair, cases: &[Case]) {
    let (mut same, mut known, mut wrong) = (0, 0, Vec::new());
    let mut report = String::new();
    for (number, case) in (0..).zip(cases) {
        let first = FIRST_PORT + number * PORTS;
        assert!(first + PORTS <= END, "no ports left for {}", case.name);
        let difference = pair.difference(&(case.steps)(first), first..first + PORTS);
        match (difference, mark(&case.name)) {
            (None, None) => same += 1,
            (Some(_), Some(reason)) => {
                known += 1;
                let _ = writeln!(report, "known difference  {}: {reason}", case.name);
            }
            (Some(text), None) => wrong.push(format!("{} differs:\n{text}", case.name)),
            (None, Some(_)) => {
                wrong.push(format!("{} agrees now: take its mark away\n", case.name));
            }
        }
    }
    for (name, reason) in ALLOWED {
        let _ = writeln!(report, "left out  {name}: {reason}");
    }
    println!("{report}{same} cases the same, {known} known differences, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.concat());
}

#[test]
fn every_case_as_the_kernel_does_it() {
    needs_root!();
    play(&Pair::new(false), &cases::all());
}

#[test]
fn every_case_with_bridge_netfilter() {
    needs_root!();
    play(&Pair::new(true), &cases::all());
}

#[test]
fn names_are_unique() {
    let mut names: Vec<_> = cases::all().into_iter().map(|case| case.name).collect();
    names.sort();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}
