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
mod picture;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{Event, KeyEventKind};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;

use crate::failure::{Failure, Result};
use crate::instance::Instance;
use crate::policy::DockerChoice;
use crate::terminal::{FullScreen, Keys};
use keys::Wish;
use source::Source;
use state::State;

/// Which bridgefwd is looked at, how often, and who knows its names where it has no daemon.
#[derive(Clone, Copy, Debug)]
pub struct Of<'a> {
    /// It.
    pub instance: &'a Instance,
    /// Time between two looks.
    pub every: Duration,
    /// The engine that knows networks and containers.
    pub engine: &'a DockerChoice,
}

/// Shows the view until the user ends it, or the terminal goes. The calling thread is inside the
/// instance's namespace already.
///
/// # Errors
///
/// Where nothing runs and nothing is pinned, or the terminal cannot be used.
pub async fn run(of: Of<'_>, colour: bool) -> Result<()> {
    let mut source = Source::new(of.instance, of.engine.clone());
    let mut state = State::new(of.instance, colour);
    // Before the terminal is taken: what is wrong is said where it can be read.
    state.take(source.look().await?, Instant::now());
    watch(of.every, &mut source, &mut state).await
}

/// One frame as text of that many columns and lines, without blanks at the ends of its lines.
///
/// # Errors
///
/// Where nothing runs and nothing is pinned.
pub async fn once(of: Of<'_>, size: (u16, u16)) -> Result<String> {
    let mut source = Source::new(of.instance, of.engine.clone());
    let mut state = State::new(of.instance, false);
    // Rates take two looks.
    state.take(source.look().await?, Instant::now());
    tokio::time::sleep(of.every).await;
    state.take(source.look().await?, Instant::now());
    let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("cannot draw: {error}"));
    let mut terminal =
        Terminal::new(TestBackend::new(size.0, size.1)).map_err(|error| failed(&error))?;
    terminal.draw(|frame| draw::draw(frame, &state)).map_err(|error| failed(&error))?;
    Ok(text::of_buffer(terminal.backend().buffer()))
}

async fn watch(every: Duration, source: &mut Source, state: &mut State) -> Result<()> {
    let mut ends = [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt()]
        .map(signal)
        .into_iter()
        .collect::<std::io::Result<Vec<Signal>>>()
        .map_err(|error| Failure::failed(format!("cannot wait for signals: {error}")))?;
    let mut terminal = FullScreen::enter()?;
    let mut keys = Keys::listen()?;
    let first = tokio::time::Instant::now() + every;
    let mut ticks = tokio::time::interval_at(first, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        match terminal.draw(|frame| draw::draw(frame, state)) {
            // Whichever notices first.
            Err(_) if keys.are_gone() => return Ok(()),
            drawn => drawn?,
        }
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
