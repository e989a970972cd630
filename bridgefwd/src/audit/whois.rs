//! The answer to who was behind an address and port: first of the flows that are alive, then of the log.

use std::time::{Duration, SystemTime};

use super::Place;
use super::search::{Findings, asks, search};
use crate::api::events::{FlowEvent, rfc3339};
use crate::api::types::Flow;
use crate::api::whois::{Match, Whois, WhoisQuery};
use crate::failure::Result;

/// Looks it up. `live` are the flows that are alive; `None` where nobody knows them.
///
/// # Errors
///
/// Where the log cannot be read.
pub fn whois(query: WhoisQuery, live: Option<Vec<Flow>>, log: Option<&Place>) -> Result<Whois> {
    let now = SystemTime::now();
    let live_known = live.is_some();
    let alive = live.into_iter().flatten().map(|flow| of_live(flow, now));
    let mut found: Vec<_> = alive
        .filter(|known| asks(&query, &known.flow))
        .filter(|known| query.at.as_ref().is_none_or(|at| known.opened <= *at))
        .collect();
    let mut notes = Vec::new();
    // Somebody who has it now need not have had it then, besides another one.
    let needs_log = query.at.is_some() || found.is_empty();
    let mut span = None;
    match log.filter(|_| needs_log) {
        Some(place) => {
            let Findings { found: mut logged, span: log, gap } = search(place, &query)?;
            logged.retain(|known| !found.iter().any(|alive| is_same(alive, known)));
            if query.at.is_none() {
                // Not now: who had it last?
                let last = logged.iter().map(|known| known.last_known().to_owned()).max();
                logged.retain(|known| last.as_deref() == Some(known.last_known()));
            }
            found.extend(logged);
            notes.extend(of_log(&query, found.is_empty(), &log.begins, gap));
            span = Some(log);
        }
        None if needs_log => notes.push(
            "there is no audit log, so only flows that are alive are known: give [audit] a path in \
             the configuration"
                .into(),
        ),
        None => {}
    }
    if !live_known {
        notes.push("the flows that are alive were not looked at".into());
    }
    Ok(Whois { query, found, log: span, notes })
}

/// What has to be said of the log.
fn of_log(
    query: &WhoisQuery,
    nothing: bool,
    begins: &Option<String>,
    gap: Option<(String, String)>,
) -> Vec<String> {
    let mut notes = Vec::new();
    match (begins, &query.at) {
        (None, _) => notes.push("the audit log is empty".into()),
        (Some(begins), Some(at)) if at < begins => {
            notes.push(format!("that is too long ago: the audit log begins at {begins}"));
        }
        (Some(begins), None) if nothing => {
            notes.push(format!("the audit log begins at {begins}"));
        }
        _ => {}
    }
    if let Some((from, to)) = gap {
        notes.push(format!(
            "no daemon ran then: of what happened from {from} to {to} nothing was written"
        ));
    }
    notes
}

fn of_live(flow: Flow, now: SystemTime) -> Match {
    let ago = |seconds| rfc3339(now - Duration::from_secs(seconds));
    let (opened, last_packet) = (ago(flow.age_s), ago(flow.idle_s));
    let Flow { from, to, proto, nat, client, server, original, translated, .. } = flow;
    let (from, to) = (Some(from), Some(to));
    Match {
        flow: FlowEvent { from, to, port: None, proto, nat, client, server, original, translated },
        opened,
        closed: None,
        last_packet: Some(last_packet),
        live: true,
        known_until: None,
    }
}

/// Is what is alive the one that the log has? One that the log knows to be over is another one.
fn is_same(alive: &Match, known: &Match) -> bool {
    known.closed.is_none()
        && alive.flow.proto == known.flow.proto
        && alive.flow.original == known.flow.original
        && alive.flow.translated == known.flow.translated
}

impl Match {
    /// Until when it is known to have been there.
    fn last_known(&self) -> &str {
        self.closed.as_deref().or(self.known_until.as_deref()).unwrap_or(&self.opened)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::api::types::{BothWays, FlowTuple};

    fn live(age_s: u64) -> Flow {
        let tuple = |src: [u8; 4]| FlowTuple {
            src: src.into(),
            src_port: 5000,
            dst: [172, 19, 0, 2].into(),
            dst_port: 80,
        };
        Flow {
            from: "front".into(),
            to: "db".into(),
            proto: "tcp".into(),
            state: "established".into(),
            nat: "masquerade".into(),
            client: Some("web".into()),
            server: None,
            original: tuple([172, 18, 0, 2]),
            translated: tuple([172, 19, 0, 1]),
            packets: BothWays::default(),
            bytes: BothWays::default(),
            age_s,
            idle_s: 1,
            expires_s: 100,
        }
    }

    fn query(port: u16, ago: Option<u64>) -> WhoisQuery {
        let at = ago.map(|seconds| rfc3339(SystemTime::now() - Duration::from_secs(seconds)));
        WhoisQuery { address: IpAddr::from([172, 19, 0, 1]), port: Some(port), proto: None, at }
    }

    #[test]
    fn the_living_are_known_without_a_log() {
        let now = whois(query(5000, None), Some(vec![live(60)]), None).unwrap();
        assert_eq!((now.found.len(), now.notes.len()), (1, 0));
        assert_eq!(now.found[0].flow.client.as_deref(), Some("web"));
        let other = whois(query(5001, None), Some(vec![live(60)]), None).unwrap();
        assert!(other.found.is_empty() && other.notes[0].contains("no audit log"), "{other:?}");
        let lately = whois(query(5000, Some(30)), Some(vec![live(60)]), None).unwrap();
        assert!(lately.found.len() == 1 && lately.found[0].live);
        let before = whois(query(5000, Some(120)), Some(vec![live(60)]), None).unwrap();
        assert!(before.found.is_empty());
    }
}
