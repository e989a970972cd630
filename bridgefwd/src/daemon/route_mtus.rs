//! Keeping up with routes that have an MTU of their own.
//!
//! Where many routes change at once, asking for all of them again and again would keep a CPU busy: at
//! most a tenth of the time is spent on it, on a thread of its own.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use bridgefwd_common::contract::{Family, Interface};
use tokio::task::JoinHandle;

use crate::datapath::is_end;
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
            if let Some(asking) = &mut self.asking {
                let answer = asking.await.unwrap_or_else(|error| Err(io::Error::other(error)));
                self.asking = None;
                let now = Instant::now();
                self.due = now + (now - self.asked) * PAUSE;
                match answer {
                    Ok(mtus) if mtus != self.known => {
                        self.known = mtus;
                        return Ok(());
                    }
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!("cannot list routes: {error}");
                        self.stale = true;
                        self.due = now + AFTER_FAILURE;
                    }
                }
            } else if self.stale {
                tokio::time::sleep_until(self.due.into()).await;
                self.stale = false;
                self.asked = Instant::now();
                self.asking = Some(tokio::task::spawn_blocking(RouteMtus::read));
            } else {
                self.events.changed(!self.known.is_empty()).await?;
                self.stale = true;
            }
        }
    }
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
