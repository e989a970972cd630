//! `bridgefwd doctor`: what of this host, its kernel and its network stands in the way of bridgefwd, or
//! will.
//!
//! A check is a function of its own: it asks, and a pure part of it judges what was answered. What
//! could not be asked is never in order: it is [`Level::Unchecked`].

mod hooks;
mod kernel;
mod network;
mod report;
mod rules;
mod settings;
mod state;
mod surroundings;

use std::path::Path;

pub use report::{Finding, Level, Report};

use crate::failure::Result;
use crate::instance::Instance;
use surroundings::Surroundings;

/// Makes every check, from inside of the instance's network namespace: `enter` goes there, after what
/// only the host's own namespace tells was read.
///
/// # Errors
///
/// Where there is no such namespace. Everything else that goes wrong is a finding.
pub fn examine(
    instance: &Instance,
    config: Option<&Path>,
    enter: impl FnOnce() -> Result<()>,
) -> Result<Report> {
    // The kernel shows it in the first namespace alone.
    let jit = kernel::jit();
    enter()?;
    let here = Surroundings::look(instance, config);
    let mut findings = vec![
        kernel::release(),
        kernel::rights(),
        kernel::btf(),
        kernel::bpffs(&instance.pin_dir),
        kernel::helpers(),
        kernel::programs(),
        kernel::attaching(),
        jit,
    ];
    findings.extend([
        state::daemon(&here),
        state::pins(&here),
        state::configuration(&here),
        state::ends(&here),
        state::pairs(&here),
        hooks::others(&here),
    ]);
    findings.extend(settings::forwarding(&here));
    findings.extend([
        settings::reverse_path(&here),
        settings::bridge_filters(&here),
        settings::local_ports(),
        settings::reserved_ports(),
        network::subnets(&here),
        rules::connections(),
        rules::flowtables(&here),
    ]);
    Ok(Report::of(findings))
}
