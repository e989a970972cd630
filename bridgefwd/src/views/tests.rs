//! No listing is wider than the terminal, whatever things are called; and nothing is cut on a pipe.

use std::net::{IpAddr, Ipv6Addr};

use super::style::Style;
use super::{bridges, flows, pairs, shortened, stats, status};
use crate::api::bridges::{Bridge, Container, DockerStatus};
use crate::api::config::ConfigState;
use crate::api::types::{
    BothWays, Flow, FlowTable, FlowTuple, Pair, PairCount, PairState, ReasonCount, Source, Stats,
    Status,
};

/// As Compose makes names of a project's folder and a network.
const FRONT: &str = "2026-11-customer-portal-production_frontend-and-sessions";
const DB: &str = "2026-11-customer-portal-production_database-and-its-replica";
const CONTAINER: &str = "2026-11-customer-portal-production-application-server-blue-1";

/// The largest numbers, the longest addresses.
fn flow() -> Flow {
    let address = |last| IpAddr::V6(Ipv6Addr::new(0xfd00, 0x1111, 0x2222, 0x3333, 1, 2, 3, last));
    let tuple = |src| FlowTuple {
        src: address(src),
        src_port: 50_000,
        dst: address(0xffff),
        dst_port: 65_535,
    };
    Flow {
        from: FRONT.into(),
        to: DB.into(),
        proto: "udplite".into(),
        state: "established".into(),
        nat: "masquerade".into(),
        client: Some(CONTAINER.into()),
        server: Some(CONTAINER.into()),
        original: tuple(0x1111),
        translated: tuple(0x2222),
        packets: BothWays { original: u64::MAX, reply: 1_000_000_000 },
        bytes: BothWays { original: 1 << 62, reply: 1 << 40 },
        age_s: 86_400 * 400,
        idle_s: 86_400,
        expires_s: 1,
    }
}

fn pair() -> Pair {
    Pair {
        from: FRONT.into(),
        to: DB.into(),
        state: PairState::Allowed,
        nat: "172.19.0.9,172.19.0.16-172.19.0.19,172.19.0.32-172.19.0.35".into(),
        nat6: "fd00:1::1,fd00:1::8-fd00:1::11".into(),
        mapping: "endpoint-independent".into(),
        drain: true,
        present: false,
    }
}

fn counters() -> Stats {
    let count = ReasonCount {
        packets: 1 << 50,
        bytes: 1 << 60,
        verdict: "redirect".into(),
        explanation: "Something that takes a whole sentence to explain, and then some more words."
            .into(),
    };
    let both = BothWays { original: 1 << 59, reply: 1 << 59 };
    Stats {
        packets: 1 << 50,
        bytes: 1 << 60,
        reasons: [("original_direction_no_route".into(), count)].into(),
        pairs: vec![PairCount {
            from: FRONT.into(),
            to: DB.into(),
            packets: 1 << 40,
            bytes: 1 << 50,
            flows: 65_536,
            refused: 1 << 30,
            packets_by_direction: both,
            bytes_by_direction: both,
            flows_created: 1,
        }],
        flows: FlowTable { live: 65_536, limit: 65_536 },
        sources: vec![Source {
            source: "fd00:1111:2222:3333:1:2:3:4444".into(),
            bridge: Some(FRONT.into()),
            flows: 65_536,
            limit: 16_384,
            refused: 1 << 40,
        }],
    }
}

fn bridge() -> Bridge {
    let container = Container { name: CONTAINER.into(), addresses: Vec::new() };
    Bridge {
        name: FRONT.into(),
        ports: (0..30).map(|number| format!("veth{number:07x}")).collect(),
        attached: "clsact".into(),
        kind: "bridge".into(),
        managed: true,
        interface: Some("br-0123456789ab".into()),
        driver: Some("bridge".into()),
        subnets: vec!["172.18.0.0/16".into(), "fd00:1111:2222:3333::/64".into()],
        gateways: vec!["172.18.0.1".into(), "fd00:1111:2222:3333::1".into()],
        containers: vec![container.clone(), container],
        ..Bridge::default()
    }
}

fn state() -> Status {
    Status {
        state: "running".into(),
        version: "0.1.0".into(),
        abi: 4,
        pid: Some(4_194_304),
        uptime_s: Some(86_400 * 1000),
        unlisted: "kernel".into(),
        pin_dir: "/sys/fs/bpf/bridgefwd-customer-portal".into(),
        socket: "/run/bridgefwd/bridgefwd-customer-portal.sock".into(),
        netns: Some("customer-portal".into()),
        bridges: vec![FRONT.into(), DB.into()],
        uplinks: vec!["enp0s31f6".into()],
        docker: Some(DockerStatus {
            socket: "/run/user/1000/docker.sock".into(),
            networks: 2,
            problem: Some("it is away".into()),
        }),
        timers: Default::default(),
        ports: 60,
        ports_not_attached: 1,
        ports_direct: 59,
        flows_per_source: 16_384,
        pairs_allowed: 1,
        pairs_denied: 0,
        flows: FlowTable { live: 1, limit: 65_536 },
        config: Some(ConfigState {
            file: "/etc/bridgefwd/bridgefwd.toml".into(),
            differences: Some(3),
            error: None,
        }),
        warnings: vec![format!(
            "the subnets of {FRONT} (10.0.0.1/8) and {DB} (10.1.0.1/16) overlap"
        )],
    }
}

/// Each listing, by its command.
fn listings(style: &Style) -> [(&'static str, String); 5] {
    [
        ("flows", flows::table(&[flow(), flow()], style)),
        ("pair list", pairs::table(&[pair()], style.width)),
        ("stats", stats::report(&counters(), true, style)),
        ("bridges", bridges::table(&[bridge()], style.width)),
        ("status", status::report(&state(), style.width)),
    ]
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for (width, exact) in [(80, false), (80, true), (100, true), (132, false), (200, true)] {
        let style = Style { exact, ..Style::new(Some(width)) };
        for (command, text) in listings(&style) {
            for line in text.lines() {
                let length = line.chars().count();
                assert!(length <= usize::from(width), "{command}, {length} of {width}:\n{text}");
            }
            // Both ends of a name tell it apart.
            assert!(text.contains("2026-") || command == "status", "{command}:\n{text}");
        }
    }
}

#[test]
fn nothing_is_cut_on_a_pipe() {
    for (command, text) in listings(&Style::new(None)) {
        assert!(text.contains(FRONT), "{command}:\n{text}");
        assert!(!text.contains('…'), "{command}:\n{text}");
    }
    let style = Style { exact: true, ..Style::new(None) };
    let exact = listings(&style).map(|(_, text)| text).join("\n");
    for number in [u64::MAX, 1 << 62, 1 << 60, 1 << 50] {
        assert!(exact.contains(&number.to_string()), "{number}:\n{exact}");
    }
}

#[test]
fn a_row_is_one_line_on_a_pipe() {
    let lines = |text: String| text.lines().count();
    let style = Style::new(None);
    assert_eq!(lines(flows::table(&[flow(), flow()], &style)), 3);
    assert_eq!(lines(pairs::table(&[pair()], None)), 2);
    assert_eq!(lines(bridges::table(&[bridge()], None)), 2);
    assert_eq!(lines(status::report(&state(), None)), 14);
}

#[test]
fn long_text_keeps_both_ends() {
    assert_eq!(shortened("10.1.0.2:80", 11), "10.1.0.2:80");
    assert_eq!(shortened("fd00:1:2:3::4:5:40000", 12), "fd00:…:40000");
    assert_eq!(shortened("abc", 1), "…");
    assert_eq!(shortened("abc", 0), "…");
}
