//! The reasons under which packets ended, the busiest first.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::widgets::{Cell, Row, Table};

use super::draw::{chosen, coloured, first_shown, pane};
use super::state::{Focus, State};
use super::text::{right, right_header};
use crate::api::types::ReasonCount;
use crate::views::{counted, units};

/// Those that happened, in order.
pub fn shown(state: &State) -> Vec<(&String, &ReasonCount)> {
    let reasons = state.seen.iter().flat_map(|seen| &seen.stats.reasons);
    let mut reasons: Vec<_> = reasons.filter(|(_, count)| count.packets > 0).collect();
    reasons.sort_by(|a, b| {
        let rates = [a, b].map(|(name, _)| state.reason_rate(name));
        rates[1].total_cmp(&rates[0]).then_with(|| b.1.packets.cmp(&a.1.packets))
    });
    reasons
}

/// Draws it.
pub fn draw(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let focused = state.focus == Focus::Below;
    let reasons = shown(state);
    let height = usize::from(area.height.saturating_sub(3));
    let at = state.reason_at.min(reasons.len().saturating_sub(1));
    let first = first_shown(at, reasons.len(), height);
    let rows = reasons.iter().enumerate().skip(first).take(height).map(|(place, (name, count))| {
        let colour = match &*count.verdict {
            "drop" => coloured(state, Color::Yellow),
            "redirect" => coloured(state, Color::Cyan),
            _ => Style::new(),
        };
        let row = Row::new([
            Cell::from((*name).clone()),
            Cell::from(count.verdict.clone()).style(colour),
            right(units::per_second(state.reason_rate(name))),
            right(units::count(count.packets)),
            Cell::from(count.explanation.clone()),
        ]);
        if place == at && focused { row.style(chosen(true)) } else { row }
    });
    let header = Row::new([
        Cell::from("REASON"),
        Cell::from("VERDICT"),
        right_header("PACKETS/S"),
        right_header("PACKETS"),
        Cell::from("MEANING"),
    ])
    .style(Style::new().add_modifier(Modifier::UNDERLINED));
    let widths = [
        Constraint::Length(22),
        Constraint::Length(8),
        Constraint::Length(9),
        Constraint::Length(8),
        Constraint::Min(10),
    ];
    let title =
        format!(" {} that happened, by rate ", counted(reasons.len() as u64, "reason", "reasons"));
    let table = Table::new(rows, widths).header(header).block(pane(title, focused));
    frame.render_widget(table, area);
}
