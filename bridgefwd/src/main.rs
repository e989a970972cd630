//! The `bridgefwd` command.

use std::io::{self, Write};
use std::process::ExitCode;

use bridgefwd::cli::Cli;
use bridgefwd::commands::{self, complete};
use clap::Parser;

fn main() -> ExitCode {
    if let Some(status) = complete::answer() {
        return ExitCode::from(status);
    }
    match commands::run(Cli::parse()) {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            // Where stderr is closed the exit status still tells.
            let _ = writeln!(io::stderr().lock(), "error: {failure}");
            ExitCode::from(failure.exit_status())
        }
    }
}
