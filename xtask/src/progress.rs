//! Saying what is done, why, and how long it took: a spinner at a terminal, plain lines otherwise.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Where steps are reported; always standard error, results go to standard output.
#[derive(Debug)]
pub struct Progress {
    quiet: bool,
    terminal: bool,
}

impl Progress {
    /// `quiet` leaves out what needed no doing.
    pub fn new(quiet: bool) -> Self {
        Self { quiet, terminal: std::io::stderr().is_terminal() }
    }

    /// Something that was looked at and needs nothing.
    pub fn found(&self, text: &str) {
        if !self.quiet {
            eprintln!("  ok    {text}");
        }
    }

    /// Something worth knowing.
    pub fn note(&self, text: &str) {
        eprintln!("  note  {text}");
    }

    /// One thing done, with the reason for it. The work must not print.
    pub fn step<T>(
        &self,
        what: &str,
        why: &str,
        work: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let started = Instant::now();
        let spinner = self.terminal.then(|| spinner(format!("{what} ({why})")));
        if spinner.is_none() {
            eprintln!("  ...   {what} ({why})");
        }
        let result = work();
        if let Some(spinner) = spinner {
            spinner.finish_and_clear();
        }
        let mark = if result.is_ok() { "done" } else { "FAIL" };
        eprintln!("  {mark}  {what}, {}", elapsed(started.elapsed()));
        result
    }
}

/// Turns by itself and shows the time that has gone by.
fn spinner(text: String) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(text);
    if let Ok(style) = ProgressStyle::with_template("  {spinner}     {msg} {elapsed}") {
        spinner.set_style(style);
    }
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

/// Seconds with one decimal.
pub fn elapsed(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
