//! What the tour says: parts, and in them steps, each with a tick where it held and a cross where
//! it did not.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use crate::failure::{Failure, Result};

/// Says the steps and remembers which did not hold.
#[derive(Debug)]
pub struct Report<W = io::Stdout> {
    out: W,
    colour: bool,
    parts: usize,
    held: usize,
    failed: Vec<String>,
}

impl Report {
    /// To the standard output; in colour where that is a terminal and `NO_COLOR` is not set.
    #[must_use]
    pub fn to_stdout() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let out = io::stdout();
        Self::new(wanted && out.is_terminal(), out)
    }
}

impl<W: Write> Report<W> {
    fn new(colour: bool, out: W) -> Self {
        Self { out, colour, parts: 0, held: 0, failed: Vec::new() }
    }

    /// Begins a part.
    pub fn part(&mut self, title: &str) {
        self.parts += 1;
        let title = self.painted("1", &format!("{}. {title}", self.parts));
        self.line(&format!("\n{title}"));
    }

    /// Says a step; `holds` is whether it came out as it must.
    pub fn step(&mut self, holds: bool, text: impl Display) {
        let mark = if holds { self.painted("32", "✓") } else { self.painted("31", "✗") };
        self.line(&format!("   {mark} {text}"));
        if holds {
            self.held += 1;
        } else {
            self.failed.push(text.to_string());
        }
    }

    /// Says something that nothing depends on.
    pub fn note(&mut self, text: impl Display) {
        self.line(&format!("   {text}"));
    }

    /// Shows a table or what else has lines.
    pub fn block(&mut self, text: &str) {
        for line in text.lines() {
            let line = self.painted("2", line);
            self.line(&format!("     {line}"));
        }
    }

    /// Says a line at the margin.
    pub fn line(&mut self, text: &str) {
        // Nobody may be reading (any more); the exit status tells them.
        let _ = writeln!(self.out, "{text}").and_then(|()| self.out.flush());
    }

    /// Are colours wanted?
    #[must_use]
    pub const fn colour(&self) -> bool {
        self.colour
    }

    /// Did every step hold so far?
    #[must_use]
    pub const fn all_held(&self) -> bool {
        self.failed.is_empty()
    }

    /// Closes with a count.
    ///
    /// # Errors
    /// A step did not hold.
    pub fn finish(mut self) -> Result<()> {
        let steps = self.held + self.failed.len();
        if self.failed.is_empty() {
            let all = self.painted("32", &format!("All {steps} steps held."));
            self.line(&format!("\n{all}"));
            return Ok(());
        }
        Err(Failure::failed(format!(
            "{} of {steps} steps did not hold:\n  {}",
            self.failed.len(),
            self.failed.join("\n  ")
        )))
    }

    fn painted(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.into() }
    }
}

/// Says what went wrong while cleaning up on the way out, where nobody takes an error any more.
pub fn complain(failure: &Failure) {
    // Not eprintln: its panic where stderr is closed would abort the rest of the cleaning up.
    let _ = writeln!(io::stderr(), "bridgefwd lab: {failure}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_marked_and_counted() {
        let mut report = Report::new(false, Vec::new());
        report.part("First");
        report.step(true, "holds");
        report.block("a\nb\n");
        let text = String::from_utf8(report.out.clone()).unwrap();
        assert_eq!(text, "\n1. First\n   ✓ holds\n     a\n     b\n");
        report.finish().unwrap();
    }

    #[test]
    fn one_cross_fails_the_whole() {
        let mut report = Report::new(false, Vec::new());
        report.step(true, "holds");
        report.step(false, "does not");
        let failure = report.finish().unwrap_err();
        assert_eq!(failure.exit_status(), 1);
        assert!(failure.to_string().contains("1 of 2 steps did not hold:\n  does not"));
    }

    #[test]
    fn colours_only_where_wanted() {
        let mut report = Report::new(true, Vec::new());
        report.step(true, "green");
        assert!(String::from_utf8(report.out).unwrap().contains("\x1b[32m✓\x1b[0m green"));
    }
}
