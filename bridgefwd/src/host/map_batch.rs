//! Many entries of a BPF map by one system call (`BPF_MAP_LOOKUP_BATCH`): of hash maps since Linux 5.6, of
//! per-CPU arrays since Linux 5.13. The library has none of it.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd as _, AsRawFd as _};

use aya::maps::{MapData, MapType};
use aya::util::nr_cpus;

use super::bpf::bpf;

const LOOKUP_BATCH: libc::c_long = 24;
/// The kernel's own error for what a kind of map cannot do (`ENOTSUPP`); user space has no name for it.
const NOT_SUPPORTED: i32 = 524;
/// Entries asked for at once, at most: no bucket of a hash map has as many.
const MOST_AT_ONCE: u32 = 1 << 20;
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

/// Calls `each` with every key and value of a map, until it breaks off; `at_once` entries a system call,
/// or more where a bucket of a hash map has more. A value of a per-CPU map is those of all possible CPUs,
/// each on a multiple of 8 bytes.
///
/// Each entry that is there all the time is seen once, also while others come and go.
///
/// `false` where the kernel cannot do it for such a map: nothing was handed out then, and entries have to
/// be asked for one by one.
///
/// # Errors
///
/// The kernel's error.
pub fn for_each(
    map: &MapData,
    at_once: u32,
    mut each: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
) -> io::Result<bool> {
    let (key_size, value_size) = sizes(map)?;
    if key_size == 0 || value_size == 0 {
        return Ok(false);
    }
    let mut room = at_once.clamp(1, MOST_AT_ONCE);
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    let mut place = vec![0_u8; key_size.max(PLACE)];
    let mut stopped_at = place.clone();
    let mut begun = false;
    loop {
        keys.resize(room as usize * key_size, 0);
        values.resize(room as usize * value_size, 0);
        let mut batch = Batch {
            from: if begun { place.as_ptr() as u64 } else { 0 },
            stopped_at: stopped_at.as_mut_ptr() as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: room,
            map: map.fd().as_fd().as_raw_fd().cast_unsigned(),
            element_flags: 0,
            flags: 0,
        };
        // SAFETY: `batch` is a prefix of union bpf_attr, of the length that is passed. The addresses in
        // it are of vectors that outlive the call: `place` and `stopped_at` have room for a key, and for
        // the 4 bytes that hash maps take instead; `keys` and `values` for as many as `count` says, of
        // the sizes that the kernel says this map has.
        let answer = unsafe { bpf(LOOKUP_BATCH, &mut batch) };
        let ended = match answer.map_err(|error| (error.raw_os_error(), error)) {
            Ok(_) => false,
            Err((Some(libc::ENOENT), _)) => true,
            Err((Some(libc::ENOSPC), _)) if room < MOST_AT_ONCE => {
                room = room.saturating_mul(2).min(MOST_AT_ONCE);
                continue;
            }
            // Older kernels do not know the command at all.
            Err((Some(NOT_SUPPORTED | libc::EINVAL), _)) if !begun => return Ok(false),
            Err((_, error)) => return Err(error),
        };
        let found = keys.chunks_exact(key_size).zip(values.chunks_exact(value_size));
        for (key, value) in found.take(batch.count as usize) {
            if each(key, value).is_break() {
                return Ok(true);
            }
        }
        if ended || batch.count == 0 {
            return Ok(true);
        }
        std::mem::swap(&mut place, &mut stopped_at);
        begun = true;
    }
}

/// Bytes of a key, and of a value as user space gets it.
fn sizes(map: &MapData) -> io::Result<(usize, usize)> {
    let info = map.info().map_err(io::Error::other)?;
    let (key, value) = (info.key_size() as usize, info.value_size() as usize);
    let per_cpu = matches!(
        info.map_type(),
        Ok(MapType::PerCpuArray | MapType::PerCpuHash | MapType::LruPerCpuHash)
    );
    if !per_cpu {
        return Ok((key, value));
    }
    let cpus = nr_cpus().map_err(|(path, error)| io::Error::other(format!("{path}: {error}")))?;
    Ok((key, value.next_multiple_of(8) * cpus))
}
