//! Times as flows have them.

/// How much of a clock that counts nanoseconds is left out of a [`moment`]: it counts in steps of about
/// 17 ms.
pub const MOMENT_SHIFT: u32 = 24;

/// A time of `CLOCK_MONOTONIC` as flows have it. Two moments that are less than a year apart can be
/// compared.
#[inline(always)]
#[must_use]
pub const fn moment(ns: u64) -> u32 {
    (ns >> MOMENT_SHIFT) as u32
}

/// How long ago `then` was, in ns; 0 where it is yet to come, as where another clock is a little behind.
/// Up to a step too long or too short.
#[inline(always)]
#[must_use]
pub const fn ns_between(then: u32, now: u32) -> u64 {
    let steps = now.wrapping_sub(then);
    if steps as i32 <= 0 { 0 } else { (steps as u64) << MOMENT_SHIFT }
}
