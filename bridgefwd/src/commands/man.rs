//! `bridgefwd man`: the manual pages, one a command, made of what the command line's own help says.

use std::io;
use std::path::Path;

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};

use crate::cli::Cli;
use crate::failure::{Failure, Result};

/// Of administrators' commands and daemons.
const SECTION: &str = "8";
const MANUAL: &str = "Manual of bridgefwd";

/// What the first page says beside what its help does: where things are.
const FILES: [(&str, &str); 4] = [
    ("/etc/bridgefwd/bridgefwd.toml", "What the packaged service reads (run --config FILE)."),
    (
        "/run/bridgefwd/bridgefwd.sock",
        "Control socket: JSON over HTTP. Whoever may write to it rules over the pairs.",
    ),
    ("/sys/fs/bpf/bridgefwd", "Pinned maps, links and programs, which outlive the daemon."),
    ("/run/netns", "Where --netns looks for names."),
];
const ENVIRONMENT: [(&str, &str); 5] = [
    ("BRIDGEFWD_NETNS, BRIDGEFWD_SOCKET, BRIDGEFWD_PIN_DIR", "As --netns, --socket, --pin-dir."),
    (
        "BRIDGEFWD_LOG",
        "What the daemon logs: error, warn, info (the default), debug, or directives of modules.",
    ),
    ("NO_COLOR", "Set to anything: no colours."),
    ("TZ", "Zone of the times that are shown and given, rather than that of this host."),
    (
        "NOTIFY_SOCKET, WATCHDOG_USEC",
        "Set by a service manager; the daemon then says when it is ready and that it is alive.",
    ),
];

pub(super) fn run(folder: &Path) -> Result<()> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    write(&command, &[], folder).map_err(|error| {
        Failure::failed(format!("cannot write manual pages to {}: {error}", folder.display()))
    })
}

/// The page of a command and those of its own commands. `above` are the pages that led here.
fn write(command: &Command, above: &[String], folder: &Path) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    std::fs::write(folder.join(format!("{name}.{SECTION}")), page(command, above)?)?;
    let below = [above, std::slice::from_ref(&name)].concat();
    for command in visible(command) {
        write(command, &below, folder)?;
    }
    Ok(())
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|command| !command.is_hide_set())
}

fn page(command: &Command, above: &[String]) -> io::Result<Vec<u8>> {
    let version = format!("bridgefwd {}", env!("CARGO_PKG_VERSION"));
    // An empty date would be left out, and what follows taken for it.
    let man = Man::new(command.clone()).section(SECTION).date(" ").source(version).manual(MANUAL);
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    if visible(command).next().is_some() {
        man.render_subcommands_section(&mut text)?;
    }
    man.render_options_section(&mut text)?;
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let Help { notes, status, examples } = Help::split(&help);
    let mut roff = Roff::new();
    for (title, lines) in [("NOTES", notes), ("EXIT STATUS", status)] {
        if !lines.is_empty() {
            roff.control("SH", [title]);
            roff.text([roman(lines.join(" "))]);
        }
    }
    if above.is_empty() {
        entries(&mut roff, "FILES", &FILES);
        entries(&mut roff, "ENVIRONMENT", &ENVIRONMENT);
    }
    if !examples.is_empty() {
        roff.control("SH", ["EXAMPLES"]);
        roff.control("nf", []);
        for example in examples {
            roff.text([roman(example)]);
        }
        roff.control("fi", []);
    }
    let mut related: Vec<String> = above.to_vec();
    related.extend(
        visible(command).map(|below| below.get_display_name().unwrap_or_default().to_owned()),
    );
    let related: Vec<Inline> = related
        .iter()
        .enumerate()
        .flat_map(|(index, name)| {
            let comma = if index == 0 { "" } else { ", " };
            [roman(comma), bold(name), roman(format!("({SECTION})"))]
        })
        .collect();
    if !related.is_empty() {
        roff.control("SH", ["SEE ALSO"]);
        roff.text(related);
    }
    roff.to_writer(&mut text)?;
    Ok(text)
}

fn entries(roff: &mut Roff, title: &str, entries: &[(&str, &str)]) {
    roff.control("SH", [title]);
    for (name, text) in entries {
        roff.control("TP", []);
        roff.text([bold(*name)]);
        roff.text([roman(*text)]);
    }
}

/// What comes after the options in a help.
#[derive(Debug, Default, Eq, PartialEq)]
struct Help<'a> {
    notes: Vec<&'a str>,
    status: Vec<&'a str>,
    examples: Vec<&'a str>,
}

impl<'a> Help<'a> {
    /// By the words that lines begin with.
    fn split(help: &'a str) -> Self {
        let mut this = Self::default();
        let mut section = &mut this.notes;
        for line in help.lines().map(str::trim) {
            if line.starts_with("Exit status") {
                section = &mut this.status;
            } else if line.starts_with("Example") {
                section = &mut this.examples;
                continue;
            }
            if !line.is_empty() {
                section.push(line);
            }
        }
        this
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_help_is_split_at_its_examples() {
        let help = "One thing.\nMore of it.\nExit status 0,\n1.\n\nExamples:\n  a b\n  c\n";
        let whole = Help {
            notes: vec!["One thing.", "More of it."],
            status: vec!["Exit status 0,", "1."],
            examples: vec!["a b", "c"],
        };
        assert_eq!(Help::split(help), whole);
        assert_eq!(Help::split(""), Help::default());
    }

    #[test]
    fn every_command_has_a_page_with_its_examples() {
        let folder = std::env::temp_dir().join(format!("bridgefwd-man-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let written = run(&folder);
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        let (main, allow) = (read("bridgefwd.8"), read("bridgefwd-pair-allow.8"));
        let hidden = folder.join("bridgefwd-man.8").exists();
        std::fs::remove_dir_all(&folder).unwrap();
        written.unwrap();
        assert!(main.contains(".SH FILES") && main.contains("bridgefwd\\-status(8)"), "{main}");
        let example = "bridgefwd pair allow shop_front shop_db \\-\\-nat none\n";
        assert!(allow.contains(example) && allow.contains(".SH NOTES"), "{allow}");
        assert!(allow.contains("bridgefwd\\-pair\\fR(8)"), "{allow}");
        assert!(!hidden, "a hidden command has no page");
    }
}
