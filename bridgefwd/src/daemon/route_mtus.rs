//! Keeping up with routes that have an MTU of their own.
//!
//! Where many routes change at once, asking for all of them again and again would keep a CPU busy: at
//! most a tenth of the time is spent on it, on a thread of its own.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use bridgefwd_common::contract::{Family, Interface};
use tokio::task::JoinHandle;

use super::state::State;
use crate::datapath::is_end;
use crate::failure::Result;
use crate::host::routes::{RouteEvents, RouteMtus};

/// The pause after asking is that many times as long as the asking took.
const PAUSE: u32 = 9;
/// How long to wait where the kernel gave no answer.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Follows the routes' MTUs.
#[derive(Debug)]
pub struct RouteWatch {
    events: RouteEvents,
    known: RouteMtus,
    /// May what is known be wrong?
    stale: bool,
    /// When to ask again, at the earliest.
    due: Instant,
    asked: Instant,
    asking: Option<JoinHandle<io::Result<RouteMtus>>>,
}

impl RouteWatch {
    /// Listens, and asks for the first time.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn start() -> io::Result<Self> {
        // First, so that no change falls between.
        let events = RouteEvents::listen()?;
        let asked = Instant::now();
        let known = RouteMtus::read()?;
        let due = Instant::now() + asked.elapsed() * PAUSE;
        Ok(Self { events, known, stale: false, due, asked, asking: None })
    }

    /// The MTUs as far as they are known.
    #[must_use]
    pub const fn known(&self) -> &RouteMtus {
        &self.known
    }

    /// To be told that interfaces or addresses changed: routes go with them, not all with a word.
    pub fn interfaces_changed(&mut self) {
        self.stale |= !self.known.is_empty();
    }

    /// Waits until the MTUs have changed. Nothing is lost where this is given up before it is done.
    ///
    /// # Errors
    ///
    /// Where the socket is broken; start anew.
    pub async fn next(&mut self) -> io::Result<()> {
        loop {
            let before = self.known.clone();
            tokio::select! {
                news = self.events.changed(&mut self.known) => {
                    self.stale = true;
                    news?;
                }
                answer = answer(&mut self.asking) => {
                    self.asking = None;
                    self.take_in(answer);
                }
                () = tokio::time::sleep_until(self.due.into()),
                    if self.stale && self.asking.is_none() =>
                {
                    self.stale = false;
                    self.asked = Instant::now();
                    self.asking = Some(tokio::task::spawn_blocking(RouteMtus::read));
                }
            }
            if self.known != before {
                return Ok(());
            }
        }
    }

    fn take_in(&mut self, answer: io::Result<RouteMtus>) {
        let now = Instant::now();
        self.due = now + (now - self.asked) * PAUSE;
        match answer {
            // The answer may be older than the news that came meanwhile.
            Ok(mtus) if self.stale => self.known.merge(&mtus),
            Ok(mtus) => self.known = mtus,
            Err(error) => {
                tracing::warn!("cannot list routes: {error}");
                self.stale = true;
                self.due = now + AFTER_FAILURE;
            }
        }
    }
}

/// Waits for the answer to the question that is being asked; for ever where none is.
async fn answer(asking: &mut Option<JoinHandle<io::Result<RouteMtus>>>) -> io::Result<RouteMtus> {
    match asking {
        Some(asking) => asking.await.unwrap_or_else(|error| Err(io::Error::other(error))),
        None => std::future::pending().await,
    }
}

/// Makes the data path follow the MTUs of routes, and nothing else: that is done at once.
///
/// # Errors
///
/// The kernel's error.
pub fn follow(state: &mut State, mtus: &RouteMtus) -> Result<()> {
    state.route_mtus = mtus.clone();
    let mut entries = state.datapath.interfaces().clone();
    enter(mtus, &mut entries);
    state.datapath.rewrite_entries(&entries)?;
    state.datapath.note_smallest_route_mtu()
}

/// Writes the MTUs of routes into the entries of the ends, where they are smaller than the ends' own.
pub fn enter(mtus: &RouteMtus, entries: &mut BTreeMap<u32, Interface>) {
    for (&ifindex, entry) in entries.iter_mut().filter(|(_, entry)| is_end(entry)) {
        let smallest = |family| {
            mtus.smallest(family, ifindex).filter(|&mtu| mtu < entry.mtu).unwrap_or_default()
        };
        (entry.route_mtu, entry.route_mtu_v6) = (smallest(Family::V4), smallest(Family::V6));
    }
}
