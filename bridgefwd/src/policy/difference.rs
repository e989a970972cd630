//! How what runs differs from what is wanted, said for people and programs.

use std::fmt::Display;

use bridgefwd_common::contract::Unlisted;

use super::setup::Setup;
use super::timers;
use super::{Ends, Mapping, Nat, PairSetup};
use crate::api::config::{Action, PlannedChange};

/// What a setting that no running daemon can change takes.
const RESTART: &str =
    "needs a restart: `bridgefwd down`, which cuts every flow, then `bridgefwd run`";
/// As [`RESTART`], where the data path can stay.
const RESTART_DAEMON: &str = "needs a restart of the daemon; flows go on meanwhile";

/// What has to change for `from` to become `to`: settings first, then ends, then pairs by name.
#[must_use]
pub fn differences(from: &Setup, to: &Setup) -> Vec<PlannedChange> {
    let mut changes = Vec::new();
    setting(&mut changes, "unlisted", unlisted(from.unlisted), unlisted(to.unlisted));
    setting(&mut changes, "ports", from.ports, to.ports);
    setting(&mut changes, "direct", from.direct, to.direct);
    setting(&mut changes, "max_flows", from.max_flows, to.max_flows);
    if let Some(change) = changes.iter_mut().find(|change| change.name == "max_flows") {
        change.needs_restart = true;
        change.effect = Some(RESTART.into());
    }
    setting(&mut changes, "flows_per_source", from.flows_per_source, to.flows_per_source);
    let socket = from.socket.as_ref().zip(to.socket.as_ref());
    let socket = socket.map(|(from, to)| (from.display().to_string(), to.display().to_string()));
    let (before, after) = socket.unwrap_or_default();
    let docker = |setup: &Setup| setup.docker.to_string();
    let at = |setup: &Setup| setup.metrics.map_or_else(|| "none".into(), |at| at.to_string());
    let audit = |setup: &Setup| match &setup.audit {
        Some(place) => format!("{} of {} MiB", place.path.display(), place.size_mb()),
        None => "none".into(),
    };
    for (name, before, after) in [
        ("docker", docker(from), docker(to)),
        ("api.socket", before, after),
        ("api.metrics", at(from), at(to)),
        ("api.metrics_hosts", from.metrics_hosts.join(" "), to.metrics_hosts.join(" ")),
        ("audit", audit(from), audit(to)),
    ] {
        if before != after {
            changes.push(PlannedChange {
                needs_restart: true,
                effect: Some(RESTART_DAEMON.into()),
                ..change("setting", name, Some(before), Some(after))
            });
        }
    }
    let (before, after) = (timers::in_force(&from.timeouts_s), timers::in_force(&to.timeouts_s));
    for ((name, before), (_, after)) in timers::by_name(&before).zip(timers::by_name(&after)) {
        if before != after {
            let name = format!("timers.{name}");
            let (before, after) = (format!("{before}s"), format!("{after}s"));
            changes.push(change("timer", &name, Some(before), Some(after)));
        }
    }
    bridges(&mut changes, from, to);
    ends(&mut changes, "uplink", &from.uplinks, &to.uplinks);
    pairs(&mut changes, from, to);
    changes
}

/// Is a pair set to the same? Of one that is denied it does not matter what drained.
#[must_use]
pub fn same(one: &PairSetup, other: &PairSetup) -> bool {
    one.allow == other.allow && one.nat == other.nat && (one.drain == other.drain || !one.allow)
}

/// As the file has it.
#[must_use]
pub const fn unlisted(unlisted: Unlisted) -> &'static str {
    match unlisted {
        Unlisted::Kernel => "kernel",
        Unlisted::Deny => "deny",
    }
}

fn setting<T: Display + PartialEq>(changes: &mut Vec<PlannedChange>, name: &str, from: T, to: T) {
    if from != to {
        changes.push(change("setting", name, Some(from), Some(to)));
    }
}

/// Which all are only the host knows, so they are told as what they are.
fn bridges(changes: &mut Vec<PlannedChange>, from: &Setup, to: &Setup) {
    let (before, after) = (&from.bridges, &to.bridges);
    if before.is_empty() == after.is_empty() {
        return ends(changes, "bridge", before, after);
    }
    let named = |names: &Vec<String>| {
        if names.is_empty() { "all".to_owned() } else { names.join(" ") }
    };
    let effect = before.is_empty().then(|| "flows of all others are cut".into());
    let change = change("setting", "bridges", Some(named(before)), Some(named(after)));
    changes.push(PlannedChange { effect, ..change });
}

fn ends(changes: &mut Vec<PlannedChange>, what: &str, from: &[String], to: &[String]) {
    for name in from.iter().filter(|name| !to.contains(name)) {
        let effect = Some("its flows are cut".into());
        changes.push(PlannedChange { effect, ..change(what, name, Some("managed"), None) });
    }
    for name in to.iter().filter(|name| !from.contains(name)) {
        changes.push(change(what, name, None, Some("managed")));
    }
}

fn pairs(changes: &mut Vec<PlannedChange>, from: &Setup, to: &Setup) {
    let mut names: Vec<&Ends> = from.pairs.keys().chain(to.pairs.keys()).collect();
    names.sort_unstable();
    names.dedup();
    for ends in names {
        let (before, after) = (from.pairs.get(ends), to.pairs.get(ends));
        if let (Some(before), Some(after)) = (before, after)
            && same(before, after)
        {
            continue;
        }
        let name = format!("{} -> {}", ends.0, ends.1);
        let effect = before.and_then(|before| effect(before, after)).map(str::to_owned);
        let (before, after) = (before.map(described), after.map(described));
        changes.push(PlannedChange { effect, ..change("pair", &name, before, after) });
    }
}

/// What becomes of the flows that a pair has.
fn effect(before: &PairSetup, after: Option<&PairSetup>) -> Option<&'static str> {
    let turned_off = before.allow && after.is_none_or(|after| !after.allow);
    let changed = after.is_some_and(|after| before.nat != after.nat);
    if !turned_off && !changed {
        return None;
    }
    let drains = before.drain || after.is_some_and(|after| after.drain);
    Some(match after {
        _ if drains => "its flows finish",
        // Flows of a denied pair stop, and go on where it is allowed again in time.
        Some(_) if !changed => "its flows stop",
        _ => "its flows are cut",
    })
}

/// A pair in a line. Of NAT what is not the default, and IPv4's where the pair is allowed.
fn described(pair: &PairSetup) -> String {
    let mut text = String::from(if pair.allow { "allowed" } else { "denied" });
    let PairSetup { allow, nat, drain } = pair;
    if *allow || nat.v4 != Nat::Masquerade {
        text.push_str(&format!(", nat {}", nat.v4));
    }
    if nat.v6 != Nat::None {
        text.push_str(&format!(", nat6 {}", nat.v6));
    }
    if nat.mapping != Mapping::PerDestination {
        text.push_str(&format!(", {}", nat.mapping));
    }
    if *drain && *allow {
        text.push_str(", drain");
    }
    text
}

fn change<T: Display>(
    what: &str,
    name: &str,
    before: Option<T>,
    after: Option<T>,
) -> PlannedChange {
    let action = match (&before, &after) {
        (None, _) => Action::Add,
        (_, None) => Action::Remove,
        _ => Action::Change,
    };
    PlannedChange {
        action,
        what: what.into(),
        name: name.into(),
        before: before.map(|value| value.to_string()),
        after: after.map(|value| value.to_string()),
        effect: None,
        needs_restart: false,
    }
}

#[cfg(test)]
mod tests {
    use bridgefwd_common::contract::Family;

    use super::*;
    use crate::policy::PairNat;

    fn allowed() -> PairSetup {
        PairSetup { allow: true, ..PairSetup::default() }
    }

    fn ends(from: &str, to: &str) -> Ends {
        (from.into(), to.into())
    }

    #[test]
    fn each_difference_is_told_once_and_what_is_the_same_not_at_all() {
        let mut from = Setup { bridges: vec!["a".into(), "b".into()], ..Setup::default() };
        from.pairs.insert(ends("a", "b"), allowed());
        from.pairs.insert(ends("b", "a"), allowed());
        let mut to = from.clone();
        to.bridges.reverse();
        assert_eq!(differences(&from, &to), []);
        to.bridges.push("c".into());
        to.uplinks.push("up".into());
        to.unlisted = Unlisted::Deny;
        to.max_flows = 1000;
        to.pairs.remove(&ends("b", "a"));
        to.pairs.insert(ends("a", "up"), PairSetup::default());
        let told = differences(&from, &to);
        let lines: Vec<_> = told
            .iter()
            .map(|change| (change.action, &*change.what, &*change.name, change.needs_restart))
            .collect();
        assert_eq!(
            lines,
            [
                (Action::Change, "setting", "unlisted", false),
                (Action::Change, "setting", "max_flows", true),
                (Action::Add, "bridge", "c", false),
                (Action::Add, "uplink", "up", false),
                (Action::Add, "pair", "a -> up", false),
                (Action::Remove, "pair", "b -> a", false),
            ]
        );
        assert_eq!(told[5].effect.as_deref(), Some("its flows are cut"));
    }

    #[test]
    fn all_bridges_are_told_as_all() {
        let all = Setup::default();
        let named = Setup { bridges: vec!["a".into(), "b".into()], ..Setup::default() };
        assert_eq!(differences(&all, &all.clone()), []);
        for (from, to, before, after, effect) in [
            (&all, &named, "all", "a b", Some("flows of all others are cut")),
            (&named, &all, "a b", "all", None),
        ] {
            let told = differences(from, to);
            let [change] = &told[..] else { panic!("{told:?}") };
            assert_eq!((&*change.what, &*change.name), ("setting", "bridges"));
            assert_eq!(
                (change.before.as_deref(), change.after.as_deref()),
                (Some(before), Some(after))
            );
            assert_eq!((change.effect.as_deref(), change.needs_restart), (effect, false));
        }
    }

    #[test]
    fn what_becomes_of_flows_is_told() {
        let none = PairNat { v4: Nat::parse("none", Family::V4).unwrap(), ..PairNat::default() };
        let other = PairSetup { nat: none, ..allowed() };
        let drain = PairSetup { drain: true, ..allowed() };
        let denied = PairSetup::default();
        for (before, after, told) in [
            (allowed(), None, Some("its flows are cut")),
            (drain.clone(), None, Some("its flows finish")),
            (denied.clone(), None, None),
            (allowed(), Some(denied.clone()), Some("its flows stop")),
            (
                allowed(),
                Some(PairSetup { drain: true, ..denied.clone() }),
                Some("its flows finish"),
            ),
            (allowed(), Some(other.clone()), Some("its flows are cut")),
            (drain.clone(), Some(other.clone()), Some("its flows finish")),
            (allowed(), Some(drain), None),
            (denied, Some(allowed()), None),
        ] {
            assert_eq!(effect(&before, after.as_ref()), told, "{before:?} {after:?}");
        }
        assert_eq!(described(&other), "allowed, nat none");
    }
}
