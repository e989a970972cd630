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
mod cold;
mod collect;
mod connection;
mod count;
mod create;
mod deep;
mod direct;
mod egress;
mod events;
mod fast;
mod flows;
mod followers;
mod forward;
mod hairpin;
mod host;
mod icmp;
mod icmp_quote;
mod index;
mod kernel;
mod mapping;
mod maps;
mod marks;
mod neighbour;
mod object;
mod opening;
mod pairs;
mod pieces;
mod ports;
mod read;
mod rewrite;
mod route;
mod scratch;
mod sockets;
mod sources;
mod sweep;
mod verdict;
mod verify;
mod waiting;
mod watch;

use aya_ebpf::bindings::TC_ACT_UNSPEC;
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use bridgefwd_common::Reason;
use bridgefwd_common::contract::COLD_FRONT;

/// Attached at TC ingress: forwards everyday packets of flows that know their way, and nothing else, so
/// that it is short. For all others it goes on to `bridgefwd_front`, by tail call, as all that follow do.
#[classifier]
pub fn bridgefwd(ctx: TcContext) -> i32 {
    if let Some(outcome) = fast::forward(&ctx) {
        return fast::end(&ctx, outcome);
    }
    // SAFETY: nothing that would have to be dropped is held.
    unsafe { maps::COLD_PATHS.tail_call(&ctx, COLD_FRONT) };
    fast::end(&ctx, Err(Reason::ProgramMissing))
}

/// Forwards packets of flows that are known, and knows what to leave alone.
#[classifier]
pub fn bridgefwd_front(mut ctx: TcContext) -> i32 {
    if marks::let_go(&ctx) {
        return TC_ACT_UNSPEC;
    }
    count::seen(&ctx);
    let way = forward::forward(&mut ctx);
    verdict::follow(&ctx, way)
}

/// The same for IPv6.
#[classifier]
pub fn bridgefwd_v6(mut ctx: TcContext) -> i32 {
    let way = forward::forward_v6(&mut ctx);
    verdict::follow(&ctx, way)
}

/// Opens flows.
#[classifier]
pub fn bridgefwd_open(ctx: TcContext) -> i32 {
    let way = forward::open(&ctx);
    verdict::follow(&ctx, way)
}

/// Forwards segments that open or reset a connection.
#[classifier]
pub fn bridgefwd_rare(ctx: TcContext) -> i32 {
    let way = connection::forward_rare(&ctx);
    verdict::follow(&ctx, way)
}

/// Forwards ICMP errors.
#[classifier]
pub fn bridgefwd_icmp(ctx: TcContext) -> i32 {
    let way = icmp::forward_error(&ctx);
    verdict::follow(&ctx, way)
}

/// Has the kernel forward what it has to look at on its way, or to answer.
#[classifier]
pub fn bridgefwd_kernel(ctx: TcContext) -> i32 {
    let way = kernel::hand_over(&ctx);
    verdict::follow(&ctx, way)
}

/// Forwards pieces of fragmented packets.
#[classifier]
pub fn bridgefwd_pieces(ctx: TcContext) -> i32 {
    let way = pieces::forward(&ctx);
    verdict::follow(&ctx, way)
}

/// Sends packets to neighbours that are not known yet.
#[classifier]
pub fn bridgefwd_neigh(ctx: TcContext) -> i32 {
    let outcome = neighbour::send(&ctx);
    verdict::give(&ctx, outcome)
}

/// Attached at TC egress of ends.
#[classifier]
pub fn bridgefwd_egress(ctx: TcContext) -> i32 {
    egress::leave(&ctx)
}

/// Mends what ICMP errors quote, at egress.
#[classifier]
pub fn bridgefwd_quote(ctx: TcContext) -> i32 {
    icmp::mend_quote(&ctx)
}

/// Has a conversation of the host's own give way to a flow, at egress.
#[classifier]
pub fn bridgefwd_host(ctx: TcContext) -> i32 {
    host::give_way(&ctx)
}

/// Never attached: the daemon runs it to free the slots of flows that are over.
#[classifier]
pub fn bridgefwd_sweep(ctx: TcContext) -> i32 {
    sweep::on_request(&ctx) as i32
}

/// Never attached: the daemon runs it to find out where the kernel says whether its routes have changed.
#[classifier]
pub fn bridgefwd_find(ctx: TcContext) -> i32 {
    watch::find(&ctx)
}
