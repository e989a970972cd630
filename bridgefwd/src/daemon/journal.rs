//! What happens, for those who want to hear it: listeners of the API, and the audit log. While there
//! are none, the program tells nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bridgefwd_common::contract::EventControl;
use tokio::sync::broadcast;

use super::traced::Traces;
use crate::api::events::{Event, What};
use crate::audit::Log;
use crate::datapath::events::Control;
use crate::datapath::now_exact_ns;

/// How many events a listener may be behind before it misses some.
const BACKLOG: usize = 4096;
/// How long the program tells what happens after it was asked to: it is asked again each second.
const LEASE: Duration = Duration::from_secs(5);

/// Hands on what happens. Copies are of the same one.
#[derive(Clone)]
pub struct Journal(Arc<Inner>);

struct Inner {
    sender: broadcast::Sender<Arc<Event>>,
    traces: Traces,
    told: Mutex<Told>,
    failing: AtomicBool,
}

/// What tells, and what is told to.
#[derive(Default)]
struct Told {
    control: Option<Control>,
    log: Option<Log>,
}

impl Default for Journal {
    /// One that the program tells nothing.
    fn default() -> Self {
        Self::new(None, None)
    }
}

impl Journal {
    /// With what the program is told by, and where it is written to.
    #[must_use]
    pub fn new(control: Option<Control>, log: Option<Log>) -> Self {
        let sender = broadcast::Sender::new(BACKLOG);
        let told = Mutex::new(Told { control, log });
        let (traces, failing) = (Traces::default(), AtomicBool::new(false));
        Self(Arc::new(Inner { sender, traces, told, failing }))
    }

    /// Hears all that happens from now on.
    pub fn listen(&self) -> broadcast::Receiver<Arc<Event>> {
        let receiver = self.0.sender.subscribe();
        self.renew();
        receiver
    }

    /// Does anybody want to hear?
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.0.sender.receiver_count() > 0
            || self.0.traces.wanted().is_some()
            || self.told().log.is_some()
    }

    /// What is told of packets that are traced.
    #[must_use]
    pub fn traces(&self) -> &Traces {
        &self.0.traces
    }

    /// Has the program tell what happens for a while longer, or no more. To be called every second.
    pub fn renew(&self) {
        let heard = self.is_heard();
        let mut told = self.told();
        let lease = u64::try_from(LEASE.as_nanos()).unwrap_or_default();
        let until_ns = if heard { now_exact_ns().saturating_add(lease) } else { 0 };
        let traced = self.0.traces.wanted();
        let [trace, trace_other] = traced.unwrap_or_default();
        let trace_until_ns = if traced.is_some() { until_ns } else { 0 };
        let wanted = EventControl { until_ns, trace_until_ns, trace, trace_other };
        if let Some(control) = &mut told.control
            && let Err(error) = control.set(wanted)
        {
            tracing::warn!("the program cannot be told what to tell: {error}");
        }
    }

    /// Tells one thing.
    pub fn tell(&self, what: What) {
        self.tell_all(vec![Event::now(what)]);
    }

    /// Tells several, in order.
    pub fn tell_all(&self, events: Vec<Event>) {
        if events.is_empty() {
            return;
        }
        self.write(&events);
        for event in events {
            // Nobody listening is nobody's problem.
            let _ = self.0.sender.send(Arc::new(event));
        }
    }

    /// Writes something that nobody but the log wants to know.
    pub fn note(&self, events: &[Event]) {
        self.write(events);
    }

    /// Is there a log?
    #[must_use]
    pub fn has_log(&self) -> bool {
        self.told().log.is_some()
    }

    /// What an operator should know.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let told = self.told();
        let log = told.log.as_ref().filter(|_| self.0.failing.load(Ordering::Relaxed))?;
        Some(format!(
            "the audit log {} cannot be written; what happens meanwhile is not in it",
            log.path().display()
        ))
    }

    fn write(&self, events: &[Event]) {
        let mut told = self.told();
        let Some(log) = &mut told.log else { return };
        let written = log.append(events);
        let failed_before = self.0.failing.swap(written.is_err(), Ordering::Relaxed);
        match written {
            Err(error) if !failed_before => tracing::warn!("{error}"),
            Ok(()) if failed_before => {
                tracing::info!("the audit log {} can be written again", log.path().display());
            }
            _ => {}
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
