//! `bridgefwd completions`: what a shell needs to complete command lines.

use clap::CommandFactory as _;
use clap_complete::{Shell, generate};

use super::output;
use crate::cli::{Cli, CompletionShell};
use crate::failure::Result;

pub(super) fn run(shell: CompletionShell) -> Result<()> {
    let shell = match shell {
        CompletionShell::Bash => Shell::Bash,
        CompletionShell::Zsh => Shell::Zsh,
        CompletionShell::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "bridgefwd", &mut script);
    output::print(&String::from_utf8_lossy(&script))
}
