//! The few things that have to be said in BPF's own instructions.

use aya_ebpf::programs::TcContext;

/// Adds `value` to `*counter`, without regard to order.
///
/// It is written as the instruction itself: `core` withholds read-modify-write operations from
/// targets without compare-and-swap, which BPF lacks before Linux 5.12.
///
/// # Safety
/// `counter` must point to an aligned word of a map's value.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub unsafe fn atomic_add(counter: *mut u64, value: u64) {
    // SAFETY: the caller's promise; the verifier checks it once more.
    unsafe {
        core::arch::asm!(
            "lock *(u64 *)({counter} + 0) += {value}",
            counter = in(reg) counter,
            value = in(reg) value,
        );
    }
}

/// Where the packet's linear part begins and ends.
///
/// The fields are 32 bits wide, but the verifier makes pointers of them. A compiler that may use
/// 32-bit registers copies them as numbers, and the verifier then no longer knows a pointer; from
/// here it gets them as 64 bits.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub fn packet_bounds(ctx: &TcContext) -> (usize, usize) {
    use aya_ebpf::bindings::__sk_buff;

    let (data, data_end): (usize, usize);
    // SAFETY: reads two fields of the context, which is valid for as long as the program runs.
    unsafe {
        core::arch::asm!(
            "{data} = *(u32 *)({skb} + {data_at})",
            "{data_end} = *(u32 *)({skb} + {data_end_at})",
            skb = in(reg) ctx.skb.skb,
            data = out(reg) data,
            data_end = lateout(reg) data_end,
            data_at = const core::mem::offset_of!(__sk_buff, data),
            data_end_at = const core::mem::offset_of!(__sk_buff, data_end),
        );
    }
    (data, data_end)
}

/// Reads four bytes at `base + AT`, wherever that is: the compiler, which cannot know that the machine
/// takes any address, would read byte by byte.
///
/// # Safety
/// All four must be readable: in the packet, before its end, as the verifier checks once more.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub unsafe fn load_word<const AT: usize>(base: usize) -> u32 {
    let word: u64;
    // SAFETY: the caller's promise.
    unsafe {
        core::arch::asm!(
            "{word} = *(u32 *)({base} + {at})",
            base = in(reg) base,
            word = lateout(reg) word,
            at = const AT,
            options(readonly, nostack, preserves_flags),
        );
    }
    word as u32
}

/// Writes four bytes at `base + AT`: see [`load_word`].
///
/// # Safety
/// All four must be writable: in the packet, before its end, as the verifier checks once more.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub unsafe fn store_word<const AT: usize>(base: usize, word: u32) {
    // SAFETY: the caller's promise.
    unsafe {
        core::arch::asm!(
            "*(u32 *)({base} + {at}) = {word}",
            base = in(reg) base,
            word = in(reg) u64::from(word),
            at = const AT,
            options(nostack, preserves_flags),
        );
    }
}

/// The same value, of which the compiler knows nothing: it then leaves a mask that is there for the
/// verifier.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub fn opaque(mut value: u64) -> u64 {
    // SAFETY: copies a register to itself.
    unsafe {
        core::arch::asm!("{0} = {0}", inout(reg) value, options(nomem, nostack, preserves_flags));
    }
    value
}

/// For checks of this crate on the host.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
pub fn opaque(value: u64) -> u64 {
    value
}

/// For checks of this crate on the host.
///
/// # Safety
/// As on BPF.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
pub unsafe fn load_word<const AT: usize>(base: usize) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { ((base + AT) as *const u32).read_unaligned() }
}

/// For checks of this crate on the host.
///
/// # Safety
/// As on BPF.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
pub unsafe fn store_word<const AT: usize>(base: usize, word: u32) {
    // SAFETY: the caller's promise.
    unsafe { ((base + AT) as *mut u32).write_unaligned(word) };
}

/// For checks of this crate on the host.
///
/// # Safety
/// `counter` must be valid and aligned.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
pub unsafe fn atomic_add(counter: *mut u64, value: u64) {
    // SAFETY: the caller's promise.
    unsafe { core::sync::atomic::AtomicU64::from_ptr(counter) }
        .fetch_add(value, core::sync::atomic::Ordering::Relaxed);
}

/// For checks of this crate on the host.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
pub fn packet_bounds(ctx: &TcContext) -> (usize, usize) {
    (ctx.data(), ctx.data_end())
}
