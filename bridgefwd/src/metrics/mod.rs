//! Metrics in Prometheus' formats: what each is called, and where its numbers come from.
//!
//! People write queries and alerts against them: names and labels stay. docs/metrics.md lists them,
//! and a test compares it with [`FAMILIES`].

mod families;

use std::fmt;
use std::time::{Duration, SystemTime};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, MetricEncoder};
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

pub use families::FAMILIES;

use crate::api::types::{Pair, PairCount};
use crate::datapath::measure::{Measurement, PairUse};
use crate::failure::{Failure, Result};

/// What every name begins with.
pub const PREFIX: &str = "bridgefwd";

/// A format of Prometheus.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// The text format, version 0.0.4: what everything reads.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// What a client gets that says `accept`: the text format, unless it names the other one.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        let is_open = |range: &str| {
            let mut parts = range.split(';').map(str::trim);
            parts.next() == Some("application/openmetrics-text") && !parts.any(|part| part == "q=0")
        };
        if accept.split(',').any(is_open) { Self::OpenMetrics } else { Self::Text }
    }

    /// Its media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What metrics are made of.
#[derive(Clone, Debug)]
pub struct Facts {
    measured: Measurement,
    pairs: Vec<PairFacts>,
    daemon: Option<Daemon>,
}

/// A listed pair.
#[derive(Clone, Debug)]
struct PairFacts {
    pair: Pair,
    /// Its counters; `None` where an end is away.
    has: Option<(PairCount, PairUse)>,
    /// Flows that have ended since it was listed.
    ended: u64,
}

impl Facts {
    /// Of what was measured. `ended` says how many flows of a pair have ended; `daemon` is `None` where
    /// there is none.
    pub fn new(
        measured: Measurement,
        pairs: Vec<Pair>,
        ended: impl Fn(&PairCount, PairUse) -> u64,
        daemon: Option<Daemon>,
    ) -> Self {
        let counts = &measured.stats.pairs;
        let facts = |pair: Pair| {
            let ends = (pair.from.clone(), pair.to.clone());
            let is_it = |count: &&PairCount| (&count.from, &count.to) == (&ends.0, &ends.1);
            let has = counts.iter().find(is_it).map(|count| {
                (count.clone(), measured.by_pair.get(&ends).copied().unwrap_or_default())
            });
            let ended = has.as_ref().map_or(0, |(count, has)| ended(count, *has));
            PairFacts { pair, has, ended }
        };
        let pairs = pairs.into_iter().map(facts).collect();
        Self { measured, pairs, daemon }
    }
}

/// How the daemon is.
#[derive(Clone, Copy, Debug)]
pub struct Daemon {
    /// When it became ready.
    pub started: SystemTime,
    /// How many warnings it has.
    pub warnings: u64,
    /// Interfaces that something could not be done for; tried again each second.
    pub failing: u64,
    /// What it has done.
    pub work: Work,
}

/// What a daemon has done since it became ready.
#[derive(Clone, Copy, Debug, Default)]
pub struct Work {
    /// Times that the data path was made to follow the host.
    pub reconciles: u64,
    /// Those of them that left something undone.
    pub reconcile_errors: u64,
    /// When the last one ended, and how long it took.
    pub last_reconcile: Option<(SystemTime, Duration)>,
    /// Times that news from the kernel was lost or broke off, so that everything was asked anew.
    pub resyncs: u64,
}

/// What a metric is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A number that only grows; its name ends in `_total`.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// Labels that say something; its name ends in `_info`.
    Info,
}

/// One metric, in as many samples as its labels make.
#[derive(Debug)]
pub struct Family {
    /// Its name, without prefix, unit and what its kind appends.
    name: &'static str,
    unit: Option<Unit>,
    /// What it is.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it says, without a full stop.
    pub help: &'static str,
    samples: fn(&Facts) -> Vec<Sample>,
}

/// Values of a family's labels, and the number.
type Sample = (Vec<String>, Number);

/// What a sample says.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Number {
    Count(u64),
    Real(f64),
}

impl Family {
    /// Its name in queries.
    #[must_use]
    pub fn full_name(&self) -> String {
        let unit = self.unit.iter().map(|unit| format!("_{}", unit.as_str()));
        let end = match self.kind {
            Kind::Counter => "_total",
            Kind::Gauge => "",
            Kind::Info => "_info",
        };
        format!("{PREFIX}_{}{}{end}", self.name, unit.collect::<String>())
    }

    fn encode(&self, facts: &Facts, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let samples = (self.samples)(facts);
        if samples.is_empty() {
            return Ok(());
        }
        let kind = match self.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Info => MetricType::Info,
        };
        let mut metric =
            encoder.encode_descriptor(self.name, self.help, self.unit.as_ref(), kind)?;
        for (values, number) in samples {
            let labels: Vec<(&str, String)> = self.labels.iter().copied().zip(values).collect();
            match self.kind {
                Kind::Info => metric.encode_info(&labels)?,
                Kind::Counter | Kind::Gauge if labels.is_empty() => {
                    self.encode_number(number, metric)?;
                    return Ok(());
                }
                Kind::Counter | Kind::Gauge => {
                    self.encode_number(number, metric.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }

    fn encode_number(&self, number: Number, metric: MetricEncoder<'_>) -> fmt::Result {
        match (self.kind, number) {
            (Kind::Counter, Number::Count(count)) => ConstCounter::new(count).encode(metric),
            (Kind::Counter, Number::Real(real)) => ConstCounter::new(real).encode(metric),
            (_, Number::Count(count)) => ConstGauge::new(count).encode(metric),
            (_, Number::Real(real)) => ConstGauge::new(real).encode(metric),
        }
    }
}

#[derive(Debug)]
struct All(Facts);

impl Collector for All {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        FAMILIES.iter().try_for_each(|family| family.encode(&self.0, &mut encoder))
    }
}

/// All metrics, as text.
///
/// # Errors
///
/// Where the library cannot write them.
pub fn expose(facts: Facts, format: Format) -> Result<String> {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(All(facts)));
    let mut exposed = String::new();
    match format {
        Format::Text => prometheus_text::encode(&mut exposed, &registry),
        Format::OpenMetrics => text::encode(&mut exposed, &registry),
    }
    .map_err(|error| Failure::failed(format!("the metrics cannot be written: {error}")))?;
    Ok(exposed)
}

#[cfg(test)]
mod tests;
