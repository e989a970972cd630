//! `--watch`: a listing again and again; in place on a terminal, one after the other elsewhere.

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use ratatui::Frame;
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Text};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::runtime::{Builder, Runtime};

use super::output::{self, Page};
use crate::cli::Listing;
use crate::failure::{Failure, Result};
use crate::terminal::{Ends, FullScreen, Keys};
use crate::views::shortened;

/// Shows what `look` puts on a page: once, or with `--watch` until the user ends it or nobody reads any
/// more. What fails later is told, and tried again.
///
/// # Errors
///
/// What the first look fails with where it has no answer; the terminal cannot be used.
pub fn show(
    listing: &Listing,
    exact: bool,
    mut look: impl FnMut(&mut Page) -> Result<()>,
) -> Result<()> {
    let mut page = Page::new(listing.output, exact);
    match listing.watch {
        None => look(&mut page),
        Some(every) if !listing.output.json && io::stdout().is_terminal() => {
            in_place(page.kept(), every, look)
        }
        Some(every) => one_by_one(page, every, listing.output.json, look),
    }
}

/// Each under the time at which it was looked, or as a line of JSON.
fn one_by_one(
    page: Page,
    every: Duration,
    json: bool,
    mut look: impl FnMut(&mut Page) -> Result<()>,
) -> Result<()> {
    let mut page = if json { page.in_lines() } else { page.kept() };
    let mut first = true;
    loop {
        let next = Instant::now() + every;
        page.begin();
        let looked = look(&mut page);
        if !json && !page.text().is_empty() {
            let gap = if first { "" } else { "\n" };
            let text = format!("{gap}{}\n{}", page.style().now(), page.text());
            if output::stream(&text)?.is_break() {
                return Ok(());
            }
        }
        if !json {
            page.new_notes().for_each(output::note);
        }
        match looked {
            Err(failure) if first && !page.is_answered() => return Err(failure),
            Err(failure) => output::complain(&failure),
            Ok(()) => {}
        }
        first = false;
        if page.reader_is_gone() || reader_goes(next) {
            return Ok(());
        }
    }
}

/// Waits until then, or until nobody reads any more: did that come first?
fn reader_goes(until: Instant) -> bool {
    let stdout = io::stdout();
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let Ok(left) = Timespec::try_from(left) else { return false };
        let mut asked = [PollFd::new(&stdout, PollFlags::empty())];
        match poll(&mut asked, Some(&left)) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return true,
        }
    }
}

/// On a screen of our own; the last one stays where answers are printed otherwise.
fn in_place(
    mut page: Page,
    every: Duration,
    mut look: impl FnMut(&mut Page) -> Result<()>,
) -> Result<()> {
    // Before the terminal is taken: what is wrong is said where it can be read.
    let failure = match look(&mut page) {
        Err(failure) if !page.is_answered() => return Err(failure),
        looked => looked.err(),
    };
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    let mut screen = Screen::new(every);
    screen.take(&page, failure);
    on_screen(&runtime, every, &mut page, &mut screen, &mut look)?;
    output::print(page.text())?;
    page.notes().iter().for_each(|note| output::note(note));
    Ok(())
}

fn on_screen(
    runtime: &Runtime,
    every: Duration,
    page: &mut Page,
    screen: &mut Screen,
    look: &mut impl FnMut(&mut Page) -> Result<()>,
) -> Result<()> {
    let mut ends = runtime.block_on(async { Ends::listen() })?;
    let mut terminal = FullScreen::enter()?;
    let mut keys = runtime.block_on(async { Keys::listen() })?;
    let mut next = Instant::now() + every;
    loop {
        match terminal.draw(|frame| screen.draw(frame)) {
            // Whichever notices first.
            Err(_) if keys.are_gone() => return Ok(()),
            drawn => drawn?,
        }
        let wish = runtime.block_on(async {
            tokio::select! {
                () = tokio::time::sleep_until(next.into()) => Wish::Look,
                event = keys.next() => match event {
                    Some(Event::Key(key)) if key.kind == KeyEventKind::Press => screen.press(key),
                    // The table may have room for more, or less.
                    Some(Event::Resize(..)) => Wish::Look,
                    Some(_) => Wish::Nothing,
                    // The terminal has gone.
                    None => Wish::End,
                },
                () = ends.next() => Wish::End,
            }
        });
        match wish {
            Wish::End => return Ok(()),
            Wish::Nothing => {}
            // Outside of the runtime: a look has one of its own.
            Wish::Look => {
                next = Instant::now() + every;
                page.begin();
                let failure = look(page).err();
                screen.take(page, failure);
            }
        }
    }
}

/// What comes next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wish {
    Look,
    Nothing,
    End,
}

/// What is on the screen.
#[derive(Debug)]
struct Screen {
    /// What is watched.
    title: String,
    /// When it was looked last.
    time: String,
    /// Lines of the answer, then what is said beside it.
    lines: Vec<String>,
    /// The first line that is shown.
    first: usize,
    /// How many there was room for.
    room: usize,
}

impl Screen {
    fn new(every: Duration) -> Self {
        let words: Vec<_> = std::env::args_os().skip(1).collect();
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        let every = humantime::format_duration(every);
        let title = format!("Every {every}: bridgefwd {}", words.join(" "));
        Self { title, time: String::new(), lines: Vec::new(), first: 0, room: 0 }
    }

    fn take(&mut self, page: &Page, failure: Option<Failure>) {
        self.time = page.style().now();
        self.lines = page.text().lines().map(ToOwned::to_owned).collect();
        self.lines.extend(page.notes().iter().map(|note| format!("note: {note}")));
        self.lines.extend(failure.map(|failure| format!("error: {failure}")));
    }

    fn draw(&mut self, frame: &mut Frame<'_>) {
        let [head, _, body, foot] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(1),
            Constraint::Min(1),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let width = usize::from(head.width).saturating_sub(self.time.len() + 2);
        frame.render_widget(Line::styled(shortened(&self.title, width), bold), head);
        frame.render_widget(Line::from(&*self.time).right_aligned(), head);
        self.room = usize::from(body.height);
        self.first = self.first.min(self.lines.len().saturating_sub(self.room));
        let shown = self.lines.iter().skip(self.first).take(self.room);
        frame.render_widget(Text::from_iter(shown.map(|line| Line::from(&**line))), body);
        let last = self.lines.len().min(self.first + self.room);
        let keys = if last - self.first < self.lines.len() {
            format!(
                "lines {} to {last} of {}; ↓ ↑ for others, q to end",
                self.first + 1,
                self.lines.len()
            )
        } else {
            "q to end".into()
        };
        let dim = Style::new().add_modifier(Modifier::DIM);
        frame.render_widget(Line::styled(keys, dim), foot);
    }

    fn press(&mut self, key: KeyEvent) -> Wish {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let (by, back) = match key.code {
            KeyCode::Char('c' | 'd') if control => return Wish::End,
            KeyCode::Char('q') | KeyCode::Esc => return Wish::End,
            KeyCode::Char(' ' | 'r') => return Wish::Look,
            KeyCode::Down | KeyCode::Char('j') => (1, false),
            KeyCode::Up | KeyCode::Char('k') => (1, true),
            KeyCode::PageDown => (self.room, false),
            KeyCode::PageUp => (self.room, true),
            KeyCode::End | KeyCode::Char('G') => (usize::MAX, false),
            KeyCode::Home | KeyCode::Char('g') => (usize::MAX, true),
            _ => return Wish::Nothing,
        };
        self.first =
            if back { self.first.saturating_sub(by) } else { self.first.saturating_add(by) };
        Wish::Nothing
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    fn screen(lines: usize) -> Screen {
        Screen {
            title: "Every 2s: bridgefwd flows --from a-network-with-a-long-name".into(),
            time: "2026-11-25 17:03:08+01:00".into(),
            lines: (1..=lines).map(|number| format!("line {number}")).collect(),
            first: 0,
            room: 0,
        }
    }

    /// What is seen on 60 columns and 8 lines.
    fn drawn(screen: &mut Screen) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(60, 8)).unwrap();
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        let buffer = terminal.backend().buffer();
        let line = |cells: &[ratatui::buffer::Cell]| {
            let line: String = cells.iter().map(|cell| cell.symbol()).collect();
            line.trim_end().to_owned()
        };
        buffer.content().chunks(60).map(line).collect()
    }

    #[test]
    fn a_short_answer_is_seen_as_a_whole() {
        let lines = drawn(&mut screen(2));
        assert_eq!(lines[0], "Every 2s: bridge…with-a-long-name  2026-11-25 17:03:08+01:00");
        assert_eq!(lines[1..5], ["", "line 1", "line 2", ""]);
        assert_eq!(lines[7], "q to end");
    }

    #[test]
    fn a_long_one_is_gone_through_with_keys() {
        let mut screen = screen(12);
        assert_eq!(drawn(&mut screen)[2], "line 1");
        let mut after = |key: KeyCode| {
            assert_eq!(screen.press(key.into()), Wish::Nothing, "{key:?}");
            let lines = drawn(&mut screen);
            (lines[2].clone(), lines[7].clone())
        };
        let seen = |first: usize| {
            let keys = "; ↓ ↑ for others, q to end";
            (format!("line {first}"), format!("lines {first} to {} of 12{keys}", first + 4))
        };
        assert_eq!(after(KeyCode::Down), seen(2));
        assert_eq!(after(KeyCode::PageDown), seen(7));
        assert_eq!(after(KeyCode::PageDown), seen(8));
        assert_eq!(after(KeyCode::Up), seen(7));
        assert_eq!(after(KeyCode::Home), seen(1));
        assert_eq!(after(KeyCode::End), seen(8));
        // What has become shorter is not left behind.
        screen.lines.truncate(6);
        assert_eq!(drawn(&mut screen)[2], "line 2");
    }

    #[test]
    fn it_ends_by_the_usual_keys() {
        let control = |letter| KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL);
        for key in [KeyCode::Char('q').into(), KeyCode::Esc.into(), control('c')] {
            assert_eq!(screen(1).press(key), Wish::End);
        }
        assert_eq!(screen(1).press(KeyCode::Char(' ').into()), Wish::Look);
        assert_eq!(screen(1).press(KeyCode::Char('c').into()), Wish::Nothing);
    }
}
