//! Do the kernel's routes still say what they said? It has a number, `rt_genid`, which it changes
//! whenever routes, rules, devices, addresses or forwarding of IPv4 in this network namespace change:
//! its sockets compare it before they go by a route that they have kept. So do we.
//!
//! The number is read where it is. Where that is, the daemon finds out by the kernel's own type
//! information; where that, or the right to read it, is missing, nothing is kept.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use aya_ebpf::programs::TcContext;
use bridgefwd_common::contract::{Kept, NOTHING_KEPT};

use crate::maps::KEPT;

/// 1 where the kernel lets us read its memory: set when the program is loaded. Else nothing that does so
/// is left of it, and kernels that would not have it do not refuse it.
#[unsafe(no_mangle)]
static MAY_READ_KERNEL: u8 = 0;

#[inline(always)]
fn may_read_kernel() -> bool {
    // SAFETY: a plain byte, that is set before the program is loaded.
    unsafe { (&raw const MAY_READ_KERNEL).read_volatile() != 0 }
}

/// What flows keep of their ways holds as long as this number is the same; [`NOTHING_KEPT`] where they
/// keep nothing.
#[inline(always)]
pub fn epoch() -> u32 {
    if !may_read_kernel() {
        return NOTHING_KEPT;
    }
    let Some(kept) = KEPT.get_ptr(0) else { return NOTHING_KEPT };
    // SAFETY: array elements never move or go; plain words of it.
    let (epoch, address) =
        unsafe { ((&raw const (*kept).epoch).read_volatile(), (*kept).generation_at) };
    if address == 0 {
        return NOTHING_KEPT;
    }
    match read_kernel::<u32>(address) {
        // Both only ever go up, so that their sum is never the same again.
        Some(generation) => (epoch as u32).wrapping_add(generation),
        None => NOTHING_KEPT,
    }
}

/// Finds out where the number is, for this network namespace: by a packet, the device that it is at,
/// and the namespace of that. 1 where it did.
#[inline(always)]
pub fn find(ctx: &TcContext) -> i32 {
    if !may_read_kernel() {
        return 0;
    }
    let Some(kept) = KEPT.get_ptr_mut(0) else { return 0 };
    // SAFETY: array elements never move or go; the daemon alone runs this, and nobody else writes these
    // words.
    let kept: &mut Kept = unsafe { &mut *kept };
    // Of the kernel's structure: the context is its address.
    let buffer = ctx.skb.skb as u64;
    let at = |base: u64, offset: u32| base.wrapping_add(u64::from(offset));
    let Some(device) = read_kernel::<u64>(at(buffer, kept.device_in_buffer)) else { return 0 };
    let Some(net) = read_kernel::<u64>(at(device, kept.net_in_device)) else { return 0 };
    let address = at(net, kept.generation_in_net);
    if device == 0 || net == 0 || read_kernel::<u32>(address).is_none() {
        return 0;
    }
    kept.generation_at = address;
    1
}

#[inline(always)]
fn read_kernel<T: Copy>(address: u64) -> Option<T> {
    let mut value = core::mem::MaybeUninit::<T>::zeroed();
    // SAFETY: the helper writes that many bytes, or zeros where it cannot read.
    let failed = unsafe {
        bpf_probe_read_kernel(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            address as *const core::ffi::c_void,
        )
    };
    // SAFETY: zeros, or what was read: T is a number.
    if failed == 0 { Some(unsafe { value.assume_init() }) } else { None }
}
