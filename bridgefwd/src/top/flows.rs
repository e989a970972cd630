//! The flows, as many as there is room for: both ends as the client knows them, and the client as the
//! server sees it.

use std::net::IpAddr;

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::widgets::{Cell, Row, Table};

use super::draw::{chosen, first_shown, pane};
use super::rates::spark;
use super::source::MANY;
use super::state::{FLOW_ORDERS, Focus, State, key_of};
use super::text::{right, right_header};
use crate::api::types::{Flow, FlowTuple};
use crate::views::{counted, flows, shortened, units};

/// From this width on state and bytes are shown, too.
const WIDER: u16 = 150;
/// From this one on the pair.
const WIDE: u16 = 118;
/// Below this one not even how it is translated.
const NARROW: u16 = 64;
/// Columns of an IPv4 address.
const ADDRESS: u16 = 15;
/// Columns of the names of a pair.
const PAIR: u16 = 22;

/// Draws it.
pub fn draw(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let focused = state.focus == Focus::Below;
    let height = usize::from(area.height.saturating_sub(3));
    let at = state.flow_at();
    let first = first_shown(at, state.flows.len(), height);
    let shown = state.flows.iter().enumerate().skip(first).take(height);
    let layout = Layout::of(area.width.saturating_sub(2));
    let rows = shown.filter_map(|(place, index)| {
        let selected = place == at;
        let line = Row::new(layout.cells(state, state.flow(*index)?, selected));
        Some(if selected { line.style(chosen(focused)) } else { line })
    });
    let all = state.seen.as_ref().map_or(0, |seen| seen.flows.len());
    let order = FLOW_ORDERS.get(state.flow_order).unwrap_or(&"");
    let title = if state.flows.len() == all {
        format!(" {}, by {order} ", counted(all as u64, "flow", "flows"))
    } else {
        format!(" {} of {all} flows, by {order} ", state.flows.len())
    };
    let live = state.seen.as_ref().map_or(0, |seen| seen.stats.flows.live);
    let title = if all < MANY as usize { title } else { format!("{title}(the first of {live}) ") };
    let header = Row::new(layout.header()).style(Style::new().add_modifier(Modifier::UNDERLINED));
    let table = Table::new(rows, layout.widths()).header(header).block(pane(title, focused));
    frame.render_widget(table, area);
}

/// A column that is there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Column {
    Proto,
    Pair,
    State,
    Client,
    Server,
    SeenAs,
    Rate,
    Spark,
    Bytes,
    Age,
}

/// Which columns there are, and how wide each is.
#[derive(Clone, Debug)]
struct Layout(Vec<(Column, u16)>);

impl Layout {
    /// In a list of that width, without its frame.
    fn of(width: u16) -> Self {
        let (wide, narrow) = (width + 2 >= WIDE, width + 2 < NARROW);
        let fixed = [
            (Column::Proto, 7, true),
            (Column::Pair, PAIR, wide),
            (Column::State, 11, width + 2 >= WIDER),
            (Column::Client, 0, true),
            (Column::Server, 0, true),
            (Column::SeenAs, 0, !narrow),
            (Column::Rate, 10, true),
            (Column::Spark, 9, wide),
            (Column::Bytes, 13, width + 2 >= WIDER),
            (Column::Age, 6, !narrow),
        ];
        let mut columns: Vec<_> =
            fixed.into_iter().filter(|it| it.2).map(|(it, width, _)| (it, width)).collect();
        let used: u16 = columns.iter().map(|(_, width)| width + 1).sum();
        let mut left = (width + 1).saturating_sub(used);
        for (column, width) in &mut columns {
            *width = match column {
                // The others get what it does not need.
                Column::SeenAs if wide => left,
                Column::SeenAs => left.min(ADDRESS),
                Column::Client if narrow => left / 2,
                Column::Client if wide => left / 3,
                Column::Client => left.saturating_sub(ADDRESS).div_ceil(2),
                Column::Server if narrow => left,
                Column::Server if wide => left / 2,
                Column::Server => left.saturating_sub(ADDRESS),
                _ => continue,
            };
            left -= *width;
        }
        Self(columns)
    }

    fn cells<'a>(&self, state: &State, flow: &Flow, selected: bool) -> Vec<Cell<'a>> {
        let rate = state.flow_rate(&key_of(flow));
        let short = |text: &str, width: u16| Cell::from(shortened(text, usize::from(width)));
        let cell = |(column, width): &(Column, u16)| match column {
            Column::Proto => {
                Cell::from(format!("{}{}", if selected { ">" } else { " " }, flow.proto))
            }
            Column::Pair => short(&format!("{} -> {}", flow.from, flow.to), *width),
            Column::State => short(&flow.state, *width),
            Column::Client => {
                let client = flow.client.as_deref();
                short(&end(client, &flows::client(flow), flow.original.src), *width)
            }
            Column::Server => {
                let server = flow.server.as_deref();
                short(&end(server, &flows::server(flow), flow.original.dst), *width)
            }
            Column::SeenAs => short(&seen_as(flow), *width),
            Column::Rate => {
                right(rate.map_or_else(String::new, |rate| units::bits_per_second(rate.bytes)))
            }
            Column::Spark => right(
                rate.map_or_else(String::new, |rate| spark(&rate.history, usize::from(*width))),
            ),
            Column::Bytes => {
                right([flow.bytes.original, flow.bytes.reply].map(units::bytes).join("/"))
            }
            Column::Age => right(units::duration(flow.age_s)),
        };
        self.0.iter().map(cell).collect()
    }

    fn header(&self) -> Vec<Cell<'static>> {
        let head = |(column, _): &(Column, u16)| match column {
            Column::Proto => Cell::from(" PROTO"),
            Column::Pair => Cell::from("FROM -> TO"),
            Column::State => Cell::from("STATE"),
            Column::Client => Cell::from("CLIENT"),
            Column::Server => Cell::from("SERVER"),
            Column::SeenAs => Cell::from("SEEN AS"),
            Column::Rate => right_header("RATE"),
            Column::Spark => Cell::from(""),
            Column::Bytes => right_header("OUT/BACK"),
            Column::Age => right_header("AGE"),
        };
        self.0.iter().map(head).collect()
    }

    fn widths(&self) -> Vec<Constraint> {
        self.0.iter().map(|(_, width)| Constraint::Length(*width)).collect()
    }
}

/// An end of a flow, by its container's name where that is known; what is opened has the address.
fn end(container: Option<&str>, address_and_port: &str, address: IpAddr) -> String {
    let Some(name) = container else { return address_and_port.to_owned() };
    // IPv6 addresses stand in brackets where a port follows.
    let bare = address.to_string();
    let bracketed = format!("[{bare}]");
    let said = if address_and_port.contains(&bracketed) { bracketed } else { bare };
    address_and_port.replacen(&said, name, 1)
}

/// The client as the server sees it; without its port where that is the client's own.
fn seen_as(flow: &Flow) -> String {
    let FlowTuple { src, src_port, .. } = flow.translated;
    match flows::seen_as(flow) {
        None => "itself".into(),
        Some(_) if src_port == flow.original.src_port => src.to_string(),
        Some(seen) => seen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_goes_by_its_name() {
        let v4: IpAddr = [172, 18, 0, 2].into();
        assert_eq!(end(None, "172.18.0.2:80", v4), "172.18.0.2:80");
        assert_eq!(end(Some("web"), "172.18.0.2:80", v4), "web:80");
        assert_eq!(end(Some("web"), "172.18.0.2 id 7", v4), "web id 7");
        assert_eq!(end(Some("web"), "172.18.0.2", v4), "web");
        let v6: IpAddr = "fd00::2".parse().unwrap();
        assert_eq!(end(Some("web"), "[fd00::2]:80", v6), "web:80");
    }
}
