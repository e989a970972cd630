//! Plays each case on both routers and compares.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Write as _;

use bridgefwd_tests::needs_root;

use crate::case::{Case, PORTS, Sender, Step};
use crate::cases;
use crate::differences::{ALLOWED, mark};
use crate::modes::{Mode, PLAIN};
use crate::normal::{Seen, Symbols, ends};
use crate::world::{Played, Side};

/// Ports of the first case.
const FIRST_PORT: u16 = 2000;
/// Cases have ports below the range that Linux takes for its own connections.
const END: u16 = 32_000;
/// Some cases take a port of that range, this much above their own.
const RANGE: u16 = 32_768;

/// Both routers, driven by one thread on one CPU.
pub struct Pair {
    wanted: Side,
    found: Side,
    ports: RefCell<Ports>,
}

/// The ports that are left for cases.
struct Ports {
    next: u16,
    /// What the routers have used, among them what they have chosen themselves: a mapping of such a
    /// port would be in the way of a case that has it for its own.
    chosen: BTreeSet<u16>,
}

impl Ports {
    fn take(&mut self) -> u16 {
        loop {
            let first = self.next;
            self.next += PORTS;
            assert!(self.next <= END, "no ports left");
            let own = |base: u16| self.chosen.range(base..base + PORTS).next().is_some();
            if !own(first) && !own(first + RANGE) {
                return first;
            }
        }
    }
}

impl Pair {
    /// The kernel, and bridgefwd.
    pub fn new(mode: Mode) -> Self {
        Self::of(Side::kernel(mode), Side::bridgefwd(mode))
    }

    /// These two, with silent hosts.
    pub fn of(wanted: Side, found: Side) -> Self {
        one_cpu();
        wanted.silence_hosts();
        found.silence_hosts();
        let ports = Ports { next: FIRST_PORT, chosen: BTreeSet::new() };
        Self { wanted, found, ports: RefCell::new(ports) }
    }

    /// How the two differ; `None`: not at all. `steps` is given the first of the ports to use.
    pub fn difference(&self, steps: impl FnOnce(u16) -> Vec<Step>) -> Option<String> {
        let steps = steps(self.ports.borrow_mut().take());
        let own = own_ports(&steps);
        let [wanted, found] = [&self.wanted, &self.found].map(|side| {
            let Played { seen, chosen } = side.play(&steps, &mut Symbols::new(own.clone()));
            self.ports.borrow_mut().chosen.extend(chosen);
            seen
        });
        (wanted != found).then(|| show(&wanted, &found))
    }
}

/// The ports and ICMP identifiers with which clients send.
fn own_ports(steps: &[Step]) -> BTreeSet<u16> {
    let clients = steps.iter().filter(|step| matches!(step.by, Sender::A | Sender::A2));
    clients.filter_map(|step| ends(&step.frame(None))).map(|ends| ends.source).collect()
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
pub fn play(mode: Mode, cases: &[Case]) {
    let pair = Pair::new(mode);
    let (mut same, mut known, mut wrong) = (0, 0, Vec::new());
    let mut report = String::new();
    for case in cases {
        let difference = pair.difference(&case.steps);
        match (difference, mark(&case.name, mode)) {
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

/// Plays them all on two routers that are the same, and panics where one differs.
pub fn itself(pair: &Pair, cases: &[Case]) {
    let wrong = cases.iter().filter_map(|case| {
        let difference = pair.difference(&case.steps)?;
        Some(format!("{} is not determined:\n{difference}", case.name))
    });
    let wrong: String = wrong.collect();
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_case_as_the_kernel_does_it() {
    needs_root!();
    play(PLAIN, &cases::v4());
}

#[test]
fn every_ipv6_case_as_the_kernel_does_it() {
    needs_root!();
    play(PLAIN, &cases::v6(PLAIN.nat66));
}

#[test]
fn names_are_unique() {
    let cases = [cases::all(false), cases::all(true)].map(|cases| {
        let mut names: Vec<_> = cases.into_iter().map(|case| case.name).collect();
        names.sort();
        names
    });
    for mut names in cases {
        let all = names.clone();
        names.dedup();
        assert_eq!(names, all);
    }
}
