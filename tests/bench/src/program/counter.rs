//! The processor's own count of instructions, where it can be had.

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

/// Instructions that the calling thread runs, in the kernel too.
#[derive(Debug)]
pub struct Instructions {
    counter: OwnedFd,
}

/// The beginning of `struct perf_event_attr`.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    rest: [u64; 14],
}

impl Instructions {
    /// Counts from now on.
    ///
    /// # Errors
    ///
    /// Where there is no such counter: many virtual machines have none.
    pub fn count() -> io::Result<Self> {
        const HARDWARE: u32 = 0;
        const INSTRUCTIONS: u64 = 1;
        let attributes = Attributes {
            kind: HARDWARE,
            size: size_of::<Attributes>() as u32,
            config: INSTRUCTIONS,
            ..Attributes::default()
        };
        // SAFETY: the attributes are of the size that they say, and outlive the call.
        let fd = unsafe {
            libc::syscall(libc::SYS_perf_event_open, &raw const attributes, 0, -1, -1, 0)
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made it for us.
        Ok(Self { counter: unsafe { OwnedFd::from_raw_fd(fd as i32) } })
    }

    /// How many so far.
    pub fn read(&self) -> u64 {
        let mut bytes = [0; 8];
        match rustix::io::read(&self.counter, &mut bytes) {
            Ok(8) => u64::from_ne_bytes(bytes),
            _ => 0,
        }
    }
}
