//! `bridgefwd top`

use std::io::IsTerminal as _;

use tokio::runtime::Builder;

use super::enter_netns;
use crate::cli::TopOptions;
use crate::failure::{Failure, Result};
use crate::instance::Instance;
use crate::top;

pub(super) fn run(options: &TopOptions, instance: &Instance) -> Result<()> {
    // Pins are read from inside; threads start in the namespace of the thread that makes them.
    enter_netns(instance)?;
    // https://no-color.org: any value that is not empty.
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colour = !no_colour && std::io::stdout().is_terminal();
    let options = top::Options { every: options.every.into(), once: options.once, colour };
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    runtime.block_on(top::run(options, instance))
}
