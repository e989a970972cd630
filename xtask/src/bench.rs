//! `cargo xtask bench`: builds and runs the measuring program, and puts what it found into docs/.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};

use crate::cli::Bench;
use crate::progress::Progress;
use crate::workspace::Workspace;
use crate::{build, exec, setup};

/// The package with the measuring program, and the program's name.
const PACKAGE: &str = "bridgefwd-bench";
/// What is written into, with a section for each measurement.
const DOCUMENT: &str = "docs/benchmarks.md";

/// How to measure.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Fewer rounds.
    pub quick: bool,
    /// Put the results into docs/.
    pub publish: bool,
    /// Of the order.
    pub seed: u64,
}

/// Measures all, or what is given.
pub fn run(workspace: &Workspace, benches: &[Bench], options: Options) -> anyhow::Result<ExitCode> {
    let benches = if benches.is_empty() { &Bench::ALL[..] } else { benches };
    let toolchain = setup::for_bench(workspace, &Progress::new(true))?;
    build::all(workspace, &toolchain)?;
    let mut compile = exec::cargo();
    compile.current_dir(&workspace.root).env("CARGO_TARGET_DIR", &workspace.target).args([
        "build",
        "--release",
        "--package",
        PACKAGE,
    ]);
    exec::shown(&mut compile, "building the measuring program")?;

    // Publishing the first results changes the tree, but not what is measured.
    let commit = commit(workspace);
    let mut failed = Vec::new();
    for &bench in benches {
        let results = measure(workspace, bench, &commit, options).and_then(|results| {
            if options.publish { publish(workspace, bench, &results) } else { Ok(()) }
        });
        // Hours of the others are not to be lost by one of them.
        if let Err(error) = results {
            eprintln!("{}: {error:#}", bench.name());
            failed.push(bench.name());
        }
    }
    if !failed.is_empty() {
        bail!("measuring failed: {}", failed.join(", "));
    }
    Ok(ExitCode::SUCCESS)
}

/// Measures one. Returns the folder with the results: those of this run alone.
fn measure(
    workspace: &Workspace,
    bench: Bench,
    commit: &str,
    options: Options,
) -> anyhow::Result<PathBuf> {
    let results = workspace.target.join("bench").join(bench.name());
    match fs::remove_dir_all(&results) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("removing {}", results.display()));
        }
        _ => {}
    }
    let (binary, object) = (workspace.binary(), workspace.object());
    let env: [(&str, &OsStr); 2] =
        [("BRIDGEFWD_BIN", binary.as_os_str()), ("BRIDGEFWD_OBJECT", object.as_os_str())];
    let program = workspace.target.join("release").join(PACKAGE);
    let mut command = exec::as_root(&program, &env)?;
    command.current_dir(&workspace.root).arg(bench.name());
    command.arg("--results").arg(&results).arg("--commit").arg(commit);
    command.arg("--seed").arg(options.seed.to_string());
    if options.quick {
        command.arg("--quick");
    }
    let status = command.status().with_context(|| exec::line(&command))?;
    if !status.success() {
        bail!("it ended with {status}");
    }
    Ok(results)
}

/// The commit that is checked out, with a word where there are changes beside it.
fn commit(workspace: &Workspace) -> String {
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command.current_dir(&workspace.root).args(args);
        exec::answer(&mut command).map(|text| text.trim().to_owned())
    };
    match (git(&["rev-parse", "--short", "HEAD"]), git(&["status", "--porcelain"])) {
        (Some(commit), Some(changes)) if changes.is_empty() => commit,
        (Some(commit), _) => format!("{commit} with changes"),
        (None, _) => "unknown".into(),
    }
}

/// Puts results and charts into docs/: the text where the page has its place, figures as JSON and charts
/// beside it.
fn publish(workspace: &Workspace, bench: Bench, results: &Path) -> anyhow::Result<()> {
    let path = workspace.root.join(DOCUMENT);
    let document =
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let file = results.join(bench.name()).with_extension("md");
    let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    let document = with_section(&document, bench.name(), &text)
        .with_context(|| format!("{DOCUMENT} has no place for {}", bench.name()))?;
    for entry in fs::read_dir(results)? {
        let file = entry?.path();
        let (name, ending) = (file.file_name(), file.extension().and_then(OsStr::to_str));
        let to = match (name.and_then(OsStr::to_str), ending) {
            (Some(name), Some("svg")) => name.to_owned(),
            (Some(name), Some("json")) => format!("benchmark-{name}"),
            _ => continue,
        };
        let to = workspace.root.join("docs").join(to);
        fs::copy(&file, &to).with_context(|| to.display().to_string())?;
    }
    fs::write(&path, document).with_context(|| path.display().to_string())?;
    eprintln!("{}: published in {DOCUMENT}", bench.name());
    Ok(())
}

/// The document with `text` between the marks of `name`; `None` where it has none.
fn with_section(document: &str, name: &str, text: &str) -> Option<String> {
    let begin = format!("<!-- begin {name} -->\n");
    let end = format!("<!-- end {name} -->");
    let (before, rest) = document.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}{}\n{end}{after}", text.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_and_nothing_else() {
        let document = "a\n<!-- begin path -->\nold\n<!-- end path -->\nb\n";
        let after = with_section(document, "path", "new\n").unwrap();
        assert_eq!(after, "a\n<!-- begin path -->\nnew\n<!-- end path -->\nb\n");
        assert_eq!(with_section(document, "scale", "new"), None);
    }

    #[test]
    fn the_document_has_a_place_for_every_measurement() {
        let workspace = Workspace::find().unwrap();
        let document = fs::read_to_string(workspace.root.join(DOCUMENT)).unwrap();
        for bench in Bench::ALL {
            assert!(with_section(&document, bench.name(), "").is_some(), "{}", bench.name());
        }
    }
}
