//! `bridgefwd whois`: exit status 1 where nobody is found.

use super::{ask_or_read, labels, output};
use crate::api::events::rfc3339;
use crate::api::whois::WhoisQuery;
use crate::audit::whois::whois;
use crate::cli::WhoisOptions;
use crate::failure::Result;
use crate::instance::Instance;
use crate::policy::config::{Config, default_path};
use crate::policy::setup::Overrides;
use crate::views;

pub(super) fn run(options: WhoisOptions, instance: &Instance) -> Result<u8> {
    let WhoisOptions { end: (address, port), proto, at, output } = options;
    let query = WhoisQuery { address, port, proto, at: at.map(rfc3339) };
    let answer = ask_or_read(
        instance,
        async |client| client.whois(&query).await,
        |pins| {
            // Nobody is there to say which log there is: that of the default file, if any.
            let config = Config::read(&default_path(), &Overrides::default());
            let log = config.ok().and_then(|config| config.audit);
            let log = log.filter(|log| log.path.exists());
            let mut flows = pins.flows_with(query.address, query.port)?;
            labels(instance)?.flows(&mut flows);
            whois(query.clone(), Some(flows), log.as_ref())
        },
    )?;
    let nobody = answer.found.is_empty();
    output::answer(&answer, output, |answer, _| views::whois::answer(answer))?;
    Ok(u8::from(nobody))
}
