//! Other people's program on the same interface: it lets everything go on, and its runs are counted.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use crate::bpf::{self, RunTime};
use crate::namespaces::{BPFFS, Namespace, unique_name};

/// A loaded classifier that returns `TC_ACT_UNSPEC`, pinned for as long as this lives.
pub struct ForeignProgram {
    pin: PathBuf,
    program: OwnedFd,
    // The kernel counts runs for as long as this is open.
    _statistics: OwnedFd,
}

impl ForeignProgram {
    /// Loads and pins one.
    #[must_use]
    #[track_caller]
    pub fn load() -> Self {
        let program = bpf::empty_classifier();
        let pin = Path::new(BPFFS).join(unique_name("foreign"));
        bpf::pin(&program, &pin);
        let statistics = aya::sys::enable_stats(aya::sys::Stats::RunTime).expect("statistics");
        Self { pin, program, _statistics: statistics }
    }

    /// Makes a filter of it at ingress of `interface`, which has a clsact qdisc.
    #[track_caller]
    pub fn filter(&self, ns: &Namespace, interface: &str, preference: u32) {
        self.add(ns, interface, "ingress", preference);
    }

    /// As [`ForeignProgram::filter`], at egress.
    #[track_caller]
    pub fn egress_filter(&self, ns: &Namespace, interface: &str, preference: u32) {
        self.add(ns, interface, "egress", preference);
    }

    #[track_caller]
    fn add(&self, ns: &Namespace, interface: &str, hook: &str, preference: u32) {
        let pin = self.pin.to_str().expect("a path of ours");
        let preference = preference.to_string();
        let filter = ["filter", "add", "dev", interface, hook, "pref", &preference];
        let program = ["bpf", "da", "object-pinned", pin];
        ns.command("tc", &[&filter[..], &program].concat());
    }

    /// How often it has run.
    #[must_use]
    #[track_caller]
    pub fn runs(&self) -> u64 {
        self.run_time().runs
    }

    /// How often, and how long that took.
    #[must_use]
    #[track_caller]
    pub fn run_time(&self) -> RunTime {
        bpf::run_time(self.program.as_fd())
    }
}

impl Drop for ForeignProgram {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.pin);
    }
}
