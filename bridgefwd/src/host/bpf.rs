//! What is asked of `bpf(2)` past the library: such that it takes no more than `CAP_NET_ADMIN`.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use aya::programs::loaded_programs;

use super::qdisc::Hook;

/// Most programs that the kernel lets be at one hook (`BPF_MPROG_MAX`).
const MOST: usize = 64;
const OBJ_GET: libc::c_long = 7;
const PROG_QUERY: libc::c_long = 16;
const LINK_DETACH: libc::c_long = 34;
const TCX_INGRESS: u32 = 46;
const TCX_EGRESS: u32 = 47;

/// `union bpf_attr`, as `BPF_PROG_QUERY` has it, as far as it is used; what follows is zero to the
/// kernel.
#[repr(C)]
struct Query {
    ifindex: u32,
    attach_type: u32,
    flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    _padding: u32,
    program_flags: u64,
    link_ids: u64,
    link_flags: u64,
    revision: u64,
}

/// Ids of the programs at the TCX hook of an interface of this network namespace, in the order in
/// which they run.
///
/// The library's own way opens each of them by its id, for which the kernel wants `CAP_SYS_ADMIN`.
///
/// # Errors
///
/// The kernel's error; `InvalidInput` where it has no TCX.
pub fn tcx_programs(ifindex: u32, hook: Hook) -> io::Result<Vec<u32>> {
    let mut ids = [0_u32; MOST];
    let mut query = Query {
        ifindex,
        attach_type: match hook {
            Hook::Ingress => TCX_INGRESS,
            Hook::Egress => TCX_EGRESS,
        },
        flags: 0,
        attach_flags: 0,
        ids: ids.as_mut_ptr() as u64,
        count: MOST as u32,
        _padding: 0,
        program_flags: 0,
        link_ids: 0,
        link_flags: 0,
        revision: 0,
    };
    // SAFETY: `query` is a prefix of union bpf_attr, of the length that is passed; the one address in
    // it is that of `ids`, which outlives the call and has room for as many as it says.
    unsafe { bpf(PROG_QUERY, &mut query) }?;
    Ok(ids.into_iter().take(query.count as usize).collect())
}

/// The name of a loaded program, as far as the kernel keeps it.
///
/// # Errors
///
/// The kernel's error; finding programs by id takes `CAP_SYS_ADMIN`.
pub fn program_name(id: u32) -> io::Result<String> {
    for program in loaded_programs() {
        let program = program.map_err(io::Error::other)?;
        if program.id() == id {
            return Ok(program.name_as_str().unwrap_or("a program without a name").to_owned());
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// `union bpf_attr`, as `BPF_OBJ_GET` has it, as far as it is used.
#[repr(C)]
struct Get {
    path: u64,
    fd: u32,
    flags: u32,
}

/// Takes the program of a pinned link off its hook, now: when this returns no packet is in it that came
/// by that hook. Removing the pin alone has the kernel do it at some later time, and until then the
/// same program cannot be attached there again (`EEXIST`).
///
/// # Errors
///
/// The kernel's error; `NotFound` where there is no such pin. That the interface is gone is none.
pub fn detach_link(pin: &Path) -> io::Result<()> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let mut get = Get { path: path.as_ptr() as u64, fd: 0, flags: 0 };
    // SAFETY: `get` is a prefix of union bpf_attr, of the length that is passed; the one address in it
    // is that of `path`, which ends with a zero and outlives the call.
    let fd = unsafe { bpf(OBJ_GET, &mut get) }?;
    // SAFETY: the kernel has just made it, for nobody else.
    let link = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut number = link.as_raw_fd().cast_unsigned();
    // SAFETY: of union bpf_attr this command takes the number of a link's file alone.
    unsafe { bpf(LINK_DETACH, &mut number) }.map(drop)
}

/// The system call, with attributes that the kernel reads and may write to.
///
/// # Safety
///
/// `attributes` is what the command takes: a prefix of `union bpf_attr`, and each address in it is
/// that of memory of the size that it says.
pub(super) unsafe fn bpf<T>(command: libc::c_long, attributes: &mut T) -> io::Result<RawFd> {
    // SAFETY: as the caller promises.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>())
    };
    match RawFd::try_from(result) {
        Ok(value) if value >= 0 => Ok(value),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_is_not_pinned_cannot_be_detached() {
        let error = detach_link(Path::new("/sys/fs/bpf/no-such-link")).unwrap_err();
        let known = [libc::ENOENT, libc::EPERM, libc::EACCES];
        assert!(known.iter().any(|errno| error.raw_os_error() == Some(*errno)), "{error}");
    }

    #[test]
    fn an_interface_that_is_not_there_has_no_programs() {
        let error = tcx_programs(u32::MAX - 1, Hook::Ingress).unwrap_err();
        // Which of them depends on who asks, and on the kernel.
        let known = [libc::ENODEV, libc::EPERM, libc::EINVAL];
        assert!(known.iter().any(|errno| error.raw_os_error() == Some(*errno)), "{error}");
    }
}
