//! Who was it? Looked up in the lines of the log, from the oldest on.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::os::unix::fs::MetadataExt as _;

use serde::Deserialize;

use super::Place;
use crate::api::events::{Event, FlowEvent, What};
use crate::api::whois::{LogSpan, Match, WhoisQuery};
use crate::failure::{Failure, Result};

/// No line of ours is longer, in bytes.
const LONGEST_LINE: u64 = 64 << 10;

/// What a log says.
#[derive(Debug)]
pub struct Findings {
    /// Flows that match, the oldest first.
    pub found: Vec<Match>,
    /// What the log reaches over.
    pub span: LogSpan,
    /// Where the time that is asked for is one without a daemon: from when to when.
    pub gap: Option<(String, String)>,
}

/// Of a line, before anything else is read of it.
#[derive(Deserialize)]
struct Time {
    time: String,
}

/// Looks through a log.
///
/// # Errors
///
/// Names the file that could not be read.
pub fn search(place: &Place, query: &WhoisQuery) -> Result<Findings> {
    let mut search = Search::new(place, query);
    let failed = |error: io::Error| {
        Failure::failed(format!("cannot read the audit log {}: {error}", place.path.display()))
    };
    for file in open_all(place).map_err(failed)? {
        search.file(BufReader::new(file)).map_err(failed)?;
    }
    Ok(search.findings())
}

/// The files, the oldest first. They are opened from the newest on: one that gets its next number
/// meanwhile is then there twice rather than not at all, and taken once.
fn open_all(place: &Place) -> io::Result<Vec<File>> {
    let mut seen = BTreeSet::new();
    let mut files = Vec::new();
    for (number, path) in place.paths().enumerate() {
        match File::open(&path) {
            Ok(file) => {
                if seen.insert(file.metadata()?.ino()) {
                    files.push(file);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && number > 0 => {}
            Err(error) => return Err(error),
        }
    }
    files.reverse();
    Ok(files)
}

struct Search<'a> {
    query: &'a WhoisQuery,
    /// How the address stands in lines that have it.
    quoted: String,
    found: Vec<Match>,
    span: LogSpan,
    gap: Option<(String, String)>,
}

impl<'a> Search<'a> {
    fn new(place: &Place, query: &'a WhoisQuery) -> Self {
        let path = place.path.display().to_string();
        let span = LogSpan { path, begins: None, ends: None, unreadable: 0 };
        let quoted = format!("\"{}\"", query.address);
        Self { query, quoted, found: Vec::new(), span, gap: None }
    }

    fn file(&mut self, mut reader: impl BufRead) -> io::Result<()> {
        let mut line = Vec::new();
        loop {
            line.clear();
            if reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            if line.last() != Some(&b'\n') && line.len() as u64 == LONGEST_LINE {
                reader.skip_until(b'\n')?;
                line.clear();
            }
            match std::str::from_utf8(&line) {
                Ok("\n") => {}
                Ok(text) => self.line(text),
                Err(_) => self.span.unreadable += 1,
            }
        }
    }

    fn line(&mut self, text: &str) {
        let Ok(Time { time }) = serde_json::from_str(text) else {
            self.span.unreadable += 1;
            return;
        };
        if text.contains("\"event\":\"started\"") {
            self.started(&time);
        }
        self.span.begins.get_or_insert_with(|| time.clone());
        self.span.ends = Some(time);
        if text.contains(&self.quoted)
            && let Ok(event) = serde_json::from_str(text)
        {
            self.event(event);
        }
    }

    /// From the last line until now nobody wrote, and what was open then may be over.
    fn started(&mut self, time: &str) {
        let Some(before) = self.span.ends.clone() else { return };
        if self.query.at.as_ref().is_some_and(|at| *before <= **at && **at < *time) {
            self.gap = Some((before.clone(), time.to_owned()));
        }
        for open in self.found.iter_mut().filter(|known| is_open(known)) {
            open.known_until = Some(before.clone());
        }
    }

    fn event(&mut self, event: Event) {
        let Event { time, what } = event;
        match what {
            What::Opened(flow) if self.asks(&flow) => {
                // One that opens while the daemon starts may have been listed as there before.
                let known = self.found.iter_mut().rev().filter(|known| is_open(known));
                if !same(known, &flow).is_some_and(|known| near(&known.opened, &time)) {
                    self.open(flow, time);
                }
            }
            What::Present(present) if self.asks(&present.flow) => {
                let known = self.found.iter_mut().rev();
                let known = known.filter(|known| known.closed.is_none());
                match same(known, &present.flow)
                    .filter(|known| near(&known.opened, &present.opened))
                {
                    Some(known) => known.known_until = None,
                    None => self.open(present.flow, present.opened),
                }
            }
            What::Closed(closed) if self.asks(&closed.flow) => {
                let known = self.found.iter_mut().rev().filter(|known| is_open(known));
                if same(known, &closed.flow).is_none() {
                    self.open(closed.flow.clone(), closed.opened);
                }
                let known = self.found.iter_mut().rev().filter(|known| is_open(known));
                if let Some(known) = same(known, &closed.flow) {
                    known.closed = Some(time);
                    // The clock of packets is a little behind.
                    known.last_packet = Some(closed.last_packet.max(known.opened.clone()));
                }
            }
            _ => {}
        }
    }

    fn open(&mut self, flow: FlowEvent, opened: String) {
        self.found.push(Match {
            flow,
            opened,
            closed: None,
            last_packet: None,
            live: false,
            known_until: None,
        });
    }

    fn asks(&self, flow: &FlowEvent) -> bool {
        asks(self.query, flow)
    }

    fn findings(self) -> Findings {
        let Self { query, mut found, span, gap, .. } = self;
        if let Some(at) = &query.at {
            found.retain(|known| {
                let closed = known.closed.as_ref();
                known.opened <= *at && closed.is_none_or(|closed| closed >= at)
            });
        }
        Findings { found, span, gap }
    }
}

/// Is that what is asked for?
#[must_use]
pub fn asks(query: &WhoisQuery, flow: &FlowEvent) -> bool {
    flow.translated.src == query.address
        && query.port.is_none_or(|port| port == flow.translated.src_port)
        && query.proto.as_ref().is_none_or(|proto| *proto == flow.proto)
}

fn is_open(known: &Match) -> bool {
    known.closed.is_none() && known.known_until.is_none()
}

fn same<'a>(
    mut known: impl Iterator<Item = &'a mut Match>,
    flow: &FlowEvent,
) -> Option<&'a mut Match> {
    known.find(|known| {
        known.flow.proto == flow.proto
            && known.flow.original == flow.original
            && known.flow.translated == flow.translated
    })
}

/// Are two times less than a second apart? The one of a flow is kept in steps.
fn near(one: &str, other: &str) -> bool {
    let parsed = [one, other].map(|text| humantime::parse_rfc3339(text).ok());
    let [Some(one), Some(other)] = parsed else { return false };
    let apart = one.duration_since(other).unwrap_or_else(|error| error.duration());
    apart.as_millis() < 1000
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::time::{Duration, SystemTime};

    use tempfile::{TempDir, tempdir};

    use super::*;
    use crate::api::events::{Closed, Present, rfc3339};
    use crate::api::types::{BothWays, FlowTuple};

    fn time(seconds: u64) -> String {
        rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds))
    }

    /// A flow of a client, by port 5000 of 172.19.0.1.
    fn flow(client: u8, server: u8) -> FlowEvent {
        let tuple = |src: [u8; 4]| FlowTuple {
            src: src.into(),
            src_port: 5000,
            dst: [172, 19, 0, server].into(),
            dst_port: 80,
        };
        FlowEvent {
            from: Some("front".into()),
            to: Some("db".into()),
            port: None,
            proto: "tcp".into(),
            nat: "masquerade".into(),
            client: None,
            server: None,
            original: tuple([172, 18, 0, client]),
            translated: tuple([172, 19, 0, 1]),
        }
    }

    fn opened(at: u64, flow: FlowEvent) -> Event {
        Event { time: time(at), what: What::Opened(flow) }
    }

    fn closed(at: u64, from: u64, flow: FlowEvent) -> Event {
        let what = What::Closed(Closed {
            flow,
            reason: "idle".into(),
            state: "established".into(),
            opened: time(from),
            last_packet: time(at - 1),
            packets: BothWays::default(),
            bytes: BothWays::default(),
        });
        Event { time: time(at), what }
    }

    fn started(at: u64) -> Event {
        Event { time: time(at), what: What::Started { pid: 1 } }
    }

    fn present(at: u64, from: u64, flow: FlowEvent) -> Event {
        Event { time: time(at), what: What::Present(Present { flow, opened: time(from) }) }
    }

    fn log(events: &[Event]) -> (TempDir, Place) {
        let folder = tempdir().unwrap();
        let path: PathBuf = folder.path().join("audit.jsonl");
        let lines: String = events.iter().map(Event::line).collect();
        fs::write(&path, lines).unwrap();
        (folder, Place { path, file_size: 1 << 20, files: 3 })
    }

    fn asked(place: &Place, at: Option<u64>) -> Findings {
        let query = WhoisQuery {
            address: [172, 19, 0, 1].into(),
            port: Some(5000),
            proto: None,
            at: at.map(time),
        };
        search(place, &query).unwrap()
    }

    fn clients(findings: &Findings) -> Vec<String> {
        findings.found.iter().map(|known| known.flow.original.src.to_string()).collect()
    }

    #[test]
    fn the_one_who_had_it_at_that_time() {
        let (_folder, place) = log(&[
            started(0),
            opened(10, flow(2, 2)),
            closed(20, 10, flow(2, 2)),
            opened(30, flow(3, 2)),
            closed(40, 30, flow(3, 2)),
            opened(50, flow(4, 2)),
        ]);
        for (at, who) in
            [(15, &["172.18.0.2"][..]), (35, &["172.18.0.3"]), (45, &[]), (60, &["172.18.0.4"])]
        {
            assert_eq!(clients(&asked(&place, Some(at))), who, "at {at}");
        }
        assert_eq!(clients(&asked(&place, Some(5))), [""; 0]);
        let all = asked(&place, None);
        assert_eq!(clients(&all), ["172.18.0.2", "172.18.0.3", "172.18.0.4"]);
        assert_eq!(all.found[0].closed, Some(time(20)));
        assert_eq!((all.span.begins, all.span.ends), (Some(time(0)), Some(time(50))));
    }

    #[test]
    fn two_servers_may_see_the_same_port_at_one_time() {
        let (_folder, place) = log(&[opened(10, flow(2, 2)), opened(11, flow(3, 3))]);
        assert_eq!(clients(&asked(&place, Some(12))), ["172.18.0.2", "172.18.0.3"]);
    }

    #[test]
    fn a_flow_that_began_before_the_log_is_known_by_its_end() {
        let (_folder, place) = log(&[closed(20, 10, flow(2, 2))]);
        assert_eq!(clients(&asked(&place, Some(15))), ["172.18.0.2"]);
        assert_eq!(clients(&asked(&place, Some(5))), [""; 0]);
    }

    #[test]
    fn a_flow_that_opens_while_the_daemon_starts_is_one() {
        let (_folder, place) =
            log(&[started(10), present(10, 10, flow(2, 2)), opened(10, flow(2, 2))]);
        assert_eq!(clients(&asked(&place, None)), ["172.18.0.2"]);
        let (_folder, place) = log(&[
            opened(10, flow(2, 2)),
            closed(11, 10, flow(2, 2)),
            opened(11, flow(2, 2)),
            closed(20, 11, flow(2, 2)),
        ]);
        assert_eq!(clients(&asked(&place, None)).len(), 2, "one after the other are two");
    }

    #[test]
    fn nobody_knows_what_ends_while_no_daemon_runs() {
        let (_folder, place) = log(&[
            opened(10, flow(2, 2)),
            opened(11, flow(3, 3)),
            started(100),
            present(100, 11, flow(3, 3)),
            closed(110, 11, flow(3, 3)),
        ]);
        let gap = asked(&place, Some(50));
        assert_eq!(clients(&gap), ["172.18.0.2", "172.18.0.3"]);
        assert_eq!(gap.gap, Some((time(11), time(100))));
        assert_eq!(gap.found[0].known_until, Some(time(11)));
        assert_eq!((&gap.found[1].known_until, &gap.found[1].closed), (&None, &Some(time(110))));
        assert_eq!(asked(&place, Some(105)).gap, None);
    }

    #[test]
    fn what_is_no_line_of_ours_is_counted_and_passed_over() {
        let (_folder, place) = log(&[opened(10, flow(2, 2))]);
        let mut text = fs::read(&place.path).unwrap();
        text.extend_from_slice(b"\xff\xfe\n{\"time\":\n\nnonsense\n{\"event\":\"opened\"}\n");
        text.extend(std::iter::repeat_n(b'x', 200_000));
        text.push(b'\n');
        text.extend_from_slice(opened(12, flow(3, 3)).line().as_bytes());
        text.extend_from_slice(&opened(13, flow(4, 4)).line().as_bytes()[..40]);
        fs::write(&place.path, text).unwrap();
        let findings = asked(&place, None);
        assert_eq!(clients(&findings), ["172.18.0.2", "172.18.0.3"]);
        assert_eq!(findings.span.unreadable, 6);
    }

    #[test]
    fn older_files_are_looked_through_first() {
        let (_folder, place) = log(&[opened(50, flow(4, 2))]);
        fs::rename(&place.path, place.paths().nth(1).unwrap()).unwrap();
        fs::write(&place.path, closed(60, 50, flow(4, 2)).line()).unwrap();
        let findings = asked(&place, Some(55));
        assert_eq!(findings.found.len(), 1);
        assert_eq!(findings.found[0].closed, Some(time(60)));
        fs::remove_file(&place.path).unwrap();
        let query = WhoisQuery { address: [1, 2, 3, 4].into(), port: None, proto: None, at: None };
        let why = search(&place, &query).unwrap_err().to_string();
        assert!(why.contains("audit.jsonl"), "{why}");
    }
}
