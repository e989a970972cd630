//! The configuration file while the daemon runs: planned, applied, and read again on SIGHUP.

use std::path::{Path, PathBuf};

use super::state::State;
use super::{Shared, ends, transition};
use crate::api::config::{ConfigPlan, ConfigState, ConfigText, PlannedChange, RunningConfig};
use crate::api::events::What;
use crate::audit::Place;
use crate::failure::{Failure, Result};
use crate::host::names::Names;
use crate::policy::config::{Config, edit, file};
use crate::policy::difference::differences;
use crate::policy::setup::{Overrides, Setup};
use crate::views;

/// Where the configuration comes from.
#[derive(Debug)]
pub struct Configuration {
    file: Option<PathBuf>,
    overrides: Overrides,
    /// What the daemon was started with.
    started: Setup,
}

/// What a file that was read comes to.
struct Wanted {
    setup: Setup,
    plan: ConfigPlan,
}

impl Configuration {
    /// The file that `run` was told of, what it was told besides, and what both came to.
    #[must_use]
    pub fn new(file: Option<PathBuf>, overrides: Overrides, started: Setup) -> Self {
        // Also if the daemon's folder is another one than that of who asks.
        let file = file.map(|file| std::path::absolute(&file).unwrap_or(file));
        Self { file, overrides, started }
    }

    /// The audit log that is written, if any.
    pub const fn audit(&self) -> Option<&Place> {
        self.started.audit.as_ref()
    }

    /// What is `given`, else what the daemon's own file has.
    fn wanted(&self, given: Option<&ConfigText>, running: &Setup, names: &Names) -> Result<Wanted> {
        let (file, text) = match (given, &self.file) {
            (Some(given), _) => (Path::new(&given.file), given.text.clone()),
            (None, Some(file)) => (&**file, file::read(file)?),
            (None, None) => {
                return Err(Failure::usage(
                    "the daemon was started without a configuration file: name one, as \
                     `bridgefwd apply FILE`, or start it with --config FILE",
                ));
            }
        };
        let config = Config::parse(&text, file, &self.overrides)?;
        let setup = Setup::of(&config, &self.overrides, running.max_flows);
        let setup = ends::known_as(setup, names);
        let plan = ConfigPlan {
            file: file.display().to_string(),
            changes: differences(running, &setup),
            overridden: self.overrides.hiding(&config),
        };
        Ok(Wanted { setup, plan })
    }
}

impl Shared {
    /// What [`Shared::apply`] would change.
    ///
    /// # Errors
    ///
    /// What is wrong with the file.
    pub fn plan(&self, given: Option<&ConfigText>) -> Result<ConfigPlan> {
        let state = self.state();
        let running = self.running(&state);
        let Wanted { setup, plan } = self.configuration.wanted(given, &running, &state.names)?;
        transition::check_host(&state, &setup)?;
        Ok(plan)
    }

    /// Has what is `given` run, or the daemon's own file. All or nothing.
    ///
    /// # Errors
    ///
    /// What is wrong with the file, or what could not be done; what ran goes on, then.
    pub fn apply(&self, given: Option<&ConfigText>) -> Result<ConfigPlan> {
        let mut state = self.state();
        let running = self.running(&state);
        let Wanted { setup, plan } = self.configuration.wanted(given, &running, &state.names)?;
        transition::check_restart(&plan.changes)?;
        transition::check_host(&state, &setup)?;
        transition::apply(&mut state, &setup)?;
        let journal = state.journal.clone();
        drop(state);
        for change in &plan.changes {
            if matches!(&*change.what, "setting" | "timer") {
                let PlannedChange { name, before, after, .. } = change.clone();
                journal.tell(What::Setting { name, from: before, to: after });
            }
            tracing::info!("configuration: {}", views::plan::line(change));
        }
        Ok(plan)
    }

    /// What SIGHUP asks for. Who sent it hears nothing, so the log does.
    pub fn reload_logged(&self) {
        match self.apply(None) {
            Ok(plan) => tracing::info!("read {} again: {}", plan.file, views::plan::count(&plan)),
            Err(error) => tracing::error!("nothing was changed: {error}"),
        }
    }

    /// What runs, as a file would say it.
    ///
    /// # Errors
    ///
    /// Where it cannot be written.
    pub fn running_config(&self) -> Result<RunningConfig> {
        let file = self.configuration.file.as_ref().map(|file| file.display().to_string());
        let text = edit::put(&self.running(&self.state()), "", Path::new("what runs"))?;
        Ok(RunningConfig { file, text })
    }

    /// How what runs stands to the file; `None` where there is none.
    pub fn config_state(&self) -> Option<ConfigState> {
        let file = self.configuration.file.as_ref()?.display().to_string();
        // Not under the lock: a file of thousands of pairs takes its time.
        let (running, names) = {
            let state = self.state();
            (self.running(&state), state.names.clone())
        };
        let wanted = self.configuration.wanted(None, &running, &names);
        let differences = wanted.as_ref().ok().map(|wanted| wanted.plan.changes.len() as u64);
        Some(ConfigState { file, differences, error: wanted.err().map(|error| error.to_string()) })
    }

    fn running(&self, state: &State) -> Setup {
        let Setup { docker, metrics, metrics_hosts, audit, .. } = &self.configuration.started;
        Setup {
            socket: Some(self.instance.socket.clone()),
            docker: docker.clone(),
            metrics: *metrics,
            metrics_hosts: metrics_hosts.clone(),
            audit: audit.clone(),
            ..transition::running(state)
        }
    }
}
