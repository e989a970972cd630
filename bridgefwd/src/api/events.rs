//! The documents of `GET /v1/events`, one a line: what happens, as it happens. Those of the audit log
//! are the same.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::types::{BothWays, FlowTuple};

/// Something that happened.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Event {
    /// When: RFC 3339, in UTC.
    pub time: String,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// The first line that a listener gets: from now on everything is told.
    Listening {
        /// Process id of the daemon.
        pid: u32,
    },
    /// A daemon started; the audit log alone has it.
    Started {
        /// Its process id.
        pid: u32,
    },
    /// The daemon ends; flows go on, and nobody tells of them.
    Stopped {
        /// Its process id.
        pid: u32,
    },
    /// A flow was opened.
    Opened(FlowEvent),
    /// A flow that was there when the daemon started; the audit log alone has it.
    Present(Present),
    /// A flow is over and forgotten.
    Closed(Closed),
    /// Packets were refused.
    Refused(Refused),
    /// More was refused than is told one by one.
    Untold(Untold),
    /// A pair was listed, changed, or taken off the list.
    Pair(PairEvent),
    /// An interface is managed from now on, or not any more.
    Interface(InterfaceEvent),
    /// A setting has changed.
    Setting {
        /// Its name, as in the configuration file.
        name: String,
        /// What it was.
        from: Option<String>,
        /// What it is.
        to: Option<String>,
    },
}

/// Which flow.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct FlowEvent {
    /// The end that opened it; null for the host itself.
    pub from: Option<String>,
    /// The end that answers.
    pub to: Option<String>,
    /// The bridge port that its first packet came by; null where it came by none.
    pub port: Option<String>,
    /// As in `flows`.
    pub proto: String,
    /// As in `flows`.
    pub nat: String,
    /// The container that opened it, where that is known.
    pub client: Option<String>,
    /// The container that answers, likewise.
    pub server: Option<String>,
    /// As the client sent it.
    pub original: FlowTuple,
    /// As the server sees it.
    pub translated: FlowTuple,
}

/// A flow that was there already.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Present {
    /// Which one.
    #[serde(flatten)]
    pub flow: FlowEvent,
    /// When it was opened.
    pub opened: String,
}

/// The end of a flow.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Closed {
    /// Which one.
    #[serde(flatten)]
    pub flow: FlowEvent,
    /// Why: `closed` and `reset` by its own packets; `idle` for want of packets; `cut` by a change of
    /// its pair; `unanswered` where no answer ever came; `gone` where its address or end has gone.
    pub reason: String,
    /// The state that it ended in.
    pub state: String,
    /// When it was opened.
    pub opened: String,
    /// When its last packet came.
    pub last_packet: String,
    /// Packets forwarded.
    pub packets: BothWays,
    /// Bytes forwarded, Ethernet headers included.
    pub bytes: BothWays,
}

/// Packets that were refused: of one source, for one reason, since that was told last.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Refused {
    /// The reason, as in `stats`.
    pub reason: String,
    /// The end that they came in by.
    pub from: Option<String>,
    /// The bridge port that they came by; null where they came by none.
    pub port: Option<String>,
    /// The container that sent the one below, where that is known.
    pub client: Option<String>,
    /// Protocol of one of them; null where it has none that could be read.
    pub proto: Option<String>,
    /// Addresses of that one, likewise.
    pub example: Option<FlowTuple>,
    /// How many.
    pub packets: u64,
    /// Bytes of them, Ethernet headers included.
    pub bytes: u64,
}

/// What there was no room for.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Untold {
    /// Packets that were refused.
    pub refused_packets: u64,
    /// Of how many sources and reasons.
    pub refused_sources: u64,
    /// Flows opened or closed.
    pub flows: u64,
    /// Events that this listener was too slow for.
    pub missed: u64,
}

/// A pair as it is now.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PairEvent {
    /// The end that opens flows.
    pub from: String,
    /// The end that answers.
    pub to: String,
    /// `allowed`, `denied` or `cleared`.
    pub state: String,
    /// As in `pair list`; null where it was cleared.
    pub nat: Option<String>,
    /// Likewise.
    pub nat6: Option<String>,
    /// Likewise.
    pub mapping: Option<String>,
    /// Does it drain?
    pub drain: bool,
}

/// An interface.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct InterfaceEvent {
    /// What it is known by.
    pub name: String,
    /// `bridge`, `network`, `uplink` or `port`.
    pub kind: String,
    /// The end that a port is of.
    pub of: Option<String>,
    /// `managed` or `gone`.
    pub state: String,
}

impl Event {
    /// Now.
    #[must_use]
    pub fn now(what: What) -> Self {
        Self::at(SystemTime::now(), what)
    }

    /// At that time.
    #[must_use]
    pub fn at(time: SystemTime, what: What) -> Self {
        Self { time: rfc3339(time), what }
    }

    /// What it is called in JSON.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match &self.what {
            What::Listening { .. } => "listening",
            What::Started { .. } => "started",
            What::Stopped { .. } => "stopped",
            What::Opened(_) => "opened",
            What::Present(_) => "present",
            What::Closed(_) => "closed",
            What::Refused(_) => "refused",
            What::Untold(_) => "untold",
            What::Pair(_) => "pair",
            What::Interface(_) => "interface",
            What::Setting { .. } => "setting",
        }
    }

    /// As a line of JSON, with its newline. No text in it can end the line: JSON escapes them.
    #[must_use]
    pub fn line(&self) -> String {
        // Strings and numbers can always be written.
        let mut line = serde_json::to_string(self).unwrap_or_default();
        line.push('\n');
        line
    }
}

/// A time as events have it.
#[must_use]
pub fn rfc3339(time: SystemTime) -> String {
    // Before 1970, and after 9999, there are none.
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    humantime::format_rfc3339_micros(time.clamp(SystemTime::UNIX_EPOCH, last)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_it_says() {
        let odd = "a\nb\u{1b}[2J\u{2028}\"";
        let what = What::Interface(InterfaceEvent {
            name: odd.into(),
            kind: "port".into(),
            of: None,
            state: "managed".into(),
        });
        let time = SystemTime::UNIX_EPOCH + Duration::from_micros(1_500_000);
        let event = Event::at(time, what);
        let line = event.line();
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.starts_with(r#"{"time":"1970-01-01T00:00:01.500000Z","event":"interface","#));
        assert!(!line.contains('\u{1b}'), "{line}");
        assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event);
        assert_eq!(event.name(), "interface");
    }
}
