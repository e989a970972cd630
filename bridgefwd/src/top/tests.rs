//! Tests of [`super`]: screens of several sizes, and what keys make of them.
//!
//! The screens are docs/top-*.txt. With `BRIDGEFWD_UPDATE_SCREENS=1` they are written anew.

use std::collections::BTreeMap;
use std::path::Path;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Color;

use super::source::{Change, Seen};
use super::state::{Focus, Over};
use super::*;
use crate::api::types::{
    BothWays, Flow, FlowTable, FlowTuple, Pair, PairCount, PairState, ReasonCount, Stats, Status,
    Timers,
};

const ENDS: [&str; 4] = ["backoffice", "shop_db", "shop_front", "eth0"];

fn pair(from: &str, to: &str, state: PairState) -> Pair {
    Pair {
        from: from.into(),
        to: to.into(),
        state,
        nat: "masquerade".into(),
        nat6: "none".into(),
        mapping: "per-destination".into(),
        drain: false,
        present: true,
    }
}

fn count(from: &str, to: &str, bytes: u64, flows: u64, refused: u64) -> PairCount {
    let ways = |all: u64| BothWays { original: all / 4, reply: all - all / 4 };
    PairCount {
        from: from.into(),
        to: to.into(),
        packets: bytes / 500,
        bytes,
        flows,
        refused,
        packets_by_direction: ways(bytes / 500),
        bytes_by_direction: ways(bytes),
        flows_created: flows * 3,
    }
}

fn flow(from: &str, to: &str, proto: &str, ends: [(&str, u16); 3], bytes: u64, age_s: u64) -> Flow {
    let [client, server, seen] = ends;
    let tuple = |source: (&str, u16)| FlowTuple {
        src: source.0.parse().unwrap(),
        src_port: source.1,
        dst: server.0.parse().unwrap(),
        dst_port: server.1,
    };
    Flow {
        from: from.into(),
        to: to.into(),
        proto: proto.into(),
        state: if proto == "tcp" { "established" } else { "two_way" }.into(),
        nat: "masquerade".into(),
        client: container(client.0),
        server: container(server.0),
        original: tuple(client),
        translated: tuple(seen),
        packets: BothWays { original: bytes / 1_000, reply: bytes / 500 },
        bytes: BothWays { original: bytes / 4, reply: bytes - bytes / 4 },
        age_s,
        idle_s: age_s / 10,
        expires_s: 300,
    }
}

/// Whose address that is, where an engine knows it.
fn container(address: &str) -> Option<String> {
    let name = match address {
        "172.18.0.2" => "web",
        "172.19.0.2" => "db",
        _ => return None,
    };
    Some(name.into())
}

/// What is seen in the `second`th second.
fn seen(second: u64) -> Seen {
    let reason = |verdict: &str, packets: u64, explanation: &str| ReasonCount {
        packets,
        bytes: packets * 500,
        verdict: verdict.into(),
        explanation: explanation.into(),
    };
    let mut burst = 0;
    for past in 0..second {
        burst += [3_000_000, 9_000_000, 1_000_000, 5_000_000][past as usize % 4];
    }
    let reasons = BTreeMap::from([
        (
            "forwarded".into(),
            reason("redirect", burst / 2_000, "Forwarded in the flow's original direction."),
        ),
        (
            "forwarded_reply".into(),
            reason("redirect", burst / 700, "Forwarded in the flow's reply direction."),
        ),
        ("pair_denied".into(), reason("drop", 40 * second, "The pair is denied.")),
        ("not_ip".into(), reason("pass", 12, "Neither IPv4 nor IPv6: ARP for instance.")),
        ("martian".into(), reason("drop", 0, "An address that no wire has.")),
    ]);
    let (front, db, office) = ("shop_front", "shop_db", "backoffice");
    let stats = Stats {
        packets: burst / 500 + 40 * second,
        bytes: burst + 2_000 * second,
        reasons,
        pairs: vec![
            count(front, db, burst, 2, 0),
            count(front, "eth0", 90_000 * second, 2, 0),
            count(db, office, 0, 0, 40 * second),
        ],
        flows: FlowTable { live: 4, limit: 65_536 },
        sources: Vec::new(),
    };
    let pairs = vec![
        pair(db, office, PairState::Denied),
        pair(front, db, PairState::Allowed),
        pair(front, "eth0", PairState::Allowed),
    ];
    let flows = vec![
        flow(
            front,
            db,
            "tcp",
            [("172.18.0.2", 41_512), ("172.19.0.2", 5_432), ("172.19.0.1", 41_512)],
            burst,
            72,
        ),
        flow(
            front,
            db,
            "tcp",
            [("172.18.0.3", 50_000), ("172.19.0.3", 80), ("172.19.0.1", 50_000)],
            4_000,
            7_260,
        ),
        flow(
            front,
            "eth0",
            "udp",
            [("172.18.0.2", 40_123), ("192.0.2.53", 53), ("198.51.100.7", 40_123)],
            70_000 * second,
            4,
        ),
        flow(
            front,
            "eth0",
            "tcp",
            [("fd00:18::2", 39_000), ("2001:db8:1:2:3:4:5:6", 443), ("fd00:18::2", 39_000)],
            20_000 * second,
            31,
        ),
    ];
    let status = Status {
        state: "running".into(),
        version: "0.1.0".into(),
        abi: 2,
        pid: Some(7),
        uptime_s: Some(3_600 + second),
        unlisted: "deny".into(),
        pin_dir: "/sys/fs/bpf/bridgefwd".into(),
        socket: "/run/bridgefwd/bridgefwd.sock".into(),
        netns: None,
        bridges: ENDS[..3].iter().map(ToString::to_string).collect(),
        uplinks: vec!["eth0".into()],
        timers: Timers::default(),
        ports: 5,
        ports_direct: 0,
        ports_not_attached: 0,
        flows_per_source: 16_384,
        pairs_allowed: 2,
        pairs_denied: 1,
        flows: FlowTable { live: 4, limit: 65_536 },
        config: None,
        docker: None,
        warnings: Vec::new(),
    };
    Seen { status, stats, pairs, flows }
}

pub(super) fn state() -> State {
    let instance = Instance::new(Some("shop".into()), None, None);
    let mut state = State::new(&instance, true);
    let begin = Instant::now();
    for second in 0..=12 {
        state.take(seen(second), begin + Duration::from_secs(second));
    }
    state
}

pub(super) fn terminal(state: &State, columns: u16, lines: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(columns, lines)).unwrap();
    terminal.draw(|frame| draw::draw(frame, state)).unwrap();
    terminal
}

fn drawn(state: &State, columns: u16, lines: u16) -> String {
    text::of_buffer(terminal(state, columns, lines).backend().buffer())
}

fn press(state: &mut State, keys: &str) -> Wish {
    let mut wish = Wish::Nothing;
    for key in keys.chars() {
        let code = match key {
            '\n' => KeyCode::Enter,
            '\t' => KeyCode::Tab,
            '\x1b' => KeyCode::Esc,
            '↓' => KeyCode::Down,
            '↑' => KeyCode::Up,
            '→' => KeyCode::Right,
            '←' => KeyCode::Left,
            letter => KeyCode::Char(letter),
        };
        wish = keys::press(state, &KeyEvent::new(code, KeyModifiers::NONE));
    }
    wish
}

/// Is a screen the one that is kept in docs?
#[track_caller]
pub(super) fn is_kept(name: &str, screen: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    if std::env::var_os("BRIDGEFWD_UPDATE_SCREENS").is_some() {
        std::fs::write(&path, screen).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == screen, "docs/{name} is\n{kept}\nand now it is\n{screen}");
}

#[test]
fn screens_are_as_they_are_kept() {
    let mut state = state();
    for (columns, lines) in [(80, 24), (120, 40), (40, 10)] {
        let screen = drawn(&state, columns, lines);
        assert!(screen.lines().all(|line| line.chars().count() <= usize::from(columns)));
        is_kept(&format!("top-{columns}x{lines}.txt"), &screen);
    }
    press(&mut state, "m");
    is_kept("top-matrix.txt", &drawn(&state, 80, 24));
    press(&mut state, "r");
    is_kept("top-reasons.txt", &drawn(&state, 80, 24));
    press(&mut state, "r\n");
    is_kept("top-flow.txt", &drawn(&state, 80, 24));
}

#[test]
fn every_size_can_be_drawn() {
    let mut state = state();
    for keys in ["", "m", "\t", "r", "?", "\n", "m\tr\n", "\x1b", "/zzz\n"] {
        press(&mut state, keys);
        for (columns, lines) in [(1, 1), (3, 2), (10, 5), (39, 9), (64, 16), (300, 100)] {
            drawn(&state, columns, lines);
        }
    }
}

#[test]
fn a_toggle_is_asked_for_first() {
    let mut state = state();
    assert_eq!(state.pair().unwrap().ends, ("shop_front".into(), "shop_db".into()), "the busiest");
    assert_eq!(press(&mut state, "t"), Wish::Nothing);
    assert!(drawn(&state, 80, 24).contains("Deny shop_front -> shop_db?"));
    assert_eq!(press(&mut state, "n"), Wish::Nothing);
    assert_eq!((&state.over, state.said()), (&None, "nothing was changed"));
    let change =
        Change { from: "shop_front".into(), to: "shop_db".into(), state: PairState::Denied };
    assert_eq!(press(&mut state, "ty"), Wish::Change(change));
    // What is not listed is allowed first.
    press(&mut state, "G");
    press(&mut state, "t");
    assert!(matches!(&state.over, Some(Over::Ask(change)) if change.state == PairState::Allowed));
}

#[test]
fn without_a_daemon_nothing_is_asked() {
    let mut state = state();
    let mut pinned = seen(13);
    (pinned.status.pid, pinned.status.uptime_s) = (None, None);
    state.take(pinned, Instant::now());
    let screen = drawn(&state, 80, 24);
    assert!(screen.contains("NO DAEMON") && screen.contains("read from the pins"), "{screen}");
    assert_eq!(press(&mut state, "t"), Wish::Nothing);
    assert_eq!(state.over, None);
    assert!(state.said().contains("bridgefwd run"), "{}", state.said());
}

#[test]
fn the_selection_stays_with_its_pair_and_its_flow() {
    let mut state = state();
    press(&mut state, "↓");
    let chosen = state.pair().unwrap().ends.clone();
    press(&mut state, "ss");
    assert_eq!(state.pair().unwrap().ends, chosen);
    press(&mut state, "\t↓");
    assert_eq!(state.focus, Focus::Below);
    let chosen = state.selected().unwrap().original;
    press(&mut state, "sss");
    assert_eq!(state.selected().unwrap().original, chosen);
    assert_eq!(state.said(), "flows by oldest");
    let ages: Vec<u64> = state.flows.iter().map(|at| state.flow(*at).unwrap().age_s).collect();
    assert_eq!(ages, [7_260, 72, 31, 4]);
}

#[test]
fn a_filter_leaves_what_has_its_words() {
    let mut state = state();
    press(&mut state, "/UDP 53");
    assert!(drawn(&state, 80, 24).contains("filter: UDP 53_"));
    press(&mut state, "\n");
    assert_eq!(state.flows.len(), 1);
    assert_eq!(state.selected().unwrap().proto, "udp");
    // q was a letter while it was typed; now it ends.
    press(&mut state, "\x1b/q");
    assert_eq!(state.flows.len(), 0);
    assert!(drawn(&state, 80, 24).contains("0 of 4 flows"));
    press(&mut state, "\x1b");
    assert_eq!(state.flows.len(), 4);
    press(&mut state, "/web\n");
    assert_eq!(state.flows.len(), 2, "by a container's name");
    press(&mut state, "\x1b");
    // A pair's own flows, and all again.
    press(&mut state, "↓\n");
    assert_eq!(state.flows.len(), 2);
    press(&mut state, "\n");
    assert_eq!(state.flows.len(), 4);
    assert_eq!(press(&mut state, "q"), Wish::End);
}

#[test]
fn in_the_matrix_nobody_is_a_pair_with_itself() {
    let mut state = state();
    press(&mut state, "m");
    let mut reached = std::collections::BTreeSet::new();
    let mut random = 1_u32;
    for _ in 0..2_000 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let key = ["↑", "↓", "←", "→"][(random >> 30) as usize];
        press(&mut state, key);
        let (from, to) = &state.pair().unwrap().ends;
        assert_ne!(from, to, "{key}");
        reached.insert((from.clone(), to.clone()));
    }
    assert_eq!(reached.len(), 12, "{reached:?}");
}

#[test]
fn a_flow_that_has_ended_says_so() {
    let mut state = state();
    press(&mut state, "\t\n");
    assert!(drawn(&state, 80, 24).contains("translated  172.19.0.1:41512 -> 172.19.0.2:5432"));
    let mut later = seen(13);
    later.flows.clear();
    state.take(later, Instant::now());
    assert!(drawn(&state, 80, 24).contains("This flow has ended."));
    press(&mut state, "\x1b");
    assert_eq!(state.over, None);
}

#[test]
fn without_colours_nothing_is_lost() {
    let mut plain = state();
    plain.colour = false;
    let colourful = terminal(&state(), 80, 24);
    let without = terminal(&plain, 80, 24);
    let colours = |terminal: &Terminal<TestBackend>| {
        let cells = terminal.backend().buffer().content().iter();
        cells.filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset).count()
    };
    assert!(colours(&colourful) > 0);
    assert_eq!(colours(&without), 0);
    let text = |terminal: &Terminal<TestBackend>| text::of_buffer(terminal.backend().buffer());
    assert_eq!(text(&colourful), text(&without));
}

#[test]
fn ten_thousand_flows_and_many_pairs_take_no_time() {
    let mut crowded = seen(0);
    let one = crowded.flows[0].clone();
    crowded.flows = (0..10_000_u16)
        .map(|port| {
            let mut flow = one.clone();
            (flow.original.src_port, flow.translated.src_port) = (port, port);
            flow
        })
        .collect();
    crowded.status.bridges = (0..11).map(|number| format!("br-{number}")).collect();
    let instance = Instance::new(None, None, None);
    let mut state = State::new(&instance, true);
    let begin = Instant::now();
    state.take(crowded.clone(), begin);
    state.take(crowded, begin + Duration::from_secs(1));
    press(&mut state, "\tG");
    assert!(drawn(&state, 80, 24).contains(" 10000 flows"));
    let taken = begin.elapsed();
    println!("two looks and a screen: {taken:?}");
    assert!(taken < Duration::from_secs(2), "{taken:?}");
}
