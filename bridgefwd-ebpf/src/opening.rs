//! A packet without a flow: may it open one, and which?

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::bpf_get_prandom_u32;
use aya_ebpf::programs::TcContext;
use bridgefwd_common::Reason;
use bridgefwd_common::contract::{Interface, PairKey, PairRule, Settings, Unlisted};
use bridgefwd_common::decide::nat::{self, PortChoice};
use bridgefwd_common::decide::{Route, policy};
use bridgefwd_common::packet::headers::{self, Segment};

use crate::maps::{INTERFACES, SETTINGS};
use crate::read::Packet;
use crate::route::{self, Query};
use crate::scratch::{self, Scratch};
use crate::{count, pairs};

/// Finds out which flow the packet in `SCRATCH` may open.
///
/// # Errors
/// The reason why it opens none; it is counted under the pair already.
#[inline(always)]
pub fn prepare(ctx: &TcContext) -> Result<&'static Scratch, Reason> {
    let permitted = prepare_opening(ctx.skb.skb);
    let opening = scratch::current().ok_or(Reason::TableFull)?;
    if permitted == 0 { Err(opening.refused) } else { Ok(opening) }
}

/// Fills `SCRATCH`; 1 if the packet may open a flow, else `refused` says why not.
///
/// # Safety
/// Called by this program alone, with its own context.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn prepare_opening(skb: *mut __sk_buff) -> u32 {
    let Some(opening) = scratch::current() else { return 0 };
    match examine(&TcContext::new(skb), opening) {
        Ok(()) => 1,
        Err(reason) => {
            opening.refused = reason;
            0
        }
    }
}

#[inline(always)]
fn examine(ctx: &TcContext, opening: &mut Scratch) -> Result<(), Reason> {
    let settings = SETTINGS.get(0).ok_or(Reason::NotManaged)?;
    let packet = &opening.packet;
    let from = opening.from;
    let query = Query { src: packet.ip.src, dst: packet.ip.dst, in_end: from, wire_len: 0 };
    let (to, next_hop) = match route::lookup(ctx, &packet.ip, &query) {
        Route::Via { ifindex, .. } if ifindex == from => return Err(Reason::SameEnd),
        Route::Via { ifindex, next_hop } => (ifindex, next_hop),
        Route::No(reason) => return Err(reason),
        Route::TooBig => return Err(Reason::TooBig),
    };
    // SAFETY: an entry is replaced as a whole; one that is removed meanwhile stays readable until
    // this program ends.
    let target = unsafe { INTERFACES.get(to) }.ok_or(Reason::TargetNotManaged)?;
    opening.to = to;
    opening.next_hop = next_hop;
    opening.bytes = u64::from(ctx.len());
    let index = pairs::index(PairKey { from, to });
    let rule = index.map_or_else(PairRule::default, pairs::rule);
    opening.pair = index.unwrap_or_default();
    opening.pair_generation = rule.generation;
    let permitted = policy::permit(rule.policy, Unlisted::from_word(settings.unlisted))
        .and_then(|()| describe(ctx, settings, target, &rule, opening));
    if let (Err(reason), Some(index)) = (permitted, index) {
        count::pair_outcome(index, reason, opening.bytes);
    }
    permitted
}

/// The checks that come after the pair's own permission, and what the flow will be.
#[inline(always)]
fn describe(
    ctx: &TcContext,
    settings: &Settings,
    target: &Interface,
    rule: &PairRule,
    opening: &mut Scratch,
) -> Result<(), Reason> {
    let packet = &opening.packet;
    if !source_belongs(ctx, packet, opening.from) {
        return Err(Reason::SourceNotOfEnd);
    }
    let segment = packet.segment()?;
    let state = policy::opening_state(segment, Unlisted::from_word(settings.unlisted))?;
    let ttl = policy::next_ttl(packet.ip.ttl)?;
    if !fits(ctx, packet, segment, opening.from) {
        return Err(policy::too_big(packet.ip.dont_fragment));
    }
    let source = nat::source_address(rule.policy, packet.ip.src, target, opening.next_hop)?;
    let ports = PortChoice::new(
        segment.transport,
        u16::from_be_bytes(segment.tuple.src_port),
        source != packet.ip.src,
        settings,
        random(),
    );
    opening.original = segment.tuple;
    opening.source = source;
    opening.nat = rule.policy.nat;
    opening.ports = ports;
    opening.state = state;
    opening.ttl = ttl;
    Ok(())
}

/// Is the packet, or each of its segments, small enough for the way out?
#[inline(always)]
fn fits(ctx: &TcContext, packet: &Packet, segment: &Segment, from: u32) -> bool {
    let wire_len = headers::wire_len(&packet.ip, segment, packet.gso_size);
    let query = Query { src: packet.ip.src, dst: packet.ip.dst, in_end: from, wire_len };
    !matches!(route::lookup(ctx, &packet.ip, &query), Route::TooBig)
}

/// Would the kernel send packets for the source address by the end that this one came from?
#[inline(always)]
fn source_belongs(ctx: &TcContext, packet: &Packet, end: u32) -> bool {
    let back = Query { src: packet.ip.dst, dst: packet.ip.src, in_end: end, wire_len: 0 };
    matches!(route::lookup(ctx, &packet.ip, &back), Route::Via { ifindex, .. } if ifindex == end)
}

/// Where the search for a port begins.
#[inline(always)]
fn random() -> u32 {
    // SAFETY: takes nothing, always answers.
    unsafe { bpf_get_prandom_u32() }
}
