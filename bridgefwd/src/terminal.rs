//! The terminal as a screen of our own: taken, drawn on, read from, and given back on every way out.

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ratatui::crossterm::event::{self, Event};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen};
use ratatui::{DefaultTerminal, Frame};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::failure::{Failure, Result};

/// How often the thread that reads keys looks whether it shall end.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The terminal, while it is ours. It is given back on every way out, a panic included.
///
/// ratatui's own drop is not run: where the terminal has gone it would complain to it, and panic.
pub struct FullScreen(ManuallyDrop<DefaultTerminal>);

impl FullScreen {
    /// Takes the terminal.
    ///
    /// # Errors
    ///
    /// Where it is none, or cannot be used.
    pub fn enter() -> Result<Self> {
        ratatui::try_init().map(ManuallyDrop::new).map(Self).map_err(|error| cannot_use(&error))
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
        let _ = self.0.show_cursor();
        let _ = ratatui::try_restore();
    }
}

/// The signals that end a screen.
pub struct Ends(Vec<Signal>);

impl Ends {
    /// Takes them from now on, rather than being ended by them. Call it inside a runtime.
    ///
    /// # Errors
    ///
    /// They cannot be waited for.
    pub fn listen() -> Result<Self> {
        [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt()]
            .map(signal)
            .into_iter()
            .collect::<io::Result<Vec<_>>>()
            .map(Self)
            .map_err(|error| Failure::failed(format!("cannot wait for signals: {error}")))
    }

    /// Waits for any of them.
    pub async fn next(&mut self) {
        let received = self.0.iter_mut().map(|signal| Box::pin(signal.recv()));
        futures_util::future::select_all(received).await;
    }
}

/// Keys, read by a thread of their own because reading blocks.
///
/// crossterm, which reads them, takes the end of a terminal for a key that is not complete yet, and
/// reads again without end. So the terminal is watched beside it.
pub struct Keys {
    events: UnboundedReceiver<Event>,
    input: AsyncFd<OwnedFd>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Keys {
    /// Begins to read. Call it inside a runtime that does I/O.
    ///
    /// # Errors
    ///
    /// Where there is no terminal to read from, or no thread can be had.
    pub fn listen() -> Result<Self> {
        let input = input().map_err(|error| cannot_use(&error))?;
        // SAFETY: an `OwnedFd` is its descriptor, which closes only when it is dropped.
        let input = unsafe { AsyncFd::register_with_interest(input, Interest::READABLE) }
            .map_err(|error| cannot_use(&io::Error::other(error.to_string())))?;
        let (sender, events) = unbounded_channel();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("keys".into())
            .spawn(move || read_keys(&sender, &stopped))
            .map_err(|error| Failure::failed(format!("cannot start a thread: {error}")))?;
        Ok(Self { events, input, stop, thread: Some(thread) })
    }

    /// The next one; `None` once the terminal has gone. Nothing is lost where the wait is given up.
    pub async fn next(&mut self) -> Option<Event> {
        tokio::select! {
            event = self.events.recv() => event,
            () = hung_up(&self.input) => None,
        }
    }

    /// Has the terminal gone that they come from?
    #[must_use]
    pub fn are_gone(&self) -> bool {
        is_hung_up(self.input.get_ref())
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if self.are_gone() {
            // Then the thread may never look whether it shall end; it does so with the process.
            return;
        }
        if let Some(thread) = self.thread.take() {
            // A panic there was said there.
            let _ = thread.join();
        }
    }
}

/// The terminal that crossterm reads keys from.
fn input() -> io::Result<OwnedFd> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return stdin.as_fd().try_clone_to_owned();
    }
    File::options().read(true).write(true).open("/dev/tty").map(OwnedFd::from)
}

/// Waits until the terminal has gone.
async fn hung_up(input: &AsyncFd<OwnedFd>) {
    while let Ok(mut ready) = input.ready(Interest::READABLE).await {
        if ready.ready().is_read_closed() {
            return;
        }
        // Keys: the other thread's to read.
        ready.clear_ready();
    }
}

/// Has the terminal gone?
fn is_hung_up(input: &OwnedFd) -> bool {
    let mut asked = [PollFd::new(input, PollFlags::empty())];
    let gone = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
    let answered = poll(&mut asked, Some(&Timespec::default()));
    answered.is_err() || asked.iter().any(|fd| fd.revents().intersects(gone))
}

/// Ends with the view.
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
