//! What keys do.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::source::Change;
use super::state::{Below, FLOW_ORDERS, Focus, Over, PAIR_ORDERS, State, key_of};
use crate::api::types::PairState;

/// How far the page keys move.
const PAGE: isize = 10;
/// As far as there is.
const ALL: isize = isize::MAX / 2;

/// What is to be done after a key, beside drawing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Wish {
    /// Nothing.
    Nothing,
    /// Look at the daemon.
    Look,
    /// Change a pair.
    Change(Change),
    /// Go.
    End,
}

/// Takes in a key.
pub fn press(state: &mut State, key: &KeyEvent) -> Wish {
    // In raw mode the terminal sends no signal.
    if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
        return Wish::End;
    }
    state.say("");
    match state.over.take() {
        Some(Over::Ask(change)) => {
            return match key.code {
                KeyCode::Char('y' | 'Y') => Wish::Change(change),
                _ => {
                    state.say("nothing was changed");
                    Wish::Nothing
                }
            };
        }
        // Any key goes back.
        Some(Over::Help) => return Wish::Nothing,
        Some(Over::Flow(flow)) => {
            if !matches!(key.code, KeyCode::Enter | KeyCode::Esc | KeyCode::Char('q')) {
                state.over = Some(Over::Flow(flow));
            }
            return Wish::Nothing;
        }
        None => {}
    }
    if state.typing { typed(state, key.code) } else { plain(state, key.code) }
}

/// A key while the filter is being typed.
fn typed(state: &mut State, key: KeyCode) -> Wish {
    match key {
        KeyCode::Char(letter) => state.filter.push(letter),
        KeyCode::Backspace => drop(state.filter.pop()),
        KeyCode::Enter => state.typing = false,
        KeyCode::Esc => {
            state.typing = false;
            state.filter.clear();
        }
        KeyCode::Up => step(state, -1),
        KeyCode::Down => step(state, 1),
        _ => {}
    }
    state.arrange();
    Wish::Nothing
}

fn plain(state: &mut State, key: KeyCode) -> Wish {
    match key {
        KeyCode::Char('q') => return Wish::End,
        KeyCode::Esc if state.filter.is_empty() => return Wish::End,
        KeyCode::Esc => {
            state.filter.clear();
            state.arrange();
        }
        KeyCode::Char('?' | 'h') | KeyCode::F(1) => state.over = Some(Over::Help),
        KeyCode::Char('/') => state.typing = true,
        KeyCode::Char('p') => {
            state.pause();
            return if state.is_paused() { Wish::Nothing } else { Wish::Look };
        }
        KeyCode::Tab | KeyCode::BackTab => {
            state.focus = match state.focus {
                Focus::Pairs => Focus::Below,
                Focus::Below => Focus::Pairs,
            };
        }
        KeyCode::Char('m') => {
            state.matrix = !state.matrix;
            state.focus = Focus::Pairs;
            state.arrange();
        }
        KeyCode::Char('r') => {
            state.below = match state.below {
                Below::Flows => Below::Reasons,
                Below::Reasons => Below::Flows,
            };
            state.focus = Focus::Below;
        }
        KeyCode::Char('s') => reorder(state),
        KeyCode::Char('t') => ask_to_toggle(state),
        KeyCode::Enter => open(state),
        KeyCode::Up | KeyCode::Char('k') => step(state, -1),
        KeyCode::Down | KeyCode::Char('j') => step(state, 1),
        KeyCode::PageUp => step(state, -PAGE),
        KeyCode::PageDown => step(state, PAGE),
        KeyCode::Home | KeyCode::Char('g') => step(state, -ALL),
        KeyCode::End | KeyCode::Char('G') => step(state, ALL),
        KeyCode::Left => aside(state, -1),
        KeyCode::Right => aside(state, 1),
        _ => {}
    }
    Wish::Nothing
}

/// Moves the selection in the list that has the focus.
fn step(state: &mut State, by: isize) {
    match (state.focus, state.below) {
        (Focus::Pairs, _) if state.matrix => {
            in_matrix(state, |row, column, count| beside(row, column, by, count));
        }
        (Focus::Pairs, _) => {
            let next = moved(state.pair_at(), by, state.pairs.len());
            if let Some(row) = state.pairs.get(next) {
                state.select_pair(row.ends.clone());
            }
        }
        (Focus::Below, Below::Flows) => {
            state.select_flow(moved(state.flow_at(), by, state.flows.len()));
        }
        (Focus::Below, Below::Reasons) => {
            let count = super::reasons::shown(state).len();
            state.reason_at = moved(state.reason_at, by, count);
        }
    }
}

/// Moves the selection in the matrix from one column to another.
fn aside(state: &mut State, by: isize) {
    if state.focus != Focus::Pairs || !state.matrix {
        return;
    }
    in_matrix(state, |row, column, count| {
        let (column, row) = beside(column, row, by, count);
        (row, column)
    });
}

/// Selects the cell that `to` says, of the selected one's row and column and how many there are.
fn in_matrix(state: &mut State, to: impl FnOnce(usize, usize, usize) -> (usize, usize)) {
    let ends = state.ends();
    let Some((from, other)) = state.pair().map(|row| row.ends.clone()) else { return };
    let place = |name: &String| ends.iter().position(|end| end == name).unwrap_or(0);
    let (row, column) = to(place(&from), place(&other), ends.len());
    if let (Some(from), Some(other)) = (ends.get(row), ends.get(column)) {
        state.select_pair((from.clone(), other.clone()));
    }
}

/// Moves `at` past `other`, for nobody is a pair with itself; at the edge `other` makes room.
fn beside(at: usize, other: usize, by: isize, count: usize) -> (usize, usize) {
    let next = moved(at, by, count);
    if next != other {
        return (next, other);
    }
    match moved(next, by.signum(), count) {
        over if over != other => (over, other),
        _ if next == 0 => (next, 1),
        _ => (next, next - 1),
    }
}

fn moved(at: usize, by: isize, count: usize) -> usize {
    at.saturating_add_signed(by).min(count.saturating_sub(1))
}

fn reorder(state: &mut State) {
    let (what, order) = match state.focus {
        Focus::Pairs => {
            state.pair_order = (state.pair_order + 1) % PAIR_ORDERS.len();
            ("pairs", PAIR_ORDERS.get(state.pair_order))
        }
        Focus::Below if state.below == Below::Reasons => return,
        Focus::Below => {
            state.flow_order = (state.flow_order + 1) % FLOW_ORDERS.len();
            ("flows", FLOW_ORDERS.get(state.flow_order))
        }
    };
    let said = format!("{what} by {}", order.unwrap_or(&""));
    state.arrange();
    state.say(said);
}

fn ask_to_toggle(state: &mut State) {
    if !state.has_daemon() {
        state.say("there is no daemon to change a pair: start one with `bridgefwd run`");
        return;
    }
    let Some(row) = state.pair() else { return };
    let now = row.pair.as_ref().map(|pair| pair.state);
    let new = if now == Some(PairState::Allowed) { PairState::Denied } else { PairState::Allowed };
    let (from, to) = row.ends.clone();
    state.over = Some(Over::Ask(Change { from, to, state: new }));
}

/// Of a flow, what is known of it; of a pair, its flows.
fn open(state: &mut State) {
    match (state.focus, state.below) {
        (Focus::Below, Below::Flows) => {
            state.over = state.selected().map(|flow| Over::Flow(key_of(flow)));
        }
        (Focus::Below, Below::Reasons) => {}
        (Focus::Pairs, _) => {
            let Some((from, to)) = state.pair().map(|row| row.ends.clone()) else { return };
            let words = format!("{from} {to}");
            // Once more takes it back.
            state.filter = if state.filter == words { String::new() } else { words };
            state.below = Below::Flows;
            state.arrange();
        }
    }
}
