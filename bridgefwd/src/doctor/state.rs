//! bridgefwd itself: its daemon, its pins, its configuration, and what they name.

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
        Ok(config) if config.bridges.is_empty() => Finding::attention(
            CHECK,
            format!("{path} names no bridge, so `run --config {path}` does not start"),
            format!("write bridges = [\"NAME\"] to {path}"),
        ),
        Ok(_) => Finding::ok(CHECK, format!("{path} is in order")),
        Err(error) => Finding::broken(CHECK, error.to_string(), format!("correct {path}")),
    }
}

/// Are the ends there?
pub fn ends(here: &Surroundings) -> Finding {
    const CHECK: &str = "ends";
    let interfaces = match &here.interfaces {
        Ok(interfaces) => interfaces,
        Err(error) => {
            return Finding::unchecked(CHECK, format!("interfaces are not listed: {error}"));
        }
    };
    match here.names() {
        Some((names, who)) if !names.is_empty() => {
            let missing = names.iter().filter(|name| interfaces.by_name(name).is_none());
            judge_ends(&names, &missing.copied().collect::<Vec<_>>(), who)
        }
        _ => {
            let bridges = interfaces.bridge_names();
            let there = if bridges.is_empty() { "none".into() } else { bridges.join(", ") };
            Finding::attention(
                CHECK,
                format!("nobody says which bridges to manage; here are: {there}"),
                "run --bridge NAME, or a configuration",
            )
        }
    }
}

fn judge_ends(names: &[&str], missing: &[&str], who: &str) -> Finding {
    if missing.is_empty() {
        return Finding::ok("ends", format!("{who}, and there: {}", names.join(", ")));
    }
    Finding::attention(
        "ends",
        format!("{who}, but not there: {}", missing.join(", ")),
        "start what makes them (for instance containers), or name others",
    )
}

/// Are the ends of every pair there?
pub fn pairs(here: &Surroundings) -> Finding {
    if let (Daemon::Unknown(_), None) = (&here.daemon, &here.config) {
        return Finding::unchecked("pairs", "nobody says which there are");
    }
    judge_pairs(&here.pairs())
}

fn judge_pairs(pairs: &[(&str, &str, bool)]) -> Finding {
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
        (_, absent) => Finding::attention(
            CHECK,
            format!("an end is not there of: {}; they hold when it comes", absent.join(", ")),
            "start what makes it, or bridgefwd pair clear FROM TO",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn ends_that_are_away_are_named() {
        assert_eq!(judge_ends(&["a", "b"], &[], "managed").level, Level::Ok);
        let finding = judge_ends(&["a", "b"], &["b"], "managed");
        assert_eq!(finding.level, Level::Attention);
        assert!(finding.text.ends_with("not there: b"), "{finding:?}");
    }

    #[test]
    fn pairs_without_an_end_are_named() {
        assert_eq!(judge_pairs(&[]).level, Level::Attention);
        assert_eq!(judge_pairs(&[("a", "b", true)]).level, Level::Ok);
        let finding = judge_pairs(&[("a", "b", true), ("a", "c", false)]);
        assert_eq!(finding.level, Level::Attention);
        assert!(finding.text.contains("a -> c") && !finding.text.contains("a -> b"), "{finding:?}");
    }
}
