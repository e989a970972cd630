//! bpf(2) where aya does not reach: small programs written instruction by instruction, and the
//! arrays that they use.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::path::Path;
use std::time::Duration;

const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE: libc::c_int = 2;
const PROG_LOAD: libc::c_int = 5;
const OBJ_PIN: libc::c_int = 6;
const PROG_TEST_RUN: libc::c_int = 10;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;

/// `BPF_MAP_TYPE_HASH`.
pub const MAP_TYPE_HASH: u32 = 1;
const MAP_TYPE_ARRAY: u32 = 2;
/// `BPF_MAP_TYPE_PROG_ARRAY`.
pub const MAP_TYPE_PROG_ARRAY: u32 = 3;
/// `BPF_MAP_TYPE_PERCPU_ARRAY`.
pub const MAP_TYPE_PER_CPU_ARRAY: u32 = 6;
const PROG_TYPE_SCHED_CLS: u32 = 3;
const PROG_TYPE_XDP: u32 = 6;

/// Size of `struct __sk_buff`, as far as a test run may set it or shows it.
pub const SK_BUFF: usize = 192;

/// One call of bpf(2). Each kind of it takes a structure of its own, of 64-bit words here.
///
/// # Errors
///
/// The kernel's.
fn call(command: libc::c_int, attributes: &mut [u64; 16]) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads and writes the attributes, whose pointers are valid for the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, attributes.as_mut_ptr(), size_of::<[u64; 16]>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[track_caller]
fn must(command: libc::c_int, attributes: &mut [u64; 16]) -> libc::c_long {
    call(command, attributes).unwrap_or_else(|error| panic!("bpf command {command}: {error}"))
}

/// Two 32-bit fields that follow one another.
fn words(first: u32, second: u32) -> u64 {
    let [a, b, c, d] = first.to_ne_bytes();
    let [e, f, g, h] = second.to_ne_bytes();
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

/// The two again.
fn halves(word: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = word.to_ne_bytes();
    (u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h]))
}

fn descriptor(result: libc::c_long) -> OwnedFd {
    let fd = i32::try_from(result).expect("a file descriptor");
    // SAFETY: the kernel has just made it for us, and nobody else has it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn number(fd: &impl std::os::fd::AsFd) -> u32 {
    fd.as_fd().as_raw_fd().cast_unsigned()
}

/// A map of a kind, with keys and values of these sizes in bytes.
#[must_use]
#[track_caller]
pub fn map(kind: u32, key: u32, value: u32, entries: u32) -> OwnedFd {
    let mut attributes = [0; 16];
    (attributes[0], attributes[1]) = (words(kind, key), words(value, entries));
    descriptor(must(MAP_CREATE, &mut attributes))
}

/// An array of programs with one place, and `program` in it.
#[must_use]
#[track_caller]
pub fn program_array(program: BorrowedFd<'_>) -> OwnedFd {
    let array = map(MAP_TYPE_PROG_ARRAY, 4, 4, 1);
    update(&array, &number(&program).to_ne_bytes());
    array
}

/// An array with one element, of `value`.
#[must_use]
#[track_caller]
pub fn one_value(value: &[u8]) -> OwnedFd {
    let size = u32::try_from(value.len()).expect("small");
    let array = map(MAP_TYPE_ARRAY, 4, size, 1);
    update(&array, value);
    array
}

/// Writes the only element of a map.
#[track_caller]
fn update(map: &OwnedFd, value: &[u8]) {
    let key = 0_u32;
    let mut attributes = [0; 16];
    attributes[0] = words(number(map), 0);
    attributes[1] = (&raw const key).addr() as u64;
    attributes[2] = value.as_ptr().addr() as u64;
    must(MAP_UPDATE, &mut attributes);
}

/// Loads a classifier. Panics with the kernel's error where it is refused.
#[must_use]
#[track_caller]
pub fn classifier(code: &[u64]) -> OwnedFd {
    load(PROG_TYPE_SCHED_CLS, code)
}

/// Loads an XDP program. Panics with the kernel's error where it is refused.
#[must_use]
#[track_caller]
pub fn xdp(code: &[u64]) -> OwnedFd {
    load(PROG_TYPE_XDP, code)
}

#[track_caller]
fn load(kind: u32, code: &[u64]) -> OwnedFd {
    let license = c"GPL";
    let mut log = vec![0_u8; 64 * 1024];
    let mut attributes = [0; 16];
    attributes[0] = words(kind, u32::try_from(code.len()).expect("short"));
    attributes[1] = code.as_ptr().addr() as u64;
    attributes[2] = license.as_ptr().addr() as u64;
    match call(PROG_LOAD, &mut attributes) {
        Ok(fd) => descriptor(fd),
        Err(error) => {
            // Once more, for the reason.
            attributes[3] = words(1, log.len() as u32);
            attributes[4] = log.as_mut_ptr().addr() as u64;
            let _ = call(PROG_LOAD, &mut attributes);
            panic!("not accepted: {error}\n{}", String::from_utf8_lossy(&log));
        }
    }
}

/// `return TC_ACT_UNSPEC`: a classifier that does nothing at all.
#[must_use]
#[track_caller]
pub fn empty_classifier() -> OwnedFd {
    classifier(&[asm::set(0, u32::MAX), asm::exit()])
}

/// Pins a program.
#[track_caller]
pub fn pin(program: &OwnedFd, path: &Path) {
    use std::os::unix::ffi::OsStrExt as _;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).expect("a path");
    let mut attributes = [0; 16];
    attributes[0] = path.as_ptr().addr() as u64;
    attributes[1] = words(number(program), 0);
    must(OBJ_PIN, &mut attributes);
}

/// The instructions of a loaded program as the verifier has left them: what is compiled.
#[must_use]
#[track_caller]
pub fn translated(program: BorrowedFd<'_>) -> Vec<u64> {
    /// `xlated_prog_len` in `struct bpf_prog_info`, and the pointer to where they go.
    const LENGTH: usize = 20;
    const WHERE: usize = 32;
    let length = {
        let info = information(program, [0; INFO]);
        u32::from_ne_bytes([info[LENGTH], info[LENGTH + 1], info[LENGTH + 2], info[LENGTH + 3]])
    };
    let mut code = vec![0_u64; length as usize / 8];
    let mut asked = [0; INFO];
    asked[LENGTH..LENGTH + 4].copy_from_slice(&length.to_ne_bytes());
    asked[WHERE..WHERE + 8].copy_from_slice(&(code.as_mut_ptr().addr() as u64).to_ne_bytes());
    information(program, asked);
    code
}

/// Size of `struct bpf_prog_info`.
const INFO: usize = 232;

/// What the kernel says of a program; `asked` has where to write what is long.
#[track_caller]
fn information(program: BorrowedFd<'_>, asked: [u8; INFO]) -> [u8; INFO] {
    let mut info = asked;
    let mut attributes = [0; 16];
    attributes[0] = words(number(&program), info.len() as u32);
    attributes[1] = info.as_mut_ptr().addr() as u64;
    must(OBJ_GET_INFO_BY_FD, &mut attributes);
    info
}

/// What a test run came to.
#[derive(Debug)]
pub struct Ran {
    /// What the program returned.
    pub verdict: i32,
    /// Bytes of the frame afterwards.
    pub length: usize,
    /// How long a run took on average, by the kernel's clock; whole ns.
    pub duration: Duration,
}

/// Runs a classifier `repeat` times on the same buffer, which holds `frame` at first and ends up in
/// `after`; `context` is its `struct __sk_buff`, before and afterwards.
#[track_caller]
pub fn test_run(
    program: BorrowedFd<'_>,
    repeat: u32,
    frame: &[u8],
    after: &mut [u8],
    context: &mut [u8; SK_BUFF],
) -> Ran {
    let before = *context;
    let mut attributes = [0; 16];
    attributes[0] = words(number(&program), 0);
    attributes[1] = words(frame.len() as u32, after.len() as u32);
    attributes[2] = frame.as_ptr().addr() as u64;
    attributes[3] = after.as_mut_ptr().addr() as u64;
    attributes[4] = words(repeat, 0);
    attributes[5] = words(SK_BUFF as u32, SK_BUFF as u32);
    attributes[6] = before.as_ptr().addr() as u64;
    attributes[7] = context.as_mut_ptr().addr() as u64;
    must(PROG_TEST_RUN, &mut attributes);
    let (_, verdict) = halves(attributes[0]);
    let (_, length) = halves(attributes[1]);
    let (_, nanoseconds) = halves(attributes[4]);
    Ran {
        verdict: verdict.cast_signed(),
        length: length as usize,
        duration: Duration::from_nanos(nanoseconds.into()),
    }
}

/// How often the kernel ran a program, and how long that took altogether, while its run-time
/// statistics were on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RunTime {
    /// Nanoseconds.
    pub time_ns: u64,
    /// Runs.
    pub runs: u64,
}

/// [`RunTime`] of a program so far.
#[must_use]
#[track_caller]
pub fn run_time(program: BorrowedFd<'_>) -> RunTime {
    /// `run_time_ns` in `struct bpf_prog_info`; `run_cnt` follows.
    const RUN_TIME: usize = 192;
    let info = information(program, [0; INFO]);
    let word = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&info[at..at + 8]);
        u64::from_ne_bytes(bytes)
    };
    RunTime { time_ns: word(RUN_TIME), runs: word(RUN_TIME + 8) }
}

/// Instructions, one a word (those with 64-bit constants two).
pub mod asm {
    use std::os::fd::{AsRawFd as _, OwnedFd};

    /// `TC_INDEX` of `struct __sk_buff`.
    pub const TC_INDEX: i16 = 44;
    /// `mark` of `struct __sk_buff`.
    pub const MARK: i16 = 8;
    /// `bpf_skb_store_bytes`.
    pub const STORE_BYTES: u32 = 9;
    /// `bpf_tail_call`.
    pub const TAIL_CALL: u32 = 12;
    /// `bpf_skb_vlan_push`.
    pub const VLAN_PUSH: u32 = 18;

    /// Code, registers, offset, immediate value.
    #[must_use]
    pub fn instruction(code: u8, dst: u8, src: u8, offset: i16, value: u32) -> u64 {
        let [low, high] = offset.to_ne_bytes();
        let [a, b, c, d] = value.to_ne_bytes();
        u64::from_ne_bytes([code, src << 4 | dst, low, high, a, b, c, d])
    }

    /// `dst = value`, sign-extended.
    #[must_use]
    pub fn set(dst: u8, value: u32) -> u64 {
        instruction(0xb7, dst, 0, 0, value)
    }

    /// `dst = src`.
    #[must_use]
    pub fn copy(dst: u8, src: u8) -> u64 {
        instruction(0xbf, dst, src, 0, 0)
    }

    /// `dst += value`.
    #[must_use]
    pub fn add(dst: u8, value: u32) -> u64 {
        instruction(0x07, dst, 0, 0, value)
    }

    /// `dst += value`, in 32 bits.
    #[must_use]
    pub fn add32(dst: u8, value: u32) -> u64 {
        instruction(0x04, dst, 0, 0, value)
    }

    /// `dst *= value`, in 32 bits.
    #[must_use]
    pub fn multiply32(dst: u8, value: u32) -> u64 {
        instruction(0x24, dst, 0, 0, value)
    }

    /// `dst %= value`, in 32 bits.
    #[must_use]
    pub fn remainder32(dst: u8, value: u32) -> u64 {
        instruction(0x94, dst, 0, 0, value)
    }

    /// `dst &= value`.
    #[must_use]
    pub fn and(dst: u8, value: u32) -> u64 {
        instruction(0x57, dst, 0, 0, value)
    }

    /// `dst ^= value`.
    #[must_use]
    pub fn xor(dst: u8, value: u32) -> u64 {
        instruction(0xa7, dst, 0, 0, value)
    }

    /// `dst >>= value`.
    #[must_use]
    pub fn shift_right(dst: u8, value: u32) -> u64 {
        instruction(0x77, dst, 0, 0, value)
    }

    /// The lowest `bits` of `dst`, 16 or 32, in wire order.
    #[must_use]
    pub fn to_wire(dst: u8, bits: u32) -> u64 {
        instruction(0xdc, dst, 0, 0, bits)
    }

    /// `dst = *(u32 *)(src + offset)`.
    #[must_use]
    pub fn load32(dst: u8, src: u8, offset: i16) -> u64 {
        instruction(0x61, dst, src, offset, 0)
    }

    /// `*(u16 *)(dst + offset) = src`.
    #[must_use]
    pub fn store16(dst: u8, offset: i16, src: u8) -> u64 {
        instruction(0x6b, dst, src, offset, 0)
    }

    /// `*(u32 *)(dst + offset) = src`.
    #[must_use]
    pub fn store32(dst: u8, offset: i16, src: u8) -> u64 {
        instruction(0x63, dst, src, offset, 0)
    }

    /// `dst` = a map.
    #[must_use]
    pub fn map(dst: u8, map: &OwnedFd) -> [u64; 2] {
        [instruction(0x18, dst, 1, 0, map.as_raw_fd().cast_unsigned()), 0]
    }

    /// `dst` = the address of the only element of an array.
    #[must_use]
    pub fn map_value(dst: u8, map: &OwnedFd) -> [u64; 2] {
        [instruction(0x18, dst, 2, 0, map.as_raw_fd().cast_unsigned()), 0]
    }

    /// Calls a helper.
    #[must_use]
    pub fn call(helper: u32) -> u64 {
        instruction(0x85, 0, 0, 0, helper)
    }

    /// Returns.
    #[must_use]
    pub fn exit() -> u64 {
        instruction(0x95, 0, 0, 0, 0)
    }
}
