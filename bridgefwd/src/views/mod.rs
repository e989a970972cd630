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
pub mod trace;
pub mod units;
pub mod whois;

use comfy_table::{CellAlignment, ContentArrangement, Row, Table, presets};

/// Which way a column's cells are pushed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A table without lines: header, then rows, two blanks between columns.
fn sheet<R: Into<Row>>(
    columns: &[(&str, Align)],
    rows: impl IntoIterator<Item = R>,
    width: Option<u16>,
) -> Table {
    let mut table = Table::new();
    table.force_no_tty().load_style(presets::NOTHING);
    match width {
        Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    table.set_header(columns.iter().map(|(name, _)| *name));
    table.add_rows(rows);
    let last = columns.len().saturating_sub(1);
    for (index, (column, (_, align))) in table.column_iter_mut().zip(columns).enumerate() {
        column.set_padding((0, if index == last { 0 } else { 2 }));
        column.set_cell_alignment(match align {
            Align::Left => CellAlignment::Left,
            Align::Right => CellAlignment::Right,
        });
    }
    table
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

/// Counts of things: `1 packet`, `2 packets`.
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
