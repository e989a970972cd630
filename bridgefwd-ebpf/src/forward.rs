//! The packet's way: read, look up, decide, apply.

use aya_ebpf::programs::TcContext;
use bridgefwd_common::Reason;
use bridgefwd_common::contract::{COLD_ICMP, COLD_OPEN, Direction, Flow, FlowState, Settings};
use bridgefwd_common::decide::Plan;
use bridgefwd_common::decide::established::{self, Known};
use bridgefwd_common::packet::headers::{self, Fragment, Segment};

use crate::flows;
use crate::maps::{INTERFACES, SETTINGS};
use crate::read::{self, Packet};
use crate::route::{self, Query};
use crate::verdict::{Outcome, Way};
use crate::{apply, count, create, fragments, opening, options, pairs, scratch};

/// From arrival to verdict, for packets of flows that are known and for what is not ours; the rest
/// goes on.
#[inline(always)]
pub fn forward(ctx: &mut TcContext) -> Way {
    match judge(ctx) {
        Ok(Some(done)) => Way::Ends(Ok(done)),
        Ok(None) => Way::GoesOn(COLD_OPEN),
        Err(Reason::IcmpError) => Way::GoesOn(COLD_ICMP),
        Err(reason) => Way::Ends(Err(reason)),
    }
}

#[inline(always)]
fn judge(ctx: &mut TcContext) -> Result<Option<(Reason, i32)>, Reason> {
    // SAFETY: the kernel hands a valid __sk_buff to the program for as long as it runs.
    let ifindex = unsafe { (*ctx.skb.skb).ifindex };
    // SAFETY: an entry is replaced as a whole; one that is removed meanwhile stays readable until
    // this program ends.
    let interface = unsafe { INTERFACES.get(ifindex) }.ok_or(Reason::NotManaged)?;
    let end = interface.end;
    // What is read goes to this CPU's scratch memory, where the programs of the cold path find it.
    let scratch = scratch::current().ok_or(Reason::NotManaged)?;
    scratch.from = end;
    scratch.packet = read::packet(ctx, interface.router_mac)?;
    let packet = &scratch.packet;
    let settings = SETTINGS.get(0).ok_or(Reason::NotManaged)?;
    let segment = match packet.flaw {
        None => packet.segment()?,
        Some(Reason::FragmentUnknown) => match fragments::follow() {
            Some(segment) => segment,
            None => return Ok(None),
        },
        Some(Reason::IcmpError) => return Err(Reason::IcmpError),
        Some(Reason::IpOptions) if options::belong_to_flow(ctx.skb.skb) != 0 => {
            return Err(Reason::OptionsInFlow);
        }
        Some(_) => return Ok(None),
    };
    let Some(step) = continue_flow(ctx, end, packet, segment, settings)? else { return Ok(None) };
    send(ctx, packet, segment, &step).map(Some)
}

/// The packet in `SCRATCH` opens a flow, if it may.
#[inline(always)]
pub fn open(ctx: &mut TcContext) -> Outcome {
    let step = open_flow(ctx)?;
    let packet = &scratch::current().ok_or(Reason::NotManaged)?.packet;
    send(ctx, packet, packet.segment()?, &step)
}

/// Rewrites a packet, sends it on its way and counts it under its pair.
#[inline(always)]
fn send(ctx: &mut TcContext, packet: &Packet, segment: &Segment, step: &Step) -> Outcome {
    let bytes = u64::from(ctx.len());
    let action = match apply::apply(ctx, packet, segment, &step.plan) {
        Ok(action) => action,
        Err(reason) => {
            count::pair_outcome(step.pair, reason, bytes);
            return Err(reason);
        }
    };
    count::pair_forwarded(step.pair, step.direction, bytes);
    match packet.ip.fragment {
        Fragment::None => Ok((step.plan.reason, action)),
        Fragment::First => {
            fragments::note_first(&segment.tuple);
            Ok((step.plan.reason, action))
        }
        Fragment::Later => Ok((Reason::ForwardedFragment, action)),
    }
}

/// A packet that leaves.
struct Step {
    plan: Plan,
    /// Index of the pair it is counted under.
    pair: u32,
    direction: Direction,
}

/// A packet of a flow that we know; `None` where there is none, or it turns out to be over.
#[inline(always)]
fn continue_flow(
    ctx: &TcContext,
    end: u32,
    packet: &Packet,
    segment: &Segment,
    settings: &Settings,
) -> Result<Option<Step>, Reason> {
    let Some(found) = flows::find(&segment.tuple) else { return Ok(None) };
    // SAFETY: array elements never move or go.
    let flow = unsafe { &*found.flow };
    let (pair, direction) = (flow.pair, found.direction);
    let bytes = u64::from(ctx.len());
    let now = flows::now_ns();
    match known_plan(ctx, end, packet, segment, flow, direction, now, settings) {
        Ok(Some((plan, state))) => {
            flows::refresh(&found, state, now, bytes);
            Ok(Some(Step { plan, pair, direction }))
        }
        Ok(None) => {
            flows::release(found.slot, flow.generation);
            Ok(None)
        }
        Err(reason) => {
            count::pair_outcome(pair, reason, bytes);
            Err(reason)
        }
    }
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
fn open_flow(ctx: &TcContext) -> Result<Step, Reason> {
    let opening = opening::prepare(ctx)?;
    match create::create(ctx) {
        Ok(leaving) => {
            count::pair_flow_created(opening.pair);
            let plan = Plan {
                leaving,
                ttl: opening.ttl,
                out_end: opening.to,
                next_hop: opening.next_hop,
                reason: Reason::FlowCreated,
            };
            Ok(Step { plan, pair: opening.pair, direction: Direction::Original })
        }
        Err(reason) => {
            count::pair_outcome(opening.pair, reason, u64::from(ctx.len()));
            Err(reason)
        }
    }
}
