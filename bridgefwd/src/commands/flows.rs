//! `bridgefwd flows`: asked for in parts, so that neither side ever has to hold a large table at once.

use super::output::Page;
use super::{ask_or_read_quietly, labels, read_from_pins, watch};
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
    let FlowsOptions { from, to, proto, state, address, port, limit, exact, listing } = options;
    let filter = FlowFilter { from, to, proto, state, address, port, limit: None, after: None };
    watch::show(&listing, exact.bytes, |page| look(page, instance, filter.clone(), limit))
}

fn look(
    page: &mut Page,
    instance: &Instance,
    filter: FlowFilter,
    limit: Option<u32>,
) -> Result<()> {
    if page.is_json() {
        let mut list = page.list();
        pages(instance, filter, limit.unwrap_or(u32::MAX), |flows, pins| {
            pins.into_iter().for_each(|note| list.page().note(&note));
            list.more(&flows)
        })?;
        return list.end();
    }
    let mut all = Vec::new();
    let more = pages(instance, filter, limit.unwrap_or(IN_A_TABLE), |flows, pins| {
        pins.into_iter().for_each(|note| page.note(&note));
        all.extend(flows);
        Ok(true)
    })?;
    page.answer(&all, |flows, style| views::flows::table(flows, style))?;
    if more {
        page.note(&format!(
            "these are the first {}; choose among them by --from, --to, --proto, --state, --address \
             or --port, or see more with --limit",
            all.len()
        ));
    }
    Ok(())
}

/// Gives `each` the flows page by page, `limit` at most, until it wants no more; with the first ones,
/// where they are read from the pins, what is to be said of that. Are there more than that?
fn pages(
    instance: &Instance,
    mut filter: FlowFilter,
    limit: u32,
    mut each: impl FnMut(Vec<Flow>, Option<String>) -> Result<bool>,
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
        let note = from_pins && !std::mem::replace(&mut noted, true);
        left = left.saturating_sub(u32::try_from(flows.len()).unwrap_or(u32::MAX));
        let wants_more = each(flows, note.then(|| read_from_pins(instance)))?;
        match next {
            None => return Ok(false),
            Some(_) if left == 0 || !wants_more => return Ok(true),
            Some(after) => filter.after = Some(after),
        }
    }
}
