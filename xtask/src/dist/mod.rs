//! `cargo xtask dist`: what is installed on other hosts, as a Debian package and as a tarball.
//!
//! Both hold the same: the program, its manual pages and completions, which the program itself
//! writes, and what lies in `bridgefwd/packaging`.

mod tarball;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::progress::Progress;
use crate::setup;
use crate::workspace::Workspace;
use crate::{build, exec};

/// How long any of the programs that are called here may take.
const LIMIT: Duration = Duration::from_secs(300);

/// A shell, and the file in which it looks for completions, below a folder of its own.
const SHELLS: [(&str, &str); 3] =
    [("bash", "bridgefwd"), ("zsh", "_bridgefwd"), ("fish", "bridgefwd.fish")];

/// Builds the program, then both.
pub fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let progress = Progress::new(true);
    let toolchain = setup::for_build(workspace, &progress)?;
    build::all(workspace, &toolchain)?;
    for path in packages(workspace, &progress)? {
        let size = fs::metadata(&path)?.len();
        println!("{} ({:.1} MB)", workspace.shown(&path), size as f64 / 1e6);
    }
    Ok(())
}

/// Makes both, of the program that is built already.
pub fn packages(workspace: &Workspace, progress: &Progress) -> anyhow::Result<Vec<PathBuf>> {
    let cargo_deb = setup::deb::obtain(workspace, progress)?;
    let made = folder(workspace);
    // Of an earlier version there may be another one.
    renew(&made)?;
    let staging = stage(workspace)?;
    let deb = deb(workspace, &cargo_deb, &made)?;
    let tarball = tarball::make(workspace, &staging, &made)?;
    Ok(vec![deb, tarball])
}

/// Where the package and the tarball come to lie.
pub fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target.join("dist")
}

/// What has to be made before it can be packed. Below `release`, which is what cargo-deb takes for
/// made, wherever the target directory is.
fn stage(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let staging = workspace.target.join("release").join("dist");
    renew(&staging)?;
    let binary = staging.join("bridgefwd");
    exec::quiet(exec::foreign("strip").arg("-o").arg(&binary).arg(workspace.binary()), LIMIT)?;
    let man = staging.join("man");
    fs::create_dir(&man)?;
    exec::quiet(exec::foreign(&binary).arg("man").arg(&man), LIMIT)?;
    let pages = fs::read_dir(&man)?.map(|entry| entry.map(|entry| entry.path()));
    let pages: Vec<_> = pages.collect::<Result<_, _>>()?;
    exec::quiet(exec::foreign("gzip").arg("-9n").args(pages), LIMIT)?;
    for (shell, name) in SHELLS {
        let script = exec::quiet(exec::foreign(&binary).args(["completions", shell]), LIMIT)?;
        fs::create_dir(staging.join(shell))?;
        fs::write(staging.join(shell).join(name), script.stdout)?;
    }
    let changelog = staging.join("changelog.Debian");
    fs::write(&changelog, debian_changelog(&version(workspace)?, &changed(workspace)?))?;
    exec::quiet(exec::foreign("gzip").arg("-9n").arg(&changelog), LIMIT)?;
    Ok(staging)
}

fn deb(workspace: &Workspace, cargo_deb: &Path, made: &Path) -> anyhow::Result<PathBuf> {
    let mut command = exec::foreign(cargo_deb);
    command
        .current_dir(&workspace.root)
        .env("CARGO_TARGET_DIR", &workspace.target)
        .args(["--no-build", "--package", "bridgefwd", "--output"])
        .arg(made);
    // It asks cargo for the workspace: the one that started us.
    if let Some(cargo) = exec::find_program(exec::cargo().get_program()) {
        command.env("CARGO", cargo);
    }
    exec::quiet(&mut command, LIMIT)?;
    only(made, "deb")
}

/// The one file of that extension.
fn only(folder: &Path, extension: &str) -> anyhow::Result<PathBuf> {
    let paths = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let paths: Vec<_> = paths.collect::<Result<_, _>>()?;
    let mut found =
        paths.into_iter().filter(|path| path.extension() == Some(OsStr::new(extension)));
    match (found.next(), found.next()) {
        (Some(path), None) => Ok(path),
        _ => bail!("{}: there is not one .{extension}", folder.display()),
    }
}

/// An empty folder.
fn renew(folder: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| folder.display().to_string());
        }
        _ => {}
    }
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())
}

/// The program's version, by its own word.
fn version(workspace: &Workspace) -> anyhow::Result<String> {
    exec::answer(Command::new(workspace.binary()).arg("--version"))
        .and_then(|text| text.split_whitespace().nth(1).map(str::to_owned))
        .context("the program does not tell its version")
}

/// When the sources last changed, as Debian's changelogs have it: `SOURCE_DATE_EPOCH` where that is
/// set, else the time of the last commit, so that the same sources give the same package.
fn changed(workspace: &Workspace) -> anyhow::Result<String> {
    let seconds = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(seconds) => seconds,
        Err(_) => {
            let mut git = exec::foreign("git");
            git.current_dir(&workspace.root).args(["log", "-1", "--format=%ct"]);
            // Sources without a repository: they are as old as the epoch.
            exec::answer(&mut git).unwrap_or_else(|| "0".into())
        }
    };
    let at = format!("@{}", seconds.trim());
    exec::answer(exec::foreign("date").args(["-u", "-R", "-d", &at]))
        .map(|date| date.trim().to_owned())
        .with_context(|| format!("{at} is not a time: SOURCE_DATE_EPOCH is in seconds"))
}

/// Debian's changelog is of the package; what changed in the program is in the other one.
fn debian_changelog(version: &str, date: &str) -> String {
    format!(
        "bridgefwd ({version}-1) unstable; urgency=medium\n\n  * Version {version}; \
         /usr/share/doc/bridgefwd/changelog.gz says what is new.\n\n -- {MAINTAINER}  {date}\n"
    )
}

/// As in `bridgefwd/Cargo.toml`.
const MAINTAINER: &str = "The bridgefwd authors <bridgefwd@localhost.localdomain>";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_changelog_is_as_debian_has_it() {
        let text = debian_changelog("1.2.3", "Thu, 01 Jan 1970 00:00:00 +0000");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "bridgefwd (1.2.3-1) unstable; urgency=medium");
        assert!(lines[2].starts_with("  * ") && lines[4].starts_with(" -- The"), "{text}");
        assert!(lines[4].ends_with(">  Thu, 01 Jan 1970 00:00:00 +0000"), "{text}");
    }

    #[test]
    fn the_maintainer_is_one() {
        let workspace = Workspace::find().unwrap();
        let manifest = fs::read_to_string(workspace.root.join("bridgefwd/Cargo.toml")).unwrap();
        assert!(manifest.contains(&format!("maintainer = \"{MAINTAINER}\"")));
    }
}
