//! `bridgefwd pair`: changes go to the daemon and are answered with a line of what now holds.

use super::{ask, ask_or_read, labels, output, watch};
use crate::api::types::{PairChange, PairState};
use crate::cli::{PairCommand, PairNames};
use crate::datapath::offline::Reader;
use crate::failure::Result;
use crate::instance::Instance;
use crate::views;

pub(super) fn run(command: &PairCommand, instance: &Instance) -> Result<()> {
    match command {
        PairCommand::Allow { pair, nat, nat6, mapping } => {
            let change = PairChange {
                nat: nat.clone(),
                nat6: nat6.clone(),
                mapping: mapping.clone(),
                ..PairChange::to(PairState::Allowed)
            };
            put(pair, change, instance)
        }
        PairCommand::Deny { pair } => put(pair, PairChange::to(PairState::Denied), instance),
        PairCommand::Clear { pair } => clear(pair, instance),
        PairCommand::List { listing } => {
            let read = |pins: &Reader| {
                let mut pairs = pins.pairs()?;
                labels(instance)?.pairs(&mut pairs);
                Ok(pairs)
            };
            watch::show(listing, false, |page| {
                let pairs = ask_or_read(page, instance, async |client| client.pairs().await, read)?;
                page.answer(&pairs, |pairs, style| views::pairs::table(pairs, style.width))
            })
        }
    }
}

fn put(names: &PairNames, change: PairChange, instance: &Instance) -> Result<()> {
    let change = PairChange { drain: names.drain, ..change };
    let pair =
        ask(instance, async |client| client.put_pair(&names.from, &names.to, &change).await)?;
    output::print(&format!("{}\n", views::pairs::sentence(&pair)))
}

fn clear(names: &PairNames, instance: &Instance) -> Result<()> {
    let PairNames { from, to, drain } = names;
    let was_listed = ask(instance, async |client| client.delete_pair(from, to, *drain).await)?;
    output::print(&format!("{}\n", views::pairs::cleared(from, to, was_listed)))
}
