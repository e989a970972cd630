//! What came of a step: what was printed, and whether that is what it must be.

use schemars::JsonSchema;
use serde::Serialize;

/// A command and what it printed.
#[derive(Clone, Debug, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Ran {
    /// As a person would type it.
    pub command: String,
    /// Both streams, in the order of printing.
    pub output: String,
    /// Exit status; none where a signal ended it, or where it still runs.
    pub status: Option<i32>,
}

/// What came of a step.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Outcome {
    /// The headline of its part.
    pub part: String,
    /// The step's commands: what builds, or the captures and last the command itself.
    pub ran: Vec<Ran>,
    /// What it shows, as a sentence; empty for what builds.
    pub means: String,
    /// Did it come out as it must?
    pub holds: bool,
    /// If not: why not.
    pub why: Vec<String>,
}

/// What `text` lacks of `shows`, each of which must be in some line, in this order, and what it has of
/// `hides`.
#[must_use]
pub fn complaints(text: &str, shows: &[String], hides: &[String]) -> Vec<String> {
    let mut lines = text.lines();
    let mut complaints = Vec::new();
    for wanted in shows {
        if !lines.any(|line| contains_words(line, wanted)) {
            complaints.push(format!("\"{wanted}\" is not there, or not in its place"));
            lines = text.lines();
        }
    }
    for unwanted in hides {
        if text.lines().any(|line| contains_words(line, unwanted)) {
            complaints.push(format!("\"{unwanted}\" is there"));
        }
    }
    complaints
}

/// Are these words in the line, in their order? Between them anything may be.
fn contains_words(line: &str, wanted: &str) -> bool {
    let mut rest = line;
    wanted.split(" .. ").all(|piece| match rest.split_once(piece) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str, shows: &[&str], hides: &[&str]) -> usize {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        complaints(text, &owned(shows), &owned(hides)).len()
    }

    #[test]
    fn lines_are_looked_for_in_order() {
        let text = "a first line\nthe second one\nand a third";
        assert_eq!(said(text, &["first", "second", "third"], &["fourth"]), 0);
        assert_eq!(said(text, &["second", "first"], &[]), 1);
        assert_eq!(said(text, &["first line", "the .. one"], &["a .. third"]), 1);
        assert_eq!(said(text, &["one .. the"], &[]), 1);
    }
}
