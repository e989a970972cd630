//! `cargo xtask build`: the eBPF object, then the program with the object inside.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use crate::exec;
use crate::progress::Progress;
use crate::setup::{self, toolchain::Toolchain};
use crate::workspace::Workspace;

/// Little endian, as every host we build for.
const TARGET: &str = "bpfel-unknown-none";

/// Instructions that the object may use. v3 has 32-bit arithmetic and jumps, which every kernel
/// since 5.1 loads. Its atomics that fetch need 5.12, but an addition whose result is not used is
/// still encoded as the old `xadd`.
const CPU: &str = "v3";

/// Sets up, builds the object, builds the program.
pub fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let toolchain = setup::for_build(workspace, &Progress::new(true))?;
    all(workspace, &toolchain)?;
    eprintln!("built {}", workspace.shown(&workspace.binary()));
    Ok(())
}

/// The object, then the program.
pub fn all(workspace: &Workspace, toolchain: &Toolchain) -> anyhow::Result<()> {
    object(workspace, toolchain)?;
    binary(workspace)
}

/// Builds the objects and puts them where bridgefwd's build looks for it.
pub fn object(workspace: &Workspace, toolchain: &Toolchain) -> anyhow::Result<()> {
    let mut command = for_bpf(workspace, toolchain, &toolchain.cargo(), "build");
    exec::shown(&mut command, "building the eBPF program")?;
    let built = target_directory(workspace).join(TARGET).join("ebpf");
    put_if_changed(&built.join("bridgefwd-ebpf"), &workspace.object())?;
    put_if_changed(&built.join("bridgefwd-drops"), &workspace.drops_object())
}

/// Builds the program for this host.
fn binary(workspace: &Workspace) -> anyhow::Result<()> {
    let mut command = exec::cargo();
    command.current_dir(&workspace.root).env("CARGO_TARGET_DIR", &workspace.target).args([
        "build",
        "--release",
        "--package",
        "bridgefwd",
    ]);
    exec::shown(&mut command, "building bridgefwd")
}

/// A cargo command of the toolchain, with everything that makes it take the eBPF crate for BPF.
/// `program` is its cargo, or a subcommand's own program.
pub fn for_bpf(
    workspace: &Workspace,
    toolchain: &Toolchain,
    program: &Path,
    subcommand: &str,
) -> Command {
    let mut command = exec::foreign(program);
    let mut flags = OsString::from("-Clinker=");
    flags.push(toolchain.linker());
    // BTF: the kernel's verifier and bpftool name functions, types and source lines by it.
    for flag in ["-Clink-arg=--btf", "-Cdebuginfo=2", &format!("-Ctarget-cpu={CPU}")] {
        flags.push("\u{1f}");
        flags.push(flag);
    }
    command
        .current_dir(&workspace.root)
        .envs(toolchain.env())
        // The encoded form, so that a path with a space stays one flag.
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .arg(subcommand)
        .args(["--package", "bridgefwd-ebpf", "--profile", "ebpf"])
        .args(["--target", TARGET, "--target-dir"])
        .arg(target_directory(workspace))
        .args(toolchain.cargo_args());
    command
}

/// Apart from the host's, for another compiler builds there.
fn target_directory(workspace: &Workspace) -> std::path::PathBuf {
    workspace.target.join("bpf-build")
}

/// Copies a file unless the copy is there already: cargo rebuilds what depends on it by its time.
fn put_if_changed(from: &Path, to: &Path) -> anyhow::Result<()> {
    let built = fs::read(from)
        .with_context(|| format!("{}: the eBPF build left no object there", from.display()))?;
    if fs::read(to).is_ok_and(|present| present == built) {
        return Ok(());
    }
    let directory = to.parent().context("the object's path has no directory")?;
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    // Never half a file under the final name.
    let partial = to.with_extension("o.new");
    fs::write(&partial, &built).with_context(|| partial.display().to_string())?;
    fs::rename(&partial, to).with_context(|| to.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unchanged_object_keeps_its_time() {
        let directory =
            std::env::temp_dir().join(format!("bridgefwd-xtask-put-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let (from, to) = (directory.join("from"), directory.join("to").join("object.o"));
        let time = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();

        fs::write(&from, "one").unwrap();
        put_if_changed(&from, &to).unwrap();
        let first = time(&to);
        fs::write(&from, "one").unwrap();
        put_if_changed(&from, &to).unwrap();
        assert_eq!(time(&to), first);
        fs::write(&from, "two").unwrap();
        put_if_changed(&from, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"two");

        fs::remove_dir_all(&directory).unwrap();
    }
}
