//! A little traffic in every direction, so that the live view has something to show.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::probe;
use super::topology::{self, LabHost};
use crate::failure::{Failure, Result};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_millis(400);

/// Time between two requests in one direction.
const PAUSE: Duration = Duration::from_millis(300);

/// Requests by HTTP, UDP and ICMP in turn from each bridge to each other, until dropped.
pub struct Load(Arc<AtomicBool>);

impl Load {
    /// Begins.
    ///
    /// # Errors
    /// A thread could not be started.
    pub fn start() -> Result<Self> {
        let load = Self(Arc::new(AtomicBool::new(false)));
        for (from, to) in topology::directions() {
            let (Some(client), Some(server)) = (from.first_host(), to.first_host()) else {
                continue;
            };
            let stop = Arc::clone(&load.0);
            thread::Builder::new()
                .name(format!("load {}", client.name))
                .spawn(move || ask_on(client, server, &stop))
                .map_err(|error| Failure::failed(format!("cannot start a thread: {error}")))?;
        }
        Ok(load)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // The threads are not waited for: they hold nothing that outlives their last request.
        self.0.store(true, Ordering::Release);
    }
}

fn ask_on(from: &LabHost, to: &LabHost, stop: &AtomicBool) {
    let questions: [fn(&LabHost, &LabHost); 3] = [
        // Whether an answer comes is what the live view shows.
        |from, to| drop(probe::http(from, to, PATIENCE)),
        |from, to| drop(probe::udp(from, to, PATIENCE)),
        |from, to| drop(probe::ping(from, to, PATIENCE)),
    ];
    for ask in questions.iter().cycle() {
        if stop.load(Ordering::Acquire) {
            return;
        }
        ask(from, to);
        thread::sleep(PAUSE);
    }
}
