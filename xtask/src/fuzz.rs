//! `cargo xtask fuzz`: libFuzzer on the packet logic, for as long as one likes.

use std::fs;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::cli::FuzzTarget;
use crate::exec;
use crate::workspace::Workspace;

/// How long a first build may take before the question after cargo-fuzz is taken for unanswered.
const ANSWER: Duration = Duration::from_secs(60);

/// Runs each target, or the given one, for `seconds`.
pub fn run(
    workspace: &Workspace,
    target: Option<FuzzTarget>,
    seconds: u32,
) -> anyhow::Result<ExitCode> {
    if exec::quiet(exec::cargo().args(["fuzz", "--version"]), ANSWER).is_err() {
        bail!(
            "cargo-fuzz is not installed: cargo install --locked cargo-fuzz\n\
             (what it has found so far is tried without it, by `cargo xtask test unit`)"
        );
    }
    let targets = target.as_ref().map_or(&FuzzTarget::ALL[..], std::slice::from_ref);
    let mut broken = Vec::new();
    for target in targets {
        let name = target.name();
        let corpus = workspace.root.join("tests/fuzz/corpus").join(name);
        fs::create_dir_all(&corpus).with_context(|| corpus.display().to_string())?;
        eprintln!("== {name}: {seconds} s");
        if let Err(error) = exec::shown(&mut command(workspace, *target, seconds), "fuzzing") {
            eprintln!("xtask: {error:#}");
            broken.push(name);
        }
    }
    if broken.is_empty() {
        eprintln!("fuzz: nothing found");
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!(
        "fuzz: failed: {}. What broke a target is in tests/fuzz/artifacts/TARGET; once it is mended, keep it \
         in tests/fuzz/fixtures/TARGET",
        broken.join(", ")
    );
    Ok(ExitCode::FAILURE)
}

fn command(workspace: &Workspace, target: FuzzTarget, seconds: u32) -> Command {
    let name = target.name();
    let mut command = exec::cargo();
    command
        .current_dir(&workspace.root)
        // The coverage that libFuzzer goes by is asked for by flags of nightly compilers.
        .env("RUSTC_BOOTSTRAP", "1")
        .args(["fuzz", "run", "--fuzz-dir", "tests/fuzz", "--target-dir"])
        .arg(workspace.target.join("fuzz"))
        // There is no unsafe code in what is run, and without it is several times faster.
        .args(["--sanitizer", "none", "--debug-assertions", name])
        .arg(format!("tests/fuzz/corpus/{name}"))
        .arg(format!("tests/fuzz/seeds/{name}"))
        .arg("--")
        .arg(format!("-max_total_time={seconds}"))
        .args(["-max_len=1024", "-print_final_stats=1"]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_a_program_with_seeds() {
        let workspace = Workspace::find().unwrap();
        let manifest = fs::read_to_string(workspace.root.join("tests/fuzz/Cargo.toml")).unwrap();
        for target in FuzzTarget::ALL {
            let name = target.name();
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
            for folder in ["seeds", "fixtures"] {
                assert!(
                    workspace.root.join("tests/fuzz").join(folder).join(name).is_dir(),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn the_time_is_passed_on() {
        let workspace = Workspace::find().unwrap();
        let line = exec::line(&command(&workspace, FuzzTarget::Parse, 7));
        assert!(line.contains("fuzz run") && line.ends_with("-print_final_stats=1"), "{line}");
        assert!(
            line.contains("-max_total_time=7") && line.contains("tests/fuzz/seeds/parse"),
            "{line}"
        );
    }
}
