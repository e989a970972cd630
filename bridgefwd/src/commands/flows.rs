//! `bridgefwd flows`: asked for in parts, so that neither side ever has to hold a large table at once.

use super::{ask_or_read_quietly, labels, output, read_from_pins};
use crate::api::types::{Flow, FlowFilter};
use crate::cli::FlowsOptions;
use crate::failure::Result;
use crate::instance::Instance;
use crate::views;

/// Flows in a table where nothing is said: more than anybody reads.
const IN_A_TABLE: u32 = 1000;
/// Flows in one answer.
const PAGE: u32 = 10_000;

pub(super) fn run(options: FlowsOptions, instance: &Instance) -> Result<()> {
    let FlowsOptions { from, to, proto, state, address, port, limit, output } = options;
    let filter = FlowFilter { from, to, proto, state, address, port, limit: None, after: None };
    if output.json {
        let mut list = output::List::begin()?;
        pages(instance, filter, limit.unwrap_or(u32::MAX), |flows| list.more(&flows))?;
        return list.end();
    }
    let mut all = Vec::new();
    let more = pages(instance, filter, limit.unwrap_or(IN_A_TABLE), |flows| {
        all.extend(flows);
        Ok(true)
    })?;
    output::answer(&all, output, |flows, width| views::flows::table(flows, width))?;
    if more {
        output::note(&format!(
            "these are the first {}; choose among them by --from, --to, --proto, --state, --address \
             or --port, or see more with --limit",
            all.len()
        ));
    }
    Ok(())
}

/// Gives `each` the flows page by page, `limit` at most, until it wants no more. Are there more than
/// that?
fn pages(
    instance: &Instance,
    mut filter: FlowFilter,
    limit: u32,
    mut each: impl FnMut(Vec<Flow>) -> Result<bool>,
) -> Result<bool> {
    let (mut left, mut noted) = (limit, false);
    loop {
        filter.limit = Some(left.min(PAGE));
        let ((flows, next), from_pins) = ask_or_read_quietly(
            instance,
            async |client| client.page(&filter).await,
            |pins| {
                let labels = labels(instance)?;
                let filter = labels.by_interface(&filter, || pins.bridges())?;
                let (mut flows, next) = pins.flows(&filter)?;
                labels.flows(&mut flows);
                Ok((flows, next))
            },
        )?;
        if from_pins && !std::mem::replace(&mut noted, true) {
            output::note(&read_from_pins(instance));
        }
        left = left.saturating_sub(u32::try_from(flows.len()).unwrap_or(u32::MAX));
        let wants_more = each(flows)?;
        match next {
            None => return Ok(false),
            Some(_) if left == 0 || !wants_more => return Ok(true),
            Some(after) => filter.after = Some(after),
        }
    }
}
