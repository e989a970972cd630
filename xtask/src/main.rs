//! `cargo xtask`: the front door for developers and newcomers. Set-up, build, run, test,
//! measure, lint.
//!
//! Nothing here is needed by somebody who uses the installed program.

mod bench;
mod build;
mod cli;
mod dist;
mod exec;
mod fuzz;
mod kernels;
mod lint;
mod progress;
mod run;
mod setup;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command, Elsewhere};
use crate::progress::Progress;
use crate::workspace::Workspace;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one command. Its own exit status where it has one, else success.
fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::find()?;
    match command {
        Command::Setup => {
            setup::run(&workspace, &Progress::new(false))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Build => {
            build::run(&workspace)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Dist => {
            dist::run(&workspace)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Run { args } => run::run(&workspace, &args),
        Command::Test { elsewhere: Some(Elsewhere::Kernels { versions, filter }), .. } => {
            kernels::run(&workspace, &versions, &filter)
        }
        Command::Test { layers, filter, elsewhere: None } => {
            test::run(&workspace, &layers, &filter)
        }
        Command::Fuzz { target, seconds } => fuzz::run(&workspace, target, seconds),
        Command::Bench { benches, quick, publish, seed } => {
            bench::run(&workspace, &benches, bench::Options { quick, publish, seed })
        }
        Command::Lint => lint::run(&workspace),
    }
}
