//! The packet's way: read, look up, decide, apply.

use aya_ebpf::programs::TcContext;
use bridgefwd_common::contract::{
    Direction, Flow, Interface, PairKey, PairPolicy, PairRule, Role, Settings, Unlisted,
};
use bridgefwd_common::decide::established::{self, Known};
use bridgefwd_common::decide::nat::{self, PortChoice};
use bridgefwd_common::decide::{Plan, Route, policy};
use bridgefwd_common::packet::headers::{self, Segment};
use bridgefwd_common::{Reason, Verdict};

use crate::flows::{self, Found};
use crate::maps::{INTERFACES, PAIR_INDEX, PAIRS, SETTINGS};
use crate::read::{self, Packet};
use crate::route::{self, Query};
use crate::{apply, count};

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
pub fn forward(ctx: &TcContext) -> Outcome {
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
fn judge(ctx: &TcContext, interface: &Interface) -> Result<(Reason, i32), Reason> {
    let packet = read::packet(ctx, interface.router_mac)?;
    let settings = SETTINGS.get(0).ok_or(Reason::NotManaged)?;
    if let Ok(segment) = &packet.segment
        && let Some(found) = flows::find(&segment.tuple)
        && let Some(done) = continue_flow(ctx, interface.end, &packet, segment, &found, settings)?
    {
        return Ok(done);
    }
    open_flow(ctx, interface.end, &packet, settings)
}

/// A packet of a flow that we know; `None` where that flow turns out to be over.
#[inline(always)]
fn continue_flow(
    ctx: &TcContext,
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
) -> Result<Option<(Plan, bridgefwd_common::contract::FlowState)>, Reason> {
    let rule = rule(flow.pair);
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

/// A packet without a flow: may it open one?
#[inline(always)]
fn open_flow(
    ctx: &TcContext,
    end: u32,
    packet: &Packet,
    settings: &Settings,
) -> Result<(Reason, i32), Reason> {
    let mut query = Query { src: packet.ip.src, dst: packet.ip.dst, in_end: end, wire_len: 0 };
    let (to, next_hop) = match route::lookup(ctx, &packet.ip, &query) {
        Route::Via { ifindex, .. } if ifindex == end => return Err(Reason::SameEnd),
        Route::Via { ifindex, next_hop } => (ifindex, next_hop),
        Route::No(reason) => return Err(reason),
        Route::TooBig => return Err(Reason::TooBig),
    };
    // SAFETY: as in `forward`.
    let target = unsafe { INTERFACES.get(to) }.ok_or(Reason::TargetNotManaged)?;
    let index = pair_index(PairKey { from: end, to });
    let rule = index.map_or_else(PairRule::default, rule);
    let unlisted = Unlisted::from_word(settings.unlisted);
    let opened = policy::permit(rule.policy, unlisted).and_then(|()| {
        if !source_belongs(ctx, packet, end) {
            return Err(Reason::SourceNotOfEnd);
        }
        let segment = packet.segment.as_ref().map_err(|&reason| reason)?;
        let state = policy::opening_state(segment, unlisted)?;
        let ttl = policy::next_ttl(packet.ip.ttl)?;
        query.wire_len = headers::wire_len(&packet.ip, segment, packet.gso_size);
        if matches!(route::lookup(ctx, &packet.ip, &query), Route::TooBig) {
            return Err(policy::too_big(packet.ip.dont_fragment));
        }
        let source = nat::source_address(rule.policy, packet.ip.src, target, next_hop)?;
        let ports = PortChoice::new(
            segment.transport,
            u16::from_be_bytes(segment.tuple.src_port),
            source != packet.ip.src,
            settings,
            flows::random(),
        );
        // Filled in place: built on the stack it would not leave room for the functions below.
        let opening = flows::opening().ok_or(Reason::TableFull)?;
        opening.original = segment.tuple;
        opening.source = source;
        opening.ports = ports;
        opening.state = state;
        opening.pair = index.unwrap_or_default();
        opening.pair_generation = rule.generation;
        opening.from = end;
        opening.to = to;
        opening.bytes = u64::from(ctx.len());
        let leaving = flows::create()?;
        let plan = Plan { leaving, ttl, out_end: to, next_hop, reason: Reason::FlowCreated };
        apply::apply(ctx, packet, segment, &plan)
    });
    let bytes = u64::from(ctx.len());
    match opened {
        Ok(action) => {
            if let Some(index) = index {
                count::pair_flow_created(index);
                count::pair_forwarded(index, Direction::Original, bytes);
            }
            Ok((Reason::FlowCreated, action))
        }
        Err(reason) => {
            if let Some(index) = index {
                count::pair_outcome(index, reason, bytes);
            }
            Err(reason)
        }
    }
}

/// Would the kernel send packets for the source address by the end that this one came from?
#[inline(always)]
fn source_belongs(ctx: &TcContext, packet: &Packet, end: u32) -> bool {
    let back = Query { src: packet.ip.dst, dst: packet.ip.src, in_end: end, wire_len: 0 };
    matches!(route::lookup(ctx, &packet.ip, &back), Route::Via { ifindex, .. } if ifindex == end)
}

#[inline(always)]
fn pair_index(key: PairKey) -> Option<u32> {
    // SAFETY: copied out at once.
    unsafe { PAIR_INDEX.get(key) }.copied()
}

/// The pair's rule: its policy read as one word, so that it is the old one or the new one.
#[inline(always)]
fn rule(index: u32) -> PairRule {
    let Some(rule) = PAIRS.get_ptr(index) else { return PairRule::default() };
    // SAFETY: array elements never move or go; the policy is one aligned word.
    let (policy, generation, key) = unsafe {
        ((&raw const (*rule).policy).cast::<u64>().read_volatile(), (*rule).generation, (*rule).key)
    };
    PairRule { policy: bytemuck::cast::<u64, PairPolicy>(policy), generation, key, _zero: 0 }
}
