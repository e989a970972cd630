//! ICMP errors of both families: each belongs to the flow of the packet that it quotes.
//!
//! It is translated with that packet (RFC 5508, section 4.2). Errors neither refresh a flow nor change
//! its state.

use aya_ebpf::bindings::{__sk_buff, TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::programs::TcContext;
use bridgefwd_common::Reason;
use bridgefwd_common::contract::{COLD_OPEN, Direction, Family, Flow, Tuple};
use bridgefwd_common::decide::{Route, established};
use bridgefwd_common::packet::ip::Ip;

use crate::maps::SETTINGS;
use crate::route::{self, Query};
use crate::scratch::{self, Scratch};
use crate::verdict::Way;
use crate::{apply, count, flows, icmp_quote, pairs};

const NOT_OURS: u32 = 0;
const REFUSED: u32 = 1;
const FORWARDED: u32 = 2;

/// Forwards the ICMP error in `SCRATCH`. One that quotes no packet of a flow goes on to be judged
/// like any other packet.
#[inline(always)]
pub fn forward_error(ctx: &TcContext) -> Way {
    // One after the other, since their stacks would be too much for one call within the other.
    let outcome = match icmp_quote::read_quote(ctx.skb.skb) {
        0 => NOT_OURS,
        _ => examine_error(ctx.skb.skb),
    };
    let Some(scratch) = scratch::current() else { return Way::Ends(Err(Reason::IcmpError)) };
    match outcome {
        FORWARDED => Way::Ends(send(ctx, scratch)),
        REFUSED => {
            count::pair_outcome(scratch.pair, scratch.refused, u64::from(ctx.len()));
            Way::Ends(Err(scratch.refused))
        }
        _ => Way::GoesOn(COLD_OPEN),
    }
}

#[inline(always)]
fn send(ctx: &TcContext, scratch: &Scratch) -> Result<(Reason, i32), Reason> {
    let is_reply = matches!(scratch.direction, Direction::Reply);
    if scratch.through_kernel && !is_reply {
        // Translated at egress: the kernel refuses what comes from an address of its own.
        return Err(Reason::ThroughKernel);
    }
    if scratch.packet.priority_tagged {
        apply::end_tag(ctx)?;
    }
    if icmp_quote::rewrite_message(ctx.skb.skb) == 0 {
        return Err(Reason::WriteFailed);
    }
    if scratch.through_kernel {
        return Err(Reason::ThroughKernel);
    }
    apply::redirect(ctx, scratch.to, &scratch.next_hop)
        .map(|action| (Reason::ForwardedIcmpError, action))
}

/// Finds the flow that the ICMP error in `SCRATCH` belongs to, by what was read of its quote, and how it
/// leaves. Global to the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn examine_error(skb: *mut __sk_buff) -> u32 {
    let Some(scratch) = scratch::current() else { return NOT_OURS };
    match examine(&TcContext::new(skb), scratch) {
        Ok(true) => FORWARDED,
        Ok(false) => NOT_OURS,
        Err(reason) => {
            scratch.refused = reason;
            REFUSED
        }
    }
}

#[inline(always)]
fn examine(ctx: &TcContext, scratch: &mut Scratch) -> Result<bool, Reason> {
    // The error travels as the answer to the packet that it quotes.
    let Some(found) = flows::find(&scratch.quoted.tuple.reversed()) else { return Ok(false) };
    // SAFETY: array elements never move or go.
    let flow = unsafe { &*found.flow };
    let direction = found.direction;
    scratch.pair = flow.pair;
    scratch.direction = direction;
    recognise(flow, direction, scratch.from)?;
    scratch.outer = outer(&scratch.packet.ip, flow, direction)?;
    scratch.shown = flow.leaving(direction).reversed();
    icmp_quote::verify(ctx, &scratch.packet)?;
    find_way(ctx, scratch, flow)?;
    Ok(true)
}

/// May the flow's packets of this direction go on?
#[inline(always)]
fn recognise(flow: &Flow, direction: Direction, end: u32) -> Result<(), Reason> {
    let settings = SETTINGS.get(0).ok_or(Reason::IcmpError)?;
    if established::is_over(flow.state, flow.last_seen, flows::now(), settings) {
        return Err(Reason::IcmpError);
    }
    // A conversation of the host's own is of no pair.
    if flow.from != Flow::FROM_HOST {
        let rule = pairs::rule(flow.pair);
        if rule.generation != flow.pair_generation {
            return Err(Reason::FlowCut);
        }
        if !rule.policy.forwards_existing() {
            return Err(Reason::PairDenied);
        }
    }
    let arrives_by = match direction {
        Direction::Original => flow.from,
        Direction::Reply => flow.to,
    };
    if arrives_by == end { Ok(()) } else { Err(Reason::WrongEnd) }
}

/// The addresses that the error leaves with.
///
/// An error of the answering side, or of a router on the way there, goes to the client and keeps its
/// source. One of the opening side is sent from the address that its flow has, whoever it comes
/// from: beyond us nobody knows another (RFC 5508, REQ-5).
#[inline(always)]
fn outer(ip: &Ip, flow: &Flow, direction: Direction) -> Result<Tuple, Reason> {
    let (arriving, leaving) = (flow.arriving(direction), flow.leaving(direction));
    // The error answers the packet that it quotes, so it goes to whoever sent that.
    if ip.dst != arriving.dst {
        return Err(Reason::IcmpError);
    }
    let kept = arriving.src == leaving.src && arriving.src_port == leaving.src_port;
    let src = if kept { ip.src } else { leaving.src };
    Ok(Tuple { src, dst: leaving.dst, protocol: ip.protocol, ..Tuple::default() })
}

/// By which end, and to which neighbour the error in `SCRATCH` goes; or whether the kernel has to see
/// it on its way. Nobody is told of an error that cannot go on.
#[inline(always)]
fn find_way(ctx: &TcContext, scratch: &mut Scratch, flow: &Flow) -> Result<(), Reason> {
    let ip = &scratch.packet.ip;
    let (is_reply, out_end) = match scratch.direction {
        Direction::Original => (false, flow.to),
        Direction::Reply => (true, flow.from),
    };
    scratch.ttl = ip.ttl;
    if is_reply && out_end == Flow::FROM_HOST {
        scratch.through_kernel = true;
        return Ok(());
    }
    if ip.ttl <= 1 {
        return Err(Reason::TtlExpiredReply);
    }
    let mut query =
        Query { src: ip.src, dst: scratch.outer.dst, in_end: scratch.from, wire_len: 0 };
    match route::lookup(ctx, ip, &query) {
        Route::Via { ifindex, next_hop, .. } if ifindex == out_end => scratch.next_hop = next_hop,
        _ => return Err(Reason::RouteChanged),
    }
    query.wire_len = u32::from(ip.header_len) + ip.payload_len;
    // The kernel cuts to pieces what may be cut. Those are not translated at egress, where the first
    // has not all of what its checksum covers; a reply is translated before.
    let untranslated = is_reply || !flow.translates();
    if matches!(route::lookup(ctx, ip, &query), Route::TooBig) {
        if matches!(ip.family, Family::V6) || ip.dont_fragment || !untranslated {
            return Err(Reason::TooBigTranslated);
        }
        scratch.through_kernel = true;
    } else if untranslated {
        let settings = SETTINGS.get(0).ok_or(Reason::IcmpError)?;
        scratch.through_kernel |=
            route::may_be_too_big(settings, ip.family, out_end, query.wire_len);
    }
    scratch.to = out_end;
    if !scratch.through_kernel {
        scratch.ttl = ip.ttl - 1;
    }
    Ok(())
}

/// At egress: an ICMP error quotes a reply as the receiver got it, and comes from where only the
/// receiver's side knows. It is the host's own about a reply that we translated before the kernel saw
/// it, or one that the kernel forwards. What to return.
#[inline(always)]
pub fn mend_quote(ctx: &TcContext) -> i32 {
    if mend_error(ctx.skb.skb) == REFUSED { TC_ACT_SHOT } else { TC_ACT_UNSPEC }
}

/// The same. Global to the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn mend_error(skb: *mut __sk_buff) -> u32 {
    let Some(scratch) = scratch::current() else { return NOT_OURS };
    if icmp_quote::read_quote(skb) == 0 {
        return NOT_OURS;
    }
    // What the receiver saw of a reply is addressed to where packets of the original direction come
    // from.
    let Some(found) = flows::find(&scratch.quoted.tuple.reversed()) else { return NOT_OURS };
    // SAFETY: array elements never move or go.
    let flow = unsafe { &*found.flow };
    if !matches!(found.direction, Direction::Original) || !flow.translates() {
        return NOT_OURS;
    }
    scratch.shown = flow.arriving(Direction::Reply);
    let ip = &scratch.packet.ip;
    scratch.ttl = ip.ttl;
    scratch.outer = Tuple { src: ip.src, dst: ip.dst, protocol: ip.protocol, ..Tuple::default() };
    // SAFETY: the kernel hands a valid __sk_buff to the program for as long as it runs.
    if unsafe { (*skb).ingress_ifindex } != 0 {
        match outer(ip, flow, Direction::Original) {
            Ok(outer) if flow.to == scratch.from => scratch.outer = outer,
            _ => return NOT_OURS,
        }
    }
    if icmp_quote::rewrite_message(skb) == 1 {
        return FORWARDED;
    }
    let ctx = TcContext::new(skb);
    count::seen(&ctx);
    count::packet(&ctx, Reason::WriteFailed);
    REFUSED
}
