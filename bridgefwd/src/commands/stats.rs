//! `bridgefwd stats`

use super::{ask_or_read, labels, output};
use crate::cli::StatsOptions;
use crate::datapath::offline::Reader;
use crate::failure::Result;
use crate::instance::Instance;
use crate::views;

pub(super) fn run(options: &StatsOptions, instance: &Instance) -> Result<()> {
    let read = |pins: &Reader| {
        let mut stats = pins.stats()?;
        labels(instance)?.stats(&mut stats);
        Ok(stats)
    };
    let stats = ask_or_read(instance, async |client| client.stats().await, read)?;
    output::answer(&stats, options.output, |stats, width| {
        views::stats::report(stats, options.all, width)
    })
}
