//! Whose packets are traced, and who hears what the program says of them. One conversation at a time: the
//! program compares with two addresses.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use bridgefwd_common::Reason;
use bridgefwd_common::contract::{Address, EVENT_OPENED, FlowRecord, PacketRecord};
use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

use super::journal::Journal;
use crate::api::trace::{Ended, Opened, Told, TraceQuery};
use crate::datapath;
use crate::failure::{Failure, Result};

/// How many lines a listener may be behind before it misses some.
const BACKLOG: usize = 4096;

/// What the program says of traced packets.
pub struct Traces {
    sender: broadcast::Sender<Arc<Told>>,
    of: Mutex<[Address; 2]>,
}

impl Default for Traces {
    fn default() -> Self {
        Self { sender: broadcast::Sender::new(BACKLOG), of: Mutex::default() }
    }
}

impl Traces {
    /// Whose packets are traced, where somebody listens.
    #[must_use]
    pub fn wanted(&self) -> Option<[Address; 2]> {
        let of = *self.of.lock().unwrap_or_else(PoisonError::into_inner);
        (self.sender.receiver_count() > 0).then_some(of)
    }

    /// Hears of the packets of two addresses.
    fn listen(&self, query: TraceQuery) -> Result<broadcast::Receiver<Arc<Told>>> {
        let mut wanted = [query.a, query.b].map(Address::from);
        wanted.sort_unstable();
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if self.sender.receiver_count() > 0 && *of != wanted {
            let [a, b] = of.map(std::net::IpAddr::from);
            return Err(Failure::failed(format!(
                "somebody traces {a} and {b} already, and the program follows two addresses at a \
                 time: wait until that has ended"
            )));
        }
        *of = wanted;
        Ok(self.sender.subscribe())
    }

    /// Tells of a packet that ended.
    pub fn ended(&self, record: &PacketRecord) {
        if self.wanted().is_none() {
            return;
        }
        let captured = usize::try_from(record.captured).unwrap_or_default();
        let mut headers = String::new();
        for byte in record.headers.get(..captured).unwrap_or_default() {
            let _ = write!(headers, "{byte:02x}");
        }
        self.tell(Told::Ended(Ended {
            time_ns: record.time_ns,
            reason: Reason::from_number(record.reason).map_or("unknown", Reason::name).into(),
            ifindex: record.ifindex,
            headers,
        }));
    }

    /// Tells of a flow, where it was opened now and is of those that are traced.
    pub fn flow(&self, record: &FlowRecord) {
        let Some(wanted) = self.wanted().filter(|_| record.kind == EVENT_OPENED) else { return };
        let (original, translated) = (record.flow.original(), record.flow.translated());
        let parties = [original.src, original.dst, translated.src, translated.dst];
        if parties.iter().any(|party| wanted.contains(party)) {
            self.tell(Told::Opened(Opened {
                time_ns: record.time_ns,
                protocol: record.flow.protocol,
                original: datapath::tuple(original),
                translated: datapath::tuple(translated),
            }));
        }
    }

    fn tell(&self, told: Told) {
        // Nobody listening is nobody's problem.
        let _ = self.sender.send(Arc::new(told));
    }
}

/// The lines of a new listener, until it goes or `stop` turns true.
///
/// # Errors
///
/// Somebody traces others.
pub fn lines(
    journal: &Journal,
    query: TraceQuery,
    stop: watch::Receiver<bool>,
) -> Result<impl Stream<Item = std::result::Result<String, Infallible>> + Send + use<>> {
    let told = journal.traces().listen(query)?;
    journal.renew();
    let first = Some(Told::Listening { pid: std::process::id() });
    Ok(unfold((first, told, stop), async |(first, mut told, mut stop)| {
        let next = match first {
            Some(first) => first,
            None => tokio::select! {
                biased;
                received = told.recv() => match received {
                    Ok(told) => Arc::unwrap_or_clone(told),
                    Err(RecvError::Lagged(lines)) => Told::Missed { lines },
                    Err(RecvError::Closed) => return None,
                },
                _ = stop.wait_for(|stop| *stop) => return None,
            },
        };
        // Strings and numbers can always be written.
        let line = serde_json::to_string(&next).unwrap_or_default() + "\n";
        Some((Ok(line), (None, told, stop)))
    }))
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;
    use futures_util::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn one_conversation_at_a_time_and_nobody_is_told_of_without_a_listener() {
        let journal = Journal::default();
        let (_stop, stopped) = watch::channel(false);
        let query = |b: u8| TraceQuery { a: [10, 0, 0, 1].into(), b: [10, 0, 0, b].into() };
        assert_eq!(journal.traces().wanted(), None);
        let first = lines(&journal, query(2), stopped.clone()).unwrap();
        let same = lines(&journal, TraceQuery { a: query(2).b, b: query(2).a }, stopped.clone());
        assert!(same.is_ok());
        let other = lines(&journal, query(3), stopped.clone()).map(drop).unwrap_err();
        assert!(other.to_string().contains("10.0.0.1 and 10.0.0.2"), "{other}");
        assert!(journal.is_heard());
        drop(same);
        let mut record = PacketRecord { captured: 3, reason: 1, ..PacketRecord::zeroed() };
        record.headers[2] = 0xab;
        journal.traces().ended(&record);
        let heard: Vec<_> =
            Box::pin(first).take(2).map(std::result::Result::unwrap).collect().await;
        assert!(heard[0].contains("listening") && heard[1].contains("\"0000ab\""), "{heard:?}");
        assert_eq!(journal.traces().wanted(), None);
        assert!(lines(&journal, query(3), stopped).is_ok());
    }
}
