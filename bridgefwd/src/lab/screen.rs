//! What the live view shows, and how it is laid out: fits 80 columns and 24 lines.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table};

use super::topology;
use crate::api::types::{Flow, Pair, PairState, Stats};
use crate::views::{flows, units};

/// One direction between two bridges.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Direction {
    /// The end that opens flows.
    pub from: String,
    /// The end that answers.
    pub to: String,
    /// `None` where the pair is not listed.
    pub state: Option<PairState>,
    packets: u64,
    bytes: u64,
    flows: u64,
    refused: u64,
}

/// All that is shown.
#[derive(Clone, Debug)]
pub struct Screen {
    directions: Vec<Direction>,
    selected: usize,
    flows: Vec<Flow>,
    totals: String,
    message: String,
    colour: bool,
}

impl Screen {
    /// Before anything is known.
    #[must_use]
    pub fn new(colour: bool) -> Self {
        let directions = topology::directions()
            .map(|(from, to)| Direction {
                from: from.name.into(),
                to: to.name.into(),
                ..Direction::default()
            })
            .collect();
        Self {
            directions,
            selected: 0,
            flows: Vec::new(),
            totals: String::new(),
            message: format!("In another terminal: bridgefwd --netns {} flows", topology::ROUTER),
            colour,
        }
    }

    /// Takes what the daemon says now.
    pub fn update(&mut self, pairs: &[Pair], stats: &Stats, mut flows: Vec<Flow>) {
        for direction in &mut self.directions {
            let is_it = |from: &str, to: &str| from == direction.from && to == direction.to;
            direction.state =
                pairs.iter().find(|pair| is_it(&pair.from, &pair.to)).map(|pair| pair.state);
            if let Some(count) = stats.pairs.iter().find(|count| is_it(&count.from, &count.to)) {
                direction.packets = count.packets;
                direction.bytes = count.bytes;
                direction.flows = count.flows;
                direction.refused = count.refused;
            }
        }
        // What is going on first.
        flows.sort_by_key(|flow| (flow.idle_s, flow.age_s));
        self.flows = flows;
        let dropped = stats.reasons.values().filter(|count| count.verdict == "drop");
        self.totals = format!(
            "{} packets seen, {} dropped, {} of {} flows",
            units::count(stats.packets),
            units::count(dropped.map(|count| count.packets).sum()),
            stats.flows.live,
            stats.flows.limit
        );
    }

    /// Moves the selection by one, round the ends.
    pub fn step(&mut self, forward: bool) {
        let count = self.directions.len().max(1);
        self.selected = (self.selected + if forward { 1 } else { count - 1 }) % count;
    }

    /// Selects by the number shown, from 1; false where there is none.
    pub fn select(&mut self, number: usize) -> bool {
        let found = (1..=self.directions.len()).contains(&number);
        if found {
            self.selected = number - 1;
        }
        found
    }

    /// The selected direction.
    #[must_use]
    pub fn selected(&self) -> Option<&Direction> {
        self.directions.get(self.selected)
    }

    /// Says what came of a key.
    pub fn say(&mut self, message: String) {
        self.message = message;
    }

    /// Draws it.
    pub fn draw(&self, frame: &mut Frame<'_>) {
        let pairs_height = u16::try_from(self.directions.len()).unwrap_or(u16::MAX);
        let [pairs, flows, message, keys] = Layout::vertical([
            Constraint::Length(pairs_height.saturating_add(3)),
            Constraint::Min(3),
            Constraint::Length(1),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        frame.render_widget(self.pairs_table(), pairs);
        frame.render_widget(self.flows_table(), flows);
        frame.render_widget(Paragraph::new(self.message.as_str()), message);
        frame.render_widget(Paragraph::new(self.keys()), keys);
    }

    fn pairs_table(&self) -> Table<'_> {
        let rows = self.directions.iter().enumerate().map(|(index, direction)| {
            let selected = index == self.selected;
            let (state, colour) = match direction.state {
                Some(PairState::Allowed) => ("allowed", Color::Green),
                Some(PairState::Denied) => ("denied", Color::Red),
                None => ("not listed", Color::Yellow),
            };
            let row = Row::new([
                Cell::from(format!("{}{}", if selected { ">" } else { " " }, index + 1)),
                Cell::from(format!("{} -> {}", direction.from, direction.to)),
                Cell::from(state).style(self.coloured(colour)),
                right(units::count(direction.packets)),
                right(units::bytes(direction.bytes)),
                right(units::count(direction.flows)),
                right(units::count(direction.refused)),
            ]);
            if selected { row.style(Style::new().add_modifier(Modifier::BOLD)) } else { row }
        });
        let widths = [
            Constraint::Length(2),
            Constraint::Min(24),
            Constraint::Length(10),
            Constraint::Length(8),
            Constraint::Length(9),
            Constraint::Length(6),
            Constraint::Length(8),
        ];
        let header = Row::new([
            Cell::from(""),
            Cell::from("PAIR"),
            Cell::from("STATE"),
            right("PACKETS"),
            right("BYTES"),
            right("FLOWS"),
            right("REFUSED"),
        ]);
        let title = format!(" bridgefwd: {} ", self.totals);
        Table::new(rows, widths)
            .header(header)
            .block(Block::new().borders(Borders::ALL).title(title))
    }

    fn flows_table(&self) -> Table<'_> {
        let rows = self.flows.iter().map(|flow| {
            Row::new([
                Cell::from(flow.proto.clone()),
                Cell::from(flow.state.clone()),
                Cell::from(flows::client(flow)),
                Cell::from(flows::server(flow)),
                Cell::from(flows::seen_as(flow).unwrap_or_else(|| "itself".into())),
                right(format!("{}/{}", flow.packets.original, flow.packets.reply)),
            ])
        });
        let widths = [
            Constraint::Length(5),
            Constraint::Length(11),
            Constraint::Length(19),
            Constraint::Length(13),
            Constraint::Min(18),
            Constraint::Length(6),
        ];
        let header = Row::new([
            Cell::from("PROTO"),
            Cell::from("STATE"),
            Cell::from("CLIENT"),
            Cell::from("SERVER"),
            Cell::from("SEEN AS"),
            right("PKTS"),
        ]);
        let title = format!(" flows, latest first: {} ", self.flows.len());
        Table::new(rows, widths)
            .header(header)
            .block(Block::new().borders(Borders::ALL).title(title))
    }

    fn keys(&self) -> Line<'static> {
        let keys = [
            ("↑↓ 1-6", "select"),
            ("space", "allow/deny"),
            ("c", "clear"),
            ("s", "steps"),
            ("q", "end and clean up"),
        ];
        let spans = keys.iter().flat_map(|(key, meaning)| {
            let key = Span::styled(*key, Style::new().add_modifier(Modifier::BOLD));
            [key, Span::raw(format!(" {meaning}   "))]
        });
        Line::from_iter(spans)
    }

    fn coloured(&self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }
}

fn right<'a>(text: impl Into<String>) -> Cell<'a> {
    Cell::from(Line::from(text.into()).right_aligned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::api::types::{BothWays, FlowTable, FlowTuple, PairCount};

    fn screen() -> Screen {
        let mut screen = Screen::new(true);
        let pair = |from: &str, to: &str, state| Pair {
            from: from.into(),
            to: to.into(),
            state,
            nat: "masquerade".into(),
            nat6: "none".into(),
            mapping: "per-destination".into(),
            drain: false,
            present: true,
        };
        let pairs = [
            pair("shop_front", "shop_db", PairState::Allowed),
            pair("shop_db", "backoffice", PairState::Denied),
        ];
        let count = PairCount {
            from: "shop_front".into(),
            to: "shop_db".into(),
            packets: 1234,
            bytes: 5_678_901,
            flows: 3,
            refused: 7,
            packets_by_direction: BothWays::default(),
            bytes_by_direction: BothWays::default(),
            flows_created: 3,
        };
        let stats = Stats {
            packets: 2000,
            bytes: 1,
            reasons: BTreeMap::new(),
            pairs: vec![count],
            flows: FlowTable { live: 3, limit: 65_536 },
            sources: Vec::new(),
        };
        let flow = Flow {
            from: "shop_front".into(),
            to: "shop_db".into(),
            proto: "icmp".into(),
            state: "established".into(),
            client: None,
            server: None,
            nat: "masquerade".into(),
            original: FlowTuple {
                src: [172, 18, 0, 2].into(),
                src_port: 65_000,
                dst: [172, 19, 0, 2].into(),
                dst_port: 0,
            },
            translated: FlowTuple {
                src: [172, 19, 0, 1].into(),
                src_port: 65_000,
                dst: [172, 19, 0, 2].into(),
                dst_port: 0,
            },
            packets: BothWays { original: 4, reply: 3 },
            bytes: BothWays::default(),
            age_s: 1,
            idle_s: 0,
            expires_s: 59,
        };
        screen.update(&pairs, &stats, vec![flow]);
        screen
    }

    fn drawn(screen: &Screen) -> String {
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn everything_fits_80_by_24() {
        let text = drawn(&screen());
        for part in [
            "2000 packets seen",
            ">1 shop_front -> shop_db",
            " 6 backoffice -> shop_db",
            "allowed",
            "denied",
            "not listed",
            "1234",
            "172.18.0.2 id 65000",
            "172.19.0.1 id 65000",
            "4/3",
            "q end and clean up",
        ] {
            assert!(text.contains(part), "{part:?} is missing in\n{text}");
        }
    }

    #[test]
    fn the_selection_goes_round() {
        let mut screen = screen();
        screen.step(false);
        assert_eq!(screen.selected().unwrap().from, "backoffice");
        screen.step(true);
        assert_eq!(screen.selected().unwrap().to, "shop_db");
        assert!(screen.select(2));
        assert_eq!(screen.selected().unwrap().to, "backoffice");
        assert!(!screen.select(0));
        assert!(!screen.select(7));
    }
}
