//! How the daemon itself does: what it counts of its own work, for the metrics.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::Shared;
use crate::api::types::PairCount;
use crate::datapath::measure::PairUse;
use crate::failure::Result;
use crate::metrics::{Daemon, Facts, Work};

/// Counts what the daemon does.
#[derive(Debug)]
pub struct Health {
    started: SystemTime,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    work: Work,
    /// Flows of each pair that have ended, as it was told last.
    ended: BTreeMap<(String, String), Ended>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Ended {
    made: u64,
    ended: u64,
}

impl Shared {
    /// What the metrics are made of.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn facts(&self) -> Result<Facts> {
        let (failing, warnings, labels) = {
            let state = self.state();
            (state.failures.len() as u64, state.warnings().len() as u64, state.labels())
        };
        let (started, work) = (self.health.started, self.health.counts().work);
        let daemon = Daemon { started, warnings, failing, work };
        let ended = |count: &PairCount, has| self.health.ended(count, has);
        let mut measured = self.reader.measure()?;
        measured.label(&labels);
        Ok(Facts::new(measured, self.pairs()?, ended, Some(daemon)))
    }
}

impl Health {
    /// Of a daemon that is ready now.
    #[must_use]
    pub fn begin() -> Self {
        Self { started: SystemTime::now(), counts: Mutex::default() }
    }

    /// The data path was made to follow the host.
    pub fn reconciled(&self, took: Duration, complete: bool) {
        let work = &mut self.counts().work;
        work.reconciles += 1;
        work.reconcile_errors += u64::from(!complete);
        work.last_reconcile = Some((SystemTime::now(), took));
    }

    /// News was lost.
    pub fn resynced(&self) {
        self.counts().work.resyncs += 1;
    }

    /// Flows of a pair that have ended since it was listed. They are not counted as they end, but by
    /// what is left; what is left changes while it is looked at, and the number never falls for that.
    fn ended(&self, count: &PairCount, has: PairUse) -> u64 {
        let made = count.flows_created;
        let mut counts = self.counts();
        let told = counts.ended.entry((count.from.clone(), count.to.clone())).or_default();
        // Fewer were made: it was taken off the list and put back.
        let least = if made < told.made { 0 } else { told.ended };
        *told = Ended { made, ended: made.saturating_sub(has.standing).max(least) };
        told.ended
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Each change is whole.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::BothWays;

    #[test]
    fn ended_flows_never_become_fewer_while_the_pair_is_listed() {
        let health = Health::begin();
        let ended = |flows_created, standing| {
            let count = PairCount {
                from: "a".into(),
                to: "b".into(),
                packets: 0,
                bytes: 0,
                flows: 0,
                refused: 0,
                packets_by_direction: BothWays::default(),
                bytes_by_direction: BothWays::default(),
                flows_created,
            };
            health.ended(&count, PairUse { standing, busiest_ports: 0.0 })
        };
        assert_eq!(ended(10, 4), 6);
        assert_eq!(ended(10, 5), 6, "one came between the two looks");
        assert_eq!(ended(12, 4), 8);
        assert_eq!(ended(1, 1), 0, "listed anew");
        assert_eq!(ended(1, 2), 0);
    }

    #[test]
    fn what_is_left_undone_is_an_error() {
        let health = Health::begin();
        health.reconciled(Duration::from_millis(2), true);
        health.reconciled(Duration::from_millis(3), false);
        health.resynced();
        let work = health.counts().work;
        assert_eq!((work.reconciles, work.reconcile_errors, work.resyncs), (2, 1, 1));
        assert_eq!(work.last_reconcile.map(|(_, took)| took), Some(Duration::from_millis(3)));
    }
}
