//! What people read: each view turns documents of the API into text, and nothing else.
//!
//! A view gets the width of the terminal in columns, or `None` where its text goes to a file or a
//! pipe: then every row is one line, however long. Its text ends with a newline.

pub mod bridges;
pub mod doctor;
pub mod events;
pub mod explain;
pub mod explain_walk;
pub mod flows;
pub mod inspect;
pub mod pairs;
pub mod plan;
pub mod stats;
pub mod status;
pub mod style;
pub mod trace;
pub mod units;
pub mod whois;

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, presets};

/// What a column holds, which decides how its cells are pushed, and what becomes of them where a
/// terminal is too narrow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Align {
    /// Short text.
    Left,
    /// Numbers.
    Right,
    /// Names: their middle goes.
    Name,
    /// Text that goes on in the next line.
    Wrap,
}

/// Names are not cut below this.
const SHORTEST_NAME: usize = 12;
/// For text that can be wrapped so many columns are kept before names are cut.
const WRAPPED: usize = 24;

/// A table without lines: header, then rows, two blanks between columns.
fn sheet<const N: usize>(
    columns: &[(&str, Align); N],
    rows: impl IntoIterator<Item = [String; N]>,
    width: Option<u16>,
) -> Table {
    let mut rows: Vec<[String; N]> = rows.into_iter().collect();
    let mut table = Table::new();
    table.force_no_tty().load_style(presets::NOTHING);
    match width {
        Some(width) => {
            cut_names(columns, &mut rows, usize::from(width));
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width)
        }
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    table.set_header(columns.iter().map(|(name, _)| *name));
    table.add_rows(rows);
    let last = columns.len().saturating_sub(1);
    for (index, (column, (_, align))) in table.column_iter_mut().zip(columns).enumerate() {
        column.set_padding((0, if index == last { 0 } else { 2 }));
        column.set_cell_alignment(match align {
            Align::Right => CellAlignment::Right,
            Align::Left | Align::Name | Align::Wrap => CellAlignment::Left,
        });
        if *align != Align::Wrap {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table
}

/// Cuts names as far as it takes to fit into the width, the longest ones first.
fn cut_names<const N: usize>(columns: &[(&str, Align); N], rows: &mut [[String; N]], width: usize) {
    let mut widths = columns.map(|(header, _)| header.chars().count());
    for row in rows.iter() {
        for ((widest, cell), (_, align)) in widths.iter_mut().zip(row).zip(columns) {
            let length = cell.chars().count();
            *widest = length.min(if *align == Align::Wrap { WRAPPED } else { length }).max(*widest);
        }
    }
    while widths.iter().sum::<usize>() + 2 * (N.saturating_sub(1)) > width {
        let names = widths.iter_mut().zip(columns);
        let names = names.filter(|(_, (_, align))| *align == Align::Name);
        let Some((longest, _)) = names.max_by_key(|(width, _)| **width) else { break };
        if *longest <= SHORTEST_NAME {
            break;
        }
        *longest -= 1;
    }
    for row in rows {
        for ((cell, width), (_, align)) in row.iter_mut().zip(widths).zip(columns) {
            if *align == Align::Name {
                *cell = shortened(cell, width);
            }
        }
    }
}

/// A table's text, without blanks at the ends of lines.
fn text(table: &Table) -> String {
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

/// Lines of at most `width` columns where blanks allow it: `lead` before the first, as many blanks
/// before the others.
fn wrapped(lead: &str, text: &str, width: usize) -> String {
    let indent = " ".repeat(lead.chars().count());
    let mut lines = String::new();
    let mut line = lead.to_owned();
    for paragraph in text.split('\n') {
        let mut is_first = true;
        for word in paragraph.split(' ') {
            let used = line.chars().count();
            if !is_first && used + 1 + word.chars().count() > width {
                lines.push_str(line.trim_end());
                lines.push('\n');
                line = format!("{indent}  ");
                is_first = true;
            }
            if !is_first {
                line.push(' ');
            }
            line.push_str(word);
            is_first = false;
        }
        lines.push_str(line.trim_end());
        lines.push('\n');
        line.clone_from(&indent);
    }
    lines
}

/// As [`wrapped`], with words that are too long for a line cut in their middle.
fn fitted(lead: &str, text: &str, width: usize) -> String {
    let room = width.saturating_sub(lead.chars().count() + 2).max(SHORTEST_NAME);
    let words: Vec<_> = text.split(' ').map(|word| shortened(word, room)).collect();
    wrapped(lead, &words.join(" "), width)
}

/// The text in so many columns: its middle goes first, for what tells addresses and names apart is at
/// their ends.
#[must_use]
pub fn shortened(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let head = kept / 2;
    let mut short: String = text.chars().take(head).collect();
    short.push('…');
    short.extend(text.chars().skip(length - (kept - head)));
    short
}

/// Counts of things: `1 packet`, `2 packets`.
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests;
