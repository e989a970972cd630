//! What a configuration file changes, or has changed: a line a difference, as `diff` marks them.

use super::counted;
use crate::api::config::{Action, ConfigPlan, PlannedChange};
use crate::policy::setup::Setup;

/// Ends what a line's colour begins.
const RESET: &str = "\x1b[0m";

/// What would change.
#[must_use]
pub fn planned(plan: &ConfigPlan, colours: bool) -> String {
    if plan.changes.is_empty() {
        return format!(
            "nothing would change: what runs is as {} says\n{}",
            plan.file,
            notes(plan)
        );
    }
    let restart = plan.changes.iter().any(|change| change.needs_restart);
    let close = if restart {
        "As long as something needs a restart, none of this can be applied.\n"
    } else {
        ""
    };
    let (list, count) = (list(plan, colours), count(plan));
    format!("{list}{count} by {}; nothing has changed yet\n{close}{}", plan.file, notes(plan))
}

/// What has changed.
#[must_use]
pub fn applied(plan: &ConfigPlan, colours: bool) -> String {
    if plan.changes.is_empty() {
        return format!(
            "nothing had to change: what runs is as {} says\n{}",
            plan.file,
            notes(plan)
        );
    }
    format!("{}{} made by {}\n{}", list(plan, colours), count(plan), plan.file, notes(plan))
}

/// How much a configuration says.
#[must_use]
pub fn extent(setup: &Setup) -> String {
    let count = |count: usize, one, many| counted(count as u64, one, many);
    [
        count(setup.bridges.len(), "bridge", "bridges"),
        count(setup.uplinks.len(), "uplink", "uplinks"),
        count(setup.pairs.len(), "pair", "pairs"),
    ]
    .join(", ")
}

/// How many changes there are.
#[must_use]
pub fn count(plan: &ConfigPlan) -> String {
    match plan.changes.len() as u64 {
        0 => "no change".into(),
        changes => counted(changes, "change", "changes"),
    }
}

/// One difference, without a newline.
#[must_use]
pub fn line(change: &PlannedChange) -> String {
    row(change, 0)
}

fn list(plan: &ConfigPlan, colours: bool) -> String {
    let width = |change: &PlannedChange| title(change).chars().count();
    let widest = plan.changes.iter().map(width).max().unwrap_or_default();
    let lines = plan.changes.iter().map(|change| {
        let row = row(change, widest);
        if !colours {
            return format!("{row}\n");
        }
        let colour = match (change.needs_restart, change.action) {
            (true, _) => "\x1b[35m",
            (_, Action::Add) => "\x1b[32m",
            (_, Action::Remove) => "\x1b[31m",
            (_, Action::Change) => "\x1b[33m",
        };
        format!("{colour}{row}{RESET}\n")
    });
    lines.collect()
}

fn row(change: &PlannedChange, width: usize) -> String {
    let mark = match (change.needs_restart, change.action) {
        (true, _) => '!',
        (_, Action::Add) => '+',
        (_, Action::Remove) => '-',
        (_, Action::Change) => '~',
    };
    let values = match (&change.before, &change.after) {
        (Some(before), Some(after)) => format!("{before} -> {after}"),
        (Some(value), None) | (None, Some(value)) => value.clone(),
        (None, None) => String::new(),
    };
    let effect = change.effect.as_ref().map(|effect| format!("  ({effect})")).unwrap_or_default();
    let title = title(change);
    format!("{mark} {title:<width$}  {values}{effect}")
}

fn title(change: &PlannedChange) -> String {
    match change.what.as_str() {
        // Their keys say what they are.
        "setting" | "timer" => change.name.clone(),
        what => format!("{what} {}", change.name),
    }
}

fn notes(plan: &ConfigPlan) -> String {
    if plan.overridden.is_empty() {
        return String::new();
    }
    format!(
        "The daemon was started with {}, which goes before the file.\n",
        plan.overridden.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(action: Action, what: &str, name: &str, values: [Option<&str>; 2]) -> PlannedChange {
        let [before, after] = values.map(|value| value.map(str::to_owned));
        PlannedChange {
            action,
            what: what.into(),
            name: name.into(),
            before,
            after,
            effect: None,
            needs_restart: false,
        }
    }

    fn plan(changes: Vec<PlannedChange>) -> ConfigPlan {
        ConfigPlan { file: "/etc/b.toml".into(), changes, overridden: Vec::new() }
    }

    #[test]
    fn differences_are_marked_and_aligned() {
        let gone =
            change(Action::Remove, "pair", "a -> b", [Some("allowed, nat masquerade"), None]);
        let plan = plan(vec![
            change(Action::Change, "setting", "unlisted", [Some("kernel"), Some("deny")]),
            change(Action::Add, "bridge", "shop", [None, Some("managed")]),
            PlannedChange { effect: Some("its flows are cut".into()), ..gone },
        ]);
        let expected = "\
~ unlisted     kernel -> deny
+ bridge shop  managed
- pair a -> b  allowed, nat masquerade  (its flows are cut)
3 changes by /etc/b.toml; nothing has changed yet
";
        assert_eq!(planned(&plan, false), expected);
        let coloured = planned(&plan, true);
        assert_eq!(coloured.matches(RESET).count(), 3);
        assert!(coloured.contains("\x1b[32m+ bridge shop  managed\x1b[0m\n"), "{coloured}");
        assert!(!planned(&plan, false).contains('\x1b'));
    }

    #[test]
    fn restarts_and_hidden_keys_are_named() {
        let flows = change(Action::Change, "setting", "max_flows", [Some("1"), Some("2")]);
        let mut plan = plan(vec![PlannedChange {
            needs_restart: true,
            effect: Some("restart".into()),
            ..flows
        }]);
        plan.overridden = vec!["--unlisted".into()];
        let text = planned(&plan, false);
        assert!(text.starts_with("! max_flows  1 -> 2  (restart)\n1 change"), "{text}");
        assert!(text.contains("none of this can be applied") && text.contains("--unlisted"));
        plan.changes.clear();
        assert!(applied(&plan, false).starts_with("nothing had to change"));
    }
}
