//! `bridgefwd stats`

use super::{ask_or_read, output};
use crate::cli::StatsOptions;
use crate::failure::Result;
use crate::instance::Instance;
use crate::views;

pub(super) fn run(options: &StatsOptions, instance: &Instance) -> Result<()> {
    let stats = ask_or_read(instance, async |client| client.stats().await, |pins| pins.stats())?;
    output::answer(&stats, options.output, |stats, width| {
        views::stats::report(stats, options.all, width)
    })
}
