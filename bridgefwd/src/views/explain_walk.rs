//! One conversation's way, hook by hook and rule by rule.

use super::wrapped;
use crate::explain::describe::said;
use crate::explain::report::{StepDoc, WalkDoc};

/// As wide as it is where nobody says how wide.
const WIDTH: usize = 80;

/// The way, and how it ends.
#[must_use]
pub fn walk(walk: &WalkDoc, width: Option<u16>) -> String {
    let width = usize::from(width.unwrap_or(WIDTH as u16)).max(40);
    let WalkDoc { from, to, packets, .. } = walk;
    let mut text = format!("{from} -> {to}, {packets}: {}\n", walk.answer);
    if let Some(does) = &walk.bridgefwd {
        text.push_str(&format!("bridgefwd {does}; without it:\n"));
    }
    for (index, step) in walk.steps.iter().enumerate() {
        text.push_str(&line(step, width));
        let asked = matches!(walk.steps.get(index + 1), Some(StepDoc::Chain { .. }));
        if matches!(step, StepDoc::Hook { .. }) && !asked {
            text.push_str("  no chain is asked\n");
        }
    }
    text.push('\n');
    for part in walk.parts.iter().skip(1).chain(walk.parts.iter().take(1)) {
        let which = if part.packets.is_empty() {
            String::new()
        } else {
            format!("{} ", part.packets.join(", "))
        };
        let mut why = part.why.strip_prefix("unknown: ").unwrap_or(&part.why).to_owned();
        if let Some(nat) = &part.dnat {
            why.push_str(&format!("; sent on to {}", nat.to));
        }
        if let Some(nat) = &part.snat {
            why.push_str(&format!("; seen as {}", nat.to));
        }
        text.push_str(&wrapped("", &format!("{which}{}: {why}", part.answer), width));
    }
    for note in &walk.notes {
        text.push('\n');
        text.push_str(&wrapped("note: ", note, width));
    }
    text
}

fn line(step: &StepDoc, width: usize) -> String {
    match step {
        StepDoc::Hook { hook, input, output } => {
            let input = input.as_ref().map(|end| format!(", in from {end}")).unwrap_or_default();
            let output = output.as_ref().map(|end| format!(", out to {end}")).unwrap_or_default();
            format!("\n{hook}{input}{output}\n")
        }
        StepDoc::Chain { depth, table, chain } => {
            format!("  {}{table} {chain}\n", "  ".repeat(*depth))
        }
        StepDoc::Rule { depth, rule, matches } => {
            let number = rule.number.map(|number| number.to_string()).unwrap_or_default();
            let indent = format!("  {}{number:>4}  {matches:<8} ", "  ".repeat(*depth));
            wrapped(&indent, &rule.text, width)
        }
        StepDoc::Policy { rule } => format!("        {}\n", rule.text),
        StepDoc::Nat { of, nat } => {
            wrapped("  => ", &format!("{of} becomes {}, by {}", nat.to, said(&nat.rule)), width)
        }
        StepDoc::Routed { to } => format!("  => goes to {to} now\n"),
        StepDoc::Answer => "\nIts answer:\n".into(),
    }
}
