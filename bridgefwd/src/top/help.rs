//! What covers the lists: what the keys do, and the question before a change.

use ratatui::Frame;
use ratatui::layout::{Constraint, Flex, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Clear, Paragraph, Wrap};

use super::source::Change;
use crate::api::types::PairState;

const KEYS: [(&str, &str); 14] = [
    ("up, down, k, j", "move; with PgUp, PgDn, Home, End, g, G further"),
    ("left, right", "move in the matrix"),
    ("Tab", "between the pairs and what is below them"),
    ("Enter", "a flow: all of it; a pair: its flows alone"),
    ("t", "allow or deny the pair, once you say y"),
    ("/", "only flows and pairs with these words; Esc ends it"),
    ("s", "another order of the list you are in"),
    ("m", "the pairs as a matrix, or as a list"),
    ("r", "reasons in place of flows, or back"),
    ("p", "pause, or go on"),
    ("?", "this help"),
    ("q, Esc", "end"),
    ("", "✓ allowed, ✕ denied, · not listed; rates are since the last look"),
    ("", "SEEN AS without a port: with the client's own"),
];

/// Draws the help.
pub fn draw(frame: &mut Frame<'_>, area: Rect) {
    let lines = KEYS.iter().map(|(key, what)| Line::from(format!("{key:>14}  {what}")));
    cover(frame, area, " keys: any of them goes back ", lines.collect());
}

/// Asks before a change.
pub fn ask(frame: &mut Frame<'_>, area: Rect, change: &Change) {
    let Change { from, to, state } = change;
    let (question, then) = match state {
        PairState::Allowed => {
            (format!("Allow {from} -> {to}?"), "New flows are made from the next packet on.")
        }
        PairState::Denied => {
            (format!("Deny {from} -> {to}?"), "Its flows stop with the next packet.")
        }
    };
    let lines = [&question, then, "", "y: do it    any other key: leave it"].map(str::to_owned);
    cover(frame, area, " change a pair ", lines.map(Line::from).into());
}

/// Lines in a box over the middle of `area`.
pub fn cover(frame: &mut Frame<'_>, area: Rect, title: &str, lines: Vec<Line<'static>>) {
    let width = lines.iter().map(Line::width).max().unwrap_or(0).max(title.chars().count() + 2) + 4;
    let width = u16::try_from(width).unwrap_or(u16::MAX).min(area.width);
    // Long lines are broken in a narrow terminal.
    let inner = usize::from(width.saturating_sub(4)).max(1);
    let height: usize = lines.iter().map(|line| line.width().div_ceil(inner).max(1)).sum();
    let height = u16::try_from(height + 2).unwrap_or(u16::MAX).min(area.height);
    let [area] = Layout::horizontal([Constraint::Length(width)]).flex(Flex::Center).areas(area);
    let [area] = Layout::vertical([Constraint::Length(height)]).flex(Flex::Center).areas(area);
    let block = Block::new()
        .borders(Borders::ALL)
        .title(title.to_owned())
        .padding(ratatui::widgets::Padding::horizontal(1));
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }).block(block), area);
}
