//! What a kernel starts with: an archive of busybox, the tools of the tests, the modules that they need,
//! and the programs to run.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use super::fetch::Kernel;
use crate::exec;

/// Programs that the tests and bridgefwd call.
const TOOLS: [&str; 16] = [
    "bash",
    "ip",
    "tc",
    "bridge",
    "ss",
    "nft",
    "iptables",
    "ip6tables",
    "iptables-restore",
    "ip6tables-restore",
    "bpftool",
    "ethtool",
    "tcpdump",
    "sysctl",
    "kill",
    "nsenter",
];
/// Modules that are loaded at the start: the tests' namespaces could not do so themselves.
const MODULES: [&str; 36] = [
    "veth",
    "bridge",
    "br_netfilter",
    "dummy",
    "tun",
    "ifb",
    "8021q",
    "af_packet",
    "sch_ingress",
    "sch_netem",
    "sch_htb",
    "sch_fq",
    "cls_bpf",
    "cls_u32",
    "cls_matchall",
    "act_bpf",
    "act_gact",
    "act_mirred",
    "nf_conntrack",
    "nf_nat",
    "nf_tables",
    "nft_compat",
    "nft_counter",
    "nft_ct",
    "nft_masq",
    "nft_nat",
    "nft_chain_nat",
    "nft_limit",
    "nft_reject_inet",
    "xt_MASQUERADE",
    "xt_conntrack",
    "xt_tcpudp",
    "xt_addrtype",
    "xt_multiport",
    "sctp",
    "dccp_ipv4",
];
/// Where the programs to run are in the guest.
pub const PAYLOAD: &str = "/payload";

/// Writes the archive of `kernel` with `payload` in it, and a script that runs `/payload/run`, to `archive`.
///
/// # Errors
/// A tool that is missing, or no room.
pub fn make(
    kernel: &Kernel,
    payload: &[(&str, PathBuf)],
    script: &str,
    archive: &Path,
) -> anyhow::Result<()> {
    let tree = archive.with_extension("tree");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    for folder in
        ["bin", "usr", "dev", "proc", "sys", "run/netns", "tmp", "etc", "root", "lib64", "payload"]
    {
        fs::create_dir_all(tree.join(folder))?;
    }
    for (link, to) in [
        ("sbin", "bin"),
        ("usr/bin", "../bin"),
        ("usr/sbin", "../bin"),
        ("usr/lib", "../lib"),
        ("usr/lib64", "../lib64"),
    ] {
        symlink(to, tree.join(link))?;
    }
    let busybox = exec::find("busybox").context("there is no busybox")?;
    fs::copy(busybox, tree.join("bin/busybox"))?;
    add_modules(kernel, &tree)?;
    let mut programs = Vec::new();
    for name in TOOLS {
        let path = exec::find(name).with_context(|| format!("there is no {name}"))?;
        // By its own name, also where that leads to another program.
        fs::copy(&path, tree.join("bin").join(name))?;
        programs.push(path);
    }
    for (name, path) in payload {
        fs::copy(path, tree.join("payload").join(name))
            .with_context(|| path.display().to_string())?;
        programs.push(path.clone());
    }
    add_libraries(&programs, &tree)?;
    write_program(&tree.join("payload/run"), script)?;
    write_program(&tree.join("init"), &init())?;
    fs::write(tree.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
    fs::write(tree.join("etc/hosts"), "127.0.0.1 localhost\n")?;
    pack(&tree, archive)?;
    fs::remove_dir_all(&tree)?;
    Ok(())
}

/// The first program: mounts, loads modules, runs the script, and switches the machine off.
fn init() -> String {
    let modules = MODULES.join(" ");
    format!(
        "#!/bin/busybox sh\n\
         /bin/busybox --install -s /tmp 2>/dev/null\n\
         for applet in /tmp/*; do [ -e /bin/${{applet##*/}} ] || /bin/busybox cp -P $applet /bin/; done\n\
         export PATH=/bin HOME=/root TERM=dumb\n\
         rm /tmp/*\n\
         mount -t proc p /proc; mount -t sysfs s /sys; mount -t devtmpfs d /dev\n\
         mkdir -p /dev/shm; mount -t tmpfs t /dev/shm; mount -t tmpfs t /tmp; mount -t tmpfs t /run\n\
         mkdir -p /run/netns; mount -t bpf b /sys/fs/bpf; mount -t cgroup2 c /sys/fs/cgroup\n\
         mount -t tracefs t /sys/kernel/tracing\n\
         hostname guest; ip link set lo up\n\
         for module in {modules}; do modprobe $module 2>/dev/null; done\n\
         stty -F /dev/ttyS1 raw -echo; cd {PAYLOAD}\n\
         ./run </dev/null >/dev/ttyS1 2>&1\n\
         echo \"@@ status $?\" >/dev/ttyS1; sync; poweroff -f\n"
    )
}

/// The modules with those that they need, unpacked, for busybox's modprobe reads no other.
fn add_modules(kernel: &Kernel, tree: &Path) -> anyhow::Result<()> {
    let folder = tree.join("lib/modules").join(&kernel.release);
    fs::create_dir_all(&folder)?;
    let program = |name: &str| exec::find(name).with_context(|| format!("there is no {name}"));
    let depmod = |base: &Path| -> anyhow::Result<()> {
        let mut command = Command::new(program("depmod")?);
        command.arg("-b").arg(base).arg(&kernel.release);
        exec::quiet(&mut command, std::time::Duration::from_secs(120)).map(drop)
    };
    depmod(&kernel.base)?;
    let mut files = BTreeSet::new();
    for module in MODULES {
        let mut command = Command::new(program("modprobe")?);
        command.arg("-d").arg(&kernel.base).args(["-S", &kernel.release, "--show-depends", module]);
        // One that this kernel has not, or has built in, is no file.
        let shown = exec::answer(&mut command).unwrap_or_default();
        files.extend(
            shown
                .lines()
                .filter_map(|line| line.strip_prefix("insmod ")?.split_whitespace().next())
                .map(PathBuf::from),
        );
    }
    for file in files {
        let name = file.file_name().unwrap_or_default().display().to_string();
        if let Some(plain) = name.strip_suffix(".xz") {
            let output = Command::new(program("xz")?).arg("-dc").arg(&file).output()?;
            if !output.status.success() {
                bail!("xz cannot unpack {}", file.display());
            }
            fs::write(folder.join(plain), output.stdout)?;
        } else {
            fs::copy(&file, folder.join(&name))?;
        }
    }
    for name in ["modules.builtin", "modules.builtin.modinfo", "modules.order"] {
        let from = kernel.modules.join(name);
        if from.exists() {
            fs::copy(from, folder.join(name))?;
        }
    }
    depmod(tree)
}

/// Copies the shared libraries of `programs` to where they are here.
fn add_libraries(programs: &[PathBuf], tree: &Path) -> anyhow::Result<()> {
    let mut libraries = BTreeSet::new();
    let extensions = [PathBuf::from("/usr/lib/x86_64-linux-gnu/xtables")];
    let modules =
        extensions.iter().flat_map(fs::read_dir).flatten().flatten().map(|file| file.path());
    let modules: Vec<_> = modules.collect();
    for program in programs.iter().chain(&modules) {
        let said = exec::answer(Command::new("ldd").arg(program)).unwrap_or_default();
        libraries.extend(
            said.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from),
        );
    }
    libraries.extend(modules);
    for library in libraries.iter().filter(|library| library.exists()) {
        let place = library.strip_prefix("/usr").or_else(|_| library.strip_prefix("/"));
        let to = tree.join(place.unwrap_or(library));
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::copy(library, to).with_context(|| library.display().to_string())?;
    }
    Ok(())
}

fn write_program(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

fn pack(tree: &Path, archive: &Path) -> anyhow::Result<()> {
    let cpio = exec::find("cpio").context("there is no cpio")?;
    let mut names = String::new();
    list(tree, tree, &mut names)?;
    let mut child = Command::new(cpio)
        .current_dir(tree)
        .args(["--create", "--format=newc", "--owner=+0:+0", "--quiet"])
        .stdin(Stdio::piped())
        .stdout(fs::File::create(archive)?)
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        std::io::Write::write_all(&mut input, names.as_bytes())?;
    }
    if !child.wait()?.success() {
        bail!("cpio cannot write {}", archive.display());
    }
    Ok(())
}

/// Everything below `folder`, a folder before what is in it.
fn list(root: &Path, folder: &Path, names: &mut String) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let name = path.strip_prefix(root)?.to_str().context("a name that is no text")?;
        names.push_str(name);
        names.push('\n');
        if entry.file_type()?.is_dir() {
            list(root, &path, names)?;
        }
    }
    Ok(())
}
