//! Who may open flows to whom, as a matrix: a row opens, a column answers.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::widgets::{Cell, Row, Table};

use super::draw::{chosen, first_shown, pane};
use super::pairs::state_cell;
use super::state::{Focus, State};
use crate::views::{shortened, units};

/// Columns that a cell takes, and the names in front.
const CELL: u16 = 12;
const NAME: u16 = 16;

/// Draws it.
pub fn draw(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let focused = state.focus == Focus::Pairs;
    let ends = state.ends();
    let chosen_ends = state.pair().map(|row| row.ends.clone());
    let place = |name: Option<&String>| {
        name.and_then(|name| ends.iter().position(|end| end == name)).unwrap_or(0)
    };
    let (at_row, at_column) = (
        place(chosen_ends.as_ref().map(|ends| &ends.0)),
        place(chosen_ends.as_ref().map(|ends| &ends.1)),
    );
    let height = usize::from(area.height.saturating_sub(3));
    let width = usize::from(area.width.saturating_sub(NAME + 3) / (CELL + 1)).max(1);
    let (top, left) =
        (first_shown(at_row, ends.len(), height), first_shown(at_column, ends.len(), width));
    let columns = || ends.iter().skip(left).take(width);
    let header = [Cell::from("FROM \\ TO")]
        .into_iter()
        .chain(columns().map(|name| Cell::from(shortened(name, usize::from(CELL)))));
    let rows = ends.iter().skip(top).take(height).map(|from| {
        let cells = columns().map(|to| {
            if from == to {
                return Cell::from("");
            }
            let row = state.pairs.iter().find(|row| row.ends.0 == *from && row.ends.1 == *to);
            let Some(row) = row else { return Cell::from("") };
            let (word, style) = state_cell(state, row);
            let rate = state.pair_rate(&row.ends).map_or(0.0, |rate| rate.bytes);
            let text = match word.split_once(' ') {
                // Where something goes over it, how much; the sign tells the state.
                Some((sign, _)) if rate > 0.0 => format!("{sign} {}", units::bits_per_second(rate)),
                _ => word,
            };
            let is_chosen = chosen_ends.as_ref() == Some(&row.ends);
            let style = if is_chosen { style.patch(chosen(focused)) } else { style };
            Cell::from(text).style(style)
        });
        let name = shortened(from, usize::from(NAME));
        Row::new([Cell::from(name)].into_iter().chain(cells))
    });
    let widths =
        [Constraint::Length(NAME)].into_iter().chain(columns().map(|_| Constraint::Length(CELL)));
    let hidden = ends.len().saturating_sub(width.min(ends.len()));
    let more = if hidden == 0 { String::new() } else { format!(", {hidden} columns beside") };
    let picked =
        chosen_ends.as_ref().map(|(from, to)| format!(": {from} -> {to}")).unwrap_or_default();
    let table = Table::new(rows, widths)
        .header(Row::new(header).style(Style::new().add_modifier(Modifier::UNDERLINED)))
        .block(pane(format!(" {} ends{more}{picked} ", ends.len()), focused));
    frame.render_widget(table, area);
}
