//! `cargo xtask setup`: finds or installs what the eBPF build and the tests need.
//!
//! Nothing is recorded: each run looks at what is there, so it cannot be wrong about it.

pub mod deb;
mod linker;
mod packages;
pub mod toolchain;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, bail};

use crate::exec;
use crate::progress::{Progress, elapsed};
use crate::workspace::Workspace;
use packages::Apt;
use toolchain::{Compiler, Kind, Toolchain};

/// Everything: the toolchain for the eBPF program and the programs that the lab and the tests use.
pub fn run(workspace: &Workspace, progress: &Progress) -> anyhow::Result<Toolchain> {
    let started = Instant::now();
    let mut apt = Apt::default();
    let toolchain = toolchain(workspace, progress, &mut apt)?;
    packages::tools(progress, &mut apt)?;
    progress.found(&format!("all there, {}", elapsed(started.elapsed())));
    Ok(toolchain)
}

/// What boots other kernels, besides.
pub fn for_kernels(progress: &Progress) -> anyhow::Result<()> {
    packages::kernel_tools(progress, &mut Apt::default())
}

/// As [`run`], and what only `cargo xtask bench` uses.
pub fn for_bench(workspace: &Workspace, progress: &Progress) -> anyhow::Result<Toolchain> {
    let toolchain = run(workspace, progress)?;
    packages::bench_tools(progress, &mut Apt::default())?;
    Ok(toolchain)
}

/// Only what `cargo xtask build` needs.
pub fn for_build(workspace: &Workspace, progress: &Progress) -> anyhow::Result<Toolchain> {
    toolchain(workspace, progress, &mut Apt::default())
}

/// What the `docker` layer needs beside. Where it cannot be had the layer's tests say so themselves:
/// it may be a machine with another engine, or none.
pub fn for_docker(progress: &Progress) {
    let mut apt = Apt::default();
    if let Err(error) = packages::engine(progress, &mut apt) {
        progress.note(&format!("the docker layer has no engine: {error:#}"));
    }
    if let Err(error) = packages::other_engines(progress, &mut apt) {
        progress.note(&format!("the docker layer goes without other engines: {error:#}"));
    }
}

/// What the `watch` layer needs beside. Where it cannot be had the layer's tests say so themselves.
pub fn for_watch(progress: &Progress) {
    if let Err(error) = packages::watchers(progress, &mut Apt::default()) {
        progress.note(&format!("the watch layer goes without: {error:#}"));
    }
}

/// What the build needs, and clippy for the eBPF crate where it can be had.
pub fn for_lint(workspace: &Workspace, progress: &Progress) -> anyhow::Result<Toolchain> {
    let mut apt = Apt::default();
    let toolchain = toolchain(workspace, progress, &mut apt)?;
    if toolchain.cargo_clippy().is_none() {
        let got = match toolchain.kind() {
            Kind::Debian => apt.install(
                progress,
                &[packages::DEBIAN_CLIPPY],
                "clippy of the compiler that builds the eBPF program",
            ),
            Kind::Nightly { .. } => progress.step(
                "rustup component add clippy --toolchain nightly",
                "clippy of the compiler that builds the eBPF program",
                || toolchain::add_component("clippy"),
            ),
        };
        if let Err(error) = got {
            progress.note(&format!("clippy reads the eBPF crate for the host instead: {error:#}"));
        }
    }
    Ok(toolchain)
}

/// A complete toolchain as it is, rustup's before Debian's; else the first that can be completed.
fn toolchain(
    workspace: &Workspace,
    progress: &Progress,
    apt: &mut Apt,
) -> anyhow::Result<Toolchain> {
    supported_host(std::env::consts::OS, std::env::consts::ARCH)?;

    let nightly = toolchain::nightly();
    let debian = toolchain::debian();
    for compiler in [&nightly, &debian].into_iter().flatten() {
        if let Some(linker) =
            compiler.complete().then(|| linker::find(workspace, compiler)).flatten()
        {
            progress.found(&format!("compiler for eBPF: {compiler}"));
            progress.found(&format!("linker for eBPF: {}", linker.display()));
            return Ok(Toolchain::new(compiler.clone(), linker));
        }
    }

    let nightly_why_not = match nightly {
        None => "rustup has no nightly toolchain".to_owned(),
        Some(compiler) => match complete_nightly(workspace, progress, apt, compiler) {
            Ok(toolchain) => return Ok(toolchain),
            Err(error) => {
                let reason = format!("{error:#}");
                progress.note(&format!(
                    "rustup's nightly cannot be used, trying Debian's Rust: {}",
                    reason.lines().last().unwrap_or_default()
                ));
                reason
            }
        },
    };
    complete_debian(workspace, progress, apt).map_err(|error| {
        anyhow::anyhow!(
            "no toolchain for the eBPF program can be had here.\n\
             rustup's nightly: {nightly_why_not}\n\
             Debian's Rust: {error:#}\n\
             Do one of these, then run `cargo xtask setup` again:\n\
             - rustup toolchain install nightly --profile minimal --component rust-src, and put a \
             bpf-linker into PATH that is built for the nightly's LLVM (`rustc +nightly -vV` names \
             it; https://github.com/aya-rs/bpf-linker has binaries)\n\
             - on Debian, as root: apt-get install {}",
            packages::DEBIAN_TOOLCHAIN.join(" ")
        )
    })
}

/// rustup's nightly with its library sources, and a linker for its LLVM.
fn complete_nightly(
    workspace: &Workspace,
    progress: &Progress,
    apt: &mut Apt,
    compiler: Compiler,
) -> anyhow::Result<Toolchain> {
    if !compiler.complete() {
        progress.step(
            "rustup component add rust-src --toolchain nightly",
            "the sources of core, for a target that rustup has no core library for",
            || toolchain::add_component("rust-src"),
        )?;
    }
    let linker = obtain_linker(workspace, progress, apt, &compiler)?;
    Ok(Toolchain::new(compiler, linker))
}

/// Debian's Rust for the web, which comes with a core library for BPF, and a linker for its LLVM.
fn complete_debian(
    workspace: &Workspace,
    progress: &Progress,
    apt: &mut Apt,
) -> anyhow::Result<Toolchain> {
    let usable = |compiler: &Compiler| compiler.complete();
    let compiler = match toolchain::debian().filter(usable) {
        Some(compiler) => compiler,
        None => {
            apt.install(
                progress,
                &packages::DEBIAN_TOOLCHAIN,
                "a Rust compiler with a core library for BPF",
            )?;
            toolchain::debian().filter(usable).with_context(|| {
                format!(
                    "{} is installed but is older than Rust {} or lacks {}",
                    Kind::Debian.rustc().display(),
                    toolchain::OLDEST_RUST,
                    toolchain::DEBIAN_CORE
                )
            })?
        }
    };
    let linker = obtain_linker(workspace, progress, apt, &compiler)?;
    Ok(Toolchain::new(compiler, linker))
}

/// The linker that is there, or one built for the compiler's LLVM.
fn obtain_linker(
    workspace: &Workspace,
    progress: &Progress,
    apt: &mut Apt,
    compiler: &Compiler,
) -> anyhow::Result<PathBuf> {
    if let Some(linker) = linker::find(workspace, compiler) {
        return Ok(linker);
    }
    linker::supports(compiler.llvm)?;
    let prefix = match linker::llvm_prefix(compiler.llvm) {
        Some(prefix) => prefix,
        None => {
            let package = format!("llvm-{}-dev", compiler.llvm);
            apt.install(
                progress,
                &[&package],
                "the LLVM that made the compiler, for the eBPF linker",
            )?;
            linker::llvm_prefix(compiler.llvm).with_context(|| {
                format!("{package} is installed, yet there is no library of LLVM {}", compiler.llvm)
            })?
        }
    };
    progress.step(
        &format!("building bpf-linker {} for LLVM {}", linker::VERSION, compiler.llvm),
        "it turns what the compiler emits into an eBPF object; about a minute, once",
        || linker::build(workspace, compiler, &prefix),
    )
}

/// Linux, and a processor whose programs are little endian and 64-bit as the object is.
fn supported_host(os: &str, arch: &str) -> anyhow::Result<()> {
    if os != "linux" {
        bail!("bridgefwd needs Linux, its kernel runs the eBPF program; this is {os}");
    }
    if !matches!(arch, "x86_64" | "aarch64") {
        bail!("bridgefwd is built for x86_64 and aarch64; this is {arch}");
    }
    Ok(())
}

/// Whether apt-get is here.
fn has_apt() -> bool {
    exec::find("apt-get").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_system_is_named() {
        supported_host("linux", "x86_64").unwrap();
        supported_host("linux", "aarch64").unwrap();
        let check = |os, arch, word: &str| {
            let error = supported_host(os, arch).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        };
        check("macos", "aarch64", "macos");
        check("linux", "s390x", "s390x");
    }
}
