//! Who was it?

use super::events::{between, ends};
use crate::api::whois::{Match, Whois};

/// Each flow in two lines, and what should be known beside.
#[must_use]
pub fn answer(answer: &Whois) -> String {
    let query = &answer.query;
    let end = match query.port {
        Some(port) if query.address.is_ipv6() => format!("[{}]:{port}", query.address),
        Some(port) => format!("{}:{port}", query.address),
        None => query.address.to_string(),
    };
    let proto = query.proto.as_ref().map(|proto| format!(" ({proto})")).unwrap_or_default();
    let when = query.at.as_ref().map(|at| format!(" at {at}")).unwrap_or_default();
    let mut text = match &answer.found[..] {
        [] => format!("nobody is known to have been {end}{proto}{when}\n"),
        [_] => String::new(),
        several => format!("{} flows had {end}{proto}{when}:\n", several.len()),
    };
    for known in &answer.found {
        text.push_str(&flow(known));
    }
    for note in &answer.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    if let Some(log) = answer.log.as_ref().filter(|log| log.unreadable > 0) {
        text.push_str(&format!(
            "note: {} lines of {} could not be read\n",
            log.unreadable, log.path
        ));
    }
    text.chars()
        .map(|letter| if letter.is_control() && letter != '\n' { '\u{fffd}' } else { letter })
        .collect()
}

fn flow(known: &Match) -> String {
    let flow = &known.flow;
    let (was, _) = ends(&flow.proto, &flow.translated);
    let (who, _) = ends(&flow.proto, &flow.original);
    let name = flow.client.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    let until = match (&known.closed, &known.known_until) {
        _ if known.live => "alive".to_owned(),
        (Some(closed), _) => format!("until {closed}"),
        (None, Some(until)) => format!("known until {until}, when no daemon ran any more"),
        (None, None) => "not seen to end".to_owned(),
    };
    format!("{was} is {who}{name}\n  {}; from {}, {until}\n", between(flow), known.opened)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::events::FlowEvent;
    use crate::api::types::FlowTuple;
    use crate::api::whois::WhoisQuery;

    fn known() -> Match {
        let tuple = |src: [u8; 4], src_port| FlowTuple {
            src: src.into(),
            src_port,
            dst: [172, 19, 0, 2].into(),
            dst_port: 80,
        };
        let flow = FlowEvent {
            from: Some("shop_front".into()),
            to: Some("shop_db".into()),
            port: None,
            proto: "tcp".into(),
            nat: "masquerade".into(),
            client: Some("web".into()),
            server: None,
            original: tuple([172, 18, 0, 2], 50_042),
            translated: tuple([172, 19, 0, 1], 21_344),
        };
        Match {
            flow,
            opened: "2026-11-25T16:03:08.000000Z".into(),
            closed: None,
            last_packet: None,
            live: true,
            known_until: None,
        }
    }

    #[test]
    fn who_it_was_comes_first() {
        let query = WhoisQuery {
            address: [172, 19, 0, 1].into(),
            port: Some(21_344),
            proto: None,
            at: None,
        };
        let mut shown = Whois { query, found: vec![known()], log: None, notes: Vec::new() };
        assert_eq!(
            answer(&shown),
            "172.19.0.1:21344 is 172.18.0.2:50042 (web)\n  shop_front -> shop_db  tcp  172.18.0.2:50042 \
             (web) -> 172.19.0.2:80; from 2026-11-25T16:03:08.000000Z, alive\n"
        );
        shown.found.push(known());
        assert!(answer(&shown).starts_with("2 flows had 172.19.0.1:21344:\n"));
        shown.found.clear();
        shown.notes.push("there is no audit log".into());
        assert_eq!(
            answer(&shown),
            "nobody is known to have been 172.19.0.1:21344\nnote: there is no audit log\n"
        );
    }
}
