//! What the tests came to, read from what libtest prints.

use std::collections::BTreeSet;
use std::fmt::Write as _;

/// How a test says why it did not test, on a line of its own output. libtest knows no way to skip
/// at run time, it counts such a test as passed.
const SKIPPED: &str = "SKIPPED: ";

/// Counts over all layers, and what is to be said at the end.
#[derive(Debug, Default)]
pub struct Report {
    passed: usize,
    failures: Vec<String>,
    skips: Vec<Skip>,
    /// `LAYER::TEST` of the tests that ended well.
    ended_well: BTreeSet<String>,
    layer: Layer,
}

/// A test that did not test, and why.
#[derive(Debug, Eq, PartialEq)]
struct Skip {
    layer: String,
    test: String,
    reason: String,
}

/// The layer that is being read.
#[derive(Debug, Default)]
struct Layer {
    name: String,
    /// Tests that ran or were skipped.
    ran: usize,
    failed: usize,
    /// Tests that ran, and skipped.
    skipped: usize,
    /// Tests of the test program at hand that passed by skipping.
    skipped_by_passing: usize,
    /// The test whose output is being shown, and whether it failed.
    shown: String,
    in_failures: bool,
}

/// One `test result:` line.
#[derive(Debug, Eq, PartialEq)]
struct Totals {
    passed: usize,
    failed: usize,
    ignored: usize,
}

impl Report {
    /// A layer's output follows.
    pub fn begin(&mut self, name: &str) {
        self.layer = Layer { name: name.to_owned(), ..Layer::default() };
    }

    /// One line of it.
    pub fn line(&mut self, line: &str) {
        if let Some(totals) = parse_totals(line) {
            self.passed += totals.passed.saturating_sub(self.layer.skipped_by_passing);
            self.layer.ran += totals.passed + totals.failed + totals.ignored;
            self.layer.skipped += self.layer.skipped_by_passing + totals.ignored;
            self.layer.failed += totals.failed;
            self.layer.skipped_by_passing = 0;
            self.layer.shown.clear();
            self.layer.in_failures = false;
        } else if line == "successes:" || line == "failures:" {
            self.layer.in_failures = line == "failures:";
        } else if let Some(test) = parse_shown(line) {
            self.layer.shown = test.to_owned();
        } else if let Some(test) = parse_ok(line) {
            self.ended_well.insert(format!("{}::{test}", self.layer.name));
        } else if let Some(test) = parse_failed(line) {
            self.failures.push(format!("{}: {test}", self.layer.name));
        } else if let Some((test, reason)) = parse_ignored(line) {
            self.skip(test.to_owned(), reason);
        } else if let Some(reason) = line.strip_prefix(SKIPPED)
            && !self.layer.in_failures
            && self.skip(self.layer.shown.clone(), reason.trim())
        {
            self.layer.skipped_by_passing += 1;
        }
    }

    /// The layer's output has ended. `filtered`: only some tests were asked for.
    pub fn end(&mut self, success: bool, filtered: bool) {
        let name = self.layer.name.clone();
        if !success && self.layer.failed == 0 {
            self.trouble(&name, "the test program did not start or ended early");
        } else if self.layer.ran == 0 && !filtered {
            self.trouble(&name, "no test ran");
        }
    }

    /// Tests of the layer that were left out, by what their names have in common.
    pub fn left_out(&mut self, names: &str, reason: &str) {
        self.skip(format!("{names}*"), reason);
    }

    /// The counts of the layer whose output was read last.
    pub fn layer_counts(&self) -> String {
        let skipped = self.skips.iter().filter(|skip| skip.layer == self.layer.name).count();
        let Layer { ran, failed, .. } = self.layer;
        // Those that skipped while they ran are among both.
        let passed = (ran - failed).saturating_sub(self.layer.skipped);
        format!("{passed} passed, {failed} failed, {skipped} skipped")
    }

    /// A layer could not be run to its end. Counts as one failure.
    pub fn trouble(&mut self, layer: &str, what: &str) {
        self.failures.push(format!("{layer}: {what}"));
    }

    /// All layers have run: has each test that the scorecard names ended well? One that was skipped
    /// has its own line.
    pub fn check_scorecard(&mut self, text: &str, layers: &[&str]) {
        let quoted = text.split('`').skip(1).step_by(2);
        let names: BTreeSet<&str> = quoted
            .filter(|name| name.split_once("::").is_some_and(|(layer, _)| layers.contains(&layer)))
            .collect();
        let missing = names.into_iter().filter(|name| !self.ended_well.contains(*name));
        let missing: Vec<String> =
            missing.map(|name| format!("docs/rfc.md: {name} did not run, or failed")).collect();
        self.failures.extend(missing);
    }

    /// All layers have ended.
    pub fn finish(&mut self) {
        if self.passed == 0 && self.failures.is_empty() && self.skips.is_empty() {
            self.failures.push("no test has such a name".to_owned());
        }
    }

    /// Whether nothing failed.
    pub fn good(&self) -> bool {
        self.failures.is_empty()
    }

    /// What was skipped and why, what failed, and the counts on the last line.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        for Skip { layer, test, reason } in &self.skips {
            let _ = writeln!(text, "skipped  {layer}: {test}: {reason}");
        }
        for failure in &self.failures {
            let _ = writeln!(text, "failed   {failure}");
        }
        let (failed, skipped) = (self.failures.len(), self.skips.len());
        let _ = writeln!(text, "{} passed, {failed} failed, {skipped} skipped", self.passed);
        text
    }

    /// Whether it is a new one: a test may give several reasons.
    fn skip(&mut self, test: String, reason: &str) -> bool {
        let layer = self.layer.name.clone();
        if let Some(known) = self.skips.iter_mut().find(|s| s.layer == layer && s.test == test) {
            known.reason = format!("{}; {reason}", known.reason);
            return false;
        }
        self.skips.push(Skip { layer, test, reason: reason.to_owned() });
        true
    }
}

/// `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s`
fn parse_totals(line: &str) -> Option<Totals> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |word: &str| {
        counts.split("; ").find_map(|part| part.strip_suffix(word)?.trim_end().parse().ok())
    };
    Some(Totals { passed: count("passed")?, failed: count("failed")?, ignored: count("ignored")? })
}

/// `---- NAME stdout ----`, before the output of a test.
fn parse_shown(line: &str) -> Option<&str> {
    line.strip_prefix("---- ")?.strip_suffix(" stdout ----")
}

/// `test NAME ... ok`
fn parse_ok(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... ok")
}

/// `test NAME ... FAILED`
fn parse_failed(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")
}

/// `test NAME ... ignored, REASON`
fn parse_ignored(line: &str) -> Option<(&str, &str)> {
    let (test, rest) = line.strip_prefix("test ")?.split_once(" ... ignored")?;
    Some((test, rest.strip_prefix(", ").unwrap_or("ignored")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(report: &mut Report, layer: &str, text: &str, success: bool) {
        report.begin(layer);
        text.lines().for_each(|line| report.line(line));
        report.end(success, false);
    }

    #[test]
    fn a_test_that_says_it_skipped_has_not_passed() {
        let mut report = Report::default();
        let text = "\nrunning 3 tests\ntest a ... ok\ntest b ... ok\ntest c ... ignored, too slow\n\n\
                    successes:\n\n---- b stdout ----\nSKIPPED: no TCX before Linux 6.6\n\
                    SKIPPED: no KVM\n\n\nsuccesses:\n    a\n    b\n\n\
                    test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; \
                    finished in 0.00s\n";
        read(&mut report, "netns", text, true);
        report.finish();
        assert!(report.good());
        assert_eq!(
            report.summary(),
            "skipped  netns: c: too slow\n\
             skipped  netns: b: no TCX before Linux 6.6; no KVM\n\
             1 passed, 0 failed, 2 skipped\n"
        );
    }

    #[test]
    fn a_test_that_fails_after_a_skip_has_failed() {
        let mut report = Report::default();
        let text = "test a ... FAILED\ntest b ... ok\n\nsuccesses:\n\nsuccesses:\n    b\n\nfailures:\n\n\
                    ---- a stdout ----\nSKIPPED: half of it\nthread 'a' panicked\n\nfailures:\n    a\n\n\
                    test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; \
                    finished in 0.00s\n";
        read(&mut report, "cli", text, false);
        assert!(!report.good());
        assert_eq!(report.summary(), "failed   cli: a\n1 passed, 1 failed, 0 skipped\n");
    }

    #[test]
    fn several_test_programs_and_layers_add_up() {
        let result = "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; \
                      finished in 0.00s\n";
        let mut report = Report::default();
        read(&mut report, "unit", &format!("{result}{result}"), true);
        read(&mut report, "cli", result, true);
        assert_eq!(report.summary(), "6 passed, 0 failed, 0 skipped\n");
    }

    #[test]
    fn a_layer_without_a_test_or_that_ends_early_fails() {
        let mut report = Report::default();
        read(&mut report, "unit", "running 0 tests\n", true);
        read(&mut report, "netns", "running 9 tests\ntest a ... ok\n", false);
        report.trouble("cli", "compiling the tests failed");
        assert!(!report.good());
        assert!(report.summary().ends_with("0 passed, 3 failed, 0 skipped\n"));
    }

    #[test]
    fn a_filter_may_leave_a_layer_without_tests_but_not_all() {
        let mut report = Report::default();
        report.begin("unit");
        report.end(true, true);
        assert!(report.good());
        report.finish();
        assert!(!report.good());
    }

    #[test]
    fn a_test_of_the_scorecard_that_did_not_run_is_a_failure() {
        let result = "test a::b ... ok\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; \
                      0 filtered out; finished in 0.00s\n";
        let mut report = Report::default();
        read(&mut report, "cli", result, true);
        let text = "| met | `cli::a::b` |\n| `other::thing` | `cli::a::c`, `cli::a::b` |\n";
        report.check_scorecard(text, &["unit", "cli"]);
        assert_eq!(
            report.summary(),
            "failed   docs/rfc.md: cli::a::c did not run, or failed\n1 passed, 1 failed, 0 skipped\n"
        );
    }

    #[test]
    fn other_lines_are_no_counts() {
        assert_eq!(parse_totals("test result: what"), None);
        assert_eq!(parse_totals("1 passed; 0 failed; 0 ignored"), None);
        assert_eq!(parse_failed("test a ... ok"), None);
        assert_eq!(parse_shown("---- a stderr ----"), None);
    }
}
