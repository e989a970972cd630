//! `bridgefwd bridges`: also tells what there is before anything is managed.

use super::output::Page;
use super::{ask, labels, open_pins, read_from_pins, snapshot, watch};
use crate::cli::BridgesOptions;
use crate::datapath::offline::Reader;
use crate::failure::{Failure, Result};
use crate::instance::Instance;
use crate::views;

pub(super) fn run(options: &BridgesOptions, instance: &Instance) -> Result<()> {
    watch::show(&options.listing, false, |page| look(page, instance))
}

fn look(page: &mut Page, instance: &Instance) -> Result<()> {
    let bridges = match ask(instance, async |client| client.bridges().await) {
        Err(Failure::NoDaemon(_)) => {
            let pins = open_pins(instance)?;
            let managed = pins.as_ref().map_or_else(|| Ok(Vec::new()), Reader::bridges)?;
            let bridges = labels(instance)?.bridges(&snapshot()?, managed);
            page.note(&match pins {
                Some(_) => read_from_pins(instance),
                None => "the daemon is not running, so nothing is managed".into(),
            });
            bridges
        }
        answer => answer?,
    };
    page.answer(&bridges, |bridges, style| views::bridges::table(bridges, style.width))
}
