//! The flow table.
//!
//! Where it is wide enough a flow is one line; in a narrow terminal it is two, so that neither long
//! bridge names nor long addresses are broken, and three where containers are known by name.

use std::net::{IpAddr, SocketAddr};

use super::style::Style;
use super::{Align, fitted, sheet, text, units};
use crate::api::types::{BothWays, Flow, FlowTuple};

/// Every flow, with its pair, its addresses before and after translation, and its counters.
#[must_use]
pub fn table(flows: &[Flow], style: &Style) -> String {
    if flows.is_empty() {
        return "no flows\n".into();
    }
    let wide = wide(flows, style);
    match style.width {
        Some(width) if wide.lines().any(|line| line.chars().count() > usize::from(width)) => {
            folded(flows, style, width)
        }
        _ => wide,
    }
}

fn wide(flows: &[Flow], style: &Style) -> String {
    const COLUMNS: [(&str, Align); 10] = [
        ("FROM", Align::Left),
        ("TO", Align::Left),
        ("PROTO", Align::Left),
        ("STATE", Align::Left),
        ("CLIENT", Align::Left),
        ("SERVER", Align::Left),
        ("SEEN AS", Align::Left),
        ("PKTS OUT/IN", Align::Right),
        ("BYTES OUT/IN", Align::Right),
        ("AGE/IDLE", Align::Right),
    ];
    let rows = flows.iter().map(|flow| {
        [
            flow.from.clone(),
            flow.to.clone(),
            flow.proto.clone(),
            flow.state.clone(),
            named(&flow.client, client(flow)),
            named(&flow.server, server(flow)),
            seen_as(flow).unwrap_or_else(|| "itself".into()),
            both(flow.packets, |count| style.count(count)),
            both(flow.bytes, |bytes| style.bytes(bytes)),
            times(flow),
        ]
    });
    text(&sheet(&COLUMNS, rows, None))
}

/// The counters in one line, the addresses under it.
fn folded(flows: &[Flow], style: &Style, width: u16) -> String {
    const COLUMNS: [(&str, Align); 5] = [
        ("FROM -> TO", Align::Name),
        ("PROTO", Align::Left),
        ("PKTS OUT/IN", Align::Right),
        ("BYTES OUT/IN", Align::Right),
        ("AGE/IDLE", Align::Right),
    ];
    let rows = flows.iter().map(|flow| {
        [
            format!("{} -> {}", flow.from, flow.to),
            flow.proto.clone(),
            both(flow.packets, |count| style.count(count)),
            both(flow.bytes, |bytes| style.bytes(bytes)),
            times(flow),
        ]
    });
    let counters = text(&sheet(&COLUMNS, rows, Some(width)));
    if counters.lines().any(|line| line.chars().count() > usize::from(width)) {
        return tall(flows, style, usize::from(width));
    }
    let mut lines = counters.lines();
    let mut folded = String::new();
    folded.extend(lines.next().into_iter().flat_map(|header| [header, "\n"]));
    for (line, flow) in lines.zip(flows) {
        folded.push_str(&format!("{line}\n{}", who(flow, usize::from(width))));
    }
    folded
}

/// Nothing beside anything else, where the numbers alone are too wide for that.
fn tall(flows: &[Flow], style: &Style, width: usize) -> String {
    let mut tall = String::new();
    for flow in flows {
        let head = format!("{} -> {}  {}", flow.from, flow.to, flow.proto);
        tall.push_str(&fitted("", &head, width));
        tall.push_str(&who(flow, width));
        let packets = both(flow.packets, |count| style.count(count));
        let bytes = both(flow.bytes, |bytes| style.bytes(bytes));
        let numbers = format!("{packets} packets, {bytes} bytes out/in, {} old/idle", times(flow));
        tall.push_str(&fitted("  ", &numbers, width));
    }
    tall
}

/// Its state and addresses, and the containers, where they are known by name.
fn who(flow: &Flow, width: usize) -> String {
    let seen_as = seen_as(flow).map(|seen| format!(", seen as {seen}")).unwrap_or_default();
    let ends = format!("{}  {} -> {}{seen_as}", flow.state, client(flow), server(flow));
    let mut text = fitted("  ", &ends, width);
    if flow.client.is_some() || flow.server.is_some() {
        let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "?".into());
        let names = format!("{} -> {}", name(&flow.client), name(&flow.server));
        text.push_str(&fitted("  ", &names, width));
    }
    text
}

/// The client, as it knows itself.
#[must_use]
pub fn client(flow: &Flow) -> String {
    source(flow, &flow.original)
}

/// The server, as the client knows it.
#[must_use]
pub fn server(flow: &Flow) -> String {
    if flow.original.dst_port == 0 {
        flow.original.dst.to_string()
    } else {
        SocketAddr::new(flow.original.dst, flow.original.dst_port).to_string()
    }
}

/// The client, as the server sees it; `None` where that is the same.
#[must_use]
pub fn seen_as(flow: &Flow) -> Option<String> {
    let seen = source(flow, &flow.translated);
    (seen != client(flow)).then_some(seen)
}

fn source(flow: &Flow, tuple: &FlowTuple) -> String {
    end_of(flow, tuple.src, tuple.src_port)
}

/// An address with its port; an echo has no port but an identifier.
#[must_use]
pub fn end_of(flow: &Flow, address: IpAddr, port: u16) -> String {
    if flow.proto.starts_with("icmp") {
        format!("{address} id {port}")
    } else {
        SocketAddr::new(address, port).to_string()
    }
}

/// With the container's name, where it is known.
fn named(container: &Option<String>, address: String) -> String {
    match container {
        Some(name) => format!("{name} {address}"),
        None => address,
    }
}

fn both(ways: BothWays, unit: impl Fn(u64) -> String) -> String {
    format!("{}/{}", unit(ways.original), unit(ways.reply))
}

fn times(flow: &Flow) -> String {
    format!("{}/{}", units::duration(flow.age_s), units::duration(flow.idle_s))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(from: &str, to: &str, proto: &str) -> Flow {
        let tuple = |src: [u8; 4], src_port| FlowTuple {
            src: src.into(),
            src_port,
            dst: [172, 19, 0, 2].into(),
            dst_port: if proto == "icmp" { 0 } else { 8080 },
        };
        Flow {
            from: from.into(),
            to: to.into(),
            proto: proto.into(),
            state: "established".into(),
            nat: "masquerade".into(),
            client: None,
            server: None,
            original: tuple([172, 18, 0, 2], 41_512),
            translated: tuple([172, 19, 0, 1], 41_512),
            packets: BothWays { original: 12, reply: 10 },
            bytes: BothWays { original: 1_240, reply: 48_000 },
            age_s: 72,
            idle_s: 3,
            expires_s: 7_437,
        }
    }

    #[test]
    fn no_flows_are_said() {
        assert_eq!(table(&[], &Style::new(None)), "no flows\n");
        assert_eq!(table(&[], &Style::new(Some(80))), "no flows\n");
    }

    #[test]
    fn a_flow_is_one_line_in_a_pipe() {
        let expected = "\
FROM        TO       PROTO  STATE        CLIENT            SERVER           SEEN AS           PKTS OUT/IN  BYTES OUT/IN  AGE/IDLE
shop_front  shop_db  tcp    established  172.18.0.2:41512  172.19.0.2:8080  172.19.0.1:41512        12/10    1.2kB/48kB  1m12s/3s
";
        assert_eq!(table(&[flow("shop_front", "shop_db", "tcp")], &Style::new(None)), expected);
    }

    #[test]
    fn a_flow_between_the_longest_names_fits_80_columns() {
        let flow = flow("br-0123456789ab", "br-ba9876543210", "tcp");
        let expected = "\
FROM -> TO                          PROTO  PKTS OUT/IN  BYTES OUT/IN  AGE/IDLE
br-0123456789ab -> br-ba9876543210  tcp          12/10    1.2kB/48kB  1m12s/3s
  established  172.18.0.2:41512 -> 172.19.0.2:8080, seen as 172.19.0.1:41512
";
        let narrow = table(&[flow], &Style::new(Some(80)));
        assert_eq!(narrow, expected);
        assert!(narrow.lines().all(|line| line.len() <= 80));
    }

    #[test]
    fn containers_are_named() {
        let mut flow = flow("shop_front", "shop_db", "tcp");
        flow.client = Some("web".into());
        let wide = table(std::slice::from_ref(&flow), &Style::new(None));
        assert!(wide.contains("  web 172.18.0.2:41512  172.19.0.2:8080  "), "{wide}");
        flow.server = Some("db".into());
        let narrow = table(&[flow], &Style::new(Some(80)));
        assert!(narrow.ends_with(", seen as 172.19.0.1:41512\n  web -> db\n"), "{narrow}");
    }

    #[test]
    fn an_ipv6_address_with_a_port_stands_in_brackets() {
        let mut flow = flow("a", "b", "tcp");
        flow.original.src = "fd00:1::2".parse().unwrap();
        flow.original.dst = "fd00:2::2".parse().unwrap();
        assert_eq!(client(&flow), "[fd00:1::2]:41512");
        assert_eq!(server(&flow), "[fd00:2::2]:8080");
        flow.proto = "icmpv6".into();
        flow.original.dst_port = 0;
        assert_eq!(client(&flow), "fd00:1::2 id 41512");
        assert_eq!(server(&flow), "fd00:2::2");
    }

    #[test]
    fn an_echo_has_an_identifier_and_no_port() {
        let mut echo = flow("a", "b", "icmp");
        assert_eq!(client(&echo), "172.18.0.2 id 41512");
        assert_eq!(server(&echo), "172.19.0.2");
        assert_eq!(seen_as(&echo).as_deref(), Some("172.19.0.1 id 41512"));
        echo.translated = echo.original;
        assert_eq!(seen_as(&echo), None);
        assert!(table(&[echo], &Style::new(None)).contains("itself"));
    }
}
