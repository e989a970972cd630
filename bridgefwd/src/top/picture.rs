//! The screen that README.md shows, as a picture: docs/top.svg, of what is drawn, with its colours. Kept as
//! the screens are, see [`super::tests`].

use std::fmt::Write as _;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

use super::tests::{is_kept, state, terminal};

/// Width and height of a cell.
const CELL: (f64, f64) = (8.0, 17.0);
/// Around all of it.
const MARGIN: f64 = 10.0;
const PAPER: &str = "#16181d";
const INK: &str = "#d8dce4";

#[test]
fn the_picture_is_what_is_drawn() {
    let terminal = terminal(&state(), 100, 28);
    is_kept("top.svg", &svg(terminal.backend().buffer()));
}

fn svg(screen: &Buffer) -> String {
    let (columns, lines) = (f64::from(screen.area.width), f64::from(screen.area.height));
    let (width, height) = (columns * CELL.0 + 2.0 * MARGIN, lines * CELL.1 + 2.0 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"ui-monospace, DejaVu Sans Mono, Menlo, Consolas, monospace\" font-size=\"13\">\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"6\" fill=\"{PAPER}\"/>\n"
    );
    for (line, cells) in screen.content().chunks(usize::from(screen.area.width)).enumerate() {
        let mut column = 0;
        for run in cells.chunk_by(|a, b| look(a) == look(b)) {
            piece(&mut svg, line, column, run);
            column += run.len();
        }
    }
    svg + "</svg>\n"
}

fn look(cell: &Cell) -> (Color, Color, Modifier) {
    (cell.fg, cell.bg, cell.modifier)
}

/// Cells of one look, in a line.
fn piece(svg: &mut String, line: usize, column: usize, run: &[Cell]) {
    let (fg, bg, modifier) = look(&run[0]);
    let (mut ink, mut paper) = (colour(fg, INK), colour(bg, PAPER));
    if modifier.contains(Modifier::REVERSED) {
        (ink, paper) = (paper, ink);
    }
    let at = |cells: usize, size: f64| cells as f64 * size;
    let (x, y) = (MARGIN + at(column, CELL.0), MARGIN + at(line, CELL.1));
    let width = at(run.len(), CELL.0);
    if paper != PAPER {
        let height = CELL.1;
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{paper}\"/>"
        );
    }
    let text: String = run.iter().map(Cell::symbol).collect();
    if text.trim().is_empty() && !modifier.contains(Modifier::UNDERLINED) {
        return;
    }
    let mut more = String::new();
    for (is, said) in [
        (Modifier::BOLD, " font-weight=\"bold\""),
        (Modifier::DIM, " opacity=\"0.6\""),
        (Modifier::UNDERLINED, " text-decoration=\"underline\""),
    ] {
        if modifier.contains(is) {
            more.push_str(said);
        }
    }
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let base = y + CELL.1 - 4.5;
    let _ = writeln!(
        svg,
        "<text x=\"{x}\" y=\"{base}\" textLength=\"{width}\" lengthAdjust=\"spacingAndGlyphs\" \
         xml:space=\"preserve\" fill=\"{ink}\"{more}>{text}</text>"
    );
}

fn colour(colour: Color, otherwise: &'static str) -> &'static str {
    match colour {
        Color::Green | Color::LightGreen => "#7ec699",
        Color::Red | Color::LightRed => "#f2777a",
        Color::Yellow | Color::LightYellow => "#e6c07b",
        Color::Blue | Color::LightBlue => "#6fa8dc",
        Color::Cyan | Color::LightCyan => "#67c6cf",
        Color::Magenta | Color::LightMagenta => "#cc99cc",
        Color::DarkGray | Color::Gray => "#8b93a1",
        Color::Black => PAPER,
        Color::White => INK,
        _ => otherwise,
    }
}
