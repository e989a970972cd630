//! The measuring instruments of bridgefwd: what a packet costs, inside the program and on its way, and
//! what large tables cost. `cargo xtask bench` builds and runs it.
//!
//! Everything happens in network namespaces made for it; fixtures are those of the tests, and fail as
//! those do, by a panic that says what was wrong.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod chart;
mod crowd;
mod machine;
mod path;
mod program;
mod progress;
mod random;
mod report;
mod scale;
mod statistics;
mod xdp;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use machine::Machine;

/// What is measured, and how.
#[derive(Debug, Parser)]
#[command(name = "bridgefwd-bench", version)]
pub struct Options {
    /// What to measure
    #[arg(required = true)]
    benches: Vec<Bench>,
    /// Fewer rounds: figures that spread more
    #[arg(long)]
    pub quick: bool,
    /// A moment of everything, to see that it works
    #[arg(long, hide = true)]
    pub tiny: bool,
    /// Seed of the order in which things are measured
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The commit that is measured, as the results name it
    #[arg(long, default_value = "unknown")]
    pub commit: String,
    /// Where the results go
    #[arg(long, value_name = "FOLDER", default_value = "target/bench")]
    results: PathBuf,
    /// The machine, as it was before.
    #[arg(skip = Machine::this())]
    pub machine: Machine,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Bench {
    /// What a packet costs in the program
    Program,
    /// What the way from a client to a server costs, by us and by others
    Path,
    /// What very many bridges, pairs and flows cost
    Scale,
    /// What XDP would gain, and what it would cost
    Xdp,
}

fn main() -> ExitCode {
    let mut options = Options::parse();
    options.quick |= options.tiny;
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> anyhow::Result<()> {
    anyhow::ensure!(
        rustix::process::geteuid().is_root(),
        "it loads programs and makes network namespaces: run it as root"
    );
    for bench in &options.benches {
        eprintln!("== {}", bench.to_possible_value().unwrap().get_name());
        let report = match bench {
            Bench::Program => program::run(options)?,
            Bench::Path => path::run(options)?,
            Bench::Scale => scale::run(options)?,
            Bench::Xdp => xdp::run(options)?,
        };
        report.keep(&options.results)?;
    }
    Ok(())
}
