//! Packets of known flows off the everyday way: found, judged, and sent on, each step a function that
//! the verifier checks once. What they find out is in `SCRATCH`.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::programs::TcContext;
use bridgefwd_common::Reason;
use bridgefwd_common::contract::{COLD_NEIGHBOUR, COLD_OPEN, Direction, Family};
use bridgefwd_common::decide::established::Known;
use bridgefwd_common::packet::checksum;
use bridgefwd_common::packet::ip::Fragment;
use network_types::ip::Ipv4Hdr;

use crate::maps::SETTINGS;
use crate::read::IP;
use crate::scratch::{self, Scratch};
use crate::verdict::Way;
use crate::{apply, connection, count, flows, forward, rewrite};

/// Does not ask where the packet goes: the kernel forwards it.
pub const BY_KERNEL: u32 = 0;
/// Asks where the packet goes.
pub const BY_US: u32 = 1;

/// Finds the flow of the packet in `SCRATCH`, by `original` there, and how it leaves.
///
/// `true` where there is one and the packet continues it. It is counted under flow and pair.
///
/// # Errors
/// The reason why it is refused; [`Reason::ThroughKernel`] where the kernel has to answer it, or to
/// cut it to pieces.
#[inline(always)]
pub fn continue_flow(ctx: &TcContext, by: u32) -> Result<bool, Reason> {
    match find_flow(ctx.skb.skb, by) {
        UNKNOWN => Ok(false),
        CONTINUES => Ok(true),
        _ => Err(scratch::current().map_or(Reason::NotManaged, |scratch| scratch.refused)),
    }
}

const UNKNOWN: u32 = 0;
const CONTINUES: u32 = 1;
const REFUSED: u32 = 2;

/// The same. Global to the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn find_flow(skb: *mut __sk_buff, by: u32) -> u32 {
    let Some(scratch) = scratch::current() else { return UNKNOWN };
    match find(&TcContext::new(skb), scratch, by) {
        Ok(true) => CONTINUES,
        Ok(false) => UNKNOWN,
        Err(reason) => {
            scratch.refused = reason;
            REFUSED
        }
    }
}

#[inline(always)]
fn find(ctx: &TcContext, scratch: &mut Scratch, by: u32) -> Result<bool, Reason> {
    let Some(found) = flows::find(&scratch.original) else { return Ok(false) };
    let settings = SETTINGS.get(0).ok_or(Reason::NotManaged)?;
    // SAFETY: array elements never move or go.
    let flow = unsafe { &*found.flow };
    let direction = found.direction;
    scratch.direction = direction;
    scratch.pair = flow.pair;
    scratch.leaving = flow.leaving(direction);
    let bytes = u64::from(ctx.len());
    let now = flows::now();
    let (packet, end) = (&scratch.packet, scratch.from);
    let known = match forward::known(end, packet, &found, now, settings) {
        Ok(Known::Segment(state)) => connection::judge(ctx, packet, &found, state),
        known => known,
    };
    let state = match known {
        Ok(Known::Continues(state)) => Some(state),
        Ok(Known::Passes | Known::Segment(_)) => None,
        Ok(Known::Over) => {
            flows::release(found.slot, flow.generation);
            return Ok(false);
        }
        Err(reason) => {
            forward::refuse(&found, reason, bytes);
            return Err(reason);
        }
    };
    let planned = if by == BY_US {
        forward::plan(ctx, end, packet, &found, settings).map(|plan| {
            scratch.ttl = plan.ttl;
            scratch.to = plan.out_end;
            scratch.next_hop = plan.next_hop;
            scratch.neighbour_known = plan.neighbour.is_some();
            scratch.reason = match packet.ip.fragment {
                Fragment::None => plan.reason,
                Fragment::First | Fragment::Later => Reason::ForwardedFragment,
            };
        })
    } else {
        forward::still_leads_there(ctx, end, packet, &found)
    };
    // What the kernel goes on with is a packet of the flow like any other.
    match planned {
        Ok(()) | Err(Reason::ThroughKernel) => {
            flows::refresh(&found, state, now, bytes);
            count::pair_forwarded(flow.pair, direction, bytes);
        }
        Err(reason) => forward::refuse(&found, reason, bytes),
    }
    planned.map(|()| true)
}

/// Forwards the packet in `SCRATCH`, by `original` there, if it belongs to a flow; else it may open one.
#[inline(always)]
pub fn forward(ctx: &TcContext, scratch: &mut Scratch, by: u32) -> Way {
    scratch.through_kernel = by == BY_KERNEL;
    match continue_flow(ctx, by) {
        Ok(true) if by == BY_KERNEL => Way::Ends(Err(hand_over(ctx, scratch))),
        Ok(true) if !scratch.neighbour_known => Way::GoesOn(COLD_NEIGHBOUR),
        Ok(true) => Way::Ends(send(ctx, scratch).map(|action| (scratch.reason, action))),
        Ok(false) => Way::GoesOn(COLD_OPEN),
        Err(Reason::ThroughKernel) => Way::Ends(Err(hand_over(ctx, scratch))),
        Err(reason) => Way::Ends(Err(reason)),
    }
}

/// Gives the kernel's stack the packet in `SCRATCH`, which belongs to a flow, as it would be without
/// us: as it is, or, a reply, addressed to whom it is for. What leaves then is translated at egress.
///
/// # Errors
/// Always: [`Reason::ThroughKernel`], which passes, or [`Reason::WriteFailed`].
#[inline(always)]
pub fn hand_over(ctx: &TcContext, scratch: &Scratch) -> Reason {
    let translates = scratch.original != scratch.leaving;
    if matches!(scratch.direction, Direction::Reply)
        && translates
        && let Err(reason) = rewrite::to_leaving(ctx)
    {
        return reason;
    }
    Reason::ThroughKernel
}

/// Translates the packet in `SCRATCH`, takes one off its TTL, and redirects it; the value that the
/// program has to return.
///
/// # Errors
/// [`Reason::WriteFailed`]: the packet may be half rewritten and must not go on.
#[inline(always)]
pub fn send(ctx: &TcContext, scratch: &Scratch) -> Result<i32, Reason> {
    if scratch.packet.priority_tagged {
        apply::end_tag(ctx)?;
    }
    if scratch.original != scratch.leaving {
        rewrite::to_leaving(ctx)?;
    }
    take_one_off_ttl(ctx, scratch).ok_or(Reason::WriteFailed)?;
    apply::redirect(ctx, scratch.to, &scratch.next_hop)
}

#[inline(always)]
fn take_one_off_ttl(ctx: &TcContext, scratch: &Scratch) -> Option<()> {
    let ip = &scratch.packet.ip;
    if matches!(ip.family, Family::V6) {
        return ctx.store(IP + 7, &scratch.ttl, 0).ok();
    }
    let check_at = IP + core::mem::offset_of!(Ipv4Hdr, check);
    let check = ctx.load::<[u8; 2]>(check_at).ok()?;
    // The word also holds the protocol.
    let check = checksum::update(check, &[ip.ttl, ip.protocol], &[scratch.ttl, ip.protocol]);
    ctx.store(check_at, &check, 0).ok()?;
    ctx.store(IP + core::mem::offset_of!(Ipv4Hdr, ttl), &scratch.ttl, 0).ok()
}
