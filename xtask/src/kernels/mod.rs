//! `cargo xtask test kernels`: the compiled program and the whole system under other kernels.
//!
//! Each kernel is Debian's, booted under qemu without a disk or a network. It loads every program, which
//! says how many instructions the verifier looked at, and runs the bytecode and netns layers.

mod fetch;
mod initramfs;
mod machine;
mod table;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::cli::Layer;
use crate::progress::{Progress, elapsed};
use crate::test::{self, Report};
use crate::workspace::Workspace;
use crate::{build, exec, setup};
use table::{Row, Table};

/// Versions that are tested where none is named: the oldest that is supported, those of Debian's
/// releases since, and the newest.
const VERSIONS: [&str; 4] = ["5.10", "6.1", "6.12", "7"];
/// The layers that run there.
const LAYERS: [Layer; 2] = [Layer::Bytecode, Layer::Netns];
/// How long one kernel may take. In software a processor is ten to twenty times as slow.
const PATIENCE: Duration = Duration::from_secs(3 * 3600);
/// The loader: `tests/src/bin/verifier.rs`.
const VERIFIER: &str = "verifier";
/// The feature of the tests by which they wait longer.
const PATIENT: [&str; 2] = ["--features", "patient"];

/// Tests that do not run there, by a part of their name, and why.
const LEFT_OUT: [(Layer, &str, &str); 5] = [
    (
        Layer::Bytecode,
        "mutations::",
        "thousands of packets, which take as long as all else together; they \
        are the same to every kernel that has accepted the program",
    ),
    (
        Layer::Netns,
        "bulk::",
        "50 MB each way take minutes of an emulated processor; `clsact` and `forwarding` \
        transfer 1 MB",
    ),
    (
        Layer::Netns,
        "churn::",
        "thousands of connections a second are more than an emulated processor has time for",
    ),
    (Layer::Netns, "hostile::", "a flood, which an emulated processor has no time for"),
    (Layer::Netns, "::kernel", "the kernel's own forwarding beside ours: nothing of ours is in it"),
];

/// Boots each version and runs what runs there.
///
/// # Errors
/// No such kernel, or no machine; a test that fails is no error but an exit status.
pub fn run(
    workspace: &Workspace,
    versions: &[String],
    filter: &[String],
) -> anyhow::Result<ExitCode> {
    if std::env::consts::ARCH != "x86_64" {
        bail!(
            "the kernels are for x86_64, and so must the tests be; this is {}",
            std::env::consts::ARCH
        );
    }
    let progress = Progress::new(true);
    let toolchain = setup::run(workspace, &progress)?;
    setup::for_kernels(&progress)?;
    build::all(workspace, &toolchain)?;
    let programs = Programs::build(workspace)?;
    let cache = workspace.cache.join("kernels");
    let versions: Vec<&str> = if versions.is_empty() {
        VERSIONS.to_vec()
    } else {
        versions.iter().map(String::as_str).collect()
    };
    let mut table = Table::default();
    let mut good = true;
    for version in versions {
        let kernel = fetch::kernel(&cache, version, &progress)?;
        println!("==== Linux {}", kernel.release);
        let (row, report) = under(workspace, &kernel, &programs, filter)?;
        print!("{}", report.summary());
        good &= report.good();
        table.add(row);
    }
    print!("\n{}", table.text());
    std::io::stdout().flush()?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Boots one kernel.
fn under(
    workspace: &Workspace,
    kernel: &fetch::Kernel,
    programs: &Programs,
    filter: &[String],
) -> anyhow::Result<(Row, Report)> {
    let folder = workspace.target.join("kernels").join(&kernel.release);
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let archive = folder.join("initramfs.cpio");
    initramfs::make(kernel, &programs.0, &script(filter), &archive)?;

    let mut row = Row::new(&kernel.release);
    let mut report = Report::default();
    let mut layer: Option<(Layer, Instant)> = None;
    let ended = machine::run(&kernel.image, &archive, &folder.join("console"), PATIENCE, |line| {
        println!("{line}");
        if let Some(name) = line.strip_prefix("@@ layer ") {
            layer = LAYERS
                .into_iter()
                .find(|layer| layer.name() == name)
                .map(|layer| (layer, Instant::now()));
            report.begin(name);
        } else if let Some(status) = line.strip_prefix("@@ end ") {
            if let Some((layer, began)) = layer.take() {
                report.end(status == "0", !filter.is_empty());
                for (of, part, why) in LEFT_OUT {
                    if of == layer {
                        report.left_out(part, why);
                    }
                }
                let counts = report.layer_counts();
                row.layer(layer.name(), &format!("{counts}, {}", elapsed(began.elapsed())));
            } else if status != "0" {
                report.trouble("verifier", "the kernel refuses a program");
            }
        } else if layer.is_some() {
            report.line(line);
        } else {
            row.line(line);
        }
    });
    match ended {
        Ok(0) => {}
        Ok(status) => report.trouble(&kernel.release, &format!("the script ended with {status}")),
        Err(error) => report.trouble(&kernel.release, &format!("{error:#}")),
    }
    report.finish();
    Ok((row, report))
}

/// What the machine runs.
fn script(filter: &[String]) -> String {
    let mut script = format!(
        "#!/bin/bash\n\
         export BRIDGEFWD_BIN={0}/bridgefwd BRIDGEFWD_OBJECT={0}/bridgefwd.o CI=1 RUST_BACKTRACE=1\n\
         ./verifier; echo \"@@ end $?\"\n",
        initramfs::PAYLOAD
    );
    let quoted: String =
        filter.iter().map(|word| format!(" '{}'", word.replace('\'', r"'\''"))).collect();
    for layer in LAYERS {
        let skips: String = LEFT_OUT
            .iter()
            .filter(|(of, ..)| *of == layer)
            .map(|(_, part, _)| format!(" --skip {part}"))
            .collect();
        let name = layer.name();
        script += &format!(
            "echo '@@ layer {name}'; ./{name} --show-output --test-threads=2{skips}{quoted}\n\
             echo \"@@ end $?\"\n"
        );
    }
    script + "exit 0\n"
}

/// The programs that run in the machine: copies, for this takes hours and what is built may change.
struct Programs(Vec<(&'static str, PathBuf)>);

impl Programs {
    fn build(workspace: &Workspace) -> anyhow::Result<Self> {
        let mut compile = test::cargo(workspace);
        compile.args(["build", "--release", "--package", "bridgefwd-tests", "--bin", VERIFIER]);
        compile.args(PATIENT);
        exec::shown(&mut compile, "compiling the loader")?;
        let mut built = vec![
            ("bridgefwd", workspace.binary()),
            ("bridgefwd.o", workspace.object()),
            (VERIFIER, workspace.target.join("release").join(VERIFIER)),
        ];
        for layer in LAYERS {
            built.push((layer.name(), test_program(workspace, layer)?));
        }
        let folder = workspace.target.join("kernels").join("payload");
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let mut copies = Vec::new();
        for (name, from) in built {
            let to = folder.join(name);
            std::fs::copy(&from, &to).with_context(|| from.display().to_string())?;
            copies.push((name, to));
        }
        Ok(Self(copies))
    }
}

/// Compiles the tests of a layer; their program.
fn test_program(workspace: &Workspace, layer: Layer) -> anyhow::Result<PathBuf> {
    let mut compile: Command = test::cargo_test(workspace, layer);
    compile.args(PATIENT).arg("--no-run");
    exec::shown(&mut compile, "compiling the tests")?;
    // A second time it only says where it is.
    let said = exec::quiet(&mut compile, Duration::from_secs(120))?;
    executable(&String::from_utf8_lossy(&said.stderr), layer)
        .map(|path| absolute(&workspace.root, path))
        .with_context(|| format!("cargo does not say where the tests of {} are", layer.name()))
}

/// `Executable tests/netns/main.rs (target/release/deps/netns-0123)`: other packages may have tests of
/// that name, too.
fn executable(said: &str, layer: Layer) -> Option<&Path> {
    let source = format!("Executable tests/{}/main.rs ", layer.name());
    let line = said.lines().find(|line| line.trim_start().starts_with(&source))?;
    Some(Path::new(line.rsplit_once('(')?.1.trim_end().strip_suffix(')')?))
}

fn absolute(root: &Path, path: &Path) -> PathBuf {
    if path.is_absolute() { path.to_path_buf() } else { root.join(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_says_where_a_test_program_is() {
        let said = "    Finished `release` profile [optimized] target(s) in 0.15s\n  \
                    Executable tests/netns.rs (target/release/deps/netns-f26a28f21881af75)\n  \
                    Executable tests/netns/main.rs (target/release/deps/netns-086325e582b5dd6b)\n";
        let found = executable(said, Layer::Netns);
        assert_eq!(found, Some(Path::new("target/release/deps/netns-086325e582b5dd6b")));
        assert_eq!(executable("Finished", Layer::Netns), None);
    }

    #[test]
    fn the_script_leaves_out_what_is_said_to_be() {
        let script = script(&["it's".to_owned()]);
        for (_, part, _) in LEFT_OUT {
            assert!(script.contains(&format!("--skip {part}")), "{script}");
        }
        assert!(script.contains(r"'it'\''s'"), "{script}");
    }
}
