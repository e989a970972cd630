//! bridgefwd's TC program: the same one on every managed bridge and on every port of it.
//!
//! This crate is the thin part: it reads the packet, looks things up, asks `bridgefwd_common` what
//! to do, and does it. The decisions are there, where they run in tests on the host too.
#![no_std]
#![no_main]
// The attribute macro of the entry points drops their documentation.
#![expect(missing_docs, reason = "an artefact of the classifier macro")]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

mod apply;
mod asm;
mod count;
mod flows;
mod forward;
mod maps;
mod opening;
mod pairs;
mod read;
mod route;
mod sweep;

use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use bridgefwd_common::Verdict;

/// Attached at TC ingress.
#[classifier]
pub fn bridgefwd(mut ctx: TcContext) -> i32 {
    if forward::already_judged(&ctx) {
        return TC_ACT_UNSPEC;
    }
    let outcome = forward::forward(&mut ctx);
    count::packet(&ctx, outcome.reason);
    match outcome.reason.verdict() {
        Verdict::Redirect => outcome.action,
        // On to other people's programs, then to the kernel.
        Verdict::Pass => TC_ACT_UNSPEC,
        Verdict::Drop => TC_ACT_SHOT,
    }
}

/// Never attached: the daemon runs it to free the slots of flows that are over.
#[classifier]
pub fn bridgefwd_sweep(_ctx: TcContext) -> i32 {
    sweep::on_request() as i32
}

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
