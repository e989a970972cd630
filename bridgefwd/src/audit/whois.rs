//! The answer to who was behind an address and port: first of the flows that are alive, then of the log.

use std::time::{Duration, SystemTime};

use super::Place;
use super::search::{Findings, asks, search};
use crate::api::events::{FlowEvent, rfc3339};
use crate::api::types::Flow;
use crate::api::whois::{Match, Whois, WhoisQuery};
use crate::failure::{Failure, Result};

/// Looks it up. `live` are the flows that are alive; `None` where nobody knows them.
///
/// # Errors
///
/// Where the log cannot be read.
pub fn whois(query: WhoisQuery, live: Option<Vec<Flow>>, log: Option<&Place>) -> Result<Whois> {
    let now = SystemTime::now();
    let live_known = live.is_some();
    let alive = live.into_iter().flatten().map(|flow| of_live(flow, now));
    let found: Vec<_> = alive
        .filter(|known| asks(&query, &known.flow))
        .filter(|known| query.at.as_ref().is_none_or(|at| known.opened <= *at))
        .collect();
    // Somebody who has it now need not have had it then, besides another one.
    let needs_log = query.at.is_some() || found.is_empty();
    let mut answer = match log.filter(|_| needs_log) {
        Some(place) => with_log(query, found, place)?,
        None => Whois { query, found, log: None, notes: Vec::new() },
    };
    if needs_log && log.is_none() {
        answer.notes.push(
            "there is no audit log, so only flows that are alive are known: give [audit] a path in \
             the configuration"
                .into(),
        );
    }
    if !live_known {
        answer.notes.push("the flows that are alive were not looked at".into());
    }
    Ok(answer)
}

/// Looks it up in a log alone: one of another host, say.
///
/// # Errors
///
/// Where the log cannot be read, or is none.
pub fn whois_in(query: WhoisQuery, log: &Place) -> Result<Whois> {
    let answer = with_log(query, Vec::new(), log)?;
    let unread = answer.log.as_ref().filter(|log| log.begins.is_none() && log.unreadable > 0);
    match unread {
        Some(log) => Err(Failure::failed(format!(
            "{} is no audit log of bridgefwd: none of its {} lines is an event",
            log.path, log.unreadable
        ))),
        None => Ok(answer),
    }
}

/// With what the log has beside those found already.
fn with_log(query: WhoisQuery, mut found: Vec<Match>, place: &Place) -> Result<Whois> {
    let Findings { found: mut logged, span: log, gap } = search(place, &query)?;
    logged.retain(|known| !found.iter().any(|alive| is_same(alive, known)));
    if query.at.is_none() {
        // Not now: who had it last?
        let last = logged.iter().map(|known| known.last_known().to_owned()).max();
        logged.retain(|known| last.as_deref() == Some(known.last_known()));
    }
    found.extend(logged);
    let notes = of_log(&query, found.is_empty(), &log.begins, gap);
    Ok(Whois { query, found, log: Some(log), notes })
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
    use crate::api::events::{Event, What};
    use crate::api::types::{BothWays, FlowTuple};
    use crate::audit::Log;

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

    #[test]
    fn another_hosts_log_is_all_that_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(folder.path().join("audit.jsonl"), 1);
        let mut log = Log::open(place.clone()).unwrap();
        let Match { flow, .. } = of_live(live(1), SystemTime::now());
        log.append(&[Event::now(What::Opened(flow))]).unwrap();
        let known = whois_in(query(5000, None), &place).unwrap();
        assert_eq!((known.found.len(), known.notes.len()), (1, 0), "{known:?}");
        let nobody = whois_in(query(5001, None), &place).unwrap();
        assert!(nobody.found.is_empty() && nobody.notes[0].contains("begins at"), "{nobody:?}");
        let missing = Place::new(folder.path().join("none"), 1);
        let failure = whois_in(query(5000, None), &missing).unwrap_err().to_string();
        assert!(failure.contains("/none: No such file"), "{failure}");
        let other = Place::new(folder.path().join("other"), 1);
        std::fs::write(&other.path, "Nov 25 sshd[1]: hello\n{}\n").unwrap();
        let failure = whois_in(query(5000, None), &other).unwrap_err().to_string();
        assert!(failure.contains("none of its 2 lines is an event"), "{failure}");
    }
}
