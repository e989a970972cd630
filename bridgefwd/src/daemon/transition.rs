//! From what runs to what shall run, in an order in which nothing is let through that neither of them
//! lets through, and what both let through goes on undisturbed.
//!
//! 1. Everything is checked; nothing has changed yet.
//! 2. New ends are attached to.
//! 3. What is refused from now on is refused: `unlisted = "deny"`, denied pairs; pairs that go are
//!    denied first.
//! 4. What is allowed from now on is allowed, and pairs get their new NAT.
//! 5. Pairs that go are taken off the list, `unlisted = "kernel"` holds, and ends that go are left.
//!
//! A step that fails leads back to what ran. Between the first change and the last a packet meets its
//! pair as it was or as it will be; each pair changes at once.

use std::collections::BTreeMap;

use bridgefwd_common::contract::Unlisted;

use super::state::State;
use super::{checks, direct, reconcile};
use crate::api::config::PlannedChange;
use crate::failure::{Failure, Result};
use crate::host::netlink::Changes;
use crate::policy::difference::same;
use crate::policy::setup::Setup;
use crate::policy::{DockerChoice, Ends, PairSetup};

type Pairs = BTreeMap<Ends, PairSetup>;

/// What runs, but for how it is served, which no transition changes.
#[must_use]
pub fn running(state: &State) -> Setup {
    let settings = state.datapath.settings();
    Setup {
        bridges: state.bridges.clone(),
        uplinks: state.uplinks.clone(),
        unlisted: Unlisted::from_word(settings.unlisted),
        ports: state.ports,
        direct: state.direct.wanted,
        max_flows: settings.max_flows,
        flows_per_source: settings.max_flows_per_source,
        timeouts_s: settings.timeouts_s,
        docker: DockerChoice::default(),
        socket: None,
        metrics: None,
        metrics_hosts: Vec::new(),
        audit: None,
        pairs: state.pairs.clone(),
    }
}

/// Has `to` run, or everything as it was. To be called after [`check_restart`] and [`check_host`].
///
/// # Errors
///
/// What failed. Nothing has changed then, but that flows were cut where a pair's NAT had changed
/// already.
pub fn apply(state: &mut State, to: &Setup) -> Result<()> {
    let from = running(state);
    steps(state, &from, to).map_err(|error| {
        let now = running(state);
        match steps(state, &now, &from) {
            Ok(()) => error,
            Err(more) => Failure::failed(format!("{error}; and going back failed: {more}")),
        }
    })
}

/// Fails where one of these changes takes a new start.
///
/// # Errors
///
/// Names what it takes.
pub fn check_restart(changes: &[PlannedChange]) -> Result<()> {
    let restart = || changes.iter().filter(|change| change.needs_restart);
    let Some(first) = restart().next() else { return Ok(()) };
    let keys: Vec<_> = restart().map(|change| &*change.name).collect();
    Err(Failure::failed(format!(
        "nothing was changed: {} cannot be changed while it runs, and {}",
        keys.join(" and "),
        first.effect.as_deref().unwrap_or("needs a restart")
    )))
}

/// Fails where the host has not what `to` takes beyond what runs.
///
/// # Errors
///
/// Names the end or the pair, what is wrong with it, and what to do.
pub fn check_host(state: &State, to: &Setup) -> Result<()> {
    let new = |from: &[String], to: &[String]| -> Vec<String> {
        to.iter().filter(|name| !from.contains(name)).cloned().collect()
    };
    let (bridges, uplinks) = (new(&state.bridges, &to.bridges), new(&state.uplinks, &to.uplinks));
    let snapshot = reconcile::snapshot()?;
    checks::ends(&state.names, &snapshot, &bridges, &uplinks)?;
    checks::pairs(to, &state.pairs, &state.names, &snapshot)
}

/// Makes `to` the listed pairs.
///
/// # Errors
///
/// The kernel's error.
pub fn set_pairs(state: &mut State, to: &Pairs) -> Result<()> {
    let from = state.pairs.clone();
    refuse(state, &from, to)?;
    allow(state, &from, to)?;
    take_off(state, &from, to)
}

fn steps(state: &mut State, from: &Setup, to: &Setup) -> Result<()> {
    let union = |one: &[String], other: &[String]| {
        let more = other.iter().filter(|name| !one.contains(name));
        one.iter().chain(more).cloned().collect::<Vec<_>>()
    };
    let bridges = if from.bridges.is_empty() && to.bridges.is_empty() {
        Vec::new()
    } else {
        union(&state.bridges_by_name(&from.bridges), &state.bridges_by_name(&to.bridges))
    };
    let both = (bridges, union(&from.uplinks, &to.uplinks));
    manage(state, both, from.ports || to.ports)?;
    direct::want(state, to.direct)?;
    let unlisted = if from.unlisted == Unlisted::Deny { Unlisted::Deny } else { to.unlisted };
    state.datapath.set(unlisted, to.flows_per_source, to.timeouts_s)?;
    refuse(state, &from.pairs, &to.pairs)?;
    allow(state, &from.pairs, &to.pairs)?;
    take_off(state, &from.pairs, &to.pairs)?;
    state.datapath.set(to.unlisted, to.flows_per_source, to.timeouts_s)?;
    manage(state, (to.bridges.clone(), to.uplinks.clone()), to.ports)
}

/// Manages exactly these ends, with or without ports.
fn manage(state: &mut State, ends: (Vec<String>, Vec<String>), ports: bool) -> Result<()> {
    let (bridges, uplinks) = ends;
    if (&state.bridges, &state.uplinks, state.ports) == (&bridges, &uplinks, ports) {
        return Ok(());
    }
    (state.bridges, state.uplinks, state.ports) = (bridges, uplinks, ports);
    let before: Vec<_> = state.failures.keys().copied().collect();
    reconcile::reconcile(state, &Changes::default(), false)?;
    // One that had failed before is tried again each second, whatever we do.
    let new = state.failures.keys().copied().find(|ifindex| !before.contains(ifindex));
    new.and_then(|ifindex| state.failures.remove(&ifindex)).map_or(Ok(()), Err)
}

/// Denies what shall be denied, and what shall go.
fn refuse(state: &mut State, from: &Pairs, to: &Pairs) -> Result<()> {
    for (ends, pair) in to.iter().filter(|(_, pair)| !pair.allow) {
        if from.get(ends).is_none_or(|before| !same(before, pair)) {
            state.set_pair(ends, pair.clone())?;
        }
    }
    let gone: Vec<_> = from.keys().filter(|ends| !to.contains_key(*ends)).collect();
    let new = to.keys().filter(|ends| !from.contains_key(*ends)).count();
    for ends in gone {
        if new > state.datapath.pairs().room() {
            // Its place is needed for another one.
            state.clear_known(ends)?;
        } else if let Some(before) = from.get(ends).filter(|before| before.allow) {
            state.set_pair(ends, PairSetup { allow: false, ..before.clone() })?;
        }
    }
    Ok(())
}

fn allow(state: &mut State, from: &Pairs, to: &Pairs) -> Result<()> {
    let changes_nat =
        |ends: &Ends, pair: &PairSetup| from.get(ends).is_some_and(|before| before.nat != pair.nat);
    let changed: Vec<_> = to
        .iter()
        .filter(|(ends, pair)| {
            pair.allow && from.get(*ends).is_none_or(|before| !same(before, pair))
        })
        .collect();
    // What cuts flows comes last: a failure before costs none.
    for cuts in [false, true] {
        for (ends, pair) in changed.iter().filter(|(ends, pair)| changes_nat(ends, pair) == cuts) {
            state.set_pair(ends, (*pair).clone())?;
        }
    }
    Ok(())
}

fn take_off(state: &mut State, from: &Pairs, to: &Pairs) -> Result<()> {
    let mut gone = from.keys().filter(|ends| !to.contains_key(*ends));
    gone.try_for_each(|ends| state.clear_known(ends))
}
