//! Somebody who listens to what bridgefwd tells: `bridgefwd events --json`, as a user runs it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bridgefwd::Bridgefwd;
use crate::namespaces::Namespace;
use crate::wait::PATIENCE;

/// A running `bridgefwd events --json`, which has heard that it listens.
pub struct Listener {
    child: Child,
    lines: Receiver<Value>,
    /// All that it has heard.
    pub heard: Vec<Value>,
}

impl Listener {
    /// Starts it, and waits until the daemon says that it tells everything from now on.
    #[must_use]
    #[track_caller]
    pub fn start(ns: &Namespace, bridgefwd: &Bridgefwd, args: &[&str]) -> Self {
        let mut command = bridgefwd.command_line("events");
        command.arg("--json").args(args).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = ns.run(|| command.spawn().expect("started"));
        let out = child.stdout.take().expect("its output");
        let (line, lines) = channel();
        std::thread::spawn(move || {
            for text in BufReader::new(out).lines().map_while(Result::ok) {
                let event = serde_json::from_str(&text).unwrap_or(Value::String(text));
                if line.send(event).is_err() {
                    return;
                }
            }
        });
        let mut this = Self { child, lines, heard: Vec::new() };
        this.wait("that it listens", |event| event["event"] == "listening");
        this
    }

    /// The next event that `is` it. Panics with `what` and all that it heard where there is none in
    /// time.
    #[track_caller]
    pub fn wait(&mut self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        while let Ok(event) =
            self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            self.heard.push(event.clone());
            if is(&event) {
                return event;
            }
        }
        panic!("nothing was told of {what}; heard: {:#?}", self.heard)
    }

    /// Takes in what is told within `time`, as far as `more` wants to hear more.
    pub fn hear(&mut self, time: Duration, mut more: impl FnMut(&[Value]) -> bool) {
        let deadline = Instant::now() + time;
        while more(&self.heard)
            && let Ok(event) =
                self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            self.heard.push(event);
        }
    }

    /// Waits until it has ended by itself; its exit status.
    #[track_caller]
    pub fn ended(mut self) -> (i32, Vec<Value>) {
        let ended = crate::wait::poll(PATIENCE, || self.child.try_wait().expect("status"));
        let status = ended.expect("it ended").code().unwrap_or(-1);
        self.heard.extend(self.lines.iter());
        (status, std::mem::take(&mut self.heard))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
