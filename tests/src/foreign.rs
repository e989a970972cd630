//! Other people's program on the same interface: it lets everything go on, and its runs are counted.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::command;
use crate::namespaces::{BPFFS, Namespace, unique_name};

/// A loaded classifier that returns `TC_ACT_UNSPEC`, pinned for as long as this lives.
pub struct ForeignProgram {
    pin: PathBuf,
    // The kernel counts runs for as long as this is open.
    _statistics: OwnedFd,
}

const PROG_LOAD: libc::c_long = 5;
const OBJ_PIN: libc::c_long = 6;
const SCHED_CLS: u32 = 3;

/// `r0 = -1; exit`.
static CODE: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], [0x95, 0, 0, 0, 0, 0, 0, 0]];

/// The beginning of `union bpf_attr`, as `BPF_PROG_LOAD` has it.
#[repr(C)]
struct Load {
    prog_type: u32,
    insn_count: u32,
    insns: u64,
    license: u64,
    log: [u64; 2],
    version_and_flags: u64,
}

/// The beginning of `union bpf_attr`, as `BPF_OBJ_PIN` has it.
#[repr(C)]
struct Pin {
    path: u64,
    program: u32,
    flags: u32,
}

impl ForeignProgram {
    /// Loads and pins one.
    #[must_use]
    #[track_caller]
    pub fn load() -> Self {
        let load = Load {
            prog_type: SCHED_CLS,
            insn_count: CODE.len() as u32,
            insns: CODE.as_ptr() as u64,
            license: c"GPL".as_ptr() as u64,
            log: [0; 2],
            version_and_flags: 0,
        };
        let fd = bpf(PROG_LOAD, &load);
        // SAFETY: the kernel has just made it for us.
        let program = unsafe { OwnedFd::from_raw_fd(fd) };
        let pin = Path::new(BPFFS).join(unique_name("foreign"));
        let path = CString::new(pin.as_os_str().as_bytes()).unwrap();
        let attributes = Pin {
            path: path.as_ptr() as u64,
            program: program.as_raw_fd().cast_unsigned(),
            flags: 0,
        };
        bpf(OBJ_PIN, &attributes);
        let statistics = aya::sys::enable_stats(aya::sys::Stats::RunTime).expect("statistics");
        Self { pin, _statistics: statistics }
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
        let pin = self.pin.to_str().expect("a path of ours");
        let text = command::run("bpftool", &["-j", "prog", "show", "pinned", pin]);
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        // Absent until it has run.
        json["run_cnt"].as_u64().unwrap_or(0)
    }
}

impl Drop for ForeignProgram {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.pin);
    }
}

#[track_caller]
fn bpf<T>(command: libc::c_long, attributes: &T) -> i32 {
    // SAFETY: `attributes` is a prefix of union bpf_attr, of the length that is passed, and what
    // its pointers name outlives the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>())
    };
    assert!(result >= 0, "bpf({command}): {}", io::Error::last_os_error());
    result as i32
}
