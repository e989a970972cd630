//! What every object has beside its programs: a licence, and no way to panic.

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: the verifier follows every path and refuses the program if one gets here.
    unsafe { core::hint::unreachable_unchecked() }
}

/// Some of the kernel's helpers are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
