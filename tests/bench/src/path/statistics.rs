//! What the kernel's run-time statistics say of the programs on their way: ours beside one that does
//! nothing, in the same run.
//!
//! The empty one is at ingress of the client's own interface, where every answer passes it.

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use aya::programs::ProgramInfo;
use bridgefwd_common::contract::{EGRESS_PROGRAM, PROGRAM};
use bridgefwd_tests::bpf::{self, RunTime};
use bridgefwd_tests::foreign::ForeignProgram;
use serde::Serialize;

use super::load::Load;
use super::ways::{Kind, Way};
use crate::crowd::{self, Ends};
use crate::progress::Progress;
use crate::statistics::Spread;

/// Flows that are alive in the crowded case.
pub const CROWD: u32 = 1_000_000;

/// One case.
#[derive(Debug, Serialize)]
pub struct Case {
    /// What is special about it.
    pub name: &'static str,
    /// Flows that were alive.
    pub flows: u64,
    /// ns a run of the program at ingress: packets of an established connection.
    pub ingress_ns: Spread,
    /// ns a run of the one at egress.
    pub egress_ns: Option<Spread>,
    /// ns a run of the empty one.
    pub empty_ns: Spread,
    /// The first over the third, by round.
    pub over_empty: Spread,
}

struct Measured {
    name: &'static str,
    way: Way,
    load: Load,
    empty: ForeignProgram,
    ingress: OwnedFd,
    egress: OwnedFd,
    rounds: Vec<[f64; 3]>,
}

/// The cases, in turn in each round.
#[track_caller]
pub fn cases(rounds: usize, time: Duration, crowd: u32) -> Vec<Case> {
    let mut cases: Vec<Measured> = [
        ("1 flow", Kind::Ports, 1),
        ("flows by the million", Kind::Ports, crowd),
        ("100 more networks", Kind::PortsOthers, 1),
    ]
    .into_iter()
    .filter_map(|(name, kind, flows)| Some(Measured::new(name, Way::make(kind, 2 * crowd)?, flows)))
    .collect();
    let mut progress = Progress::new(rounds);
    for round in 0..rounds {
        progress.step(&format!("run-time statistics, round {}", round + 1));
        cases.iter_mut().for_each(|case| case.round(time));
    }
    progress.finish();
    cases.into_iter().filter_map(Measured::case).collect()
}

impl Measured {
    #[track_caller]
    fn new(name: &'static str, way: Way, flows: u32) -> Self {
        if flows > 1 {
            crowd(&way, flows);
        }
        let empty = ForeignProgram::load();
        way.client().command("tc", &["qdisc", "add", "dev", "eth0", "clsact"]);
        empty.filter(way.client(), "eth0", 1);
        let folder = way.bridgefwd().expect("one of ours").pin_dir.join("programs");
        let program = |name: &str| {
            let info = ProgramInfo::from_pin(folder.join(name)).expect("a pinned program");
            let fd = info.fd().expect("a program");
            fd.as_fd().try_clone_to_owned().expect("a descriptor")
        };
        let (ingress, egress) = (program(PROGRAM), program(EGRESS_PROGRAM));
        let load = Load::new(&way);
        Self { name, way, load, empty, ingress, egress, rounds: Vec::new() }
    }

    #[track_caller]
    fn round(&mut self, time: Duration) {
        let read = || {
            [
                bpf::run_time(self.ingress.as_fd()),
                bpf::run_time(self.egress.as_fd()),
                self.empty.run_time(),
            ]
        };
        let before = read();
        self.load.ping_pong(time);
        let after = read();
        let mut round = [0.0; 3];
        for (value, (before, after)) in round.iter_mut().zip(before.iter().zip(&after)) {
            *value = average(*before, *after);
        }
        self.rounds.push(round);
    }

    fn case(self) -> Option<Case> {
        let column = |place: usize| -> Vec<f64> {
            self.rounds.iter().filter_map(|round| round.get(place).copied()).collect()
        };
        let status = self.way.bridgefwd()?.json(&["status"]);
        let egress = column(1);
        let ran = egress.iter().any(|&ns| ns > 0.0);
        Some(Case {
            name: self.name,
            flows: status["flows"]["live"].as_u64()?,
            ingress_ns: Spread::of(&column(0))?,
            egress_ns: if ran { Spread::of(&egress) } else { None },
            empty_ns: Spread::of(&column(2))?,
            over_empty: Spread::of_ratios(&column(0), &column(2))?,
        })
    }
}

/// ns a run between two looks.
pub fn average(before: RunTime, after: RunTime) -> f64 {
    match after.runs - before.runs {
        0 => 0.0,
        runs => (after.time_ns - before.time_ns) as f64 / runs as f64,
    }
}

/// Opens so many flows between the hosts of a way.
#[track_caller]
fn crowd(way: &Way, flows: u32) {
    let router = way.router().expect("a router");
    let client = &router.hosts[0];
    let ends = Ends {
        client: way.client(),
        from: client.address,
        macs: [client.mac, router.bridge("br-a").mac],
        server: way.server(),
        to: *way.at(0).ip(),
    };
    crowd::open(way.bridgefwd().expect("one of ours"), &ends, flows);
}

/// Keeps the kernel counting for as long as it lives.
pub fn counting() -> OwnedFd {
    aya::sys::enable_stats(aya::sys::Stats::RunTime)
        .unwrap_or_else(|error| panic!("the kernel's run-time statistics: {error}"))
}
