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
#[path = "search_tests.rs"]
mod tests;
