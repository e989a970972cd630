//! `cargo xtask lint`: format, clippy's warnings, licences.

use std::process::{Command, ExitCode};

use crate::progress::Progress;
use crate::setup::toolchain::Toolchain;
use crate::workspace::Workspace;
use crate::{build, exec, setup};

/// Runs every check, also after one has failed.
pub fn run(workspace: &Workspace) -> anyhow::Result<ExitCode> {
    let progress = Progress::new(true);
    let toolchain = setup::for_lint(workspace, &progress)?;
    // bridgefwd does not compile without the object inside.
    build::object(workspace, &toolchain)?;

    let mut failed = Vec::new();
    let mut check = |name: &'static str, mut command: Command| {
        eprintln!("== {name}");
        if let Err(error) = exec::shown(&mut command, name) {
            eprintln!("xtask: {error:#}");
            failed.push(name);
        }
    };
    check("format", format(workspace));
    check("clippy", clippy(workspace));
    check("clippy of the eBPF crate", clippy_ebpf(workspace, &toolchain));
    match deny(workspace) {
        Some(command) => check("licences and sources", command),
        None => eprintln!(
            "== licences and sources\nSKIPPED: cargo-deny is not installed: cargo install --locked \
             cargo-deny"
        ),
    }
    if failed.is_empty() {
        eprintln!("lint: nothing to say");
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("lint: failed: {}", failed.join(", "));
    Ok(ExitCode::FAILURE)
}

fn format(workspace: &Workspace) -> Command {
    let mut command = cargo(workspace);
    command.args(["fmt", "--all", "--check"]);
    command
}

/// Every crate that is built for the host.
fn clippy(workspace: &Workspace) -> Command {
    let mut command = cargo(workspace);
    command.args(["clippy", "--release", "--workspace", "--exclude", "bridgefwd-ebpf"]).args([
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]);
    command
}

/// The eBPF crate, for BPF where that toolchain has a clippy. Else for the host: clippy reads the
/// same source, only what is conditional on the target escapes it.
fn clippy_ebpf(workspace: &Workspace, toolchain: &Toolchain) -> Command {
    let mut command = match toolchain.cargo_clippy() {
        Some(program) => {
            // Called by its own path: cargo would take the one that is first in PATH, rustup's.
            let mut command = build::for_bpf(workspace, toolchain, &program, "clippy");
            command.env("CARGO", toolchain.cargo());
            command
        }
        None => {
            let mut command = cargo(workspace);
            command.args(["clippy", "--profile", "ebpf", "--package", "bridgefwd-ebpf"]);
            command
        }
    };
    command.args(["--", "-D", "warnings"]);
    command
}

/// cargo-deny, if it is there. Its advisories need a clone of their data base, which a build
/// machine may not reach: they are not asked for here.
fn deny(workspace: &Workspace) -> Option<Command> {
    exec::answer(exec::cargo().args(["deny", "--version"]))?;
    let mut command = cargo(workspace);
    command.args(["deny", "--workspace", "check", "licenses", "bans", "sources"]);
    Some(command)
}

fn cargo(workspace: &Workspace) -> Command {
    let mut command = exec::cargo();
    command.current_dir(&workspace.root).env("CARGO_TARGET_DIR", &workspace.target);
    command
}
