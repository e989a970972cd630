//! A packet without a flow: may it open one, and which?
//!
//! What is found out waits in `OPENING`, one element a CPU. So the steps can be functions of their
//! own, which the verifier checks once each and whose stacks do not add up to more than it allows;
//! such functions take the context and numbers only.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::programs::TcContext;
use bridgefwd_common::Reason;
use bridgefwd_common::contract::{
    FlowState, Interface, PairKey, PairRule, Settings, Tuple, Unlisted,
};
use bridgefwd_common::decide::nat::{self, PortChoice};
use bridgefwd_common::decide::{Route, policy};
use bridgefwd_common::packet::headers::{self, Segment};
use bridgefwd_common::packet::quoted::Quoted;

use crate::maps::{INTERFACES, OPENING, SETTINGS};
use crate::read::Packet;
use crate::route::{self, Query};
use crate::{count, flows, pairs};

/// What a new flow is made from; also where the other cold phases leave what they find out.
#[repr(C)]
pub struct Opening {
    /// The packet that is being judged.
    pub packet: Packet,
    /// Its addresses and ports as it arrived.
    pub original: Tuple,
    /// The source address it leaves with, wire order.
    pub source: [u8; 4],
    /// The NAT mode of its pair, as it stands in the map.
    pub nat: u8,
    /// The source ports it may leave with.
    pub ports: PortChoice,
    /// The state it begins in.
    pub state: FlowState,
    /// The TTL that the opening packet leaves with.
    pub ttl: u8,
    /// Why no flow can be opened, where none can.
    pub refused: Reason,
    /// Index of its pair.
    pub pair: u32,
    /// Generation of its pair.
    pub pair_generation: u32,
    /// ifindex of the end that the packet came in by.
    pub from: u32,
    /// ifindex of the end it goes to.
    pub to: u32,
    /// The neighbour that it goes to, wire order.
    pub next_hop: [u8; 4],
    /// Bytes of the opening packet.
    pub bytes: u64,
    /// Filled in by `flows::create`: the tuple that its packets leave with.
    pub translated: Tuple,
    /// Filled in by `flows::create`: the slot's generation that will be the flow's.
    pub generation: u32,
    /// What a later fragment goes by.
    pub followed: Segment,
    /// What an ICMP error quotes, and the addresses that the error leaves with.
    pub quoted: Quoted,
    /// See `quoted`.
    pub outer: Tuple,
    /// What it shall show instead.
    pub shown: Tuple,
    /// Kept from one opening to the next: a server for which this CPU found no port free, with the
    /// class of ports as source port.
    pub exhausted: Tuple,
    /// Until when it is not searched again: `CLOCK_MONOTONIC`, ns.
    pub exhausted_until_ns: u64,
}

/// This CPU's opening.
#[inline(always)]
pub fn current() -> Option<&'static mut Opening> {
    // SAFETY: this CPU's element of a preallocated array; nobody else has it while we run, and
    // each function holds one reference at a time.
    OPENING.get_ptr_mut(0).map(|opening| unsafe { &mut *opening })
}

/// Finds out which flow the packet in `OPENING` may open.
///
/// # Errors
/// The reason why it opens none; it is counted under the pair already.
#[inline(always)]
pub fn prepare(ctx: &TcContext) -> Result<&'static Opening, Reason> {
    let permitted = prepare_opening(ctx.skb.skb);
    let opening = current().ok_or(Reason::TableFull)?;
    if permitted == 0 { Err(opening.refused) } else { Ok(opening) }
}

/// Fills `OPENING`; 1 if the packet may open a flow, else `refused` says why not.
///
/// # Safety
/// Called by this program alone, with its own context.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn prepare_opening(skb: *mut __sk_buff) -> u32 {
    let Some(opening) = current() else { return 0 };
    match examine(&TcContext::new(skb), opening) {
        Ok(()) => 1,
        Err(reason) => {
            opening.refused = reason;
            0
        }
    }
}

#[inline(always)]
fn examine(ctx: &TcContext, opening: &mut Opening) -> Result<(), Reason> {
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
    opening: &mut Opening,
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
        flows::random(),
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
