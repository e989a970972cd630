//! One flow, all that is known of it.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::help::cover;
use super::rates::{REMEMBERED, spark};
use super::state::{FlowKey, State, key_of};
use crate::api::types::{Flow, FlowTuple};
use crate::views::flows::end_of;
use crate::views::units;

/// Draws it.
pub fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, key: &FlowKey) {
    let flow = state.seen.iter().flat_map(|seen| &seen.flows).find(|flow| key_of(flow) == *key);
    let lines = match flow {
        Some(flow) => lines(state, flow),
        None => vec![Line::from("This flow has ended.")],
    };
    cover(frame, area, " one flow: Enter or Esc goes back ", lines);
}

fn lines(state: &State, flow: &Flow) -> Vec<Line<'static>> {
    let tuple = |tuple: &FlowTuple| {
        let source = end_of(flow, tuple.src, tuple.src_port);
        let answers = if tuple.dst_port == 0 {
            tuple.dst.to_string()
        } else {
            end_of(flow, tuple.dst, tuple.dst_port)
        };
        (source, answers)
    };
    let (client, server) = tuple(&flow.original);
    let (seen_as, target) = tuple(&flow.translated);
    let rate = state.flow_rate(&key_of(flow));
    let both = |ways: crate::api::types::BothWays, unit: fn(u64) -> String| {
        format!("{} out, {} back", unit(ways.original), unit(ways.reply))
    };
    let mut rows = vec![
        ("pair", format!("{} -> {}", flow.from, flow.to)),
        ("protocol", format!("{}, {}", flow.proto, flow.state)),
        ("original", format!("{client} -> {server}")),
        ("translated", format!("{seen_as} -> {target}")),
        ("answers", format!("{target} -> {seen_as}")),
        ("given back as", format!("{server} -> {client}")),
        ("NAT", flow.nat.clone()),
        ("packets", both(flow.packets, units::count)),
        ("bytes", both(flow.bytes, units::bytes)),
    ];
    if flow.client.is_some() || flow.server.is_some() {
        let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "?".into());
        rows.insert(1, ("containers", format!("{} -> {}", name(&flow.client), name(&flow.server))));
    }
    if let Some(rate) = rate {
        let per_second = units::per_second(rate.packets);
        let bits = units::bits_per_second(rate.bytes);
        rows.push(("rate", format!("{bits}, {per_second} packets/s")));
        rows.push(("", spark(&rate.history, REMEMBERED)));
    }
    rows.push(("age", units::duration(flow.age_s)));
    rows.push(("idle", units::duration(flow.idle_s)));
    let ends = format!("in {} where no packet comes", units::duration(flow.expires_s));
    rows.push(("over", ends));
    rows.into_iter().map(|(name, value)| Line::from(format!("{name:>13}  {value}"))).collect()
}
