//! What the kernel can do, and whether we may ask it to. Found out by trying, not by its version.

use std::io;
use std::path::Path;

use aya::programs::ProgramError;

use super::report::Finding;
use crate::datapath::helpers::{HELPERS, Helper, missing};
use crate::datapath::{check_permission, rehearse};
use crate::host::qdisc::{self, Hook};
use crate::host::{self, bpf, netns};

/// The oldest that the programs are tried on.
const OLDEST: (u32, u32) = (5, 10);
const BTF: &str = "/sys/kernel/btf/vmlinux";
/// Number of the loopback interface in every network namespace.
const LOOPBACK: u32 = 1;

/// The kernel's version.
pub fn release() -> Finding {
    judge_release(&rustix::system::uname().release().to_string_lossy())
}

fn judge_release(release: &str) -> Finding {
    const CHECK: &str = "kernel";
    let numbers = || {
        let mut numbers = release.split(['.', '-']).map(str::parse::<u32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    };
    let (major, minor) = OLDEST;
    match numbers() {
        None => Finding::unchecked(CHECK, format!("{release:?} is no version of Linux")),
        Some(version) if version < OLDEST => Finding::broken(
            CHECK,
            format!("Linux {release}; bridgefwd needs {major}.{minor} or later"),
            "install a newer kernel",
        ),
        Some(_) => Finding::ok(CHECK, format!("Linux {release}")),
    }
}

/// May this process do what the daemon does? Without, some checks cannot be made.
pub fn rights() -> Finding {
    match check_permission() {
        Ok(()) => Finding::ok("rights", "CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN are there"),
        Err(error) => {
            Finding::unchecked("rights", format!("what takes them cannot be checked: {error}"))
        }
    }
}

/// Type information of the kernel.
pub fn btf() -> Finding {
    match Path::new(BTF).try_exists() {
        Ok(true) => Finding::ok("btf", format!("{BTF} is there")),
        Ok(false) => Finding::broken(
            "btf",
            format!("there is no {BTF}: this kernel has no type information for eBPF"),
            "a kernel with CONFIG_DEBUG_INFO_BTF=y, as those of distributions are",
        ),
        Err(error) => Finding::unchecked("btf", format!("{BTF} cannot be looked for: {error}")),
    }
}

/// Where pins go.
pub fn bpffs(pin_dir: &Path) -> Finding {
    judge_bpffs(pin_dir, host::bpffs::is_on_bpffs(pin_dir))
}

fn judge_bpffs(pin_dir: &Path, is_on_bpffs: bool) -> Finding {
    let place = pin_dir.display();
    if is_on_bpffs {
        Finding::ok("bpffs", format!("{place} is on a BPF filesystem"))
    } else if pin_dir.starts_with("/sys/fs/bpf") {
        Finding::attention(
            "bpffs",
            format!("no BPF filesystem is mounted for {place}; `run` tries to mount it"),
            "mount -t bpf bpf /sys/fs/bpf",
        )
    } else {
        Finding::broken(
            "bpffs",
            format!("{place} is not on a BPF filesystem, so nothing can be pinned there"),
            "another --pin-dir, below /sys/fs/bpf",
        )
    }
}

/// Each helper that the programs call, tried.
pub fn helpers() -> Finding {
    judge_helpers(missing(&HELPERS))
}

fn judge_helpers(missing: Result<Vec<Helper>, ProgramError>) -> Finding {
    const CHECK: &str = "helpers";
    let missing = match missing {
        Ok(missing) => missing,
        Err(error) => return Finding::unchecked(CHECK, format!("not tried: {}", reason(&error))),
    };
    let needed: Vec<_> = missing
        .iter()
        .filter(|helper| helper.otherwise.is_none())
        .map(ToString::to_string)
        .collect();
    if !needed.is_empty() {
        return Finding::broken(
            CHECK,
            format!("this kernel has no {}", needed.join(", ")),
            "install a kernel that has them",
        );
    }
    let replaced = missing.iter().filter_map(|helper| Some((helper, helper.otherwise?.text)));
    let replaced: Vec<_> =
        replaced.map(|(helper, instead)| format!("without {helper} {instead}")).collect();
    if replaced.is_empty() {
        return Finding::ok(
            CHECK,
            format!("all {} that the programs call are there", HELPERS.len()),
        );
    }
    Finding::ok(CHECK, format!("those that must be there are; {}", replaced.join("; ")))
}

/// The programs themselves, given to the verifier and thrown away.
pub fn programs() -> Finding {
    const CHECK: &str = "programs";
    if check_permission().is_err() {
        return Finding::unchecked(CHECK, "not tried: that takes root");
    }
    match rehearse() {
        Ok(count) => Finding::ok(CHECK, format!("the kernel accepts all {count}")),
        Err(error) => Finding::broken(
            CHECK,
            error.to_string(),
            "another kernel; please report this one with what its verifier says",
        ),
    }
}

/// How programs would be attached.
pub fn attaching() -> Finding {
    judge_attaching(bpf::tcx_programs(LOOPBACK, Hook::Ingress).map(drop), clsact)
}

/// Tried in a network namespace of its own, so that nothing here changes.
fn clsact() -> io::Result<()> {
    netns::run_in_new(|| qdisc::add_clsact(LOOPBACK).map(drop)).map_err(io::Error::other)?
}

fn judge_attaching(tcx: io::Result<()>, clsact: impl FnOnce() -> io::Result<()>) -> Finding {
    const CHECK: &str = "attaching";
    match tcx {
        Ok(()) => return Finding::ok(CHECK, "by TCX"),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
        Err(error) => return Finding::unchecked(CHECK, format!("not tried: {error}")),
    }
    match clsact() {
        Ok(()) => Finding::ok(CHECK, "by clsact filters; this kernel has no TCX"),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Finding::unchecked(CHECK, format!("no TCX; clsact was not tried: {error}"))
        }
        Err(error) => Finding::broken(
            CHECK,
            format!("neither by TCX nor by a clsact qdisc: {error}"),
            "modprobe sch_ingress cls_bpf",
        ),
    }
}

/// Are programs compiled?
pub fn jit() -> Finding {
    let path = "/proc/sys/net/core/bpf_jit_enable";
    judge_jit(std::fs::read_to_string(path))
}

fn judge_jit(value: io::Result<String>) -> Finding {
    const CHECK: &str = "jit";
    const MEND: &str = "sysctl -w net.core.bpf_jit_enable=1";
    match value.as_deref().map(str::trim) {
        Ok("1") => Finding::ok(CHECK, "programs are compiled"),
        Ok("2") => Finding::attention(
            CHECK,
            "programs are compiled, and each of them is written to the kernel's log",
            MEND,
        ),
        Ok("0") => Finding::attention(
            CHECK,
            "programs are interpreted, which costs several times as much for each packet",
            MEND,
        ),
        Ok(other) => Finding::unchecked(CHECK, format!("{other:?} is nothing known")),
        Err(error) => Finding::unchecked(
            CHECK,
            format!("net.core.bpf_jit_enable cannot be read here: {error}"),
        ),
    }
}

/// The errors of a cause, outermost first.
fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn versions() {
        for (release, level) in [
            ("6.18.44-fc", Level::Ok),
            ("5.10.0-27-amd64", Level::Ok),
            ("6.1", Level::Ok),
            ("5.9.16", Level::Broken),
            ("4.19.0", Level::Broken),
            ("strange", Level::Unchecked),
        ] {
            assert_eq!(judge_release(release).level, level, "{release}");
        }
    }

    #[test]
    fn pins_need_their_filesystem() {
        let usual = Path::new("/sys/fs/bpf/bridgefwd");
        assert_eq!(judge_bpffs(usual, true).level, Level::Ok);
        assert_eq!(judge_bpffs(usual, false).level, Level::Attention);
        assert_eq!(judge_bpffs(Path::new("/tmp/pins"), false).level, Level::Broken);
    }

    #[test]
    fn a_missing_helper_is_named() {
        let all = judge_helpers(Ok(Vec::new()));
        assert!(all.level == Level::Ok && all.text.starts_with("all 28"), "{all:?}");
        let some = |replaced: bool| {
            HELPERS.into_iter().filter(move |helper| helper.otherwise.is_some() == replaced)
        };
        let replaced = judge_helpers(Ok(some(true).collect()));
        assert_eq!(replaced.level, Level::Ok);
        for part in ["bpf_ktime_get_coarse_ns (Linux 5.11)", "bpf_probe_read_kernel"] {
            assert!(replaced.text.contains(part), "{replaced:?}");
        }
        let needed: Vec<_> = some(false).filter(|helper| helper.since == "5.10").collect();
        let broken = judge_helpers(Ok(needed));
        assert_eq!(broken.level, Level::Broken);
        assert_eq!(broken.text, "this kernel has no bpf_redirect_neigh (Linux 5.10)");
        let untried = judge_helpers(Err(ProgramError::UnexpectedProgramType));
        assert_eq!(untried.level, Level::Unchecked);
    }

    #[test]
    fn either_way_of_attaching_does() {
        let no = |kind: io::ErrorKind| move || Err(kind.into());
        let none = || Err(io::ErrorKind::InvalidInput.into());
        let denied = io::ErrorKind::PermissionDenied;
        assert_eq!(judge_attaching(Ok(()), no(denied)).level, Level::Ok);
        assert_eq!(judge_attaching(none(), || Ok(())).level, Level::Ok);
        assert_eq!(judge_attaching(none(), no(denied)).level, Level::Unchecked);
        assert_eq!(judge_attaching(none(), no(io::ErrorKind::NotFound)).level, Level::Broken);
        assert_eq!(judge_attaching(Err(denied.into()), || Ok(())).level, Level::Unchecked);
    }

    #[test]
    fn programs_should_be_compiled() {
        let level = |text: &str| judge_jit(Ok(text.into())).level;
        assert_eq!(level("1\n"), Level::Ok);
        assert_eq!(level("0\n"), Level::Attention);
        assert_eq!(level("2\n"), Level::Attention);
        assert_eq!(level("7\n"), Level::Unchecked);
        assert_eq!(judge_jit(Err(io::ErrorKind::NotFound.into())).level, Level::Unchecked);
    }
}
