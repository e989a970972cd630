//! The live view: pairs and flows as they are now, and keys to turn pairs on and off.

use std::time::{Duration, Instant};

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::time::MissedTickBehavior;

use super::load::Load;
use super::screen::Screen;
use crate::api::client::Client;
use crate::api::types::{FlowFilter, PairChange, PairState};
use crate::failure::Result;
use crate::terminal::{FullScreen, Keys};

/// Time between two looks at the daemon.
const REFRESH_EVERY: Duration = Duration::from_millis(500);

/// What a key asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Action {
    End,
    Step { forward: bool },
    Select(usize),
    Toggle,
    Clear,
    ShowSteps,
    Redraw,
}

/// Shows the view until the user ends it.
///
/// # Errors
/// The terminal cannot be used, or the daemon does not answer any more.
pub async fn run(client: &Client, colour: bool) -> Result<()> {
    let _load = Load::start()?;
    let mut terminal = FullScreen::enter()?;
    let mut keys = Keys::listen()?;
    let mut screen = Screen::new(colour);
    let mut ticks = tokio::time::interval(REFRESH_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut steps_shown = false;
    loop {
        let action = tokio::select! {
            _ = ticks.tick() => None,
            event = keys.next() => match event {
                Some(event) => action_of(&event),
                None => Some(Action::End),
            },
        };
        let action = match action {
            Some(Action::End) => return Ok(()),
            None if steps_shown => continue,
            // Any key comes back, and does nothing else.
            Some(_) if std::mem::take(&mut steps_shown) => {
                terminal.back()?;
                None
            }
            action => action,
        };
        match action {
            Some(Action::ShowSteps) => {
                terminal.aside()?;
                steps_shown = true;
                continue;
            }
            Some(Action::Step { forward }) => screen.step(forward),
            Some(Action::Select(number)) => drop(screen.select(number)),
            Some(Action::Toggle) => toggle(client, &mut screen).await,
            Some(Action::Clear) => clear(client, &mut screen).await,
            None | Some(Action::Redraw | Action::End) => {}
        }
        if !matches!(action, Some(Action::Step { .. } | Action::Select(_))) {
            let (pairs, stats) = (client.pairs().await?, client.stats().await?);
            screen.update(&pairs, &stats, client.flows(&FlowFilter::default()).await?);
        }
        terminal.draw(|frame| screen.draw(frame))?;
    }
}

async fn toggle(client: &Client, screen: &mut Screen) {
    let Some(direction) = screen.selected().cloned() else { return };
    let (state, done) = match direction.state {
        Some(PairState::Allowed) => (PairState::Denied, "denied"),
        Some(PairState::Denied) | None => (PairState::Allowed, "allowed"),
    };
    let change = PairChange::to(state);
    let start = Instant::now();
    let outcome = client.put_pair(&direction.from, &direction.to, &change).await;
    screen.say(match outcome {
        Ok(_) => format!(
            "{} -> {} {done}, in force after {:.1} ms",
            direction.from,
            direction.to,
            start.elapsed().as_secs_f64() * 1000.0
        ),
        Err(failure) => failure.to_string(),
    });
}

async fn clear(client: &Client, screen: &mut Screen) {
    let Some(direction) = screen.selected().cloned() else { return };
    screen.say(match client.delete_pair(&direction.from, &direction.to, false).await {
        Ok(true) => format!("{} -> {} not listed any more", direction.from, direction.to),
        Ok(false) => format!("{} -> {} was not listed", direction.from, direction.to),
        Err(failure) => failure.to_string(),
    });
}

fn action_of(event: &Event) -> Option<Action> {
    match event {
        Event::Key(key) if key.kind == KeyEventKind::Press => Some(action_of_key(key)),
        Event::Resize(..) => Some(Action::Redraw),
        _ => None,
    }
}

fn action_of_key(key: &KeyEvent) -> Action {
    match key.code {
        // In raw mode the terminal sends no signal.
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Action::End,
        KeyCode::Char('q') | KeyCode::Esc => Action::End,
        KeyCode::Up | KeyCode::Char('k') => Action::Step { forward: false },
        KeyCode::Down | KeyCode::Char('j') => Action::Step { forward: true },
        KeyCode::Char(' ') | KeyCode::Enter => Action::Toggle,
        KeyCode::Char('c') => Action::Clear,
        KeyCode::Char('s') => Action::ShowSteps,
        KeyCode::Char(digit) => digit
            .to_digit(10)
            .and_then(|number| usize::try_from(number).ok())
            .map_or(Action::Redraw, Action::Select),
        _ => Action::Redraw,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(code: KeyCode, modifiers: KeyModifiers) -> Option<Action> {
        action_of(&Event::Key(KeyEvent::new(code, modifiers)))
    }

    #[test]
    fn keys_mean_what_the_help_line_says() {
        let plain = KeyModifiers::NONE;
        assert_eq!(press(KeyCode::Char('q'), plain), Some(Action::End));
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Action::End));
        assert_eq!(press(KeyCode::Char('c'), plain), Some(Action::Clear));
        assert_eq!(press(KeyCode::Char(' '), plain), Some(Action::Toggle));
        assert_eq!(press(KeyCode::Down, plain), Some(Action::Step { forward: true }));
        assert_eq!(press(KeyCode::Char('4'), plain), Some(Action::Select(4)));
        assert_eq!(press(KeyCode::Char('s'), plain), Some(Action::ShowSteps));
        assert_eq!(action_of(&Event::Resize(80, 24)), Some(Action::Redraw));
        assert_eq!(action_of(&Event::FocusLost), None);
    }
}
