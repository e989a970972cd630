//! What the API works on: the state, and documents of it by the names that people use.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::watch;

use super::configuration::Configuration;
use super::health::Health;
use super::reconcile;
use super::state::State;
use crate::api::bridges::Bridge;
use crate::api::types::{Flow, FlowFilter, Pair, Stats, Status};
use crate::api::whois::{Whois, WhoisQuery};
use crate::audit::whois::whois;
use crate::datapath::offline::Reader;
use crate::failure::Result;
use crate::instance::Instance;

/// What the API works on.
pub struct Shared {
    pub(super) state: Mutex<State>,
    pub(super) configuration: Configuration,
    pub(super) instance: Instance,
    /// Reads past the lock: what it reads are the maps.
    pub reader: Reader,
    pub(super) ready: Instant,
    pub(super) health: Health,
    pub(super) down: watch::Sender<bool>,
}

impl Shared {
    /// The one writer's state. What it does under the lock takes well under a millisecond a pair.
    pub fn state(&self) -> MutexGuard<'_, State> {
        // After a panic in a request the maps are still the truth, and each change is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `status` shows.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn status(&self) -> Result<Status> {
        let state = self.state();
        let (mut warnings, labels) = (state.warnings(), state.labels());
        let docker = state.docker.status();
        drop(state);
        let mut status = self.reader.status(&self.instance)?;
        labels.status(&mut status);
        warnings.extend(status.warnings.iter().cloned());
        Ok(Status {
            state: "running".into(),
            pid: Some(std::process::id()),
            uptime_s: Some(self.ready.elapsed().as_secs()),
            docker,
            warnings,
            config: self.config_state(),
            ..status
        })
    }

    /// Every listed pair, in order of their names: also those whose ends are away.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn pairs(&self) -> Result<Vec<Pair>> {
        // Not under the lock: reading thousands takes its time.
        let mut pairs = self.reader.pairs()?;
        let state = self.state();
        let labels = state.labels();
        let absent: Vec<_> = state.absent_pairs().collect();
        drop(state);
        labels.pairs(&mut pairs);
        pairs.extend(absent);
        // One whose end came or went meanwhile may be there twice.
        pairs.sort_by(|a, b| (&a.from, &a.to, a.present).cmp(&(&b.from, &b.to, b.present)));
        pairs.dedup_by(|later, earlier| (&later.from, &later.to) == (&earlier.from, &earlier.to));
        Ok(pairs)
    }

    /// All counters.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn stats(&self) -> Result<Stats> {
        let labels = self.state().labels();
        let mut stats = self.reader.stats()?;
        labels.stats(&mut stats);
        Ok(stats)
    }

    /// The live flows that `filter` lets through, as many as it asks for; and the place of the last one,
    /// where there may be more.
    ///
    /// # Errors
    ///
    /// Where the filter names an end that is not managed, or an unknown protocol or state.
    pub fn flows(&self, filter: &FlowFilter) -> Result<(Vec<Flow>, Option<u32>)> {
        let labels = self.state().labels();
        let filter = labels.by_interface(filter, || self.reader.bridges())?;
        let (mut flows, next) = self.reader.flows(&filter)?;
        labels.flows(&mut flows);
        Ok((flows, next))
    }

    /// Who was behind a translated address.
    ///
    /// # Errors
    ///
    /// Where the maps or the audit log cannot be read.
    pub fn whois(&self, query: WhoisQuery) -> Result<Whois> {
        let mut live = self.reader.flows_with(query.address, query.port)?;
        self.state().labels().flows(&mut live);
        whois(query, Some(live), self.configuration.audit())
    }

    /// Everything on the host that is an end, could be one, or cannot.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn bridges(&self) -> Result<Vec<Bridge>> {
        let labels = self.state().labels();
        Ok(labels.bridges(&reconcile::snapshot()?, self.reader.bridges()?))
    }

    /// Lets [`run`] take everything down and end.
    pub fn take_down(&self) {
        self.down.send_replace(true);
    }
}
