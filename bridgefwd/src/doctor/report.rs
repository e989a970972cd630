//! What the checks came to.

use serde::Serialize;

/// How a check ended.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// In order.
    Ok,
    /// It could not be made.
    Unchecked,
    /// It works, but not for everybody, or not for ever.
    Attention,
    /// It cannot work like that.
    Broken,
}

/// One check.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Finding {
    /// What was checked.
    pub check: &'static str,
    /// How it ended.
    pub level: Level,
    /// What was found, and what it means.
    pub text: String,
    /// What mends it: commands, or words where it is not a command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Finding {
    /// In order.
    pub fn ok(check: &'static str, text: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, text: text.into(), mend: None }
    }

    /// Could not be made, and why.
    pub fn unchecked(check: &'static str, why: impl Into<String>) -> Self {
        Self { check, level: Level::Unchecked, text: why.into(), mend: None }
    }

    /// Works, but.
    pub fn attention(
        check: &'static str,
        text: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { check, level: Level::Attention, text: text.into(), mend: Some(mend.into()) }
    }

    /// Cannot work.
    pub fn broken(check: &'static str, text: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { check, level: Level::Broken, text: text.into(), mend: Some(mend.into()) }
    }
}

/// All of them.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The worst that there is.
    pub level: Level,
    /// In the order in which they were made.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Of these.
    #[must_use]
    pub fn of(findings: Vec<Finding>) -> Self {
        let level = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
        Self { level, findings }
    }

    /// Of the process: 0 where all is in order, 4 where something wants attention or could not be
    /// checked, 5 where something is broken.
    #[must_use]
    pub const fn exit_status(&self) -> u8 {
        match self.level {
            Level::Ok => 0,
            Level::Unchecked | Level::Attention => 4,
            Level::Broken => 5,
        }
    }

    /// How many ended like that.
    #[must_use]
    pub fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_decides_and_what_was_not_checked_is_not_in_order() {
        let ok = Finding::ok("a", "fine");
        let unchecked = Finding::unchecked("b", "no permission");
        let attention = Finding::attention("c", "so so", "do this");
        let broken = Finding::broken("d", "no", "do that");
        let status = |findings: &[&Finding]| {
            Report::of(findings.iter().map(|&finding| finding.clone()).collect()).exit_status()
        };
        assert_eq!(status(&[&ok, &ok]), 0);
        assert_eq!(status(&[&ok, &unchecked]), 4);
        assert_eq!(status(&[&attention, &unchecked]), 4);
        assert_eq!(status(&[&broken, &attention]), 5);
    }
}
