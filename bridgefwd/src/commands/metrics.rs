//! `bridgefwd metrics`

use super::output::{self, Page};
use super::{ask_or_read, labels};
use crate::cli::{MetricsOptions, Output};
use crate::datapath::offline::Reader;
use crate::failure::Result;
use crate::instance::Instance;
use crate::metrics::{self, Facts, Format};

pub(super) fn run(options: &MetricsOptions, instance: &Instance) -> Result<()> {
    let format = if options.openmetrics { Format::OpenMetrics } else { Format::Text };
    let text = ask_or_read(
        &mut Page::new(Output { json: false }, false),
        instance,
        async |client| client.metrics(format).await,
        |pins| metrics::expose(of_pins(pins, instance)?, format),
    )?;
    output::print(&text)
}

/// What there is without a daemon.
fn of_pins(pins: &Reader, instance: &Instance) -> Result<Facts> {
    let ended = |made: u64, standing: u64| made.saturating_sub(standing);
    let labels = labels(instance)?;
    let (mut measured, mut pairs) = (pins.measure()?, pins.pairs()?);
    measured.label(&labels);
    labels.pairs(&mut pairs);
    let facts =
        Facts::new(measured, pairs, |count, has| ended(count.flows_created, has.standing), None);
    Ok(facts)
}
