//! `bridgefwd whois`: exit status 1 where nobody is found.

use super::output::Page;
use super::{ask_or_read, labels};
use crate::api::events::rfc3339;
use crate::api::whois::{Whois, WhoisQuery};
use crate::audit::whois::{whois, whois_in};
use crate::audit::{DEFAULT_SIZE_MB, Place};
use crate::cli::WhoisOptions;
use crate::failure::{Failure, Result};
use crate::instance::Instance;
use crate::policy::config::{Config, default_path};
use crate::policy::setup::Overrides;
use crate::views;

pub(super) fn run(options: WhoisOptions, instance: &Instance) -> Result<u8> {
    let WhoisOptions { end: (address, port), proto, at, log, clock, output } = options;
    let at = at.map(|at| at.moment(&clock.zone())).transpose();
    let at = at.map_err(|error| Failure::usage(format!("--at: {error}")))?.map(rfc3339);
    let query = WhoisQuery { address, port, proto, at };
    let mut page = Page::new(output, false).by_clock(clock.zone());
    let answer = match log {
        Some(path) => whois_in(query, &Place::new(path, DEFAULT_SIZE_MB))?,
        None => of_this_host(&mut page, &query, instance)?,
    };
    let nobody = answer.found.is_empty();
    page.answer(&answer, views::whois::answer)?;
    Ok(u8::from(nobody))
}

fn of_this_host(page: &mut Page, query: &WhoisQuery, instance: &Instance) -> Result<Whois> {
    ask_or_read(
        page,
        instance,
        async |client| client.whois(query).await,
        |pins| {
            // Nobody is there to say which log there is: that of the default file, if any.
            let config = Config::read(&default_path(), &Overrides::default());
            let log = config.ok().and_then(|config| config.audit);
            let log = log.filter(|log| log.path.exists());
            let mut flows = pins.flows_with(query.address, query.port)?;
            labels(instance)?.flows(&mut flows);
            whois(query.clone(), Some(flows), log.as_ref())
        },
    )
}
