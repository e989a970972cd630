//! Who may reach whom: a matrix, and under it the rules that decide.

use std::collections::BTreeMap;

use super::wrapped;
use crate::explain::report::{CellDoc, PartDoc, Report};

/// As wide as it is where nobody says how wide.
const WIDTH: usize = 80;
/// A column of the matrix, with reasons of one letter.
const COLUMN: usize = 7;

/// The matrix, its reasons, recipes and notes.
#[must_use]
pub fn matrix(report: &Report, width: Option<u16>) -> String {
    let width = usize::from(width.unwrap_or(WIDTH as u16)).max(40);
    let reasons = Reasons::of(report);
    let mut text = head(report, width);
    text.push_str(&table(report, &reasons, width));
    text.push('\n');
    for (letter, reason) in &reasons.lines {
        text.push_str(&wrapped(&format!("{letter:>2}  "), reason, width));
    }
    text.push_str(&recipes(report, width));
    for note in &report.notes {
        text.push('\n');
        text.push_str(&wrapped("note: ", note, width));
    }
    text
}

fn head(report: &Report, width: usize) -> String {
    let mut text = String::new();
    match &report.docker[..] {
        [] => text.push_str("Docker: none of its rules are here\n"),
        all => {
            for line in all {
                text.push_str(&wrapped("Docker ", line, width));
            }
        }
    }
    let nf = match report.bridge_nf {
        Some(true) => "1: rules are asked within bridges, too",
        Some(false) => "0: within a bridge no rule is asked",
        None => "not known",
    };
    text.push_str(&format!("bridge-nf-call-iptables {nf}\n\n"));
    text
}

/// The reasons, each with the letter that stands in the matrix for it.
struct Reasons {
    letters: BTreeMap<(String, String), String>,
    lines: Vec<(String, String)>,
}

impl Reasons {
    fn of(report: &Report) -> Self {
        let mut reasons = Self { letters: BTreeMap::new(), lines: Vec::new() };
        let mut known: BTreeMap<String, String> = BTreeMap::new();
        for cell in &report.cells {
            let why = why(cell);
            let letter = known.entry(why.clone()).or_insert_with(|| {
                let letter = letter(reasons.lines.len());
                reasons.lines.push((letter.clone(), why));
                letter
            });
            reasons.letters.insert((cell.from.clone(), cell.to.clone()), letter.clone());
        }
        reasons
    }

    fn cell(&self, report: &Report, from: &str, to: &str) -> String {
        let cell = report.cells.iter().find(|cell| cell.from == from && cell.to == to);
        match (cell, self.letters.get(&(from.to_owned(), to.to_owned()))) {
            (Some(cell), Some(letter)) => {
                let answer = if cell.answer == "unknown" { "?" } else { &cell.answer };
                format!("{answer:<4} {letter}")
            }
            _ => "-".into(),
        }
    }
}

/// `a` to `z`, then `aa`.
fn letter(number: usize) -> String {
    let letter = |number: usize| char::from(b'a' + u8::try_from(number % 26).unwrap_or(0));
    match number / 26 {
        0 => letter(number).to_string(),
        more => format!("{}{}", letter(more - 1), letter(number)),
    }
}

/// Why a cell is as it is, in one line.
fn why(cell: &CellDoc) -> String {
    if let Some(does) = &cell.bridgefwd {
        return format!("{}: bridgefwd {does}", cell.answer);
    }
    let mut groups: Vec<(String, String, Vec<String>)> = Vec::new();
    for part in &cell.parts {
        let said = said(part);
        match groups.iter_mut().find(|group| group.0 == part.answer && group.1 == said) {
            Some((_, _, packets)) => packets.extend(part.packets.clone()),
            None => groups.push((part.answer.clone(), said, part.packets.clone())),
        }
    }
    match &groups[..] {
        [] => "unknown: no IPv4 addresses are known".into(),
        [(answer, said, _)] => format!("{answer}: {said}"),
        [rest, others @ ..] => {
            let which = |packets: &[String]| packets.join(", ");
            let others =
                others.iter().map(|(answer, said, packets)| (which(packets), answer, said));
            let rest = ("everything else".to_owned(), &rest.0, &rest.1);
            let lines = others
                .chain([rest])
                .map(|(packets, answer, said)| format!("{packets} {answer}: {said}"));
            lines.collect::<Vec<_>>().join("\n")
        }
    }
}

/// Why, and what is translated on the way.
fn said(part: &PartDoc) -> String {
    let why = part.why.strip_prefix("unknown: ").unwrap_or(&part.why);
    match &part.dnat {
        Some(dnat) => format!("{why}, as {}", dnat.to),
        None => why.to_owned(),
    }
}

/// The matrix itself, in as many blocks of columns as the width asks for.
fn table(report: &Report, reasons: &Reasons, width: usize) -> String {
    let label = |(number, end): (usize, &crate::explain::report::EndDoc)| match &end.interface {
        Some(interface) if *interface != end.name => {
            format!("{:>2} {} ({interface})", number + 1, end.name)
        }
        _ => format!("{:>2} {}", number + 1, end.name),
    };
    let labels: Vec<String> = report.ends.iter().enumerate().map(label).collect();
    let longest = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0).max(12);
    let column = COLUMN + usize::from(reasons.lines.len() > 26);
    let columns = (width.saturating_sub(longest + 1) / column).max(1);
    let mut text = String::new();
    let ends: Vec<(usize, &str)> =
        report.ends.iter().enumerate().map(|(number, end)| (number, end.name.as_str())).collect();
    for block in ends.chunks(columns) {
        if !text.is_empty() {
            text.push('\n');
        }
        let mut line = format!("{:<longest$}  ", "   FROM \\ TO");
        for (number, _) in block {
            line.push_str(&format!("{:<column$}", number + 1));
        }
        text.push_str(line.trim_end());
        text.push('\n');
        for (label, (_, from)) in labels.iter().zip(&ends) {
            let mut line = format!("{label:<longest$}  ");
            for (_, to) in block {
                line.push_str(&format!("{:<column$}", reasons.cell(report, from, to)));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    text
}

fn recipes(report: &Report, width: usize) -> String {
    let Some(first) = report.recipes.first() else { return String::new() };
    let mut text = String::from("\nLines that somebody added, and the same with bridgefwd:\n");
    for recipe in &report.recipes {
        let rule = crate::explain::describe::said(&recipe.rule);
        text.push_str(&wrapped("  ", &rule, width));
        let more = if recipe.narrower { "   (allows more than the line)" } else { "" };
        text.push_str(&format!("    {}{more}\n", recipe.command));
    }
    text.push_str("Such a line works with Docker\n");
    for line in &first.works {
        text.push_str(&wrapped("  ", line, width));
    }
    text.push_str("`bridgefwd explain --import` writes these pairs as a configuration file.\n");
    text
}

/// The recipes' pairs as a configuration file for `run --config`.
#[must_use]
pub fn configuration(report: &Report) -> String {
    let mut bridges: Vec<&str> =
        report.recipes.iter().flat_map(|recipe| [&*recipe.from, &*recipe.to]).collect();
    bridges.sort_unstable();
    bridges.dedup();
    let names: Vec<String> = bridges.iter().map(|name| format!("{name:?}")).collect();
    let mut text = format!("bridges = [{}]\n", names.join(", "));
    for recipe in &report.recipes {
        text.push_str(&format!("\n# {}\n", crate::explain::describe::said(&recipe.rule)));
        if recipe.narrower {
            text.push_str(
                "# The line asks for more than the two bridges: this pair allows more.\n",
            );
        }
        text.push_str(&format!("[[pair]]\nfrom = {:?}\nto = {:?}\n", recipe.from, recipe.to));
        text.push_str(&format!("nat = {:?}\n", recipe.nat));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::explain::ends::{Facts, World};
    use crate::explain::{describe, matrix as cells, networks, parse};
    use crate::policy::config::Config;
    use crate::policy::setup::Overrides;

    fn report(rules: &str) -> Report {
        let networks = include_str!("../explain/testdata/networks.json");
        let networks = networks::inspected(networks).unwrap();
        let facts = Facts { networks, bridge_nf: Some(true), ..Facts::default() };
        let world = World::new(parse(rules).unwrap(), facts);
        describe::report(&world, &cells::cells(&world))
    }

    const RECIPE: &str = include_str!("../explain/testdata/docker-28.5-recipe.iptables");

    #[test]
    fn everything_fits_in_80_columns() {
        for rules in [RECIPE, include_str!("../explain/testdata/docker-29.nft")] {
            let text = matrix(&report(rules), None);
            let long: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
            assert_eq!(long, Vec::<&str>::new());
        }
    }

    #[test]
    fn a_narrow_terminal_gets_more_blocks() {
        let text = matrix(&report(RECIPE), Some(50));
        let blocks = text.lines().filter(|line| line.contains("FROM \\ TO")).count();
        assert!(blocks > 1, "{text}");
        assert!(text.lines().any(|line| line.starts_with(" 6 host ")));
    }

    #[test]
    fn what_is_imported_is_a_configuration() {
        let text = configuration(&report(RECIPE));
        let config = Config::parse(&text, Path::new("import"), &Overrides::default()).unwrap();
        assert_eq!(config.bridges, ["br-9559b3f84d38", "br-cbd0f56841ce"]);
        assert_eq!(config.pairs.len(), 2);
    }

    #[test]
    fn letters_go_on_after_z() {
        assert_eq!([letter(0), letter(25), letter(26), letter(53)], ["a", "z", "aa", "bb"]);
    }
}
