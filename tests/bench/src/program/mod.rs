//! `program`: what a packet costs inside the program, by `BPF_PROG_TEST_RUN`, for each kind of packet
//! and for tables of every size; and what the programs and maps come to.
//!
//! What the kernel does with a verdict (the redirect itself) is not in it.

mod code;
mod counter;
mod front;
mod heard;
mod kinds;
pub mod size;

use std::os::fd::AsFd as _;

use bridgefwd_common::contract::PROGRAM;
use bridgefwd_tests::bpf;
use bridgefwd_tests::program::Buffer;
use bridgefwd_tests::topology::{Options as RouterOptions, Router};
use serde::Serialize;

use crate::Options;
use crate::chart::{Bar, Chart, Panel};
use crate::progress::Progress;
use crate::report::{Report, Table};
use crate::statistics::Spread;
use counter::Instructions;
use front::Front;
use heard::Heard;
use kinds::{Kind, Size, World};
use size::{MapSize, ProgramSize};

/// Tables of these sizes.
const SIZES: [Size; 6] = [
    Size { flows: 1, pairs: 1 },
    Size { flows: 1000, pairs: 1 },
    Size { flows: 100_000, pairs: 1 },
    Size { flows: 1_000_000, pairs: 1 },
    Size { flows: 1000, pairs: 100 },
    Size { flows: 100_000, pairs: 10_000 },
];

/// What is measured how often.
struct Effort {
    rounds: usize,
    repeat: u32,
    new_flows: u32,
}

/// One kind of packet at one size.
#[derive(Debug, Serialize)]
struct Cost {
    kind: &'static str,
    flows: u32,
    pairs: u32,
    /// ns a packet, without what an empty program takes in its place.
    ns: Spread,
    /// ns that the empty program took, with all that stands in front of either.
    empty_ns: Spread,
    /// Instructions a packet, likewise, where the processor counts them.
    instructions: Option<Spread>,
}

#[derive(Debug, Serialize)]
struct Results {
    /// ns of a run of an empty program with nothing in front.
    empty_alone_ns: f64,
    costs: Vec<Cost>,
    heard: Vec<Heard>,
    /// By how many instructions of `bridgefwd` a packet comes to look at `EVENT_CONTROL`, where each of
    /// them leads to a drop.
    looks_where_dropped: Option<usize>,
    programs: Vec<ProgramSize>,
    /// With a million flows in the table.
    maps: Vec<MapSize>,
    /// Bytes that a flow takes, of all maps that grow with the number of flows.
    bytes_a_flow: f64,
}

/// Measures, and says so.
pub fn run(options: &Options) -> anyhow::Result<Report> {
    let effort = if options.quick {
        Effort { rounds: 5, repeat: 20_000, new_flows: 5000 }
    } else {
        Effort { rounds: 21, repeat: 100_000, new_flows: 20_000 }
    };
    let sizes: Vec<Size> =
        SIZES.into_iter().filter(|size| !options.tiny || size.flows <= 1000).collect();
    let router = Router::new(RouterOptions::default(), &["br-a", "br-b", "br-c"]);
    router.learn_neighbours();
    let counter = Instructions::count();
    if let Err(error) = &counter {
        eprintln!(
            "NOT MEASURED: instructions a packet: this machine has no counter for them ({error})"
        );
    }
    let counter = counter.ok();
    let results =
        router.ns.run(|| measure(&router, &sizes, &effort, options.seed, counter.is_some()));
    Ok(report(options, &results, counter.is_some()))
}

fn measure(router: &Router, sizes: &[Size], effort: &Effort, seed: u64, count: bool) -> Results {
    // A thread counts for itself.
    let counter = if count { Instructions::count().ok() } else { None };
    let empty = bpf::empty_classifier();
    let mut progress = Progress::new(sizes.len() * Kind::ALL.len() + heard::steps());
    let mut costs = Vec::new();
    let (mut programs, mut maps) = (Vec::new(), Vec::new());
    let mut looks_where_dropped = None;
    for &size in sizes {
        for (population, kinds) in Kind::ALL {
            progress.step(&format!("{population:?}, {} flows, {} pairs", size.flows, size.pairs));
            let room = (effort.rounds as u32 + 2) * effort.new_flows;
            let world = World::new(router, population, size, room);
            if programs.is_empty() {
                programs = size::programs(&world.program);
                looks_where_dropped = size::looks_where_dropped(&world.program);
            }
            for &kind in kinds {
                costs.push(cost(&world, kind, size, effort, empty.as_fd(), counter.as_ref()));
            }
            if maps.is_empty() && Some(size.flows) == sizes.iter().map(|size| size.flows).max() {
                maps = size::maps(&world.program);
            }
        }
    }
    let heard = heard::measure(router, effort, seed, empty.as_fd(), &mut progress);
    progress.finish();
    let alone = Front::alone(&empty);
    let bytes = maps.iter().filter(|map| map.entries >= 1000 && size::grows(&map.name));
    let slots = maps.iter().find(|map| map.name == "FLOWS").map_or(1, |map| map.entries);
    let bytes_a_flow = bytes.map(|map| map.memory).sum::<u64>() as f64 / f64::from(slots);
    Results {
        empty_alone_ns: alone,
        costs,
        heard,
        looks_where_dropped,
        programs,
        maps,
        bytes_a_flow,
    }
}

/// Interleaved: in each round the empty program, then ours.
fn cost(
    world: &World<'_>,
    kind: Kind,
    size: Size,
    effort: &Effort,
    empty: std::os::fd::BorrowedFd<'_>,
    counter: Option<&Instructions>,
) -> Cost {
    let (ifindex, frame, spread) = world.packets(kind);
    let ours = world.program.program(PROGRAM).fd().expect("loaded");
    let with = |behind| Front::new(behind, Buffer::at(ifindex), &frame, spread);
    let (ours, empty) = (with(ours.as_fd()), with(empty));
    let repeat = if kind == Kind::NewFlow { effort.new_flows } else { effort.repeat };
    let timed = |front: &Front| {
        let before = counter.map(Instructions::read);
        let (duration, _) = front.run(repeat);
        let ran = counter.map(|counter| counter.read() - before.unwrap_or_default());
        (duration.as_nanos() as f64, ran.map(|ran| ran as f64 / f64::from(repeat)))
    };
    let before = world.program.counters();
    // Not counted: caches and predictors get to know it.
    timed(&empty);
    timed(&ours);
    let (mut ns, mut empty_ns, mut instructions) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        let (without, ran_without) = timed(&empty);
        let (whole, ran) = timed(&ours);
        ns.push(whole - without);
        empty_ns.push(without);
        instructions.extend(ran.zip(ran_without).map(|(ran, without)| ran - without));
    }
    let runs = u64::from(repeat) * (effort.rounds as u64 + 1);
    kind.assert_counted(&before, &world.program.counters(), runs);
    Cost {
        kind: kind.name(),
        flows: size.flows,
        pairs: size.pairs,
        ns: Spread::of(&ns).expect("rounds"),
        empty_ns: Spread::of(&empty_ns).expect("rounds"),
        instructions: Spread::of(&instructions),
    }
}

fn report(options: &Options, results: &Results, counted: bool) -> Report {
    let mut report = Report::new("program", options, results);
    report.text(&format!(
        "ns a packet in the program, median of rounds [quartiles], over an empty program in the same \
         place (which alone takes {:.0} ns a run). What the kernel does with the verdict is not in it.",
        results.empty_alone_ns
    ));
    let mut sizes: Vec<(u32, u32)> = results.costs.iter().map(|c| (c.flows, c.pairs)).collect();
    sizes.dedup();
    let mut header = vec!["packet".to_owned()];
    header.extend(sizes.iter().map(|(flows, pairs)| format!("{flows} flows, {pairs} pairs")));
    let mut table = Table::new(header);
    for (_, kinds) in Kind::ALL {
        for kind in kinds {
            let mut row = vec![kind.name().to_owned()];
            for &(flows, pairs) in &sizes {
                let cost = results.costs.iter().find(|cost| {
                    (cost.kind, cost.flows, cost.pairs) == (kind.name(), flows, pairs)
                });
                row.push(cost.map_or_else(String::new, |cost| {
                    format!("{:.0} [{:.0}-{:.0}]", cost.ns.median, cost.ns.low, cost.ns.high)
                }));
            }
            table.row(row);
        }
    }
    report.table(table);
    report.chart(chart(results, &sizes));
    if counted {
        let mut table =
            Table::new(["packet", "instructions a packet, 1 flow"].map(Into::into).to_vec());
        for cost in results.costs.iter().filter(|cost| (cost.flows, cost.pairs) == (1, 1)) {
            let spread = cost.instructions.map_or(0.0, |spread| spread.median);
            table.row(vec![cost.kind.to_owned(), format!("{spread:.0}")]);
        }
        report.table(table);
    } else {
        report.text("Instructions a packet: not measured; this machine lets nobody count them.");
    }
    heard::report(&mut report, &results.heard);
    report.text(&fast_path(results));
    let header =
        ["program", "instructions", "verified", "stack addressed, bytes"].map(Into::into).to_vec();
    let mut table = Table::new(header);
    for program in &results.programs {
        table.row(vec![
            program.name.clone(),
            program.translated.to_string(),
            program.verified.map_or_else(|| "?".into(), |count| count.to_string()),
            program.stack.to_string(),
        ]);
    }
    report.table(table);
    let header =
        ["map", "entries", "key + value", "memory", "bytes an entry"].map(Into::into).to_vec();
    let mut table = Table::new(header);
    for map in results.maps.iter().filter(|map| map.memory >= 64 * 1024) {
        table.row(vec![
            map.name.clone(),
            map.entries.to_string(),
            map.key_and_value.to_string(),
            format!("{:.1} MiB", map.memory as f64 / f64::from(1 << 20)),
            format!("{:.1}", map.memory as f64 / f64::from(map.entries)),
        ]);
    }
    report.table(table);
    report.text(&format!(
        "A flow there can be takes {:.0} bytes of memory, in all maps whose size goes by the number \
         of flows; IPv6 index, sources and mappings take theirs only when there are some.",
        results.bytes_a_flow
    ));
    report
}

/// Whether the program that is attached looks at what is to be told for packets that it forwards.
fn fast_path(results: &Results) -> String {
    let fast = results.programs.iter().find(|program| program.name == PROGRAM);
    let instructions = fast.map_or_else(|| "?".into(), |program| program.translated.to_string());
    let looks = match results.looks_where_dropped {
        Some(0) => "None of them looks at `EVENT_CONTROL`.".to_owned(),
        Some(count) => format!(
            "{count} of them leads to where `EVENT_CONTROL` is looked at, and from there every way returns \
             `TC_ACT_SHOT`: that is not done for packets that it forwards, or leaves to the programs behind it. Of \
             those, the figures above tell."
        ),
        None => {
            "That it looks at `EVENT_CONTROL` for packets only that it drops is NOT shown.".into()
        }
    };
    format!(
        "`{PROGRAM}`, which forwards packets of flows that know their way, has {instructions} instructions, as the \
         kernel has accepted them. {looks}"
    )
}

/// The cost of each kind, at one flow and at the largest table.
fn chart(results: &Results, sizes: &[(u32, u32)]) -> Chart {
    let largest = sizes.iter().copied().max();
    let panels = sizes.first().copied().into_iter().chain(largest).map(|(flows, pairs)| {
        let costs = results.costs.iter();
        let costs = costs.filter(|cost| (cost.flows, cost.pairs) == (flows, pairs));
        Panel {
            title: format!("ns a packet in the program, {flows} flows, {pairs} pairs"),
            bars: costs
                .map(|cost| Bar { label: cost.kind.into(), value: cost.ns, ours: true })
                .collect(),
        }
    });
    Chart { name: "benchmark-program", panels: panels.collect() }
}
