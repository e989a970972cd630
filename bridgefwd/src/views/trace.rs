//! Packets that are traced: a block each, a line a station.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use crate::api::types::FlowTuple;
use crate::trace::report::{EndDoc, PacketDoc, StationDoc, TraceDoc};

/// What is being traced, before anything was seen.
#[must_use]
pub fn begin(trace: &TraceDoc) -> String {
    let party = |party: &crate::trace::report::PartyDoc| {
        let place = match &*party.place {
            "host" => ", of this host",
            "beyond" => ", not plugged in here",
            _ => "",
        };
        if party.name == party.address {
            format!("{}{place}", party.address)
        } else {
            format!("{} ({}{place})", party.name, party.address)
        }
    };
    let watched = trace.watched.iter().map(|it| place(it.inside.as_deref(), &it.interface));
    let watched: Vec<_> = watched.collect();
    let mut text = format!(
        "{} and {}, watched at {}\n",
        party(&trace.from),
        party(&trace.to),
        watched.join(", ")
    );
    for note in &trace.notes {
        let _ = writeln!(text, "note: {note}");
    }
    clean(&text)
}

/// A packet.
#[must_use]
pub fn packet(packet: &PacketDoc) -> String {
    // As far as microseconds: 2026-11-25T16:03:08.123456Z.
    let time = packet.time.get(11..26).unwrap_or(&packet.time);
    let arrow = if packet.way == "there" { "->" } else { "<-" };
    let what = if packet.what.is_empty() { String::new() } else { format!(" {}", packet.what) };
    let mut text = format!(
        "\n{} {arrow} {time}  {}{what}, {} bytes\n",
        packet.number, packet.proto, packet.length
    );
    let width = packet.stations.iter().map(|station| name(station).chars().count()).max();
    let width = width.unwrap_or_default();
    for station in &packet.stations {
        text += &line(station, &packet.proto, width);
    }
    let _ = writeln!(text, "  {}", end(&packet.end));
    clean(&text)
}

fn line(station: &StationDoc, proto: &str, width: usize) -> String {
    let name = name(station);
    let Some(tuple) = &station.tuple else {
        let reason = station.reason.as_deref().map(|reason| {
            let verdict = match station.verdict.as_deref() {
                Some("pass") => ", left to the kernel",
                Some("drop") => ", dropped",
                Some("hold") => ", held",
                _ => "",
            };
            format!("{reason}{verdict}")
        });
        let said = reason.into_iter().chain(station.changed.iter().cloned());
        let said: Vec<_> = said.collect();
        return format!("  {name:<width$}                {}\n", said.join(", "));
    };
    let direction = station.direction.as_deref().unwrap_or_default();
    let after = after(station.after_ns.unwrap_or_default());
    let ttl = station.ttl.unwrap_or_default();
    let between = between(proto, tuple);
    format!("  {name:<width$}  {direction:<3}  {after:>7}  {between}  TTL {ttl}\n")
}

fn name(station: &StationDoc) -> String {
    match (&*station.kind, &station.interface) {
        ("program", _) => "bridgefwd".into(),
        ("kernel", _) => "kernel".into(),
        (_, interface) => {
            place(station.inside.as_deref(), interface.as_deref().unwrap_or_default())
        }
    }
}

fn place(inside: Option<&str>, interface: &str) -> String {
    match inside {
        Some(inside) => format!("{inside} {interface}"),
        None => interface.into(),
    }
}

/// `0`, `+12us`, `+1.5ms`.
fn after(ns: u64) -> String {
    match ns {
        0 => "0".into(),
        1..1_000_000 => format!("+{}us", (ns / 1000).max(1)),
        _ => {
            let ms = ns / 100_000;
            format!("+{}.{}ms", ms / 10, ms % 10)
        }
    }
}

/// `172.18.0.2:40000 -> 172.19.0.2:80`; an echo's identifier is no port.
fn between(proto: &str, tuple: &FlowTuple) -> String {
    let end = |address: IpAddr, port: u16| match (proto, port) {
        ("icmp" | "icmpv6", 0) => address.to_string(),
        ("icmp" | "icmpv6", id) => format!("{address} id {id}"),
        (_, 0) => address.to_string(),
        _ => SocketAddr::from((address, port)).to_string(),
    };
    format!("{} -> {}", end(tuple.src, tuple.src_port), end(tuple.dst, tuple.dst_port))
}

/// How it ended, in a line.
#[must_use]
pub fn end(end: &EndDoc) -> String {
    let mut text = match &*end.state {
        "arrived" => format!("arrived at {}", end.at),
        "left" => format!("left by {}", end.at),
        "lost" if end.at.is_empty() => "lost".into(),
        "lost" => format!("lost after {}", end.at),
        state => {
            let by = match end.by.as_deref() {
                Some("bridgefwd") => "bridgefwd",
                Some("netfilter") => "netfilter",
                Some("program") => "a program at traffic control",
                _ => "the kernel",
            };
            format!("{state} by {by} at {}", end.at)
        }
    };
    if let Some(reason) = &end.reason {
        let _ = write!(text, ": {reason}");
    }
    if let Some(function) = &end.function {
        let _ = write!(text, " in {function}()");
    }
    if let Some(rule) = &end.rule {
        let number = rule.number.map(|number| format!(" {number}")).unwrap_or_default();
        let _ = write!(text, ", {} {}{number}: {}", rule.table, rule.chain, rule.text);
    } else if let Some(why) = &end.rule_unknown {
        let _ = write!(text, ", by which rule is not known: {why}");
    } else if let Some(meaning) = &end.meaning {
        let _ = write!(text, ". {meaning}");
    }
    text
}

/// Names may hold anything, and a terminal does what it is told.
fn clean(text: &str) -> String {
    let clean = |letter: char| {
        if letter.is_control() && letter != '\n' { '\u{fffd}' } else { letter }
    };
    text.chars().map(clean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::report::RuleDoc;

    fn tuple(src: [u8; 4], src_port: u16) -> Option<FlowTuple> {
        Some(FlowTuple { src: src.into(), src_port, dst: [172, 19, 0, 2].into(), dst_port: 80 })
    }

    #[test]
    fn a_packet_is_a_block_with_a_line_a_station() {
        let seen =
            |kind: &str, interface: &str, inside: Option<&str>, direction: &str| StationDoc {
                kind: kind.into(),
                interface: Some(interface.into()),
                inside: inside.map(str::to_owned),
                direction: Some(direction.into()),
                after_ns: Some(if direction == "in" { 4_200 } else { 0 }),
                tuple: tuple([172, 18, 0, 2], 40_000),
                ttl: Some(64),
                ..StationDoc::default()
            };
        let program = StationDoc {
            kind: "program".into(),
            reason: Some("pair_denied".into()),
            verdict: Some("drop".into()),
            ..StationDoc::default()
        };
        let document = PacketDoc {
            number: 1,
            time: "2026-11-25T16:03:08.123456Z".into(),
            way: "there".into(),
            proto: "tcp".into(),
            what: "SYN".into(),
            length: 60,
            stations: vec![
                seen("container", "eth0", Some("web"), "out"),
                seen("port", "veth\u{1b}1", None, "in"),
                program,
            ],
            end: EndDoc {
                state: "dropped".into(),
                at: "veth1".into(),
                by: Some("bridgefwd".into()),
                reason: Some("pair_denied".into()),
                meaning: Some("The pair is denied.".into()),
                ..EndDoc::default()
            },
        };
        let expected = "
1 -> 16:03:08.123456  tcp SYN, 60 bytes
  web eth0   out        0  172.18.0.2:40000 -> 172.19.0.2:80  TTL 64
  veth\u{fffd}1     in      +4us  172.18.0.2:40000 -> 172.19.0.2:80  TTL 64
  bridgefwd                pair_denied, dropped
  dropped by bridgefwd at veth1: pair_denied. The pair is denied.
";
        assert_eq!(packet(&document), expected);
    }

    #[test]
    fn an_end_names_the_rule_or_says_why_not() {
        let rule = RuleDoc {
            table: "filter".into(),
            chain: "FORWARD".into(),
            number: Some(3),
            text: "-j DROP".into(),
        };
        let mut document = EndDoc {
            state: "dropped".into(),
            at: "shop_front".into(),
            by: Some("netfilter".into()),
            reason: Some("NETFILTER_DROP".into()),
            function: Some("nf_hook_slow".into()),
            meaning: Some("A firewall rule drops it.".into()),
            rule: Some(rule),
            rule_unknown: None,
        };
        let said = "dropped by netfilter at shop_front: NETFILTER_DROP in nf_hook_slow()";
        assert_eq!(end(&document), format!("{said}, filter FORWARD 3: -j DROP"));
        document.rule = None;
        document.rule_unknown = Some("no nft here".into());
        assert_eq!(end(&document), format!("{said}, by which rule is not known: no nft here"));
    }

    #[test]
    fn times_and_ends_are_short() {
        assert_eq!([0, 300, 42_000, 1_500_000].map(after), ["0", "+1us", "+42us", "+1.5ms"]);
        let echo = FlowTuple { dst_port: 0, ..tuple([10, 0, 0, 1], 7).unwrap() };
        assert_eq!(between("icmp", &echo), "10.0.0.1 id 7 -> 172.19.0.2");
    }
}
