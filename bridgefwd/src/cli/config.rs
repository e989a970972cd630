//! Options of the commands about configuration.

use std::path::PathBuf;

use clap::Args;

use super::Output;

/// `bridgefwd check`
#[derive(Args, Debug)]
#[command(after_help = "\
Needs no daemon and no root, and looks at the file alone: whether its bridges are
there is for `bridgefwd plan` to say. Exit status 0 where all is well, 2 where
the file is wrong or cannot be read; every mistake is told, by line and key.

Examples:
  bridgefwd check
  bridgefwd check ./new.toml")]
pub struct CheckOptions {
    /// Configuration file [default: /etc/bridgefwd/bridgefwd.toml]
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// `bridgefwd plan`
#[derive(Args, Debug)]
#[command(after_help = "\
Changes nothing. A line begins with + where something is added, - where it is
taken away, ~ where it changes, ! where it needs a restart. Exit status 0 where
nothing would change, 4 where something would, else as with every command.

Examples:
  bridgefwd plan
  bridgefwd plan ./new.toml --json")]
pub struct PlanOptions {
    /// Configuration file [default: the daemon's own]
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// How to show it.
    #[command(flatten)]
    pub output: Output,
}

/// `bridgefwd apply`
#[derive(Args, Debug)]
#[command(after_help = "\
All or nothing: what is wrong is found first, and a step that fails is taken
back. Refusals hold first, permissions after them; flows of pairs that stay
allowed go on. Pairs that the file does not list are taken off the list.

Examples:
  bridgefwd apply
  bridgefwd apply ./new.toml")]
pub struct ApplyOptions {
    /// Configuration file [default: the daemon's own]
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// How to show what has changed.
    #[command(flatten)]
    pub output: Output,
}

/// `bridgefwd reload`
#[derive(Args, Debug)]
#[command(after_help = "\
As `bridgefwd apply` without a FILE. SIGHUP does the same, and what is wrong is
in the daemon's log then.

Example:
  bridgefwd reload")]
pub struct ReloadOptions {
    /// How to show what has changed.
    #[command(flatten)]
    pub output: Output,
}

/// `bridgefwd save`
#[derive(Args, Debug)]
#[command(after_help = "\
Changes of `bridgefwd pair` and `apply FILE` end with the daemon; saved, they hold
for the next one. Comments, order and what the file says already stay; it is
replaced at once. The - prints what runs as a file.

Examples:
  bridgefwd save
  bridgefwd save - > running.toml")]
pub struct SaveOptions {
    /// Configuration file, or - [default: the daemon's own, else /etc/bridgefwd/bridgefwd.toml]
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
}
