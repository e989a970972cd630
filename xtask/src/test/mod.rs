//! `cargo xtask test`: the layers of tests, and what they came to.

mod report;

use std::ffi::{OsStr, OsString};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::Context as _;

use crate::cli::Layer;
use crate::progress::{Progress, elapsed};
use crate::workspace::Workspace;
use crate::{build, dist, exec, setup};
pub use report::Report;

/// The crates with tests that run on the host as they are.
const UNIT_CRATES: [&str; 5] =
    ["bridgefwd-common", "bridgefwd-checks", "bridgefwd", "bridgefwd-bench", "xtask"];

/// Names the tests that show what it says; all of them must have run.
const SCORECARD: &str = "docs/rfc.md";

/// Builds, runs the layers, and ends with `N passed, N failed, N skipped`.
pub fn run(workspace: &Workspace, layers: &[Layer], filter: &[String]) -> anyhow::Result<ExitCode> {
    let layers = if layers.is_empty() { &Layer::ALL[..] } else { layers };
    let progress = Progress::new(true);
    let toolchain = setup::run(workspace, &progress)?;
    if layers.contains(&Layer::Docker) {
        setup::for_docker(&progress);
    }
    if layers.contains(&Layer::Watch) {
        setup::for_watch(&progress);
    }
    build::all(workspace, &toolchain)?;

    let mut report = Report::default();
    for &layer in layers {
        let started = Instant::now();
        println!("== {}", layer.name());
        let outcome = run_layer(workspace, layer, filter, &mut report);
        if let Err(error) = outcome {
            report.trouble(layer.name(), &format!("{error:#}"));
        }
        println!("== {}: {}", layer.name(), elapsed(started.elapsed()));
    }
    if layers.len() == Layer::ALL.len() && filter.is_empty() {
        let scorecard = workspace.root.join(SCORECARD);
        let text = std::fs::read_to_string(&scorecard)
            .with_context(|| format!("reading {}", scorecard.display()))?;
        report.check_scorecard(&text, &Layer::ALL.map(Layer::name));
    }
    report.finish();
    print!("{}", report.summary());
    std::io::stdout().flush()?;
    Ok(if report.good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs one layer, its output shown as it comes and read into `report`.
fn run_layer(
    workspace: &Workspace,
    layer: Layer,
    filter: &[String],
    report: &mut Report,
) -> anyhow::Result<()> {
    if layer == Layer::Dist {
        dist::packages(workspace, &Progress::new(true))?;
    }
    // Compiled apart from the run: compiler errors are then not taken for a failed test, and
    // nothing is compiled as root.
    let mut compile = cargo_test(workspace, layer);
    compile.arg("--no-run");
    exec::shown(&mut compile, "compiling the tests")?;

    let mut command = match layer {
        Layer::Unit | Layer::Docs => cargo_test(workspace, layer),
        Layer::Bytecode
        | Layer::Netns
        | Layer::Oracle
        | Layer::Cli
        | Layer::Docker
        | Layer::Watch
        | Layer::Dist => as_root(workspace, layer)?,
    };
    // The output of tests that pass too, for the reasons of what they skip.
    command.args(["--no-fail-fast", "--", "--show-output"]).args(filter);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().with_context(|| exec::line(&command))?;
    report.begin(layer.name());
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line.context("reading what the tests print")?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            report.line(&line);
        }
    }
    let status = child.wait()?;
    report.end(status.success(), !filter.is_empty());
    Ok(())
}

/// `cargo test` for one layer, in the environment that the tests expect.
pub fn cargo_test(workspace: &Workspace, layer: Layer) -> Command {
    let mut command = cargo(workspace);
    command.args(["test", "--release"]).args(selection(layer));
    command
}

/// cargo in the environment that the tests expect.
pub fn cargo(workspace: &Workspace) -> Command {
    let mut command = exec::cargo();
    command.current_dir(&workspace.root).envs(environment(workspace));
    command
}

/// The same as root. sudo clears the environment, and root's own cargo would be another one.
fn as_root(workspace: &Workspace, layer: Layer) -> anyhow::Result<Command> {
    if exec::is_root() {
        return Ok(cargo_test(workspace, layer));
    }
    let cargo = cargo_test(workspace, layer);
    let program = exec::find_program(cargo.get_program())
        .with_context(|| format!("{}: not in PATH", cargo.get_program().display()))?;
    let mut env = environment(workspace);
    for name in ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "RUST_BACKTRACE"]
    {
        if let Some(value) = std::env::var_os(name) {
            env.push((name, value));
        }
    }
    let env: Vec<(&str, &OsStr)> =
        env.iter().map(|(name, value)| (*name, value.as_os_str())).collect();
    let mut command = exec::as_root(&program, &env)?;
    command.current_dir(&workspace.root).args(cargo.get_args());
    Ok(command)
}

/// What cargo is to test.
fn selection(layer: Layer) -> Vec<&'static str> {
    match layer {
        Layer::Unit => {
            let packages = UNIT_CRATES.iter().flat_map(|name| ["--package", name]);
            ["--lib", "--bins"].into_iter().chain(packages).collect()
        }
        // The measuring instruments have some of their own.
        Layer::Netns => {
            vec!["--package", "bridgefwd-tests", "--package", "bridgefwd-bench", "--test", "netns"]
        }
        Layer::Docs
        | Layer::Bytecode
        | Layer::Oracle
        | Layer::Cli
        | Layer::Docker
        | Layer::Watch
        | Layer::Dist => {
            vec!["--package", "bridgefwd-tests", "--test", layer.name()]
        }
    }
}

/// Where the tests find what was built.
fn environment(workspace: &Workspace) -> Vec<(&'static str, OsString)> {
    vec![
        ("CARGO_TARGET_DIR", workspace.target.clone().into()),
        ("BRIDGEFWD_BIN", workspace.binary().into()),
        ("BRIDGEFWD_OBJECT", workspace.object().into()),
        ("BRIDGEFWD_DIST", dist::folder(workspace).into()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_layer_selects_its_own_tests() {
        assert_eq!(selection(Layer::Oracle), ["--package", "bridgefwd-tests", "--test", "oracle"]);
        assert!(selection(Layer::Netns).ends_with(&["bridgefwd-bench", "--test", "netns"]));
        let unit = selection(Layer::Unit);
        assert!(unit.contains(&"--lib") && unit.contains(&"bridgefwd-common"), "{unit:?}");
        assert!(!unit.contains(&"bridgefwd-tests"), "{unit:?}");
    }
}
