//! The terminal as a screen of our own: taken, drawn on, read from, and given back on every way out.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ratatui::crossterm::event::{self, Event};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen};
use ratatui::{DefaultTerminal, Frame};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::failure::{Failure, Result};

/// How often the thread that reads keys looks whether it shall end.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The terminal, while it is ours. It is given back on every way out, a panic included.
pub struct FullScreen(DefaultTerminal);

impl FullScreen {
    /// Takes the terminal.
    ///
    /// # Errors
    ///
    /// Where it is none, or cannot be used.
    pub fn enter() -> Result<Self> {
        ratatui::try_init().map(Self).map_err(|error| cannot_use(&error))
    }

    /// Draws a frame; only what has changed is written.
    ///
    /// # Errors
    ///
    /// Where the terminal has gone.
    pub fn draw(&mut self, what: impl FnOnce(&mut Frame<'_>)) -> Result<()> {
        self.0.draw(what).map(drop).map_err(|error| cannot_use(&error))
    }

    /// Uncovers what was on the terminal before.
    ///
    /// # Errors
    ///
    /// Where the terminal has gone.
    pub fn aside(&mut self) -> Result<()> {
        execute!(io::stdout(), LeaveAlternateScreen).map_err(|error| cannot_use(&error))
    }

    /// Covers it again.
    ///
    /// # Errors
    ///
    /// Where the terminal has gone.
    pub fn back(&mut self) -> Result<()> {
        execute!(io::stdout(), EnterAlternateScreen)
            .and_then(|()| self.0.clear())
            .map_err(|error| cannot_use(&error))
    }
}

impl Drop for FullScreen {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        let _ = ratatui::try_restore();
    }
}

/// Keys, read by a thread of their own because reading blocks.
pub struct Keys {
    /// They come in here; it ends with the terminal.
    pub events: UnboundedReceiver<Event>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Keys {
    /// Begins to read.
    ///
    /// # Errors
    ///
    /// Where no thread can be had.
    pub fn listen() -> Result<Self> {
        let (sender, events) = unbounded_channel();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("keys".into())
            .spawn(move || read_keys(&sender, &stopped))
            .map_err(|error| Failure::failed(format!("cannot start a thread: {error}")))?;
        Ok(Self { events, stop, thread: Some(thread) })
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A panic there was said there.
            let _ = thread.join();
        }
    }
}

/// Ends with the view, or with the terminal.
fn read_keys(sender: &UnboundedSender<Event>, stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        let event = match event::poll(LOOK_EVERY) {
            Ok(false) => continue,
            Ok(true) => event::read(),
            Err(error) => Err(error),
        };
        let Ok(event) = event else { return };
        if sender.send(event).is_err() {
            return;
        }
    }
}

fn cannot_use(error: &io::Error) -> Failure {
    Failure::failed(format!("cannot use the terminal: {error}"))
}
