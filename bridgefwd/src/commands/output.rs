//! Printing: answers on stdout, notes on stderr.

use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;

use jiff::tz::TimeZone;
use serde::Serialize;

use crate::cli::Output;
use crate::failure::{Failure, Result};
use crate::views::style::Style;

/// Where a command puts its answer: it is printed at once, or kept for a screen.
#[derive(Debug)]
pub struct Page {
    /// As JSON?
    json: bool,
    /// Each document a line?
    in_lines: bool,
    style: Style,
    /// What is kept; `None` where it is printed.
    text: Option<String>,
    /// What is said beside the answer, and was beside the one before.
    notes: [Vec<String>; 2],
    /// Is there an answer of this look?
    answered: bool,
    reader_is_gone: bool,
}

impl Page {
    /// One that is printed.
    #[must_use]
    pub fn new(output: Output, exact: bool) -> Self {
        Self {
            json: output.json,
            in_lines: false,
            style: Style { exact, ..Style::new(terminal_width()) },
            text: None,
            notes: Default::default(),
            answered: false,
            reader_is_gone: false,
        }
    }

    /// One that is kept.
    #[must_use]
    pub fn kept(self) -> Self {
        Self { text: Some(String::new()), ..self }
    }

    /// One whose documents are printed a line each.
    #[must_use]
    pub fn in_lines(self) -> Self {
        Self { in_lines: true, ..self }
    }

    /// With times by the clock of that zone.
    #[must_use]
    pub fn by_clock(self, zone: TimeZone) -> Self {
        let style = Style { zone, ..self.style };
        Self { style, ..self }
    }

    /// Turns to the next look.
    pub fn begin(&mut self) {
        self.text.as_mut().map(String::clear);
        let [said, before] = &mut self.notes;
        *before = std::mem::take(said);
        self.answered = false;
        self.style.width = terminal_width();
    }

    /// How it is shown.
    #[must_use]
    pub const fn style(&self) -> &Style {
        &self.style
    }

    /// Is JSON asked for?
    #[must_use]
    pub const fn is_json(&self) -> bool {
        self.json
    }

    /// What is kept.
    #[must_use]
    pub fn text(&self) -> &str {
        self.text.as_deref().unwrap_or_default()
    }

    /// What is said beside it.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes[0]
    }

    /// The same without what was said beside the answer before.
    pub fn new_notes(&self) -> impl Iterator<Item = &str> {
        let [said, before] = &self.notes;
        said.iter().filter(|note| !before.contains(note)).map(|note| &**note)
    }

    /// Is there an answer? Something may have failed nevertheless.
    #[must_use]
    pub const fn is_answered(&self) -> bool {
        self.answered
    }

    /// Has whoever reads gone?
    #[must_use]
    pub const fn reader_is_gone(&self) -> bool {
        self.reader_is_gone
    }

    /// An answer: as JSON where that is asked, else as `view` shows it.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn answer<T: Serialize>(
        &mut self,
        answer: &T,
        view: impl FnOnce(&T, &Style) -> String,
    ) -> Result<()> {
        let text = match (self.json, self.in_lines) {
            (false, _) => view(answer, &self.style),
            (true, false) => pretty(answer)? + "\n",
            (true, true) => in_a_line(answer)? + "\n",
        };
        self.write(&text)
    }

    /// Says something beside the answer. What is printed is not said again at each look.
    pub fn note(&mut self, text: &str) {
        if self.text.is_none() && !self.notes[1].iter().any(|said| said == text) {
            note(text);
        }
        self.notes[0].push(text.to_owned());
    }

    /// A list as JSON that is printed while it is asked for: as [`Page::answer`] prints it, but never
    /// whole in memory. Nothing is printed before the first item, since an error may come instead.
    pub fn list(&mut self) -> List<'_> {
        List { page: self, any: false }
    }

    fn write(&mut self, text: &str) -> Result<()> {
        self.answered = true;
        match &mut self.text {
            Some(kept) => kept.push_str(text),
            None => self.reader_is_gone |= stream(text)?.is_break(),
        }
        Ok(())
    }
}

/// See [`Page::list`].
pub struct List<'a> {
    page: &'a mut Page,
    any: bool,
}

impl List<'_> {
    /// The page that it is on.
    pub fn page(&mut self) -> &mut Page {
        self.page
    }

    /// Prints more of it. `false` where nobody reads any more.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn more<T: Serialize>(&mut self, items: &[T]) -> Result<bool> {
        let mut text = String::new();
        for item in items {
            let first = !std::mem::replace(&mut self.any, true);
            if self.page.in_lines {
                text.push(if first { '[' } else { ',' });
                text.push_str(&in_a_line(item)?);
                continue;
            }
            text.push_str(if first { "[\n" } else { ",\n" });
            let lines = pretty(item)?;
            let lines: Vec<_> = lines.lines().map(|line| format!("  {line}")).collect();
            text.push_str(&lines.join("\n"));
        }
        self.page.write(&text)?;
        Ok(!self.page.reader_is_gone)
    }

    /// Ends it.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn end(self) -> Result<()> {
        self.page.write(match (self.any, self.page.in_lines) {
            (false, _) => "[]\n",
            (true, false) => "\n]\n",
            (true, true) => "]\n",
        })
    }
}

/// Prints an answer: as JSON where that is asked, else as `view` shows it in the terminal's width.
pub fn answer<T: Serialize>(
    answer: &T,
    output: Output,
    view: impl FnOnce(&T, Option<u16>) -> String,
) -> Result<()> {
    Page::new(output, false).answer(answer, |answer, style| view(answer, style.width))
}

/// Prints an answer as JSON.
pub fn json<T: Serialize>(answer: &T) -> Result<()> {
    print(&(pretty(answer)? + "\n"))
}

fn pretty<T: Serialize>(answer: &T) -> Result<String> {
    serde_json::to_string_pretty(answer).map_err(|error| no_json(&error))
}

fn in_a_line<T: Serialize>(answer: &T) -> Result<String> {
    serde_json::to_string(answer).map_err(|error| no_json(&error))
}

fn no_json(error: &serde_json::Error) -> Failure {
    Failure::failed(format!("the answer cannot be written as JSON: {error}"))
}

/// Prints text that brings its own newline. A reader that has gone (`| head`) has what it wanted.
pub fn print(text: &str) -> Result<()> {
    stream(text).map(drop)
}

/// Prints a part of an answer that goes on. `Break` where the reader has gone.
pub fn stream(text: &str) -> Result<ControlFlow<()>> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(Failure::failed(format!("cannot write to standard output: {error}"))),
    }
}

/// Says something beside the answer.
pub fn note(text: &str) {
    // Where stderr is closed nobody wants to know.
    let _ = writeln!(io::stderr().lock(), "note: {text}");
}

/// Says what went wrong where that is not the end.
pub fn complain(failure: &Failure) {
    // Likewise.
    let _ = writeln!(io::stderr().lock(), "error: {failure}");
}

/// Are colours wanted where answers go? At a terminal that has them, unless NO_COLOR is set.
#[must_use]
pub fn colours() -> bool {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    io::stdout().is_terminal()
        && set("NO_COLOR").is_none()
        && set("TERM").is_some_and(|terminal| terminal != "dumb")
}

/// Columns of the terminal that stdout is, if it is one and knows.
pub(super) fn terminal_width() -> Option<u16> {
    let stdout = io::stdout();
    let size = stdout.is_terminal().then(|| rustix::termios::tcgetwinsize(&stdout).ok())??;
    (size.ws_col > 0).then_some(size.ws_col)
}
