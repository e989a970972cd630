//! `bridgefwd status`: exit status 3 where the daemon is down, whatever it left in the kernel.

use super::output::Page;
use super::{ask, labels, open_pins, watch};
use crate::api::types::Status;
use crate::cli::StatusOptions;
use crate::failure::{Failure, Result};
use crate::instance::Instance;
use crate::views;

/// What goes on, and what does not, while pins are there and no daemon is.
const UNATTENDED: &str = "no daemon: traffic goes on by what is pinned; new ports, addresses and \
                          changes of pairs wait for `bridgefwd run`";

pub(super) fn run(options: &StatusOptions, instance: &Instance) -> Result<()> {
    watch::show(&options.listing, false, |page| look(page, instance))
}

fn look(page: &mut Page, instance: &Instance) -> Result<()> {
    let mut show = |status: &Status| {
        page.answer(status, |status, style| views::status::report(status, style.width))
    };
    match ask(instance, async |client| client.status().await) {
        Ok(status) => show(&status),
        Err(absent @ Failure::NoDaemon(_)) => {
            if let Some(pins) = open_pins(instance)? {
                let mut status = pins.status(instance)?;
                labels(instance)?.status(&mut status);
                status.warnings.push(UNATTENDED.into());
                show(&status)?;
            }
            Err(absent)
        }
        Err(failure) => Err(failure),
    }
}
