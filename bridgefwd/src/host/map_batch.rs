//! Many entries of a BPF map by one system call (`BPF_MAP_LOOKUP_BATCH`): of hash maps since Linux 5.6, of
//! per-CPU arrays since Linux 5.13. The library has none of it.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use super::bpf::bpf;

const LOOKUP_BATCH: libc::c_long = 24;
/// Entries that are asked for at once.
const AT_ONCE: usize = 1024;
/// And at most, where a bucket of a hash map has more than that.
const MOST_AT_ONCE: usize = 1 << 20;
/// The least room for the kernel's note of where it has stopped.
const PLACE: usize = 4;

/// `union bpf_attr`, as `BPF_MAP_LOOKUP_BATCH` has it.
#[repr(C)]
struct Batch {
    from: u64,
    stopped_at: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

/// Calls `each` with every key and value of a map, until it breaks off. A value of a per-CPU map is those
/// of all possible CPUs, each on a multiple of 8 bytes.
///
/// # Errors
///
/// The kernel's error, mostly that it cannot do this for such a map: ask for single entries then. Some
/// may have been handed out before.
pub fn for_each(
    map: BorrowedFd<'_>,
    (key_size, value_size): (usize, usize),
    mut each: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
) -> io::Result<()> {
    let mut room = AT_ONCE;
    let (mut place, mut stopped_at) =
        (vec![0_u8; key_size.max(PLACE)], vec![0_u8; key_size.max(PLACE)]);
    let mut from = 0;
    loop {
        let (mut keys, mut values) = (vec![0_u8; room * key_size], vec![0_u8; room * value_size]);
        let mut batch = Batch {
            from,
            stopped_at: stopped_at.as_mut_ptr() as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: room as u32,
            map: map.as_raw_fd().cast_unsigned(),
            element_flags: 0,
            flags: 0,
        };
        // SAFETY: `batch` is a prefix of union bpf_attr, of the length that is passed. The addresses in
        // it are of vectors that outlive the call: `place` and `stopped_at` have room for a key, and for
        // the 4 bytes that hash maps take instead; `keys` and `values` for as many as `count` says,
        // since the caller gives the sizes that the map has.
        let answer = unsafe { bpf(LOOKUP_BATCH, &mut batch) };
        let ended = match answer {
            Ok(_) => false,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) && room < MOST_AT_ONCE => {
                room *= 2;
                continue;
            }
            Err(error) => return Err(error),
        };
        let found = keys.chunks_exact(key_size).zip(values.chunks_exact(value_size));
        for (key, value) in found.take(batch.count as usize) {
            if each(key, value).is_break() {
                return Ok(());
            }
        }
        if ended || batch.count == 0 {
            return Ok(());
        }
        std::mem::swap(&mut place, &mut stopped_at);
        from = place.as_ptr() as u64;
    }
}
