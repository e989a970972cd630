//! `bridgefwd stats`

use super::{ask_or_read, labels, watch};
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
    watch::show(&options.listing, options.exact.bytes, |page| {
        let stats = ask_or_read(page, instance, async |client| client.stats().await, read)?;
        page.answer(&stats, |stats, style| views::stats::report(stats, options.all, style))
    })
}
