//! The packet's way: read, look up, decide, apply.

use aya_ebpf::programs::TcContext;
use bridgefwd_common::contract::{Direction, Flow, FlowState, Interface, Role, Settings};
use bridgefwd_common::decide::Plan;
use bridgefwd_common::decide::established::{self, Known};
use bridgefwd_common::packet::headers::{self, Segment};
use bridgefwd_common::{Reason, Verdict};

use crate::flows::{self, Found};
use crate::maps::{INTERFACES, SETTINGS};
use crate::read::{self, Packet};
use crate::route::{self, Query};
use crate::{apply, count, opening, pairs};

/// How a packet ended.
pub struct Outcome {
    /// Under what it is counted.
    pub reason: Reason,
    /// What the program returns for a redirected packet; no meaning otherwise.
    pub action: i32,
}

/// Left in `tc_index` by a port for the program on the bridge: this packet was judged already.
///
/// The field is the traffic control layer's own and never leaves the host; the bridge's program
/// sets it back to 0.
const JUDGED: u32 = 0xb41d;

/// Was this packet judged, and counted, on the port that it came in by?
#[inline(always)]
pub fn already_judged(ctx: &TcContext) -> bool {
    // SAFETY: the kernel hands a valid __sk_buff to the program for as long as it runs.
    let skb = unsafe { &mut *ctx.skb.skb };
    if skb.tc_index != JUDGED {
        return false;
    }
    skb.tc_index = 0;
    true
}

/// Everything from arrival to verdict.
#[inline(always)]
pub fn forward(ctx: &mut TcContext) -> Outcome {
    count::seen(ctx);
    // SAFETY: as in `already_judged`.
    let skb = unsafe { &mut *ctx.skb.skb };
    // SAFETY: an entry is replaced as a whole; one that is removed meanwhile stays readable until
    // this program ends.
    let Some(interface) = (unsafe { INTERFACES.get(skb.ifindex) }) else {
        return Outcome { reason: Reason::NotManaged, action: 0 };
    };
    let reason = match judge(ctx, interface) {
        Ok((reason, action)) => return Outcome { reason, action },
        Err(reason) => reason,
    };
    // What goes up to the bridge will meet us there again.
    if matches!(reason.verdict(), Verdict::Pass)
        && interface.role == Role::Port as u8
        && !matches!(reason, Reason::NotForRouter | Reason::NotManaged)
    {
        skb.tc_index = JUDGED;
    }
    Outcome { reason, action: 0 }
}

#[inline(always)]
fn judge(ctx: &mut TcContext, interface: &Interface) -> Result<(Reason, i32), Reason> {
    let packet = read::packet(ctx, interface.router_mac)?;
    let settings = SETTINGS.get(0).ok_or(Reason::NotManaged)?;
    if let Ok(segment) = packet.segment()
        && let Some(found) = flows::find(&segment.tuple)
        && let Some(done) = continue_flow(ctx, interface.end, &packet, segment, &found, settings)?
    {
        return Ok(done);
    }
    open_flow(ctx, interface.end, &packet)
}

/// A packet of a flow that we know; `None` where that flow turns out to be over.
#[inline(always)]
fn continue_flow(
    ctx: &mut TcContext,
    end: u32,
    packet: &Packet,
    segment: &Segment,
    found: &Found,
    settings: &Settings,
) -> Result<Option<(Reason, i32)>, Reason> {
    // SAFETY: array elements never move or go.
    let flow = unsafe { &*found.flow };
    let bytes = u64::from(ctx.len());
    let now = flows::now_ns();
    let pair = flow.pair;
    let planned = known_plan(ctx, end, packet, segment, flow, found.direction, now, settings);
    let (plan, state) = match planned {
        Ok(Some(planned)) => planned,
        Ok(None) => {
            flows::release(found.slot, flow.generation);
            return Ok(None);
        }
        Err(reason) => {
            count::pair_outcome(pair, reason, bytes);
            return Err(reason);
        }
    };
    flows::refresh(found, state, now, bytes);
    let action = apply::apply(ctx, packet, segment, &plan)?;
    count::pair_forwarded(pair, found.direction, bytes);
    Ok(Some((plan.reason, action)))
}

#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "inlined: each is one register's worth of context")]
fn known_plan(
    ctx: &TcContext,
    end: u32,
    packet: &Packet,
    segment: &Segment,
    flow: &Flow,
    direction: Direction,
    now: u64,
    settings: &Settings,
) -> Result<Option<(Plan, FlowState)>, Reason> {
    let rule = pairs::rule(flow.pair);
    let known = established::recognise(segment, flow, direction, &rule, end, now, settings)?;
    let Known::Continues(state) = known else { return Ok(None) };
    let query = Query {
        src: packet.ip.src,
        dst: flow.leaving(direction).dst,
        in_end: end,
        wire_len: headers::wire_len(&packet.ip, segment, packet.gso_size),
    };
    let route = route::lookup(ctx, &packet.ip, &query);
    let plan = established::plan(&packet.ip, flow, direction, route)?;
    Ok(Some((plan, state)))
}

/// A packet without a flow: opens one if it may.
#[inline(always)]
fn open_flow(ctx: &mut TcContext, end: u32, packet: &Packet) -> Result<(Reason, i32), Reason> {
    let opening = opening::prepare(ctx, end, packet)?;
    let bytes = u64::from(ctx.len());
    let made = flows::create().and_then(|leaving| {
        let segment = packet.segment()?;
        let plan = Plan {
            leaving,
            ttl: opening.ttl,
            out_end: opening.to,
            next_hop: opening.next_hop,
            reason: Reason::FlowCreated,
        };
        apply::apply(ctx, packet, segment, &plan)
    });
    match made {
        Ok(action) => {
            count::pair_flow_created(opening.pair);
            count::pair_forwarded(opening.pair, Direction::Original, bytes);
            Ok((Reason::FlowCreated, action))
        }
        Err(reason) => {
            count::pair_outcome(opening.pair, reason, bytes);
            Err(reason)
        }
    }
}
