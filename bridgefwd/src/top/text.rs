//! Cells, and a drawn screen as plain text.

use ratatui::buffer::Buffer;
use ratatui::text::Line;
use ratatui::widgets::Cell;

/// A cell whose text is pushed to the right.
pub fn right<'a>(text: impl Into<String>) -> Cell<'a> {
    Cell::from(Line::from(text.into()).right_aligned())
}

/// The head of such a column.
pub fn right_header(text: &'static str) -> Cell<'static> {
    Cell::from(Line::from(text).right_aligned())
}

/// The text of a screen, without blanks at the ends of its lines.
pub fn of_buffer(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width).max(1);
    let lines = buffer.content().chunks(width).map(|cells| {
        let line: String = cells.iter().map(|cell| cell.symbol()).collect();
        line.trim_end().to_owned() + "\n"
    });
    lines.collect()
}
