//! `bridgefwd flows`

use super::{ask_or_read, labels, output};
use crate::api::types::FlowFilter;
use crate::cli::FlowsOptions;
use crate::failure::Result;
use crate::instance::Instance;
use crate::views;

pub(super) fn run(options: FlowsOptions, instance: &Instance) -> Result<()> {
    let FlowsOptions { from, to, proto, output } = options;
    let filter = FlowFilter { from, to, proto };
    let flows = ask_or_read(
        instance,
        async |client| client.flows(&filter).await,
        |pins| labels(instance)?.select(&filter, &pins.bridges()?, pins.flows()?),
    )?;
    output::answer(&flows, output, |flows, width| views::flows::table(flows, width))
}
