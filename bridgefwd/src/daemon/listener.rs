//! One listener to what happens: the lines that it gets.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::time::timeout;

use super::journal::Journal;
use crate::api::events::{Event, Untold, What};

/// How long to wait for the last word of a daemon that is going.
const LAST_WORD: Duration = Duration::from_millis(500);

struct Listener {
    first: Option<Event>,
    events: broadcast::Receiver<Arc<Event>>,
    stop: watch::Receiver<bool>,
    /// Is the daemon going? What it still tells is still sent.
    ending: bool,
    /// Was its last word sent?
    ended: bool,
}

/// The lines of a new listener, until `stop` turns true and the last word is said.
pub fn lines(
    journal: &Journal,
    stop: watch::Receiver<bool>,
) -> impl Stream<Item = Result<String, Infallible>> + Send + use<> {
    let events = journal.listen();
    let first = Some(Event::now(What::Listening { pid: std::process::id() }));
    let listener = Listener { first, events, stop, ending: false, ended: false };
    unfold(listener, async |mut listener| {
        let line = listener.next().await?.line();
        Some((Ok(line), listener))
    })
}

impl Listener {
    async fn next(&mut self) -> Option<Event> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        if self.ended {
            return None;
        }
        let event = loop {
            if self.ending {
                break timeout(LAST_WORD, self.events.recv()).await.ok()?;
            }
            tokio::select! {
                biased;
                received = self.events.recv() => break received,
                _ = self.stop.wait_for(|stop| *stop) => self.ending = true,
            }
        };
        match event {
            Ok(event) => {
                self.ended = matches!(event.what, What::Stopped { .. });
                Some(Arc::unwrap_or_clone(event))
            }
            Err(RecvError::Lagged(missed)) => {
                Some(Event::now(What::Untold(Untold { missed, ..Untold::default() })))
            }
            Err(RecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn a_slow_listener_hears_how_much_it_missed_and_the_last_word() {
        let journal = Journal::default();
        let (stop, stopped) = watch::channel(false);
        let mut lines = Box::pin(lines(&journal, stopped));
        for pid in 0..5000 {
            journal.tell(What::Started { pid });
        }
        let first = lines.next().await.unwrap().unwrap();
        assert!(first.contains("\"event\":\"listening\""), "{first}");
        let missed = lines.next().await.unwrap().unwrap();
        assert!(missed.contains("\"missed\":904"), "{missed}");
        stop.send_replace(true);
        let rest: Vec<_> = lines.map(Result::unwrap).collect().await;
        assert_eq!(rest.len(), 4096);
        assert!(rest[4095].contains("\"pid\":4999"), "{}", rest[4095]);
        assert!(!journal.is_heard());
    }
}
