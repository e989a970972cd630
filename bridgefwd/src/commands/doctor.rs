//! `bridgefwd doctor`: its exit status is the worst that was found.

use std::io::{self, IsTerminal as _};

use super::{enter_netns, output};
use crate::cli::DoctorOptions;
use crate::doctor;
use crate::failure::Result;
use crate::instance::Instance;
use crate::views;

pub(super) fn run(options: &DoctorOptions, instance: &Instance) -> Result<u8> {
    let report = doctor::examine(instance, options.config.as_deref(), || enter_netns(instance))?;
    let colour = io::stdout().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    output::answer(&report, options.output, |report, width| {
        views::doctor::report(report, width, colour)
    })?;
    Ok(report.exit_status())
}
