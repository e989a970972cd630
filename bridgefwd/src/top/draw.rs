//! The whole screen: a line of totals, the pairs, what is below them, and a line of keys.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders};

use super::state::{Below, Focus, Over, State};
use super::{detail, flows, help, matrix, pairs, reasons};
use crate::views::units;

/// With fewer lines there is room for one list.
const ROOM_FOR_TWO: u16 = 16;

/// Draws it.
pub fn draw(frame: &mut Frame<'_>, state: &State) {
    let [head, body, said, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(totals(state, head.width), head);
    let both = body.height >= ROOM_FOR_TWO;
    if both {
        // As high as there are pairs, but below them there is more to see.
        let wanted = match state.matrix {
            true => state.ends().len() + 3,
            false => state.pairs.len() + 3,
        };
        let most = body.height * 2 / 5;
        let height = u16::try_from(wanted).unwrap_or(u16::MAX).clamp(5, most.max(5));
        let [above, below] =
            Layout::vertical([Constraint::Length(height), Constraint::Min(3)]).areas(body);
        draw_pairs(frame, state, above);
        draw_below(frame, state, below);
    } else if state.focus == Focus::Pairs {
        draw_pairs(frame, state, body);
    } else {
        draw_below(frame, state, body);
    }
    frame.render_widget(last_line(state), said);
    frame.render_widget(key_line(state, keys.width), keys);
    match &state.over {
        Some(Over::Help) => help::draw(frame, body),
        Some(Over::Flow(flow)) => detail::draw(frame, body, state, flow),
        Some(Over::Ask(change)) => help::ask(frame, body, change),
        None => {}
    }
}

fn draw_pairs(frame: &mut Frame<'_>, state: &State, area: Rect) {
    if state.matrix {
        matrix::draw(frame, area, state);
    } else {
        pairs::draw(frame, area, state);
    }
}

fn draw_below(frame: &mut Frame<'_>, state: &State, area: Rect) {
    match state.below {
        Below::Flows => flows::draw(frame, area, state),
        Below::Reasons => reasons::draw(frame, area, state),
    }
}

/// A frame round a list; the one that has the focus is thick.
pub fn pane(title: String, focused: bool) -> Block<'static> {
    let block = Block::new().borders(Borders::ALL).title(title);
    if focused { block.border_type(ratatui::widgets::BorderType::Thick) } else { block }
}

/// A colour where colours may be used. Nothing is told by colour alone.
pub fn coloured(state: &State, colour: Color) -> Style {
    if state.colour { Style::new().fg(colour) } else { Style::new() }
}

/// How a selected line looks.
pub fn chosen(focused: bool) -> Style {
    if focused {
        Style::new().add_modifier(Modifier::REVERSED)
    } else {
        Style::new().add_modifier(Modifier::BOLD)
    }
}

/// The first of `count` lines to show in `height`, so that line `at` is among them.
pub fn first_shown(at: usize, count: usize, height: usize) -> usize {
    let last = count.saturating_sub(height);
    // In the middle, so that what comes next is seen.
    at.saturating_sub(height / 2).min(last)
}

fn totals(state: &State, width: u16) -> Line<'static> {
    let Some(seen) = &state.seen else { return Line::default() };
    let (stats, status) = (&seen.stats, &seen.status);
    let name = if state.label.is_empty() { String::new() } else { format!(" {}", state.label) };
    let is = match (state.is_paused(), status.uptime_s) {
        (true, _) => "paused".to_owned(),
        (false, Some(seconds)) => format!("up {}", units::duration(seconds)),
        (false, None) => "NO DAEMON".to_owned(),
    };
    let rate = state.total();
    let (bytes, packets) = rate.map_or((0.0, 0.0), |rate| (rate.bytes, rate.packets));
    let mut parts = vec![
        format!("bridgefwd{name}: {is}"),
        format!("{} of {} flows", units::count(stats.flows.live), units::count(stats.flows.limit)),
        units::bits_per_second(bytes),
        format!("{} packets/s", units::per_second(packets)),
    ];
    if !status.warnings.is_empty() {
        parts.push(format!("{} warnings", status.warnings.len()));
    }
    // What does not fit is left out, from the end.
    while parts.len() > 1 && parts.join("  ").chars().count() > usize::from(width) {
        parts.pop();
    }
    Line::from(parts.join("  ")).style(Style::new().add_modifier(Modifier::BOLD))
}

/// The filter while it is typed or holds, what went wrong, what was said, or a warning.
fn last_line(state: &State) -> Line<'static> {
    if state.typing {
        return Line::from(format!("filter: {}_", state.filter));
    }
    if !state.said().is_empty() {
        return Line::from(state.said().to_owned());
    }
    if let Some(lost) = &state.lost {
        return Line::from(lost.clone());
    }
    if !state.filter.is_empty() {
        return Line::from(format!("only with: {}   (Esc shows all)", state.filter));
    }
    let Some(seen) = &state.seen else { return Line::default() };
    if seen.status.pid.is_none() {
        return Line::from("no daemon: read from the pins; traffic goes on by them");
    }
    Line::from(seen.status.warnings.first().cloned().unwrap_or_default())
}

fn key_line(state: &State, width: u16) -> Line<'static> {
    let toggle = if state.has_daemon() { "allow/deny" } else { "(no daemon)" };
    let keys = [
        ("?", "help"),
        ("q", "end"),
        ("Tab", "other list"),
        ("t", toggle),
        ("/", "filter"),
        ("s", "sort"),
        ("Enter", "open"),
        ("m", "matrix"),
        ("r", "reasons"),
        ("p", "pause"),
    ];
    let mut spans = Vec::new();
    let mut used = 0;
    for (key, meaning) in keys {
        let length = key.len() + meaning.len() + 3;
        used += length;
        if used > usize::from(width) + 2 {
            break;
        }
        spans.push(Span::styled(key, Style::new().add_modifier(Modifier::BOLD)));
        spans.push(Span::raw(format!(" {meaning}  ")));
    }
    Line::from(spans)
}
