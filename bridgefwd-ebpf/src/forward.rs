//! The packet's way: read, look up, decide, apply.

use aya_ebpf::bindings::__sk_buff;
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
    if read::read_v4(ctx.skb.skb) == 0 {
        return Way::Ends(Err(scratch.refused));
    }
    judge::<false>(ctx, scratch)
}

/// The same for IPv6.
#[inline(always)]
pub fn forward_v6(ctx: &mut TcContext) -> Way {
    let Some(scratch) = scratch::current() else { return Way::Ends(Err(Reason::NotManaged)) };
    if read::read_v6(ctx.skb.skb) == 0 {
        return Way::Ends(Err(scratch.refused));
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
    let (slot, direction) = (found.slot, found.direction as u32);
    let after = judge_packet(slot, direction);
    if after == OVER {
        return Way::GoesOn(COLD_OPEN);
    }
    // Read before the kernel is asked: what it says then is what is noted.
    let epoch = watch::epoch();
    let answer = if after == REFUSED { REFUSED } else { find_way(ctx.skb.skb, slot, direction) };
    if answer == THROUGH_KERNEL {
        return Way::GoesOn(COLD_KERNEL);
    }
    let bytes = u64::from(ctx.len());
    if answer == REFUSED {
        refuse(&found, scratch.refused, bytes);
        return Way::Ends(Err(scratch.refused));
    }
    let state = if after == PASSES { None } else { Some(FlowState::from_byte(after as u8)) };
    flows::refresh(&found, state, flows::now(), bytes);
    if answer == NEIGHBOUR_UNKNOWN {
        scratch.original = scratch.packet.segment.tuple;
        scratch.neighbour_known = false;
        return Way::GoesOn(COLD_NEIGHBOUR);
    }
    if !V6 {
        fast::note_way(ctx.skb.skb, slot, direction, epoch);
    }
    Way::Ends(send::<V6>(ctx, scratch))
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

/// Rewrites the packet in `SCRATCH`, sends it on its way and counts it under its pair.
#[inline(always)]
fn send<const V6: bool>(ctx: &mut TcContext, scratch: &Scratch) -> Outcome {
    let bytes = u64::from(ctx.len());
    match apply::apply::<V6>(ctx, scratch) {
        Ok(action) => {
            count::pair_forwarded(scratch.pair, scratch.direction, bytes);
            Ok((scratch.reason, action))
        }
        Err(reason) => {
            count::pair_outcome(scratch.pair, reason, bytes);
            Err(reason)
        }
    }
}

// Answers of `judge_packet`, beside the number of the state that the flow is in afterwards.
const PASSES: u32 = 0x100;
const OVER: u32 = 0x101;
const REFUSED: u32 = 0x102;

/// Judges the packet in `SCRATCH`, which belongs to the flow in `slot`; why it is refused is in `refused`.
///
/// Global to the verifier: it is checked once, not once for each kind of packet that was read. Kernels
/// before 6.3 tell all of those apart to the end, wherever a program has a function at all.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn judge_packet(slot: u32, direction: u32) -> u32 {
    let (Some(scratch), Some(settings)) = (scratch::current(), SETTINGS.get(0)) else {
        return OVER;
    };
    let Some(found) = flows::found_in(slot, direction) else { return OVER };
    let (packet, now) = (&scratch.packet, flows::now());
    let known = match known(scratch.from, packet, &found, now, settings) {
        Ok(Known::Segment(state)) => connection::judge_plain(packet, &found, state),
        known => known,
    };
    match known {
        Ok(Known::Continues(state)) => state as u32,
        Ok(Known::Passes | Known::Segment(_)) => PASSES,
        Ok(Known::Over) => {
            // SAFETY: array elements never move or go.
            flows::release(slot, unsafe { (*found.flow).generation });
            OVER
        }
        Err(reason) => {
            scratch.refused = reason;
            REFUSED
        }
    }
}

// Answers of `find_way`, beside `REFUSED`.
const KNOWN: u32 = 0;
const NEIGHBOUR_UNKNOWN: u32 = 1;
const THROUGH_KERNEL: u32 = 2;

/// Finds out how the packet in `SCRATCH` leaves, which belongs to the flow in `slot`; why it does not is in
/// `refused`. Global to the verifier, for the same reason.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn find_way(skb: *mut __sk_buff, slot: u32, direction: u32) -> u32 {
    let (Some(scratch), Some(settings)) = (scratch::current(), SETTINGS.get(0)) else {
        return REFUSED;
    };
    let Some(found) = flows::found_in(slot, direction) else { return REFUSED };
    let ctx = TcContext::new(skb);
    match plan(&ctx, scratch.from, &scratch.packet, &found, settings) {
        Ok(plan) => {
            // SAFETY: array elements never move or go.
            scratch.pair = unsafe { (*found.flow).pair };
            scratch.direction = found.direction;
            scratch.leaving = plan.leaving;
            scratch.ttl = plan.ttl;
            scratch.to = plan.out_end;
            scratch.next_hop = plan.next_hop;
            scratch.reason = plan.reason;
            let Some(mac) = plan.neighbour else { return NEIGHBOUR_UNKNOWN };
            scratch.neighbour_mac = mac;
            KNOWN
        }
        // Counted where the flow is looked at again.
        Err(Reason::ThroughKernel) => THROUGH_KERNEL,
        Err(reason) => {
            scratch.refused = reason;
            REFUSED
        }
    }
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

/// What a packet is to the flow that it found; what a segment of a connection is, is for
/// [`connection`] to say.
///
/// # Errors
/// The reason why it is refused.
#[inline(always)]
pub fn known(
    end: u32,
    packet: &Packet,
    found: &Found,
    now: u32,
    settings: &Settings,
) -> Result<Known, Reason> {
    // SAFETY: array elements never move or go.
    let flow = unsafe { &*found.flow };
    let rule = pairs::rule(flow.pair);
    established::recognise(&packet.segment, flow, found.direction, &rule, end, now, settings)
}
