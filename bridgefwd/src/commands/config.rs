//! `bridgefwd check`, `plan`, `apply`, `reload` and `save`: the configuration file, with a daemon and
//! without.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bridgefwd_common::contract::DEFAULT_MAX_FLOWS;

use super::{CHANGES, ask, output};
use crate::api::config::ConfigText;
use crate::cli::Output;
use crate::failure::{Failure, Result};
use crate::instance::Instance;
use crate::policy::config::{Config, DEFAULT_PATH, default_path, edit, file};
use crate::policy::setup::{Overrides, Setup};
use crate::policy::timers;
use crate::views;

/// A file, without a daemon.
pub(super) fn check(path: Option<PathBuf>) -> Result<()> {
    let path = path.unwrap_or_else(default_path);
    let none = Overrides::default();
    let setup = Setup::of(&Config::read(&path, &none)?, &none, DEFAULT_MAX_FLOWS);
    for warning in timers::warnings(&setup.timeouts_s) {
        output::note(&warning);
    }
    if setup.bridges.is_empty() {
        output::note("it names no bridge, so `bridgefwd run` manages all that it finds");
    }
    output::print(&format!("{} is good: {}\n", path.display(), views::plan::extent(&setup)))
}

/// What would change; the exit status says whether something would.
pub(super) fn plan(path: Option<&Path>, output: Output, instance: &Instance) -> Result<u8> {
    let text = path.map(read).transpose()?;
    let plan = ask(instance, async |client| client.plan(text.as_ref()).await)?;
    let colours = output::colours();
    output::answer(&plan, output, |plan, _| views::plan::planned(plan, colours))?;
    Ok(if plan.changes.is_empty() { 0 } else { CHANGES })
}

/// Applies a file, or the daemon's own.
pub(super) fn apply(path: Option<&Path>, output: Output, instance: &Instance) -> Result<()> {
    let text = path.map(read).transpose()?;
    let plan = ask(instance, async |client| client.apply(text.as_ref()).await)?;
    let colours = output::colours();
    output::answer(&plan, output, |plan, _| views::plan::applied(plan, colours))
}

/// Has a file say what runs.
pub(super) fn save(path: Option<PathBuf>, instance: &Instance) -> Result<()> {
    let running = ask(instance, async |client| client.config().await)?;
    if path.as_deref() == Some(Path::new("-")) {
        return output::print(&running.text);
    }
    let none = Overrides::default();
    let config = Config::parse(&running.text, Path::new("what runs"), &none)?;
    let setup = Setup::of(&config, &none, DEFAULT_MAX_FLOWS);
    let path = path.or(running.file.map(PathBuf::from)).unwrap_or_else(default_path);
    let before = match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        _ => file::read(&path)?,
    };
    let text = edit::put(&setup, &before, &path)?;
    if text == before {
        return output::print(&format!("{} says what runs already\n", path.display()));
    }
    if path == Path::new(DEFAULT_PATH)
        && let Some(folder) = path.parent()
    {
        fs::create_dir_all(folder).map_err(|error| {
            Failure::failed(format!("cannot make the folder {}: {error}", folder.display()))
        })?;
    }
    file::replace(&path, &text)?;
    output::print(&format!("saved to {}: {}\n", path.display(), views::plan::extent(&setup)))
}

/// The file's text. The daemon need not be allowed to read it, nor be where its path leads.
fn read(path: &Path) -> Result<ConfigText> {
    Ok(ConfigText { file: path.display().to_string(), text: file::read(path)? })
}
