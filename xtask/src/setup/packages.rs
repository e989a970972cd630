//! System packages, by apt-get.

use std::ffi::OsStr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::has_apt;
use crate::exec;
use crate::progress::Progress;

/// Debian's Rust for the web (it follows the browsers' needs, so it is recent even in an old
/// Debian), with its core library for BPF. Its cargo too: another's may not know its compiler.
pub const DEBIAN_TOOLCHAIN: [&str; 3] = ["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf"];

/// clippy of the same compiler.
pub const DEBIAN_CLIPPY: &str = "rust-web-clippy";

/// A program of the system that the lab or the tests call.
struct Tool {
    command: &'static str,
    package: &'static str,
    why: &'static str,
}

/// What boots other kernels.
const KERNEL_TOOLS: [Tool; 6] = [
    Tool { command: "qemu-system-x86_64", package: "qemu-system-x86", why: "runs the kernels" },
    Tool { command: "busybox", package: "busybox-static", why: "is what they start with" },
    Tool { command: "cpio", package: "cpio", why: "packs that" },
    Tool { command: "depmod", package: "kmod", why: "finds their modules" },
    Tool { command: "xz", package: "xz-utils", why: "unpacks those" },
    Tool { command: "nft", package: "nftables", why: "shows the rules there" },
];

const TOOLS: [Tool; 6] = [
    Tool { command: "ip", package: "iproute2", why: "makes the tests' namespaces and bridges" },
    Tool { command: "tc", package: "iproute2", why: "shows that no filter is left behind" },
    Tool { command: "bpftool", package: "bpftool", why: "shows the programs, links and maps" },
    Tool { command: "ethtool", package: "ethtool", why: "turns offloads on and off" },
    Tool { command: "iptables", package: "iptables", why: "makes rules like Docker's" },
    Tool { command: "tcpdump", package: "tcpdump", why: "captures what came out" },
];

/// Finds or installs the programs that the lab and the tests call.
pub fn tools(progress: &Progress, apt: &mut Apt) -> anyhow::Result<()> {
    all(&TOOLS, "the lab and the tests", progress, apt)
}

/// Finds or installs what boots other kernels.
pub fn kernel_tools(progress: &Progress, apt: &mut Apt) -> anyhow::Result<()> {
    all(&KERNEL_TOOLS, "other kernels", progress, apt)
}

fn all(tools: &[Tool], what: &str, progress: &Progress, apt: &mut Apt) -> anyhow::Result<()> {
    let (present, missing): (Vec<&Tool>, Vec<&Tool>) =
        tools.iter().partition(|tool| exec::find(tool.command).is_some());
    if !present.is_empty() {
        let names: Vec<_> = present.iter().map(|tool| tool.command).collect();
        progress.found(&format!("programs for {what}: {}", names.join(", ")));
    }
    if missing.is_empty() {
        return Ok(());
    }
    let mut names: Vec<_> = missing.iter().map(|tool| tool.package).collect();
    names.dedup();
    let why: Vec<_> = missing.iter().map(|tool| format!("{} {}", tool.command, tool.why)).collect();
    apt.install(progress, &names, &why.join(", "))?;
    match missing.iter().find(|tool| exec::find(tool.command).is_none()) {
        Some(tool) => bail!("{} is installed, yet there is no {}", tool.package, tool.command),
        None => Ok(()),
    }
}

/// apt-get; its lists are fetched once at most.
#[derive(Debug, Default)]
pub struct Apt {
    updated: bool,
}

impl Apt {
    /// Installs packages and what they depend on. Removes nothing, asks nothing.
    ///
    /// # Errors
    /// No apt-get, no way to become root without a password, no network, no such package: each
    /// names the packages.
    pub fn install(
        &mut self,
        progress: &Progress,
        packages: &[&str],
        why: &str,
    ) -> anyhow::Result<()> {
        let list = packages.join(" ");
        if !has_apt() {
            bail!(
                "missing: {list} ({why}). There is no apt-get here; install what your system calls them"
            );
        }
        let by_hand = || format!("missing: {list} ({why}). As root: apt-get install {list}");
        let limit = Duration::from_secs(1200);
        if !self.updated {
            let mut update = apt_get().with_context(by_hand)?;
            update.args(["-q", "update"]);
            // Not fatal: the lists that are there may do.
            let updated = progress
                .step("apt-get update", "packages are missing", || exec::quiet(&mut update, limit));
            if let Err(error) = updated {
                progress.note(&format!("going on with the package lists as they are: {error:#}"));
            }
            self.updated = true;
        }
        let mut install = apt_get().with_context(by_hand)?;
        install.args(["-q", "-y", "--no-install-recommends", "--no-remove", "install"]);
        install.args(packages);
        progress
            .step(&format!("apt-get install {list}"), why, || exec::quiet(&mut install, limit))
            .with_context(by_hand)?;
        Ok(())
    }
}

/// apt-get as root, by sudo only where that asks no password.
fn apt_get() -> anyhow::Result<Command> {
    let quiet = OsStr::new("noninteractive");
    // Another apt may be at work, as on a machine that has just started.
    let wait = "-oDPkg::Lock::Timeout=120";
    if exec::is_root() {
        let mut command = exec::foreign("apt-get");
        command.env("DEBIAN_FRONTEND", quiet).arg(wait);
        return Ok(command);
    }
    let sudo = exec::find("sudo").context("we are not root and there is no sudo")?;
    if exec::answer(exec::foreign(&sudo).args(["-n", "true"])).is_none() {
        bail!("we are not root and sudo wants a password");
    }
    let mut command = exec::foreign(sudo);
    command.args(["-n", "DEBIAN_FRONTEND=noninteractive", "apt-get", wait]);
    Ok(command)
}
