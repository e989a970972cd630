//! `bridgefwd top`: watched in a terminal, or one frame of it printed.

use std::io::{self, IsTerminal as _};

use tokio::runtime::Builder;

use super::{engine, enter_netns, output};
use crate::cli::TopOptions;
use crate::failure::{Failure, Result};
use crate::instance::Instance;
use crate::top::{self, Of};

/// The frame that `--once` prints where nobody says how large it is: columns and lines.
const PAGE: (u16, u16) = (120, 40);

pub(super) fn run(options: &TopOptions, instance: &Instance) -> Result<()> {
    if !options.once && !io::stdout().is_terminal() {
        return Err(Failure::usage(
            "top needs a terminal to draw on, and standard output is none: for one frame as text \
             use `bridgefwd top --once`",
        ));
    }
    // Pins are read from inside; threads start in the namespace of the thread that makes them.
    enter_netns(instance)?;
    let engine = engine(instance);
    let of = Of { instance, every: options.every.into(), engine: &engine };
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    if options.once {
        return output::print(&runtime.block_on(top::once(of, page()))?);
    }
    runtime.block_on(top::run(of, output::colours()))
}

fn page() -> (u16, u16) {
    let size = |name: &str| std::env::var(name).ok()?.parse::<u16>().ok().filter(|size| *size > 0);
    let columns = output::terminal_width().or_else(|| size("COLUMNS")).unwrap_or(PAGE.0);
    (columns, size("LINES").unwrap_or(PAGE.1))
}
