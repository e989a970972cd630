//! `bridgefwd top`: who talks to whom now, by what way, and why not. Rates are made here, of counters:
//! the daemon does nothing until it is asked, and where there is none the pins are read.

mod detail;
mod draw;
mod flows;
mod help;
mod keys;
mod matrix;
mod pairs;
mod rates;
mod reasons;
mod source;
mod state;
mod text;

#[cfg(test)]
mod tests;

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{Event, KeyEventKind};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;

use crate::failure::{Failure, Result};
use crate::instance::Instance;
use crate::terminal::{FullScreen, Keys};
use keys::Wish;
use source::Source;
use state::State;

/// What `top` was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Time between two looks.
    pub every: Duration,
    /// One frame as text, and no more.
    pub once: bool,
    /// Colours may be used.
    pub colour: bool,
}

/// The frame that `--once` prints where nobody says how large it is: columns and lines.
const PAGE: (u16, u16) = (120, 40);

/// Shows the view until the user ends it. The calling thread is inside the instance's namespace
/// already.
///
/// # Errors
///
/// Where nothing runs and nothing is pinned, or the terminal cannot be used.
pub async fn run(options: Options, instance: &Instance) -> Result<()> {
    if !options.once && !std::io::stdout().is_terminal() {
        return Err(Failure::usage(
            "top needs a terminal to draw on, and standard output is none: for one frame as text \
             use `bridgefwd top --once`",
        ));
    }
    let mut source = Source::new(instance);
    let mut state = State::new(instance, options.colour);
    // Before the terminal is taken: what is wrong is said where it can be read.
    state.take(source.look().await?, Instant::now());
    if options.once {
        // Rates take two looks.
        tokio::time::sleep(options.every).await;
        state.take(source.look().await?, Instant::now());
        return print_once(&mut state);
    }
    watch(options, &mut source, &mut state).await
}

async fn watch(options: Options, source: &mut Source, state: &mut State) -> Result<()> {
    let mut ends = [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt()]
        .map(signal)
        .into_iter()
        .collect::<std::io::Result<Vec<Signal>>>()
        .map_err(|error| Failure::failed(format!("cannot wait for signals: {error}")))?;
    let mut terminal = FullScreen::enter()?;
    let mut keys = Keys::listen()?;
    let first = tokio::time::Instant::now() + options.every;
    let mut ticks = tokio::time::interval_at(first, options.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        terminal.draw(|frame| draw::draw(frame, state))?;
        let wish = tokio::select! {
            _ = ticks.tick() => Wish::Look,
            event = keys.next() => match event {
                Some(Event::Key(key)) if key.kind == KeyEventKind::Press => keys::press(state, &key),
                Some(_) => Wish::Nothing,
                // The terminal has gone.
                None => Wish::End,
            },
            () = any(&mut ends) => Wish::End,
        };
        match wish {
            Wish::End => return Ok(()),
            Wish::Nothing => {}
            Wish::Look if state.is_paused() => {}
            Wish::Look => look(source, state).await,
            Wish::Change(change) => {
                let said = source.change(&change).await;
                state.say(said);
                look(source, state).await;
            }
        }
    }
}

async fn look(source: &mut Source, state: &mut State) {
    match source.look().await {
        Ok(seen) => state.take(seen, Instant::now()),
        Err(failure) => state.lose(failure.to_string()),
    }
}

/// Any of these signals.
async fn any(signals: &mut [Signal]) {
    let received = signals.iter_mut().map(|signal| Box::pin(signal.recv()));
    futures_util::future::select_all(received).await;
}

/// The frame as text, without blanks at the ends of its lines.
fn print_once(state: &mut State) -> Result<()> {
    let size = |name: &str| std::env::var(name).ok()?.parse::<u16>().ok().filter(|size| *size > 0);
    let columns = crate::commands::output::terminal_width();
    let columns = columns.or_else(|| size("COLUMNS")).unwrap_or(PAGE.0);
    let lines = size("LINES").unwrap_or(PAGE.1);
    let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("cannot draw: {error}"));
    let mut terminal =
        Terminal::new(TestBackend::new(columns, lines)).map_err(|error| failed(&error))?;
    terminal.draw(|frame| draw::draw(frame, state)).map_err(|error| failed(&error))?;
    crate::commands::output::print(&text::of_buffer(terminal.backend().buffer()))
}
