//! `xdp`: whether a program in XDP would gain anything here: what a frame costs that is dropped there and by
//! us, and what it costs the packets that pass.

mod filter;

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use aya::programs::ProgramInfo;
use bridgefwd_common::contract::PROGRAM;
use bridgefwd_tests::bpf::{self, RunTime};
use bridgefwd_tests::inject::Injector;
use bridgefwd_tests::namespaces::Namespace;
use bridgefwd_tests::packets::Packet;
use bridgefwd_tests::wait::poll;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::Options;
use crate::path::load::{Load, cpu, pin};
use crate::path::spread;
use crate::path::statistics::{average, counting};
use crate::path::ways::{Kind, Way};
use crate::progress::Progress;
use crate::random::Random;
use crate::report::{Report, Table};
use crate::statistics::Spread;
use filter::{Filter, Means, UNWANTED};

/// Bytes of a frame: the smallest, and one that fills a packet.
const SIZES: [usize; 2] = [60, 1514];
/// Bytes of Ethernet, IPv4 and UDP headers.
const HEADERS: usize = 14 + 20 + 8;
/// Flows that there can be.
const FLOWS: u32 = 4096;
/// How long the kernel may take to be done with what was sent.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the filter is, with the traffic that goes there.
struct Place {
    name: &'static str,
    way: Way,
    load: Load,
    /// The router's interface that the traffic of `load` comes in by.
    passing: String,
    /// The one by which frames come that nobody wants.
    dropping: String,
    injector: Injector,
    /// Such frames, one of each size.
    frames: [Vec<u8>; SIZES.len()],
    ours: OwnedFd,
}

/// What dropping costs.
#[derive(Debug, Serialize)]
struct Drops {
    place: &'static str,
    means: Means,
    frame_bytes: usize,
    /// CPU time for a frame, from the system call that sends it to its end, ns.
    cpu_ns: Spread,
    /// The same over that of bridgefwd alone, by round.
    over_ours: Spread,
    /// ns a run of the program that drops.
    run_ns: Spread,
}

/// What those that pass pay.
#[derive(Debug, Serialize)]
struct Passes {
    place: &'static str,
    means: Means,
    ping_pong_us: Spread,
    ping_pong_over_none: Spread,
    bulk_mb_s: Spread,
    bulk_over_none: Spread,
}

#[derive(Debug, Serialize)]
struct Results {
    drops: Vec<Drops>,
    passes: Vec<Passes>,
    not_measured: Vec<&'static str>,
}

struct Effort {
    rounds: usize,
    frames: u32,
    time: Duration,
}

/// What was measured at one place by one means, a round each.
#[derive(Default)]
struct Rounds {
    /// By size of the frame: CPU time a frame, and ns a run.
    dropped: [[Vec<f64>; 2]; SIZES.len()],
    ping_pong: Vec<f64>,
    bulk: Vec<f64>,
}

/// Measures, and says so.
pub fn run(options: &Options) -> anyhow::Result<Report> {
    let millis = Duration::from_millis;
    let effort = match (options.tiny, options.quick) {
        (true, _) => Effort { rounds: 1, frames: 200, time: millis(10) },
        (_, true) => Effort { rounds: 7, frames: 20_000, time: millis(100) },
        _ => Effort { rounds: 21, frames: 50_000, time: millis(300) },
    };
    let filter = Filter::new();
    let places = [Place::uplink(), Place::port()];
    let mut random = Random::new(options.seed);
    let mut cells: Vec<(usize, Means)> =
        (0..places.len()).flat_map(|place| Means::ALL.map(|means| (place, means))).collect();
    let (mut rounds, mut not_measured) = (Vec::new(), Vec::new());
    cells.retain(|&(place, means)| {
        let can = places[place].works(&filter, means);
        if !can && !not_measured.contains(&means.name()) {
            not_measured.push(means.name());
        }
        can
    });
    rounds.resize_with(cells.len(), Rounds::default);
    let mut progress = Progress::new(effort.rounds * cells.len());
    for round in 0..effort.rounds {
        for number in random.order(cells.len()) {
            let (place, means) = cells[number];
            progress.step(&format!("round {}, {}", round + 1, means.name()));
            places[place].round(&filter, means, &effort, &mut rounds[number]);
        }
    }
    progress.finish();
    let of = |place, means| {
        cells.iter().position(|cell| *cell == (place, means)).and_then(|at| rounds.get(at))
    };
    let (mut drops, mut passes) = (Vec::new(), Vec::new());
    for &(place, means) in &cells {
        if let (Some(these), Some(ours)) = (of(place, means), of(place, Means::Ours)) {
            let name = places[place].name;
            drops.extend(
                (0..SIZES.len()).filter_map(|size| dropped(name, means, size, these, ours)),
            );
            passes.extend(passed(name, means, these, ours));
        }
    }
    Ok(report(options, &Results { drops, passes, not_measured }))
}

impl Place {
    /// The uplink of a router, for what comes from outside.
    #[track_caller]
    fn uplink() -> Self {
        let way = Way::make(Kind::Outside, FLOWS).expect("one of ours");
        let uplink = way.router().and_then(|router| router.uplink.as_ref()).expect("an uplink");
        let injector = Injector::new(&uplink.ns, "eth0");
        let frames = frames(uplink.outside, [uplink.outside_mac, uplink.mac]);
        let interfaces = ["up0".to_owned(), "up0".to_owned()];
        Self::new("uplink", way, interfaces, "up0", injector, frames)
    }

    /// The ports of two containers.
    #[track_caller]
    fn port() -> Self {
        let way = Way::make(Kind::Ports, FLOWS).expect("one of ours");
        let router = way.router().expect("a router");
        let [client, other] = [&router.hosts[0], &router.hosts[1]];
        let injector = Injector::new(&other.ns, "eth0");
        let frames = frames(other.address, [other.mac, router.bridge("br-b").mac]);
        let interfaces = [client.port.clone(), other.port.clone()];
        Self::new("port", way, interfaces, "br-b", injector, frames)
    }

    /// Frames from `end` to br-a are refused.
    #[track_caller]
    fn new(
        name: &'static str,
        way: Way,
        [passing, dropping]: [String; 2],
        end: &str,
        injector: Injector,
        frames: [Vec<u8>; SIZES.len()],
    ) -> Self {
        let bridgefwd = way.bridgefwd().expect("one of ours");
        bridgefwd.ok(&["pair", "deny", end, "br-a"]);
        let info = ProgramInfo::from_pin(bridgefwd.pin_dir.join("programs").join(PROGRAM));
        let fd = info.and_then(|info| info.fd()).expect("a pinned program");
        let ours = fd.as_fd().try_clone_to_owned().expect("a descriptor");
        let load = Load::new(&way);
        Self { name, way, load, passing, dropping, injector, frames, ours }
    }

    #[track_caller]
    fn router(&self) -> &Namespace {
        &self.way.router().expect("a router").ns
    }

    /// Can it be attached, and does it drop, it and nobody else? Packets that pass do pass.
    #[track_caller]
    fn works(&self, filter: &Filter, means: Means) -> bool {
        const FRAMES: u32 = 100;
        let Some(_attached) = filter.attach(means, self.router(), &self.dropping) else {
            return false;
        };
        let refused = || -> u64 {
            let stats = self.way.bridgefwd().expect("one of ours").json(&["stats"]);
            stats["reasons"]["pair_denied"]["packets"].as_u64().expect("a number")
        };
        let (_counting, before) = (counting(), (refused(), self.run_time(filter, means)));
        for frame in &self.frames {
            self.send(frame, FRAMES);
        }
        let sent = u64::from(FRAMES) * SIZES.len() as u64;
        self.await_runs(filter, means, before.1, sent);
        let ours = if means == Means::Ours { sent } else { 0 };
        assert_eq!(
            refused() - before.0,
            ours,
            "dropped by bridgefwd, {} at {}",
            means.name(),
            self.name
        );
        true
    }

    fn run_time(&self, filter: &Filter, means: Means) -> RunTime {
        filter.run_time(means).unwrap_or_else(|| bpf::run_time(self.ours.as_fd()))
    }

    /// Waits until the program has run so often more.
    #[track_caller]
    fn await_runs(&self, filter: &Filter, means: Means, before: RunTime, runs: u64) -> RunTime {
        poll(PATIENCE, || {
            let now = self.run_time(filter, means);
            (now.runs - before.runs >= runs).then_some(now)
        })
        .unwrap_or_else(|| panic!("not all of {runs} frames came to the {}", means.name()))
    }

    /// Sends frames. CPU time a frame, ns: of sending it, and of what the kernel does with it.
    fn send(&self, frame: &[u8], count: u32) -> f64 {
        let injector = &self.injector;
        let run = || {
            pin();
            let busy = || thread_ns() + softirq_ns();
            let before = busy();
            for _ in 0..count {
                injector.send(frame);
            }
            (busy() - before) / f64::from(count)
        };
        // A thread of its own, so that the caller is not bound to the CPU.
        std::thread::scope(|scope| scope.spawn(run).join().expect("the load"))
    }

    /// One round of one means.
    #[track_caller]
    fn round(&self, filter: &Filter, means: Means, effort: &Effort, rounds: &mut Rounds) {
        {
            let _attached = filter.attach(means, self.router(), &self.dropping);
            for (frame, [cpu_ns, run_ns]) in self.frames.iter().zip(&mut rounds.dropped) {
                // Being counted costs each run something, so that is done apart.
                self.send(frame, effort.frames / 10);
                cpu_ns.push(self.send(frame, effort.frames));
                let _counting = counting();
                let before = self.run_time(filter, means);
                self.send(frame, effort.frames / 4);
                let after = self.await_runs(filter, means, before, (effort.frames / 4).into());
                run_ns.push(average(before, after));
            }
        }
        let _attached = filter.attach(means, self.router(), &self.passing);
        self.load.ping_pong(effort.time / 4);
        rounds.ping_pong.push(self.load.ping_pong(effort.time).median);
        rounds.bulk.push(self.load.bulk(&self.way, effort.time));
    }
}

/// Datagrams to a host on br-a that need not be there.
fn frames(from: Ipv4Addr, [from_mac, to_mac]: [[u8; 6]; 2]) -> [Vec<u8>; SIZES.len()] {
    let (from, to) = (SocketAddrV4::new(from, 4000), Ipv4Addr::new(10, 1, 0, 99));
    SIZES.map(|size| {
        let payload = vec![7; size - HEADERS];
        let packet = Packet::udp(from, SocketAddrV4::new(to, UNWANTED)).payload(&payload);
        packet.macs(from_mac, to_mac).build()
    })
}

/// CPU time of the calling thread, ns.
fn thread_ns() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// CPU time of the kernel's thread that takes over where packets come too fast, of the CPU of the load, ns.
fn softirq_ns() -> f64 {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let name = format!("ksoftirqd/{}\n", cpu());
    let find =
        || {
            fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.path()).find(|folder| {
                fs::read_to_string(folder.join("comm")).is_ok_and(|comm| comm == name)
            })
        };
    let text = FOLDER
        .get_or_init(find)
        .as_ref()
        .and_then(|folder| fs::read_to_string(folder.join("schedstat")).ok())
        .unwrap_or_default();
    text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0.0)
}

fn dropped(
    place: &'static str,
    means: Means,
    size: usize,
    these: &Rounds,
    ours: &Rounds,
) -> Option<Drops> {
    let [cpu_ns, run_ns] = these.dropped.get(size)?;
    let [of_ours, _] = ours.dropped.get(size)?;
    Some(Drops {
        place,
        means,
        frame_bytes: *SIZES.get(size)?,
        cpu_ns: Spread::of(cpu_ns)?,
        over_ours: Spread::of_ratios(cpu_ns, of_ours)?,
        run_ns: Spread::of(run_ns)?,
    })
}

fn passed(place: &'static str, means: Means, these: &Rounds, none: &Rounds) -> Option<Passes> {
    Some(Passes {
        place,
        means,
        ping_pong_us: Spread::of(&these.ping_pong)?,
        ping_pong_over_none: Spread::of_ratios(&these.ping_pong, &none.ping_pong)?,
        bulk_mb_s: Spread::of(&these.bulk)?,
        bulk_over_none: Spread::of_ratios(&these.bulk, &none.bulk)?,
    })
}

fn report(options: &Options, results: &Results) -> Report {
    let mut report = Report::new("xdp", options, results);
    report.text(
        "Frames that are dropped: CPU time for each, from the system call that sends it to its end, \
         and over that of bridgefwd alone in the same round; ns a run of the program that drops. Medians \
         of rounds [quartiles].",
    );
    let header = ["at", "dropped by", "bytes", "CPU a frame, ns", "ratio", "program, ns"];
    let mut table = Table::new(header.map(Into::into).to_vec());
    for drops in &results.drops {
        table.row(vec![
            drops.place.into(),
            drops.means.name().into(),
            drops.frame_bytes.to_string(),
            spread(drops.cpu_ns),
            spread(drops.over_ours),
            spread(drops.run_ns),
        ]);
    }
    report.table(table);
    report.text(
        "What passes, while the same filter looks at it: beside bridgefwd alone in the same round.",
    );
    let header = ["at", "with", "ping-pong, us", "ratio", "bulk, MB/s", "ratio "];
    let mut table = Table::new(header.map(Into::into).to_vec());
    for passes in &results.passes {
        table.row(vec![
            passes.place.into(),
            passes.means.name().into(),
            spread(passes.ping_pong_us),
            spread(passes.ping_pong_over_none),
            spread(passes.bulk_mb_s),
            spread(passes.bulk_over_none),
        ]);
    }
    report.table(table);
    for means in &results.not_measured {
        report.text(&format!("Not measured: {means}; this kernel has no such thing."));
    }
    report
}
