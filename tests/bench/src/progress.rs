//! How far a measurement is: a bar at a terminal, plain lines otherwise.

use std::io::IsTerminal as _;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

/// Of one measurement with so many steps; on standard error.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    begun: Instant,
    steps: u64,
    done: u64,
    shown: u64,
}

impl Progress {
    /// None is done yet.
    pub fn new(steps: usize) -> Self {
        let steps = steps as u64;
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(steps);
            let style = "  {bar:30} {pos}/{len}  {msg}  {elapsed} of about {duration}";
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, begun: Instant::now(), steps, done: 0, shown: 0 }
    }

    /// Begins a step; the one before is done.
    pub fn step(&mut self, what: &str) {
        match &self.bar {
            Some(bar) => {
                bar.set_message(what.to_owned());
                bar.set_position(self.done);
            }
            // A line for every tenth of it.
            None if self.done == 0 || (self.done - self.shown) * 10 >= self.steps => {
                self.shown = self.done;
                let seconds = self.begun.elapsed().as_secs();
                eprintln!("  {:>3}/{} after {seconds} s: {what}", self.done, self.steps);
            }
            None => {}
        }
        self.done += 1;
    }

    /// All is done.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        eprintln!("  done, {} s", self.begun.elapsed().as_secs());
    }
}
