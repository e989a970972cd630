//! cargo-deb, which makes the Debian package: from the cache, or built into it; and Debian's own
//! programs that it calls.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use super::packages::Apt;
use crate::exec;
use crate::progress::Progress;
use crate::workspace::Workspace;

/// The version that is built.
const VERSION: &str = "3.8.0";

/// Programs that it or we call, with their packages.
const PROGRAMS: [(&str, &str, &str); 3] = [
    ("strip", "binutils", "takes symbols out of the program"),
    ("dpkg-shlibdeps", "dpkg-dev", "finds which libraries the program needs"),
    ("dpkg-deb", "dpkg", "reads packages"),
];

/// cargo-deb, found or built.
pub fn obtain(workspace: &Workspace, progress: &Progress) -> anyhow::Result<PathBuf> {
    let missing: Vec<_> =
        PROGRAMS.iter().filter(|(command, ..)| exec::find(command).is_none()).collect();
    if !missing.is_empty() {
        let names: Vec<_> = missing.iter().map(|(_, package, _)| *package).collect();
        let why: Vec<_> =
            missing.iter().map(|(command, _, why)| format!("{command} {why}")).collect();
        Apt::default().install(progress, &names, &why.join(", "))?;
    }
    let root = workspace.cache.join(format!("cargo-deb-{VERSION}"));
    let program = root.join("bin").join("cargo-deb");
    if runs(&program) {
        return Ok(program);
    }
    progress.step(
        &format!("building cargo-deb {VERSION}"),
        "it makes the Debian package; about a minute, once",
        || build(&root),
    )?;
    if runs(&program) {
        return Ok(program);
    }
    anyhow::bail!("cargo-deb was built into {} but does not run", root.display())
}

fn build(root: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(root)
        .with_context(|| format!("{}: cannot keep build tools there", root.display()))?;
    let mut command = exec::cargo();
    command
        // Away from the workspace, whose target directory and settings are not meant for it.
        .current_dir(root)
        .env_remove("CARGO_TARGET_DIR")
        // It compresses a file or two: half the time to build is worth more.
        .envs([
            ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"),
            ("CARGO_PROFILE_RELEASE_DEBUG", "0"),
            ("CARGO_PROFILE_RELEASE_LTO", "off"),
        ])
        .args(["install", "cargo-deb", "--version", VERSION, "--locked", "--force", "--root"])
        .arg(root);
    exec::quiet(&mut command, Duration::from_secs(1800))
        .context("cargo-deb comes from crates.io: is there a network?")?;
    Ok(())
}

fn runs(program: &Path) -> bool {
    exec::is_executable(program)
        && exec::answer(exec::foreign(program).arg("--version"))
            .is_some_and(|text| text.split_whitespace().any(|word| word == VERSION))
}
