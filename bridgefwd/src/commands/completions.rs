//! `bridgefwd completions`: what a shell needs to complete command lines.

use super::{complete, output};
use crate::cli::CompletionShell;
use crate::failure::Result;

pub(super) fn run(shell: CompletionShell) -> Result<()> {
    output::print(&complete::script(shell)?)
}
