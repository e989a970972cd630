//! What `doctor` has found.

use anstyle::{AnsiColor, Style};

use crate::doctor::{Finding, Level, Report};

/// Columns of the level and of the name of a check.
const LEVEL: usize = 11;
const CHECK: usize = 16;
/// Narrower than this the text is not made.
const NARROWEST: usize = 20;

/// A line a check, or in a terminal as many as its text takes; what mends it below; at the end how many
/// ended how.
#[must_use]
pub fn report(report: &Report, width: Option<u16>, colour: bool) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        text.push_str(&entry(finding, width, colour));
    }
    let count = |level, words: &str| match report.count(level) {
        0 => None,
        count => Some(format!("{count} {words}")),
    };
    let counts = [
        count(Level::Ok, "in order"),
        count(Level::Unchecked, "not checked"),
        count(Level::Attention, "for your attention"),
        count(Level::Broken, "broken"),
    ];
    let counts: Vec<_> = counts.into_iter().flatten().collect();
    text.push_str(&format!("\n{}\n", counts.join(", ")));
    text
}

fn entry(finding: &Finding, width: Option<u16>, colour: bool) -> String {
    let (word, style) = match finding.level {
        Level::Ok => ("ok", AnsiColor::Green.on_default()),
        Level::Unchecked => ("unchecked", Style::new().dimmed()),
        Level::Attention => ("attention", AnsiColor::Yellow.on_default()),
        Level::Broken => ("broken", AnsiColor::Red.on_default().bold()),
    };
    let word = format!("{word:<LEVEL$}");
    let word = if colour { format!("{style}{word}{style:#}") } else { word };
    let mut text = format!("{word}{:<CHECK$}", finding.check);
    let mend = finding.mend.as_ref().map(|mend| format!("mend: {mend}"));
    let indent = LEVEL + CHECK;
    match width {
        Some(width) => {
            let room = usize::from(width).saturating_sub(indent).max(NARROWEST);
            let lines = lines(&finding.text, room);
            let mend = mend.map(|mend| self::lines(&mend, room)).unwrap_or_default();
            text.push_str(
                &lines
                    .iter()
                    .chain(&mend)
                    .map(String::as_str)
                    .collect::<Vec<_>>()
                    .join(&format!("\n{:indent$}", "")),
            );
        }
        None => {
            text.push_str(&finding.text.replace('\n', " "));
            if let Some(mend) = mend {
                text.push_str(&format!(" -- {mend}"));
            }
        }
    }
    text.push('\n');
    text
}

/// Words in lines of at most `room` columns; a longer word has a line to itself.
fn lines(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let Some(line) = lines.last_mut() else { continue };
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= room {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Report {
        Report::of(vec![
            Finding::ok("kernel", "Linux 6.18.44"),
            Finding::broken(
                "forwarding",
                "net.ipv4.ip_forward is 0, so this host forwards no IPv4, nor does bridgefwd",
                "sysctl -w net.ipv4.ip_forward=1",
            ),
        ])
    }

    #[test]
    fn it_fits_into_a_terminal() {
        let text = report(&example(), Some(80), false);
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        let expected = "\
ok         kernel          Linux 6.18.44
broken     forwarding      net.ipv4.ip_forward is 0, so this host forwards no
                           IPv4, nor does bridgefwd
                           mend: sysctl -w net.ipv4.ip_forward=1

1 in order, 1 broken
";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_pipe_gets_a_line_a_check_without_colour() {
        let text = report(&example(), None, false);
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(text.contains("nor does bridgefwd -- mend: sysctl -w") && !text.contains('\u{1b}'));
    }

    #[test]
    fn colours_are_for_the_words_alone() {
        let text = report(&example(), Some(80), true);
        assert!(text.contains("\u{1b}[32mok         \u{1b}[0mkernel"), "{text:?}");
    }
}
