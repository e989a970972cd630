//! Every direction between two ends as a list: its state, its rate, its flows, what it was refused.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::widgets::{Cell, Row, Table};

use super::draw::{chosen, coloured, first_shown, pane};
use super::rates::spark;
use super::state::{Focus, PAIR_ORDERS, PairRow, State, state_word};
use super::text::{right, right_header};
use crate::api::types::{PairCount, PairState};
use crate::views::{counted, shortened, units};

/// A column: its head, its width, and from which width of the list on it is there.
type Column = (&'static str, u16, u16);

/// Those after the names of the ends.
const COLUMNS: [Column; 9] = [
    ("STATE", 12, WITH_STATE),
    ("RATE", 10, 0),
    ("", 12, 62),
    ("BYTES OUT", 9, 118),
    ("BACK", 6, 118),
    ("PACKETS", 7, 104),
    ("FLOWS", 5, 48),
    ("OPENED", 7, 104),
    ("REFUSED", 7, 72),
];

/// In a narrower list the sign of the state stands before the names.
const WITH_STATE: u16 = 60;

/// Draws it.
pub fn draw(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let focused = state.focus == Focus::Pairs;
    let height = usize::from(area.height.saturating_sub(3));
    let at = state.pair_at();
    let first = first_shown(at, state.pairs.len(), height);
    let is_shown = |(.., from): &Column| area.width >= *from;
    let used: u16 = COLUMNS.iter().filter(|it| is_shown(it)).map(|(_, width, _)| width + 1).sum();
    let names = area.width.saturating_sub(used + 2);
    let shown = state.pairs.iter().enumerate().skip(first).take(height);
    let rows = shown.map(|(place, row)| {
        let selected = place == at;
        let cells = COLUMNS.iter().zip(cells(state, row)).filter(|(column, _)| is_shown(column));
        let name = name(state, row, selected, area.width < WITH_STATE);
        let name = Cell::from(shortened(&name, usize::from(names)));
        let line = Row::new([name].into_iter().chain(cells.map(|(_, cell)| cell)));
        if selected { line.style(chosen(focused)) } else { line }
    });
    let header = COLUMNS.iter().filter(|it| is_shown(it)).map(|(head, ..)| match *head {
        "STATE" => Cell::from("STATE"),
        head => right_header(head),
    });
    let header = [Cell::from("FROM -> TO")].into_iter().chain(header);
    let widths = COLUMNS.iter().filter(|it| is_shown(it)).map(|(_, width, _)| *width);
    let widths = [names].into_iter().chain(widths).map(Constraint::Length);
    let listed = state.pairs.iter().filter(|row| row.pair.is_some()).count() as u64;
    let listed = counted(listed, "pair", "pairs");
    let order = PAIR_ORDERS.get(state.pair_order).unwrap_or(&"");
    let title = format!(" {listed} listed, by {order} ");
    let table = Table::new(rows, widths)
        .header(Row::new(header).style(Style::new().add_modifier(Modifier::UNDERLINED)))
        .block(pane(title, focused));
    frame.render_widget(table, area);
}

fn name(state: &State, row: &PairRow, selected: bool, with_sign: bool) -> String {
    let (from, to) = &row.ends;
    let mark = if selected { ">" } else { " " };
    let (word, _) = state_cell(state, row);
    let sign = word.split_once(' ').filter(|_| with_sign).map(|(sign, _)| format!("{sign} "));
    format!("{mark}{}{from} -> {to}", sign.unwrap_or_default())
}

/// The state of a pair in a word and a sign.
pub fn state_cell(state: &State, row: &PairRow) -> (String, Style) {
    let away = row.pair.as_ref().is_some_and(|pair| !pair.present);
    let (sign, style) = match row.pair.as_ref().map(|pair| pair.state) {
        // Blue and yellow, which nearly everybody tells apart.
        Some(PairState::Allowed) => ("✓", coloured(state, Color::Cyan)),
        Some(PairState::Denied) => ("✕", coloured(state, Color::Yellow)),
        None => ("·", Style::new().add_modifier(Modifier::DIM)),
    };
    let word = if away { "away" } else { state_word(row) };
    (format!("{sign} {word}"), style)
}

fn cells<'a>(state: &State, row: &PairRow) -> [Cell<'a>; 9] {
    let (word, style) = state_cell(state, row);
    let rate = state.pair_rate(&row.ends);
    let number = |of: fn(&PairCount) -> u64| {
        row.count.as_ref().map_or_else(String::new, |count| units::count(of(count)))
    };
    let bytes = |of: fn(&PairCount) -> u64| {
        row.count.as_ref().map_or_else(String::new, |count| units::bytes(of(count)))
    };
    [
        Cell::from(word).style(style),
        right(rate.map_or_else(String::new, |rate| units::bits_per_second(rate.bytes))),
        right(rate.map_or_else(String::new, |rate| spark(&rate.history, 12))),
        right(bytes(|count| count.bytes_by_direction.original)),
        right(bytes(|count| count.bytes_by_direction.reply)),
        right(number(|count| count.packets)),
        right(number(|count| count.flows)),
        right(number(|count| count.flows_created)),
        right(number(|count| count.refused)),
    ]
}
