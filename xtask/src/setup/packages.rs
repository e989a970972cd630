//! System packages, by apt-get.

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

const TOOLS: [Tool; 10] = [
    Tool { command: "ip", package: "iproute2", why: "makes the tests' namespaces and bridges" },
    Tool { command: "tc", package: "iproute2", why: "shows that no filter is left behind" },
    Tool { command: "bpftool", package: "bpftool", why: "shows the programs, links and maps" },
    Tool { command: "ethtool", package: "ethtool", why: "turns offloads on and off" },
    Tool { command: "iptables", package: "iptables", why: "makes rules like Docker's" },
    Tool { command: "nft", package: "nftables", why: "makes rules that `explain` is held against" },
    Tool { command: "ping", package: "iputils-ping", why: "asks in the lab's lessons" },
    Tool {
        command: "sysctl",
        package: "procps",
        why: "turns forwarding on and off in the lessons",
    },
    Tool { command: "systemd-analyze", package: "systemd", why: "judges the unit of the package" },
    Tool { command: "tcpdump", package: "tcpdump", why: "captures what came out" },
];

/// The engine that the `docker` layer starts for itself, and what it puts into containers.
const ENGINE: [Tool; 6] = [
    Tool { command: "dockerd", package: "docker.io", why: "is the engine that tests start" },
    Tool { command: "docker", package: "docker.io", why: "makes networks and containers" },
    Tool { command: "docker-compose", package: "docker-compose", why: "ends and starts projects" },
    Tool { command: "containerd", package: "containerd", why: "is a part of it" },
    Tool { command: "runc", package: "runc", why: "is a part of it" },
    Tool { command: "busybox", package: "busybox-static", why: "is all that is in containers" },
];

/// Others that make bridges, beside which the `docker` layer runs, too.
const OTHER_ENGINES: [Tool; 4] = [
    Tool { command: "libvirtd", package: "libvirt-daemon", why: "makes networks of machines" },
    Tool { command: "virsh", package: "libvirt-clients", why: "asks it to" },
    Tool { command: "dnsmasq", package: "dnsmasq-base", why: "is a part of it" },
    Tool { command: "podman", package: "podman", why: "makes networks and containers" },
];

/// What watches bridgefwd in the `watch` layer.
const WATCHERS: [Tool; 5] = [
    Tool { command: "prometheus", package: "prometheus", why: "scrapes the metrics" },
    Tool { command: "promtool", package: "prometheus", why: "checks them" },
    Tool { command: "chromium", package: "chromium", why: "shows the page" },
    Tool { command: "chromedriver", package: "chromium-driver", why: "looks at it" },
    Tool { command: "tmux", package: "tmux", why: "is a terminal that can be looked at" },
];

/// Finds or installs the programs that the lab and the tests call.
pub fn tools(progress: &Progress, apt: &mut Apt) -> anyhow::Result<()> {
    obtain("the lab and the tests", &TOOLS, progress, |names, why| {
        apt.install(progress, names, why)
    })
}

/// Finds or installs a Docker engine for the tests. The package's own service is not started.
pub fn engine(progress: &Progress, apt: &mut Apt) -> anyhow::Result<()> {
    obtain("the docker layer", &ENGINE, progress, |names, why| {
        apt.install_without_starting(progress, names, why)
    })
}

/// Finds or installs the other engines. The packages' own services are not started.
pub fn other_engines(progress: &Progress, apt: &mut Apt) -> anyhow::Result<()> {
    obtain("other engines", &OTHER_ENGINES, progress, |names, why| {
        apt.install_without_starting(progress, names, why)
    })
}

/// Finds or installs what boots other kernels.
pub fn kernel_tools(progress: &Progress, apt: &mut Apt) -> anyhow::Result<()> {
    obtain("other kernels", &KERNEL_TOOLS, progress, |names, why| apt.install(progress, names, why))
}

/// Finds or installs what the `watch` layer calls. The packages' own services are not started.
pub fn watchers(progress: &Progress, apt: &mut Apt) -> anyhow::Result<()> {
    obtain("the watch layer", &WATCHERS, progress, |names, why| {
        apt.install_without_starting(progress, names, why)
    })
}

/// What the measurements call beside those of the tests.
const BENCH_TOOLS: [Tool; 1] =
    [Tool { command: "nft", package: "nftables", why: "makes the rules to compare with" }];

/// Finds or installs the programs that the measurements call beside those of the tests.
pub fn bench_tools(progress: &Progress, apt: &mut Apt) -> anyhow::Result<()> {
    obtain("the measurements", &BENCH_TOOLS, progress, |names, why| {
        apt.install(progress, names, why)
    })
}

fn obtain(
    purpose: &str,
    tools: &[Tool],
    progress: &Progress,
    install: impl FnOnce(&[&str], &str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (present, missing): (Vec<&Tool>, Vec<&Tool>) =
        tools.iter().partition(|tool| exec::find(tool.command).is_some());
    if !present.is_empty() {
        let names: Vec<_> = present.iter().map(|tool| tool.command).collect();
        progress.found(&format!("programs for {purpose}: {}", names.join(", ")));
    }
    if missing.is_empty() {
        return Ok(());
    }
    let mut names: Vec<_> = missing.iter().map(|tool| tool.package).collect();
    names.dedup();
    let why: Vec<_> = missing.iter().map(|tool| format!("{} {}", tool.command, tool.why)).collect();
    install(&names, &why.join(", "))?;
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
        self.install_by(&[], progress, packages, why)
    }

    /// The same, of packages with services: none of them is started.
    ///
    /// # Errors
    /// As there.
    pub fn install_without_starting(
        &mut self,
        progress: &Progress,
        packages: &[&str],
        why: &str,
    ) -> anyhow::Result<()> {
        self.install_by(&["sh", "-c", WITHOUT_STARTING, "sh"], progress, packages, why)
    }

    /// Installs with apt-get as the last argument of `wrapper`.
    fn install_by(
        &mut self,
        wrapper: &[&str],
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
            let mut update = apt_get(&[]).with_context(by_hand)?;
            update.args(["-q", "update"]);
            // Not fatal: the lists that are there may do.
            let updated = progress
                .step("apt-get update", "packages are missing", || exec::quiet(&mut update, limit));
            if let Err(error) = updated {
                progress.note(&format!("going on with the package lists as they are: {error:#}"));
            }
            self.updated = true;
        }
        let mut install = apt_get(wrapper).with_context(by_hand)?;
        install.args(["-q", "-y", "--no-install-recommends", "--no-remove", "install"]);
        install.args(packages);
        progress
            .step(&format!("apt-get install {list}"), why, || exec::quiet(&mut install, limit))
            .with_context(by_hand)?;
        Ok(())
    }
}

/// Runs its arguments while `policy-rc.d` forbids packages to start their services. One that is there
/// already is the system's own word, and is left as it is.
const WITHOUT_STARTING: &str = r#"
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
"$@"
"#;

/// apt-get as root, by sudo only where that asks no password; as the last argument of `wrapper`.
fn apt_get(wrapper: &[&str]) -> anyhow::Result<Command> {
    // Another apt may be at work, as on a machine that has just started.
    let apt = ["apt-get", "-oDPkg::Lock::Timeout=120"];
    let line = || wrapper.iter().chain(&apt);
    if exec::is_root() {
        let mut command = exec::foreign("env");
        command.arg("DEBIAN_FRONTEND=noninteractive").args(line());
        return Ok(command);
    }
    let sudo = exec::find("sudo").context("we are not root and there is no sudo")?;
    if exec::answer(exec::foreign(&sudo).args(["-n", "true"])).is_none() {
        bail!("we are not root and sudo wants a password");
    }
    let mut command = exec::foreign(sudo);
    command.args(["-n", "DEBIAN_FRONTEND=noninteractive"]).args(line());
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_run_without_starting_services_has_its_arguments_and_status() {
        // A path of the test's own stands for the system's.
        let run = |script: &str| {
            let mut command = Command::new("sh");
            let policy = std::env::temp_dir().join(format!("policy-{}", std::process::id()));
            let ours = WITHOUT_STARTING.replace("/usr/sbin/policy-rc.d", &policy.to_string_lossy());
            command.args(["-c", &ours, "sh", "sh", "-c", script, "sh"]).arg(&policy);
            let output = exec::quiet(&mut command, Duration::from_secs(10));
            assert!(!policy.exists(), "it is taken away again");
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        };
        assert_eq!(run("cat \"$1\"").unwrap(), "#!/bin/sh\nexit 101\n");
        assert!(run("exit 3").is_err());
    }
}
