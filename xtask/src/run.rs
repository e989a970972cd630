//! `cargo xtask run`: the built program, as root.

use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use crate::progress::Progress;
use crate::workspace::Workspace;
use crate::{build, exec, setup};

/// What it is given when the user gives nothing: the whole job shown on real packets.
const TOUR: [&str; 2] = ["lab", "tour"];

/// Builds, then becomes the program, so that its exit status and the signals of the terminal are
/// its own.
pub fn run(workspace: &Workspace, args: &[String]) -> anyhow::Result<ExitCode> {
    let toolchain = setup::run(workspace, &Progress::new(true))?;
    build::all(workspace, &toolchain)?;
    let mut command = exec::as_root(&workspace.binary(), &[])?;
    if args.is_empty() {
        command.args(TOUR);
    } else {
        command.args(args);
    }
    let error = command.exec();
    Err(anyhow::Error::new(error).context(exec::line(&command)))
}
