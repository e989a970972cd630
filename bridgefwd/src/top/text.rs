//! Cells, shortened text, and a drawn screen as plain text.

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

/// The text in so many columns: its middle goes first, for what tells addresses and names apart is at
/// their ends.
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

/// The text of a screen, without blanks at the ends of its lines.
pub fn of_buffer(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width).max(1);
    let lines = buffer.content().chunks(width).map(|cells| {
        let line: String = cells.iter().map(|cell| cell.symbol()).collect();
        line.trim_end().to_owned() + "\n"
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_keeps_both_ends() {
        assert_eq!(shortened("10.1.0.2:80", 11), "10.1.0.2:80");
        assert_eq!(shortened("fd00:1:2:3::4:5:40000", 12), "fd00:…:40000");
        assert_eq!(shortened("abc", 1), "…");
        assert_eq!(shortened("abc", 0), "…");
    }
}
