//! What happens, a line each.

use std::net::SocketAddr;

use super::{counted, units};
use crate::api::events::{
    Closed, Event, FlowEvent, InterfaceEvent, PairEvent, Refused, Untold, What,
};
use crate::api::types::FlowTuple;

/// One event, with its newline. The time is that of the day, in UTC.
#[must_use]
pub fn line(event: &Event) -> String {
    // As far as milliseconds: 2026-11-25T16:03:08.123456Z.
    let time = event.time.get(11..23).unwrap_or(&event.time);
    let name = event.name();
    // Names may hold anything, and a terminal does what it is told.
    let text: String = said(&event.what)
        .chars()
        .map(|letter| if letter.is_control() { '\u{fffd}' } else { letter })
        .collect();
    format!("{time}  {name:<9}  {text}\n")
}

fn said(what: &What) -> String {
    match what {
        What::Listening { pid } => format!("to the daemon (pid {pid}); Ctrl-C ends it"),
        What::Started { pid } | What::Stopped { pid } => format!("the daemon (pid {pid})"),
        What::Opened(flow) => opened(flow),
        What::Present(present) => format!("{}, since {}", opened(&present.flow), present.opened),
        What::Closed(closed) => self::closed(closed),
        What::Refused(refused) => self::refused(refused),
        What::Untold(untold) => self::untold(untold),
        What::Pair(pair) => self::pair(pair),
        What::Interface(interface) => self::interface(interface),
        What::Setting { name, from, to } => {
            let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".into());
            format!("{name}: {} -> {}", value(from), value(to))
        }
    }
}

/// Between whom: `shop_front -> shop_db  tcp  172.18.0.2:50042 -> 172.19.0.2:80`.
#[must_use]
pub fn between(flow: &FlowEvent) -> String {
    let end = |end: &Option<String>| end.clone().unwrap_or_else(|| "host".into());
    let who =
        |name: &Option<String>| name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    let (src, dst) = ends(&flow.proto, &flow.original);
    format!(
        "{} -> {}  {}  {src}{} -> {dst}{}",
        end(&flow.from),
        end(&flow.to),
        flow.proto,
        who(&flow.client),
        who(&flow.server),
    )
}

fn opened(flow: &FlowEvent) -> String {
    let (before, after) = (ends(&flow.proto, &flow.original), ends(&flow.proto, &flow.translated));
    let mut text = between(flow);
    if before.0 != after.0 {
        text.push_str(&format!(", seen as {}", after.0));
    }
    text
}

fn closed(closed: &Closed) -> String {
    format!(
        "{}  {}; {}/{} packets, {}/{} out/in",
        opened(&closed.flow),
        closed.reason,
        units::count(closed.packets.original),
        units::count(closed.packets.reply),
        units::bytes(closed.bytes.original),
        units::bytes(closed.bytes.reply),
    )
}

fn refused(refused: &Refused) -> String {
    let from = match (&refused.from, &refused.port) {
        (Some(end), Some(port)) => format!("{end} ({port})"),
        (Some(end), None) => end.clone(),
        _ => "an unknown interface".into(),
    };
    let example = refused.example.as_ref().map(|example| {
        let proto = refused.proto.as_deref().unwrap_or("?");
        let (src, dst) = ends(proto, example);
        format!(": {proto}  {src} -> {dst}")
    });
    let more = if refused.packets > 1 { ", for one" } else { "" };
    let example = example.map(|example| example + more).unwrap_or_default();
    let packets = counted(refused.packets, "packet", "packets");
    format!("{}  {packets}, {} from {from}{example}", refused.reason, units::bytes(refused.bytes))
}

fn untold(untold: &Untold) -> String {
    let mut parts = Vec::new();
    if untold.refused_packets > 0 {
        parts.push(format!(
            "{} refused, of {}",
            counted(untold.refused_packets, "packet", "packets"),
            counted(untold.refused_sources, "source and reason", "sources and reasons"),
        ));
    }
    if untold.flows > 0 {
        parts.push(counted(untold.flows, "flow opened or closed", "flows opened or closed"));
    }
    if untold.missed > 0 {
        parts.push(format!("{} that came too fast", counted(untold.missed, "event", "events")));
    }
    parts.join("; ")
}

fn pair(pair: &PairEvent) -> String {
    let mut text = format!("{} -> {}: {}", pair.from, pair.to, pair.state);
    for (name, value) in [("nat", &pair.nat), ("nat6", &pair.nat6), ("mapping", &pair.mapping)] {
        if let Some(value) = value {
            text.push_str(&format!(", {name} {value}"));
        }
    }
    if pair.drain {
        text.push_str(", drains");
    }
    text
}

fn interface(interface: &InterfaceEvent) -> String {
    let of = interface.of.as_ref().map(|end| format!(" of {end}")).unwrap_or_default();
    format!("{} {}{of}: {}", interface.kind, interface.name, interface.state)
}

/// Source and destination as people write them.
#[must_use]
pub fn ends(proto: &str, tuple: &FlowTuple) -> (String, String) {
    let end = |address, port: u16| match port {
        0 => std::net::IpAddr::to_string(&address),
        port if proto.starts_with("icmp") => format!("{address} id {port}"),
        port => SocketAddr::new(address, port).to_string(),
    };
    (end(tuple.src, tuple.src_port), end(tuple.dst, tuple.dst_port))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::api::types::BothWays;

    fn flow() -> FlowEvent {
        let tuple = |src: [u8; 4], dst: [u8; 4]| FlowTuple {
            src: src.into(),
            src_port: 50_042,
            dst: dst.into(),
            dst_port: 80,
        };
        FlowEvent {
            from: Some("shop_front".into()),
            to: Some("shop_db".into()),
            port: Some("veth-front1".into()),
            proto: "tcp".into(),
            nat: "masquerade".into(),
            client: Some("web".into()),
            server: None,
            original: tuple([172, 18, 0, 2], [172, 19, 0, 2]),
            translated: tuple([172, 19, 0, 1], [172, 19, 0, 2]),
        }
    }

    fn shown(what: What) -> String {
        let line =
            line(&Event::at(SystemTime::UNIX_EPOCH + Duration::from_millis(3_723_004), what));
        line.strip_prefix("01:02:03.004  ").unwrap().to_owned()
    }

    #[test]
    fn flows_say_who_talks_and_how_it_is_seen() {
        let between = "shop_front -> shop_db  tcp  172.18.0.2:50042 (web) -> 172.19.0.2:80, seen as 172.19.0.1:50042";
        assert_eq!(shown(What::Opened(flow())), format!("opened     {between}\n"));
        let closed = Closed {
            flow: flow(),
            reason: "idle".into(),
            state: "established".into(),
            opened: String::new(),
            last_packet: String::new(),
            packets: BothWays { original: 6, reply: 4 },
            bytes: BothWays { original: 478, reply: 443 },
        };
        let expected = format!("closed     {between}  idle; 6/4 packets, 478B/443B out/in\n");
        assert_eq!(shown(What::Closed(closed)), expected);
    }

    #[test]
    fn refusals_are_summed_up() {
        let refused = Refused {
            reason: "pair_denied".into(),
            from: Some("shop_front".into()),
            port: Some("veth-front1".into()),
            client: None,
            proto: Some("tcp".into()),
            example: Some(flow().original),
            packets: 250,
            bytes: 18_500,
        };
        assert_eq!(
            shown(What::Refused(refused)),
            "refused    pair_denied  250 packets, 18kB from shop_front (veth-front1): tcp  \
             172.18.0.2:50042 -> 172.19.0.2:80, for one\n"
        );
        let untold = Untold { refused_packets: 9, refused_sources: 1, flows: 0, missed: 2 };
        assert_eq!(
            shown(What::Untold(untold)),
            "untold     9 packets refused, of 1 source and reason; 2 events that came too fast\n"
        );
    }

    #[test]
    fn a_name_cannot_speak_to_the_terminal() {
        let name = "\u{1b}[2Jx".to_owned();
        let gone = InterfaceEvent { name, kind: "port".into(), of: None, state: "gone".into() };
        assert_eq!(shown(What::Interface(gone)), "interface  port \u{fffd}[2Jx: gone\n");
    }
}
