//! The packet's way: read, look up, decide, apply.

use aya_ebpf::programs::TcContext;
use bridgefwd_common::Reason;
use bridgefwd_common::contract::{
    COLD_ICMP, COLD_KERNEL, COLD_NEIGHBOUR, COLD_OPEN, COLD_PIECES, COLD_RARE, COLD_V6, Direction,
    Family, Flow, FlowState, Role, Settings,
};
use bridgefwd_common::decide::established::{self, Known};
use bridgefwd_common::decide::{Plan, Route};
use bridgefwd_common::packet::transport;

use crate::flows::{self, Found};
use crate::maps::{INTERFACES, SETTINGS};
use crate::read::{self, Packet};
use crate::route::{self, Query};
use crate::scratch::{self, Scratch};
use crate::verdict::{Outcome, Way};
use crate::{apply, cold, connection, count, create, fast, opening, pairs, verify, watch};

/// From arrival to verdict, for IPv4 packets of flows that are known and for what is not ours; the
/// rest goes on.
#[inline(always)]
pub fn forward(ctx: &mut TcContext) -> Way {
    // What is read goes to this CPU's scratch memory, where the programs of the cold path find it.
    let Some(scratch) = scratch::current() else { return Way::Ends(Err(Reason::NotManaged)) };
    match arrive(ctx, scratch) {
        Ok(Family::V4) => {}
        Ok(Family::V6) => return Way::GoesOn(COLD_V6),
        Err(reason) => return Way::Ends(Err(reason)),
    }
    match read::packet_v4(ctx) {
        Ok(packet) => scratch.packet = packet,
        Err(reason) => return Way::Ends(Err(reason)),
    }
    judge::<false>(ctx, scratch)
}

/// The same for IPv6.
#[inline(always)]
pub fn forward_v6(ctx: &mut TcContext) -> Way {
    let Some(scratch) = scratch::current() else { return Way::Ends(Err(Reason::NotManaged)) };
    match read::packet_v6(ctx) {
        Ok(packet) => scratch.packet = packet,
        Err(reason) => return Way::Ends(Err(reason)),
    }
    judge::<true>(ctx, scratch)
}

/// Where the packet comes in, and whether it is ours to judge.
#[inline(always)]
fn arrive(ctx: &TcContext, scratch: &mut Scratch) -> Result<Family, Reason> {
    // SAFETY: the kernel hands a valid __sk_buff to the program for as long as it runs.
    let ifindex = unsafe { (*ctx.skb.skb).ifindex };
    // SAFETY: an entry is replaced as a whole; one that is removed meanwhile stays readable until
    // this program ends.
    let interface = unsafe { INTERFACES.get(ifindex) }.ok_or(Reason::NotManaged)?;
    scratch.from = interface.end;
    scratch.port = if interface.role == Role::Port as u8 { ifindex } else { 0 };
    scratch.through_kernel = false;
    read::family(ctx, interface.router_mac)
}

#[inline(always)]
fn judge<const V6: bool>(ctx: &mut TcContext, scratch: &mut Scratch) -> Way {
    match scratch.packet.flaw {
        None => {}
        Some(Reason::FragmentUnknown) => return Way::GoesOn(COLD_PIECES),
        Some(Reason::IcmpError) => return Way::GoesOn(COLD_ICMP),
        Some(Reason::IpOptions) => return Way::GoesOn(COLD_KERNEL),
        Some(_) => return Way::GoesOn(COLD_OPEN),
    }
    let found = flows::find_in::<V6>(&scratch.packet.segment.tuple);
    let Some(found) = found else { return Way::GoesOn(COLD_OPEN) };
    if connection::is_rare(&scratch.packet, &found) {
        return Way::GoesOn(COLD_RARE);
    }
    match continue_flow(ctx, scratch, &found) {
        Ok(Some(step)) if step.plan.neighbour.is_some() => {
            Way::Ends(send::<V6>(ctx, scratch, &step))
        }
        Ok(Some(step)) => {
            remember(scratch, &step);
            Way::GoesOn(COLD_NEIGHBOUR)
        }
        Ok(None) => Way::GoesOn(COLD_OPEN),
        Err(Reason::ThroughKernel) => Way::GoesOn(COLD_KERNEL),
        Err(reason) => Way::Ends(Err(reason)),
    }
}

/// Leaves a step for the program that goes on with it.
#[inline(always)]
fn remember(scratch: &mut Scratch, step: &Step) {
    scratch.original = scratch.packet.segment.tuple;
    scratch.leaving = step.plan.leaving;
    scratch.ttl = step.plan.ttl;
    scratch.to = step.plan.out_end;
    scratch.next_hop = step.plan.next_hop;
    scratch.neighbour_known = step.plan.neighbour.is_some();
    scratch.pair = step.pair;
    scratch.direction = step.direction;
    scratch.reason = step.plan.reason;
}

/// The packet in `SCRATCH` opens a flow, if it may.
#[inline(always)]
pub fn open(ctx: &TcContext) -> Way {
    match open_flow(ctx) {
        Ok(way) => way,
        Err(reason) => Way::Ends(Err(reason)),
    }
}

#[inline(always)]
fn open_flow(ctx: &TcContext) -> Result<Way, Reason> {
    opening::prepare(ctx)?;
    let created = if verify::checksum_holds(ctx.skb.skb) == 1 {
        create::create(ctx)
    } else {
        Err(Reason::BadChecksum)
    };
    let scratch = scratch::current().ok_or(Reason::NotManaged)?;
    if let Err(reason) = created {
        count::pair_outcome(scratch.pair, reason, scratch.bytes);
        return Err(reason);
    }
    count::pair_flow_created(scratch.pair);
    count::pair_forwarded(scratch.pair, Direction::Original, scratch.bytes);
    scratch.leaving = scratch.translated;
    scratch.direction = Direction::Original;
    scratch.reason = Reason::FlowCreated;
    if scratch.through_kernel {
        return Err(Reason::ThroughKernel);
    }
    if !scratch.neighbour_known {
        return Ok(Way::GoesOn(COLD_NEIGHBOUR));
    }
    Ok(Way::Ends(cold::send(ctx, scratch).map(|action| (scratch.reason, action))))
}

/// Rewrites a packet, sends it on its way and counts it under its pair.
#[inline(always)]
fn send<const V6: bool>(ctx: &mut TcContext, scratch: &Scratch, step: &Step) -> Outcome {
    let packet = &scratch.packet;
    let bytes = u64::from(ctx.len());
    match apply::apply::<V6>(ctx, packet, &packet.segment, &step.plan) {
        Ok(action) => {
            count::pair_forwarded(step.pair, step.direction, bytes);
            Ok((step.plan.reason, action))
        }
        Err(reason) => {
            count::pair_outcome(step.pair, reason, bytes);
            Err(reason)
        }
    }
}

/// A packet that leaves.
struct Step {
    plan: Plan,
    /// Index of the pair it is counted under.
    pair: u32,
    direction: Direction,
}

/// A packet of a flow that we know; `None` where it turns out to be over.
#[inline(always)]
fn continue_flow(
    ctx: &TcContext,
    scratch: &Scratch,
    found: &Found,
) -> Result<Option<Step>, Reason> {
    let packet = &scratch.packet;
    let settings = SETTINGS.get(0).ok_or(Reason::NotManaged)?;
    // SAFETY: array elements never move or go.
    let flow = unsafe { &*found.flow };
    let (pair, direction) = (flow.pair, found.direction);
    let bytes = u64::from(ctx.len());
    let now = flows::now();
    let epoch = watch::epoch();
    match known_plan(ctx, scratch.from, packet, found, now, settings) {
        Ok(Some((plan, state))) => {
            flows::refresh(found, state, now, bytes);
            if let Some(mac) = plan.neighbour
                && matches!(packet.ip.family, Family::V4)
            {
                fast::note_way(ctx, packet, found, &plan, mac, epoch);
            }
            Ok(Some(Step { plan, pair, direction }))
        }
        Ok(None) => {
            flows::release(found.slot, flow.generation);
            Ok(None)
        }
        // Counted where the flow is looked at again.
        Err(Reason::ThroughKernel) => Err(Reason::ThroughKernel),
        Err(reason) => {
            refuse(found, reason, bytes);
            Err(reason)
        }
    }
}

/// How a packet of a flow leaves, and the flow's state after it, if it says anything about that; `None`
/// where the flow is over.
#[inline(always)]
fn known_plan(
    ctx: &TcContext,
    end: u32,
    packet: &Packet,
    found: &Found,
    now: u32,
    settings: &Settings,
) -> Result<Option<(Plan, Option<FlowState>)>, Reason> {
    let state = match known::<false>(ctx, end, packet, found, now, settings)? {
        Known::Continues(state) => Some(state),
        Known::Passes | Known::Segment(_) => None,
        Known::Over => return Ok(None),
    };
    Ok(Some((plan(ctx, end, packet, found, settings)?, state)))
}

/// How a packet of a flow leaves.
#[inline(always)]
pub fn plan(
    ctx: &TcContext,
    end: u32,
    packet: &Packet,
    found: &Found,
    settings: &Settings,
) -> Result<Plan, Reason> {
    // SAFETY: array elements never move or go.
    let flow = unsafe { &*found.flow };
    let query = Query {
        src: packet.ip.src,
        dst: flow.leaving(found.direction).dst,
        in_end: end,
        wire_len: transport::wire_len(&packet.ip, &packet.segment, packet.gso_size),
    };
    let route = route::lookup(ctx, &packet.ip, &query);
    let plan = established::plan(&packet.ip, flow, found.direction, route)?;
    // What turns back cannot go through the kernel; it leaves, since its device takes it.
    if route::may_be_too_big(settings, packet.ip.family, plan.out_end, query.wire_len)
        && !flow.turns_back()
    {
        return Err(Reason::ThroughKernel);
    }
    Ok(plan)
}

/// Would the kernel, too, send a packet of the original direction by the end that translates it? By any
/// other way it would leave with its inner source.
///
/// # Errors
/// [`Reason::RouteChanged`].
#[inline(always)]
pub fn still_leads_there(
    ctx: &TcContext,
    end: u32,
    packet: &Packet,
    found: &Found,
) -> Result<(), Reason> {
    // SAFETY: array elements never move or go.
    let flow = unsafe { &*found.flow };
    // The host's own have no way in, and are at their way out already.
    if end == Flow::FROM_HOST || matches!(found.direction, Direction::Reply) {
        return Ok(());
    }
    let query = Query { src: packet.ip.src, dst: flow.translated().dst, in_end: end, wire_len: 0 };
    match route::lookup(ctx, &packet.ip, &query) {
        Route::Via { ifindex, .. } if ifindex != flow.to => Err(Reason::RouteChanged),
        _ => Ok(()),
    }
}

/// Counts a packet of a flow that does not go on.
#[inline(always)]
pub fn refuse(found: &Found, reason: Reason, bytes: u64) {
    // SAFETY: array elements never move or go.
    let flow = unsafe { &*found.flow };
    if matches!((reason, found.direction), (Reason::RouteChanged, Direction::Original)) {
        // The kernel forgets a masqueraded connection whose way out has changed: its next packet
        // begins anew, by the new way.
        flows::release(found.slot, flow.generation);
    }
    count::pair_outcome(flow.pair, reason, bytes);
}

/// What a packet is to the flow that it found.
#[inline(always)]
pub fn known<const RARE: bool>(
    ctx: &TcContext,
    end: u32,
    packet: &Packet,
    found: &Found,
    now: u32,
    settings: &Settings,
) -> Result<Known, Reason> {
    // SAFETY: array elements never move or go.
    let flow = unsafe { &*found.flow };
    let rule = pairs::rule(flow.pair);
    let segment = &packet.segment;
    let known = established::recognise(segment, flow, found.direction, &rule, end, now, settings)?;
    match known {
        Known::Segment(state) => connection::judge::<RARE>(ctx, packet, found, state),
        other => Ok(other),
    }
}
