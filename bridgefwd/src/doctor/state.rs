//! bridgefwd itself: its daemon, its pins, its configuration, and what they name.

use std::collections::BTreeSet;
use std::io;

use super::report::Finding;
use super::surroundings::{Daemon, Surroundings};
use crate::datapath::{Pinned, inspect_pins};

/// Is there a daemon, and has it something to say?
pub fn daemon(here: &Surroundings) -> Finding {
    const CHECK: &str = "daemon";
    const START: &str = "systemctl start bridgefwd, or bridgefwd run";
    match &here.daemon {
        Daemon::Running(status, _) if status.warnings.is_empty() => {
            let pid = status.pid.map(|pid| format!(", pid {pid}")).unwrap_or_default();
            Finding::ok(CHECK, format!("bridgefwd {} runs{pid}", status.version))
        }
        Daemon::Running(status, _) => {
            Finding::attention(CHECK, status.warnings.join("; "), "bridgefwd status")
        }
        Daemon::Left(..) => Finding::attention(
            CHECK,
            "does not run: traffic goes on by what is pinned; new ports, addresses and changes of \
             pairs wait for it",
            START,
        ),
        Daemon::Absent => {
            Finding::attention(CHECK, "does not run, and nothing is pinned: nothing is done", START)
        }
        Daemon::Unknown(failure) => {
            Finding::unchecked(CHECK, format!("does not run, or may not be asked: {failure}"))
        }
    }
}

/// Is what is pinned ours, whole, and of this version?
pub fn pins(here: &Surroundings) -> Finding {
    const CHECK: &str = "pins";
    let dir = &here.instance.pin_dir;
    if let Err(error) = dir.symlink_metadata()
        && error.kind() != io::ErrorKind::NotFound
    {
        return Finding::unchecked(
            CHECK,
            format!("{} cannot be looked into: {error}", dir.display()),
        );
    }
    match inspect_pins(dir) {
        Ok(Pinned::Whole) => {
            Finding::ok(CHECK, format!("{} is whole and of this version", dir.display()))
        }
        Ok(Pinned::Nothing) => {
            Finding::ok(CHECK, format!("nothing is pinned in {}", dir.display()))
        }
        Ok(Pinned::Rest) => Finding::attention(
            CHECK,
            format!(
                "{} holds what a start or a `down` that was interrupted has left",
                dir.display()
            ),
            "bridgefwd run, which clears it, or bridgefwd down",
        ),
        // Who may not open them cannot tell what is wrong with them.
        Err(error) if crate::datapath::check_permission().is_err() => {
            Finding::unchecked(CHECK, format!("not read, that takes root: {error}"))
        }
        Err(error) => Finding::broken(CHECK, error.to_string(), "bridgefwd down"),
    }
}

/// Can the configuration be read?
pub fn configuration(here: &Surroundings) -> Finding {
    const CHECK: &str = "configuration";
    let Some(file) = &here.config else {
        return Finding::ok(CHECK, "there is no file, and none was named with --config");
    };
    let path = file.path.display();
    match &file.content {
        Ok(config) if config.bridges.is_empty() && config.uplinks.is_empty() => Finding::ok(
            CHECK,
            format!("{path} is in order; it names no bridge, so all that can be ends are managed"),
        ),
        Ok(_) => Finding::ok(CHECK, format!("{path} is in order")),
        Err(error) => Finding::broken(CHECK, error.to_string(), format!("correct {path}")),
    }
}

/// Are the ends there?
pub fn ends(here: &Surroundings) -> Finding {
    const CHECK: &str = "ends";
    if let Err(error) = &here.interfaces {
        return Finding::unchecked(CHECK, format!("interfaces are not listed: {error}"));
    }
    match here.names() {
        Some((names, who)) if !names.is_empty() => {
            let missing: Vec<_> =
                names.iter().filter(|name| here.link(name).is_none()).copied().collect();
            let reasons = missing.iter().filter_map(|name| here.cannot_be_end(name)).collect();
            judge_ends(&names, &missing, who, reasons)
        }
        _ => judge_possible(&here.possible()),
    }
}

fn judge_ends(names: &[&str], missing: &[&str], who: &str, reasons: Vec<String>) -> Finding {
    if missing.is_empty() {
        return Finding::ok("ends", format!("{who}, and there: {}", names.join(", ")));
    }
    let text = format!("{who}, but not there: {}", missing.join(", "));
    if reasons.is_empty() {
        let mend = "start what makes them (for instance containers), or name others";
        return Finding::attention("ends", text, mend);
    }
    Finding::attention("ends", text, reasons.join("; "))
}

fn judge_possible(names: &[&str]) -> Finding {
    if names.is_empty() {
        return Finding::attention(
            "ends",
            "nobody says which bridges to manage, and there is none that could be an end",
            "start what makes them (for instance containers), or bring up a bridge with an address",
        );
    }
    let text = format!("nobody names any, so all are that can be: {}", names.join(", "));
    Finding::ok("ends", text)
}

/// Are the ends of every pair there?
pub fn pairs(here: &Surroundings) -> Finding {
    if let (Daemon::Unknown(_), None) = (&here.daemon, &here.config) {
        return Finding::unchecked("pairs", "nobody says which there are");
    }
    judge_pairs(&here.pairs(), |name| here.link(name).is_some())
}

fn judge_pairs(pairs: &[(&str, &str, bool)], there: impl Fn(&str) -> bool) -> Finding {
    const CHECK: &str = "pairs";
    let absent = pairs.iter().filter(|(.., there)| !there);
    let absent: Vec<_> = absent.map(|(from, to, _)| format!("{from} -> {to}")).collect();
    match (pairs.len(), &absent[..]) {
        (0, _) => Finding::attention(
            CHECK,
            "none is listed, so nothing is forwarded by bridgefwd",
            "bridgefwd pair allow FROM TO",
        ),
        (count, []) => Finding::ok(CHECK, format!("both ends of all {count} are there")),
        (_, absent) => {
            let both = pairs.iter().flat_map(|(from, to, _)| [*from, *to]);
            let away: BTreeSet<&str> = both.filter(|name| !there(name)).collect();
            let away = Vec::from_iter(away).join(", ");
            Finding::attention(
                CHECK,
                format!(
                    "there is no bridge or network {away}, so these wait for it: {}",
                    absent.join(", ")
                ),
                "start what makes it, or bridgefwd pair clear FROM TO",
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn ends_that_are_away_are_named() {
        assert_eq!(judge_ends(&["a", "b"], &[], "managed", vec![]).level, Level::Ok);
        let finding = judge_ends(&["a", "b"], &["b"], "managed", vec![]);
        assert_eq!(finding.level, Level::Attention);
        assert!(finding.text.ends_with("not there: b"), "{finding:?}");
        let finding = judge_ends(&["a", "host"], &["host"], "managed", vec!["it cannot".into()]);
        assert_eq!(finding.mend.as_deref(), Some("it cannot"));
        assert_eq!(judge_possible(&["a"]).level, Level::Ok);
        assert_eq!(judge_possible(&[]).level, Level::Attention);
    }

    #[test]
    fn pairs_without_an_end_are_named() {
        let judge_pairs = |pairs: &[(&str, &str, bool)]| judge_pairs(pairs, |name| name != "c");
        assert_eq!(judge_pairs(&[]).level, Level::Attention);
        assert_eq!(judge_pairs(&[("a", "b", true)]).level, Level::Ok);
        let finding = judge_pairs(&[("a", "b", true), ("a", "c", false)]);
        assert!(finding.text.contains("no bridge or network c,"), "{finding:?}");
        assert_eq!(finding.level, Level::Attention);
        assert!(finding.text.contains("a -> c") && !finding.text.contains("a -> b"), "{finding:?}");
    }
}
