//! Packets to neighbours that are not known yet. The packet itself is translated and waits for its
//! neighbour as any other does. But where the neighbour turns out not to be there, only a packet that
//! went through the kernel's stack is answered with host unreachable. So the stack gets a copy, as it
//! would see the packet without us, which does not leave the host: egress drops it.

use aya_ebpf::bindings::BPF_F_INGRESS;
use aya_ebpf::programs::TcContext;
use bridgefwd_common::Reason;
use bridgefwd_common::contract::Direction;

use crate::scratch::{self, Scratch};
use crate::verdict::Outcome;
use crate::{cold, marks, rewrite};

/// Sends the packet in `SCRATCH` on, and has the kernel ask for its neighbour.
#[inline(always)]
pub fn send(ctx: &TcContext) -> Outcome {
    let scratch = scratch::current().ok_or(Reason::NotManaged)?;
    let (arriving, leaving) = (&scratch.original, &scratch.leaving);
    let turns_back = arriving.src != leaving.src && arriving.dst != leaving.dst;
    if !turns_back {
        ask(ctx, scratch)?;
    }
    cold::send(ctx, scratch).map(|action| (scratch.reason, action))
}

/// Gives the kernel's stack its copy. Not of a packet of which both addresses change: the stack would
/// take it for its own, or for a martian.
#[inline(always)]
fn ask(ctx: &TcContext, scratch: &mut Scratch) -> Result<(), Reason> {
    if matches!(scratch.direction, Direction::Reply) && scratch.original != scratch.leaving {
        rewrite::to_leaving(ctx)?;
        // So it is now.
        scratch.original = scratch.leaving;
    }
    // SAFETY: the kernel hands a valid __sk_buff to the program for as long as it runs.
    let ifindex = unsafe { (*ctx.skb.skb).ifindex };
    marks::set(ctx, marks::ASKED);
    // Where there is no memory for a copy, nobody is told.
    let _ = ctx.clone_redirect(ifindex, u64::from(BPF_F_INGRESS));
    marks::clear(ctx, 0);
    Ok(())
}
