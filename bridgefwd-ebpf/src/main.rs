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
mod create;
mod flows;
mod forward;
mod fragments;
mod icmp;
mod maps;
mod opening;
mod options;
mod pairs;
mod ports;
mod read;
mod route;
mod scratch;
mod sockets;
mod sweep;
mod verdict;

use aya_ebpf::bindings::TC_ACT_UNSPEC;
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;

use crate::verdict::Way;

/// Attached at TC ingress: forwards packets of flows that are known, and knows what to leave alone.
#[classifier]
pub fn bridgefwd(mut ctx: TcContext) -> i32 {
    if verdict::already_judged(&ctx) {
        return TC_ACT_UNSPEC;
    }
    count::seen(&ctx);
    match forward::forward(&mut ctx) {
        Way::Ends(outcome) => verdict::give(&ctx, outcome),
        Way::GoesOn(place) => verdict::go_on(&ctx, place),
    }
}

/// Opens flows. `bridgefwd` goes on to it by tail call.
#[classifier]
pub fn bridgefwd_open(mut ctx: TcContext) -> i32 {
    let outcome = forward::open(&mut ctx);
    verdict::give(&ctx, outcome)
}

/// Forwards ICMP errors. `bridgefwd` goes on to it by tail call.
#[classifier]
pub fn bridgefwd_icmp(ctx: TcContext) -> i32 {
    match icmp::forward_error(&ctx) {
        Way::Ends(outcome) => verdict::give(&ctx, outcome),
        Way::GoesOn(place) => verdict::go_on(&ctx, place),
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
