//! Printing: answers on stdout, notes on stderr.

use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;

use serde::Serialize;

use crate::cli::Output;
use crate::failure::{Failure, Result};

/// Prints an answer: as JSON where that is asked, else as `view` shows it in the terminal's width.
pub fn answer<T: Serialize>(
    answer: &T,
    output: Output,
    view: impl FnOnce(&T, Option<u16>) -> String,
) -> Result<()> {
    if output.json { json(answer) } else { print(&view(answer, terminal_width())) }
}

/// Prints an answer as JSON.
pub fn json<T: Serialize>(answer: &T) -> Result<()> {
    let mut text = serde_json::to_string_pretty(answer).map_err(|error| {
        Failure::failed(format!("the answer cannot be written as JSON: {error}"))
    })?;
    text.push('\n');
    print(&text)
}

/// A list as JSON that is printed while it is asked for: as [`answer`] prints it, but never whole in
/// memory.
pub struct List {
    any: bool,
}

impl List {
    /// Nothing is printed before the first answer, which may be an error.
    pub fn begin() -> Result<Self> {
        Ok(Self { any: false })
    }

    /// Prints more of it. `false` where nobody reads any more.
    pub fn more<T: Serialize>(&mut self, items: &[T]) -> Result<bool> {
        let mut text = String::new();
        for item in items {
            text.push_str(if std::mem::replace(&mut self.any, true) { ",\n" } else { "[\n" });
            let item = serde_json::to_string_pretty(item).map_err(|error| {
                Failure::failed(format!("the answer cannot be written as JSON: {error}"))
            })?;
            let lines: Vec<_> = item.lines().map(|line| format!("  {line}")).collect();
            text.push_str(&lines.join("\n"));
        }
        write(&text)
    }

    /// Ends it.
    pub fn end(self) -> Result<()> {
        print(if self.any { "\n]\n" } else { "[]\n" })
    }
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

/// `false` where the reader has gone.
fn write(text: &str) -> Result<bool> {
    Ok(stream(text)?.is_continue())
}

/// Says something beside the answer.
pub fn note(text: &str) {
    // Where stderr is closed nobody wants to know.
    let _ = writeln!(io::stderr().lock(), "note: {text}");
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
