//! What is shown, and what of it is chosen: lists in their order, a selection, a filter.

use std::net::IpAddr;
use std::time::Instant;

use super::rates::{Rate, Rates};
use super::source::{Change, Seen};
use crate::api::types::{Flow, Pair, PairCount, PairState};
use crate::instance::Instance;
use crate::views::flows::{client, seen_as, server};

/// Names of a pair's ends.
pub type Ends = (String, String);
/// What tells a flow from all others.
pub type FlowKey = (String, String, IpAddr, u16, IpAddr, u16);

/// The key of a flow.
#[must_use]
pub fn key_of(flow: &Flow) -> FlowKey {
    let tuple = &flow.original;
    let (from, proto) = (flow.from.clone(), flow.proto.clone());
    (from, proto, tuple.src, tuple.src_port, tuple.dst, tuple.dst_port)
}

/// What the arrow keys move in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Focus {
    /// The pairs: a list or a matrix.
    Pairs,
    /// What is below them.
    Below,
}

/// What is below the pairs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Below {
    /// The flows.
    Flows,
    /// The reasons.
    Reasons,
}

/// What covers the rest until it is answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Over {
    /// What the keys do.
    Help,
    /// One flow.
    Flow(FlowKey),
    /// Shall this be done?
    Ask(Change),
}

/// Orders of a list; the first is that at the start.
pub const PAIR_ORDERS: [&str; 4] = ["rate", "name", "flows", "refused"];
/// Likewise of the flows.
pub const FLOW_ORDERS: [&str; 5] = ["rate", "bytes", "youngest", "oldest", "idle"];

/// One direction between two ends.
#[derive(Clone, Debug)]
pub struct PairRow {
    /// Its ends.
    pub ends: Ends,
    /// As it is listed; `None` where it is not.
    pub pair: Option<Pair>,
    /// Its counters.
    pub count: Option<PairCount>,
}

/// All of it.
pub struct State {
    /// What is shown beside the name of the program.
    pub label: String,
    /// Colours may be used.
    pub colour: bool,
    /// The last look.
    pub seen: Option<Seen>,
    /// Why there is none since.
    pub lost: Option<String>,
    /// Every direction between two ends, in order.
    pub pairs: Vec<PairRow>,
    /// Places in the flows that were seen, of those that match, in order.
    pub flows: Vec<usize>,
    /// What the arrow keys move in.
    pub focus: Focus,
    /// What is below the pairs.
    pub below: Below,
    /// The pairs are a matrix.
    pub matrix: bool,
    /// What covers the rest.
    pub over: Option<Over>,
    /// Only flows and pairs that have these words.
    pub filter: String,
    /// The filter is being typed.
    pub typing: bool,
    /// Place in [`PAIR_ORDERS`].
    pub pair_order: usize,
    /// Place in [`FLOW_ORDERS`].
    pub flow_order: usize,
    /// Which place of the reasons is the first that is shown.
    pub reason_at: usize,
    message: String,
    paused: bool,
    selected_pair: Option<Ends>,
    selected_flow: Option<FlowKey>,
    pair_rates: Rates<Ends>,
    flow_rates: Rates<FlowKey>,
    reason_rates: Rates<String>,
    total: Rates<()>,
}

impl State {
    /// Before anything is known.
    #[must_use]
    pub fn new(instance: &Instance, colour: bool) -> Self {
        Self {
            label: instance.netns.clone().unwrap_or_default(),
            colour,
            seen: None,
            lost: None,
            pairs: Vec::new(),
            flows: Vec::new(),
            focus: Focus::Pairs,
            below: Below::Flows,
            matrix: false,
            over: None,
            filter: String::new(),
            typing: false,
            pair_order: 0,
            flow_order: 0,
            reason_at: 0,
            message: String::new(),
            paused: false,
            selected_pair: None,
            selected_flow: None,
            pair_rates: Rates::default(),
            flow_rates: Rates::default(),
            reason_rates: Rates::default(),
            total: Rates::default(),
        }
    }

    /// Takes in a look.
    pub fn take(&mut self, seen: Seen, now: Instant) {
        let pairs = seen.stats.pairs.iter();
        self.pair_rates.take(
            now,
            pairs.map(|count| ((count.from.clone(), count.to.clone()), count.bytes, count.packets)),
        );
        self.flow_rates.take(
            now,
            seen.flows.iter().map(|flow| {
                let (bytes, packets) = (flow.bytes, flow.packets);
                (key_of(flow), bytes.original + bytes.reply, packets.original + packets.reply)
            }),
        );
        let reasons = seen.stats.reasons.iter();
        self.reason_rates
            .take(now, reasons.map(|(name, count)| (name.clone(), count.bytes, count.packets)));
        self.total.take(now, [((), seen.stats.bytes, seen.stats.packets)]);
        self.seen = Some(seen);
        self.lost = None;
        self.arrange();
    }

    /// Nothing could be seen.
    pub fn lose(&mut self, why: String) {
        self.lost = Some(why);
    }

    /// Puts the lists in order anew.
    pub fn arrange(&mut self) {
        let Some(seen) = &self.seen else { return };
        let words: Vec<String> =
            self.filter.to_lowercase().split_whitespace().map(str::to_owned).collect();
        let matches = |text: &str| words.iter().all(|word| text.contains(&**word));
        let rate_of = |flow: &Flow| self.flow_rates.get(&key_of(flow)).map_or(0.0, |it| it.bytes);
        let mut flows: Vec<(usize, f64)> = seen.flows.iter().map(rate_of).enumerate().collect();
        if !words.is_empty() {
            flows
                .retain(|(at, _)| seen.flows.get(*at).is_some_and(|flow| matches(&words_of(flow))));
        }
        let flow = |at: usize| seen.flows.get(at);
        let by = |of: fn(&Flow) -> u64, at: usize| flow(at).map(of).unwrap_or_default();
        let bytes = |flow: &Flow| flow.bytes.original + flow.bytes.reply;
        match FLOW_ORDERS.get(self.flow_order) {
            Some(&"bytes") => flows.sort_by_key(|(at, _)| std::cmp::Reverse(by(bytes, *at))),
            Some(&"youngest") => flows.sort_by_key(|(at, _)| by(|flow| flow.age_s, *at)),
            Some(&"oldest") => {
                flows.sort_by_key(|(at, _)| std::cmp::Reverse(by(|flow| flow.age_s, *at)));
            }
            Some(&"idle") => {
                flows.sort_by_key(|(at, _)| std::cmp::Reverse(by(|flow| flow.idle_s, *at)));
            }
            _ => flows.sort_by(|a, b| {
                let idle = |at: usize| by(|flow| flow.idle_s, at);
                b.1.total_cmp(&a.1).then_with(|| idle(a.0).cmp(&idle(b.0)))
            }),
        }
        self.flows = flows.into_iter().map(|(at, _)| at).collect();

        let mut rows = rows_of(seen);
        if !words.is_empty() && !self.matrix {
            // Words that choose flows alone leave the pairs as they are.
            let of_pair = |row: &PairRow| {
                let text =
                    format!("{} {} {}", row.ends.0, row.ends.1, state_word(row)).to_lowercase();
                words.iter().any(|word| text.contains(&**word))
            };
            if rows.iter().any(of_pair) {
                rows.retain(of_pair);
            }
        }
        let rate = |row: &PairRow| self.pair_rates.get(&row.ends).map_or(0.0, |rate| rate.bytes);
        let number = |row: &PairRow, of: fn(&PairCount) -> u64| row.count.as_ref().map_or(0, of);
        // Those that are not listed come last; the order of names decides where nothing else does.
        match PAIR_ORDERS.get(self.pair_order) {
            Some(&"name") => {}
            Some(&"flows") => {
                rows.sort_by_key(|row| std::cmp::Reverse(number(row, |count| count.flows)));
            }
            Some(&"refused") => {
                rows.sort_by_key(|row| std::cmp::Reverse(number(row, |count| count.refused)));
            }
            _ => rows.sort_by(|a, b| {
                rate(b).total_cmp(&rate(a)).then_with(|| a.pair.is_none().cmp(&b.pair.is_none()))
            }),
        }
        self.pairs = rows;
    }

    /// Names of the ends, in the order of the matrix.
    #[must_use]
    pub fn ends(&self) -> Vec<String> {
        self.seen.as_ref().map(ends_of).unwrap_or_default()
    }

    /// The selected direction: the first one where none was chosen, or it has gone.
    #[must_use]
    pub fn pair_at(&self) -> usize {
        let chosen = self.selected_pair.as_ref();
        chosen.and_then(|ends| self.pairs.iter().position(|row| row.ends == *ends)).unwrap_or(0)
    }

    /// The selected direction.
    #[must_use]
    pub fn pair(&self) -> Option<&PairRow> {
        self.pairs.get(self.pair_at())
    }

    /// Selects a direction.
    pub fn select_pair(&mut self, ends: Ends) {
        self.selected_pair = Some(ends);
    }

    /// The place of the selected flow among those that are shown.
    #[must_use]
    pub fn flow_at(&self) -> usize {
        let Some(chosen) = &self.selected_flow else { return 0 };
        let is_it = |at: &usize| self.flow(*at).is_some_and(|flow| key_of(flow) == *chosen);
        self.flows.iter().position(is_it).unwrap_or(0)
    }

    /// The flow at a place of [`State::flows`]' entries.
    #[must_use]
    pub fn flow(&self, at: usize) -> Option<&Flow> {
        self.seen.as_ref()?.flows.get(at)
    }

    /// The selected flow.
    #[must_use]
    pub fn selected(&self) -> Option<&Flow> {
        self.flow(*self.flows.get(self.flow_at())?)
    }

    /// Selects the flow at a place of the list.
    pub fn select_flow(&mut self, place: usize) {
        let flow = self.flows.get(place).and_then(|at| self.flow(*at));
        self.selected_flow = flow.map(key_of);
    }

    /// The rate of a direction.
    #[must_use]
    pub fn pair_rate(&self, ends: &Ends) -> Option<&Rate> {
        self.pair_rates.get(ends)
    }

    /// The rate of a flow.
    #[must_use]
    pub fn flow_rate(&self, flow: &FlowKey) -> Option<&Rate> {
        self.flow_rates.get(flow)
    }

    /// The rate of a reason.
    #[must_use]
    pub fn reason_rate(&self, reason: &str) -> f64 {
        self.reason_rates.get(&reason.to_owned()).map_or(0.0, |rate| rate.packets)
    }

    /// The rate of all that is seen.
    #[must_use]
    pub fn total(&self) -> Option<&Rate> {
        self.total.get(&())
    }

    /// Is there a daemon that changes pairs?
    #[must_use]
    pub fn has_daemon(&self) -> bool {
        self.lost.is_none() && self.seen.as_ref().is_some_and(|seen| seen.status.pid.is_some())
    }

    /// Says what came of a key.
    pub fn say(&mut self, message: impl Into<String>) {
        self.message = message.into();
    }

    /// What was said last.
    #[must_use]
    pub fn said(&self) -> &str {
        &self.message
    }

    /// Nothing is looked at any more, or again.
    pub fn pause(&mut self) {
        self.paused = !self.paused;
    }

    /// Is nothing looked at?
    #[must_use]
    pub const fn is_paused(&self) -> bool {
        self.paused
    }
}

/// `allowed`, `denied` or `not listed`.
#[must_use]
pub fn state_word(row: &PairRow) -> &'static str {
    match row.pair.as_ref().map(|pair| pair.state) {
        Some(PairState::Allowed) => "allowed",
        Some(PairState::Denied) => "denied",
        None => "not listed",
    }
}

/// What a filter finds a flow by.
fn words_of(flow: &Flow) -> String {
    let seen = seen_as(flow).unwrap_or_default();
    let Flow { from, to, proto, state, .. } = flow;
    let names = [&flow.client, &flow.server].map(|name| name.as_deref().unwrap_or_default());
    let ends = [client(flow), server(flow)].join(" ");
    let text = format!("{from} {to} {proto} {state} {ends} {seen} {}", names.join(" "));
    text.to_lowercase()
}

fn ends_of(seen: &Seen) -> Vec<String> {
    let mut ends = [&seen.status.bridges[..], &seen.status.uplinks[..]].concat();
    // Also those that are away, and have pairs.
    for pair in &seen.pairs {
        for name in [&pair.from, &pair.to] {
            if !ends.contains(name) {
                ends.push(name.clone());
            }
        }
    }
    ends
}

fn rows_of(seen: &Seen) -> Vec<PairRow> {
    let ends = ends_of(seen);
    let mut rows = Vec::new();
    for from in &ends {
        for to in ends.iter().filter(|to| *to != from) {
            let is_it = |a: &String, b: &String| a == from && b == to;
            rows.push(PairRow {
                ends: (from.clone(), to.clone()),
                pair: seen.pairs.iter().find(|pair| is_it(&pair.from, &pair.to)).cloned(),
                count: seen.stats.pairs.iter().find(|count| is_it(&count.from, &count.to)).cloned(),
            });
        }
    }
    rows
}
