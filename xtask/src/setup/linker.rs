//! bpf-linker: found in the cache or in `PATH`, or built against the compiler's LLVM.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use anyhow::{Context as _, bail};

use super::toolchain::{Compiler, numbers};
use crate::exec;
use crate::workspace::Workspace;

/// The version that is built when none is there.
pub const VERSION: &str = "0.13.0";

/// Major versions of LLVM that this version can be built with.
const LLVM: std::ops::RangeInclusive<u32> = 21..=23;

/// A linker that reads what the compiler writes: ours from the cache, else the one in `PATH`.
pub fn find(workspace: &Workspace, compiler: &Compiler) -> Option<PathBuf> {
    let cached = root(workspace, compiler.llvm).join("bin").join("bpf-linker");
    if exec::is_executable(&cached) && runs(&cached) {
        return Some(cached);
    }
    exec::find("bpf-linker").filter(|linker| links(compiler, linker))
}

/// An error unless bpf-linker can be built with that LLVM.
pub fn supports(llvm: u32) -> anyhow::Result<()> {
    if !LLVM.contains(&llvm) {
        bail!(
            "the compiler's LLVM is {llvm}, bpf-linker {VERSION} can be built with {} to {}",
            LLVM.start(),
            LLVM.end()
        );
    }
    Ok(())
}

/// Where LLVM of that major version is installed with what is needed to link with it.
pub fn llvm_prefix(major: u32) -> Option<PathBuf> {
    let debian = PathBuf::from(format!("/usr/lib/llvm-{major}"));
    if debian.join("lib/libLLVM.so").exists() {
        return Some(debian);
    }
    [format!("llvm-config-{major}"), "llvm-config".to_owned()].iter().find_map(|name| {
        let config = exec::find(name)?;
        let ask = |what| exec::answer(exec::foreign(&config).arg(what));
        if numbers(ask("--version")?.trim()).first() != Some(&major) {
            return None;
        }
        let library = PathBuf::from(ask("--libdir")?.trim()).join("libLLVM.so");
        library.exists().then_some(PathBuf::from(ask("--prefix")?.trim()))
    })
}

/// Builds it into the cache.
pub fn build(
    workspace: &Workspace,
    compiler: &Compiler,
    llvm_prefix: &Path,
) -> anyhow::Result<PathBuf> {
    let root = root(workspace, compiler.llvm);
    fs::create_dir_all(&root)
        .with_context(|| format!("{}: cannot keep build tools there", root.display()))?;
    let mut command = exec::cargo();
    command
        // Away from the workspace, whose target directory and settings are not meant for it.
        .current_dir(&root)
        .env_remove("CARGO_TARGET_DIR")
        .env("LLVM_PREFIX", llvm_prefix)
        // The work is LLVM's. Unoptimised, the rest builds in half the time and links as fast.
        .envs([
            ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0"),
            ("CARGO_PROFILE_RELEASE_DEBUG", "0"),
            ("CARGO_PROFILE_RELEASE_LTO", "off"),
        ])
        .args(["install", "bpf-linker", "--version", VERSION, "--locked", "--force"])
        .args(["--no-default-features", "--features", &format!("llvm-{}", compiler.llvm)])
        .args([OsStr::new("--root"), root.as_os_str()]);
    exec::quiet(&mut command, Duration::from_secs(1800))
        .context("bpf-linker comes from crates.io: is there a network?")?;
    find(workspace, compiler)
        .with_context(|| format!("bpf-linker was built into {} but does not run", root.display()))
}

/// Its own directory for each version and LLVM, so that neither needs a record.
fn root(workspace: &Workspace, llvm: u32) -> PathBuf {
    workspace.cache.join(format!("bpf-linker-{VERSION}-llvm-{llvm}"))
}

/// Whether the cached one starts; it does not once its LLVM library has been removed.
fn runs(linker: &Path) -> bool {
    exec::answer(exec::foreign(linker).arg("--version"))
        .is_some_and(|text| is_version(&text, VERSION))
}

/// Whether `bpf-linker --version` printed that version.
fn is_version(text: &str, version: &str) -> bool {
    text.split_whitespace().eq(["bpf-linker", version])
}

/// Whether one that somebody else installed understands the compiler, which its version does not
/// tell: an empty program goes through both.
fn links(compiler: &Compiler, linker: &Path) -> bool {
    let directory = std::env::temp_dir().join(format!("bridgefwd-link-{}", std::process::id()));
    let linked = try_link(compiler, linker, &directory).unwrap_or(false);
    // At worst an empty program of some hundred bytes stays.
    let _ = fs::remove_dir_all(&directory);
    linked
}

fn try_link(compiler: &Compiler, linker: &Path, directory: &Path) -> io::Result<bool> {
    fs::create_dir(directory)?;
    let source = directory.join("empty.rs");
    fs::write(&source, "#![feature(no_core)]\n#![no_core]\n#![no_main]\n")?;
    let mut command = exec::foreign(compiler.kind.rustc());
    let mut flag = std::ffi::OsString::from("-Clinker=");
    flag.push(linker);
    command
        .env("RUSTC_BOOTSTRAP", "1")
        .args([
            "--edition=2024",
            "--target=bpfel-unknown-none",
            "-Ainternal_features",
            "-Cpanic=abort",
        ])
        .arg(flag)
        .arg(&source)
        .arg("-o")
        .arg(directory.join("empty.o"));
    Ok(exec::answer(&mut command).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linker_of_another_version_is_not_ours() {
        assert!(is_version("bpf-linker 0.13.0\n", "0.13.0"));
        assert!(!is_version("bpf-linker 0.13.1\n", "0.13.0"));
        assert!(!is_version("", "0.13.0"));
    }

    #[test]
    fn an_llvm_that_it_does_not_know_is_refused() {
        supports(22).unwrap();
        let error = supports(19).unwrap_err().to_string();
        assert!(error.contains("19") && error.contains("21 to 23"), "{error}");
    }
}
