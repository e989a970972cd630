//! `path`: what it costs to get from a client to a server by bridgefwd, and by what others do in its
//! place.
//!
//! Every way is there at the same time; in each round all of them are measured one after the other,
//! in an order drawn anew, and what is compared is of the same round.

pub mod load;
mod rules;
pub mod statistics;
mod targets;
pub mod ways;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::Options;
use crate::chart::{Bar, Chart, Panel};
use crate::progress::Progress;
use crate::random::Random;
use crate::report::{Report, Table};
use crate::statistics::Spread;
use load::Load;
use statistics::Case;
use targets::Target;
use ways::{Kind, Way};

/// What is measured of a way.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// One byte there and back, microseconds; the median of a round.
    Latency,
    /// The same, of which 99 of 100 are faster.
    LatencyP99,
    /// Connections a second.
    Connections,
    /// Datagrams received a second.
    Datagrams,
    /// CPU time a datagram, ns.
    DatagramCpu,
    /// Megabytes received a second.
    Bulk,
    /// The same without offloads.
    BulkPlain,
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Latency,
        Self::LatencyP99,
        Self::Connections,
        Self::Datagrams,
        Self::DatagramCpu,
        Self::Bulk,
        Self::BulkPlain,
    ];

    const fn title(self) -> &'static str {
        match self {
            Self::Latency => "ping-pong, us",
            Self::LatencyP99 => "p99, us",
            Self::Connections => "connections/s",
            Self::Datagrams => "UDP/s",
            Self::DatagramCpu => "CPU a datagram, ns",
            Self::Bulk => "bulk, MB/s",
            Self::BulkPlain => "bulk without offloads, MB/s",
        }
    }
}

/// What was measured, by round.
#[derive(Debug, Default)]
pub struct Rounds(BTreeMap<(usize, Metric), Vec<f64>>);

impl Rounds {
    fn add(&mut self, kind: Kind, metric: Metric, value: f64) {
        self.0.entry((kind as usize, metric)).or_default().push(value);
    }

    /// Of a way; nothing where it could not be measured.
    fn of(&self, kind: Kind, metric: Metric) -> &[f64] {
        self.0.get(&(kind as usize, metric)).map_or(&[], Vec::as_slice)
    }
}

/// One figure, and beside the direct cable.
#[derive(Debug, Serialize)]
struct Figure {
    way: &'static str,
    metric: Metric,
    value: Spread,
    over_direct: Spread,
    rounds: Vec<f64>,
}

#[derive(Debug, Serialize)]
struct Results {
    figures: Vec<Figure>,
    not_measured: Vec<&'static str>,
    programs: Vec<Case>,
    targets: Vec<Target>,
}

struct Effort {
    rounds: usize,
    time: Duration,
    plain_rounds: usize,
    crowd: u32,
}

/// Flows there can be, where ours are measured: as many as the kernel tracks here.
const FLOWS: u32 = 262_144;

/// Measures, and says so.
pub fn run(options: &Options) -> anyhow::Result<Report> {
    let millis = Duration::from_millis;
    let effort = match (options.tiny, options.quick) {
        (true, _) => Effort { rounds: 1, time: millis(10), plain_rounds: 1, crowd: 2000 },
        (_, true) => {
            Effort { rounds: 7, time: millis(100), plain_rounds: 3, crowd: statistics::CROWD }
        }
        _ => Effort { rounds: 21, time: millis(300), plain_rounds: 9, crowd: statistics::CROWD },
    };
    let mut not_measured = Vec::new();
    let mut ways = Vec::new();
    for kind in Kind::ALL {
        match Way::make(kind, FLOWS) {
            Some(way) => {
                let load = Load::new(&way);
                ways.push((way, load));
            }
            None => not_measured.push(kind.name()),
        }
    }
    let mut rounds = Rounds::default();
    let mut random = Random::new(options.seed);
    interleaved(&ways, &effort, &mut random, &mut rounds);
    ways.iter().for_each(|(way, _)| way.without_offloads());
    let mut progress = Progress::new(effort.plain_rounds);
    for round in 0..effort.plain_rounds {
        progress.step(&format!("without offloads, round {}", round + 1));
        for place in random.order(ways.len()) {
            let (way, load) = &ways[place];
            rounds.add(way.kind, Metric::BulkPlain, load.bulk(way, effort.time));
        }
    }
    progress.finish();
    drop(ways);
    let programs = {
        let _counting = statistics::counting();
        statistics::cases(effort.rounds, effort.time, effort.crowd)
    };
    let targets = targets::all(&rounds, &programs);
    let results = Results { figures: figures(&rounds), not_measured, programs, targets };
    Ok(report(options, &results))
}

fn interleaved(ways: &[(Way, Load)], effort: &Effort, random: &mut Random, rounds: &mut Rounds) {
    // Not counted: neighbours are found, caches filled.
    for (way, load) in ways {
        load.ping_pong(effort.time / 4);
        load.datagrams(effort.time / 4);
        load.connections(way, effort.time / 4);
    }
    let mut progress = Progress::new(effort.rounds * ways.len());
    for round in 0..effort.rounds {
        for place in random.order(ways.len()) {
            let (way, load) = &ways[place];
            progress.step(&format!("round {}, {}", round + 1, way.kind.name()));
            let latency = load.ping_pong(effort.time);
            rounds.add(way.kind, Metric::Latency, latency.median);
            rounds.add(way.kind, Metric::LatencyP99, latency.p99);
            rounds.add(way.kind, Metric::Connections, load.connections(way, effort.time));
            let datagrams = load.datagrams(effort.time);
            rounds.add(way.kind, Metric::Datagrams, datagrams.a_second);
            rounds.add(way.kind, Metric::DatagramCpu, datagrams.cpu_ns);
            rounds.add(way.kind, Metric::Bulk, load.bulk(way, effort.time));
        }
    }
    progress.finish();
}

fn figures(rounds: &Rounds) -> Vec<Figure> {
    let mut figures = Vec::new();
    for kind in Kind::ALL {
        for metric in Metric::ALL {
            let values = rounds.of(kind, metric);
            let over_direct = Spread::of_ratios(values, rounds.of(Kind::Direct, metric));
            if let (Some(value), Some(over_direct)) = (Spread::of(values), over_direct) {
                let rounds = values.to_vec();
                figures.push(Figure { way: kind.name(), metric, value, over_direct, rounds });
            }
        }
    }
    figures
}

fn report(options: &Options, results: &Results) -> Report {
    let mut report = Report::new("path", options, results);
    report.text(
        "Medians of rounds. Client and server share one CPU, so that a figure is what the whole way \
         costs.",
    );
    report.table(by_way(results, |figure| digits(figure.value.median)));
    report.text("As ratios to the direct cable of the same round, median [quartiles]:");
    report.table(by_way(results, |figure| spread(figure.over_direct)));
    for way in &results.not_measured {
        report.text(&format!("Not measured: {way}; this kernel has no such thing."));
    }
    report.text(
        "The programs on their way, by the kernel's run-time statistics, during ping-pong: ns a run, \
         median [quartiles]. The empty program does nothing, at an interface that the same packets \
         come by.",
    );
    let header =
        ["case", "flows alive", "ours, ingress", "ours, egress", "empty", "ingress / empty"];
    let mut table = Table::new(header.map(Into::into).to_vec());
    for case in &results.programs {
        table.row(vec![
            case.name.into(),
            case.flows.to_string(),
            spread(case.ingress_ns),
            case.egress_ns.map_or_else(|| "not run".into(), spread),
            spread(case.empty_ns),
            spread(case.over_empty),
        ]);
    }
    report.table(table);
    report.text("Targets:");
    let header = ["target", "bound", "ratio, median [quartiles]", ""].map(Into::into).to_vec();
    let mut table = Table::new(header);
    for target in &results.targets {
        let ratio = target.ratio.map_or_else(String::new, spread);
        table.row(vec![target.what.clone(), target.bound(), ratio, target.verdict().into()]);
    }
    report.table(table);
    report.chart(chart(results));
    report
}

/// A row for each way, a column for each metric.
fn by_way(results: &Results, cell: impl Fn(&Figure) -> String) -> Table {
    let mut header = vec!["way".to_owned()];
    header.extend(Metric::ALL.map(|metric| metric.title().to_owned()));
    let mut table = Table::new(header);
    for kind in Kind::ALL {
        let of = |metric| {
            results
                .figures
                .iter()
                .find(|figure| (figure.way, figure.metric) == (kind.name(), metric))
        };
        if of(Metric::Latency).is_some() {
            let mut row = vec![kind.name().to_owned()];
            row.extend(Metric::ALL.map(|metric| of(metric).map_or_else(String::new, &cell)));
            table.row(row);
        }
    }
    table
}

fn chart(results: &Results) -> Chart {
    let panel = |metric: Metric, title: &str| Panel {
        title: title.into(),
        bars: results
            .figures
            .iter()
            .filter(|figure| figure.metric == metric)
            .map(|figure| Bar {
                label: figure.way.into(),
                value: figure.value,
                ours: Kind::ALL.iter().any(|kind| kind.is_ours() && kind.name() == figure.way),
            })
            .collect(),
    };
    Chart {
        name: "benchmark-path",
        panels: vec![
            panel(Metric::Latency, "TCP ping-pong of one byte, microseconds (less is better)"),
            panel(Metric::Connections, "TCP connections a second (more is better)"),
            panel(
                Metric::Datagrams,
                "UDP datagrams of 64 bytes received a second (more is better)",
            ),
            panel(Metric::Bulk, "bulk TCP, megabytes a second (more is better)"),
        ],
    }
}

/// Median and quartiles.
pub fn spread(spread: Spread) -> String {
    let Spread { median, low, high } = spread;
    format!("{} [{}-{}]", digits(median), digits(low), digits(high))
}

/// As many digits as say something.
fn digits(value: f64) -> String {
    match value.abs() {
        large if large >= 1000.0 => format!("{value:.0}"),
        middle if middle >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
