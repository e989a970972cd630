//! A packet without a flow: may it open one, and which?

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::bpf_get_prandom_u32;
use aya_ebpf::programs::TcContext;
use bridgefwd_common::Reason;
use bridgefwd_common::contract::{
    Family, Flow, NatMode, PairKey, PairRule, Settings, Tuple, Unlisted,
};
use bridgefwd_common::decide::nat::{self, PortChoice};
use bridgefwd_common::decide::{Route, mapping, policy};
use bridgefwd_common::packet::transport;

use crate::maps::{INTERFACES, POOLS, SETTINGS};
use crate::read::Packet;
use crate::route::{self, Query};
use crate::scratch::{self, Scratch};
use crate::{count, hairpin, pairs};

/// Finds out which flow the packet in `SCRATCH` may open.
///
/// # Errors
/// The reason why it opens none; it is counted under the pair already.
#[inline(always)]
pub fn prepare(ctx: &TcContext) -> Result<(), Reason> {
    if prepare_opening(ctx.skb.skb) == 1 {
        return Ok(());
    }
    Err(scratch::current().map_or(Reason::TableFull, |scratch| scratch.refused))
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
    if matches!(packet.ip.family, Family::V6)
        && policy::stays_on_link(&packet.ip.src, &packet.ip.dst)
    {
        return Err(Reason::NeighbourDiscovery);
    }
    if hairpin::find_hairpin(ctx.skb.skb) == hairpin::REFUSED {
        return Err(opening.refused);
    }
    let query = Query { src: packet.ip.src, dst: opening.target, in_end: from, wire_len: 0 };
    let to = match route::lookup(ctx, &packet.ip, &query) {
        Route::Via { ifindex, .. } if opening.turns_back && ifindex != opening.to => {
            return Err(Reason::RouteChanged);
        }
        Route::Via { ifindex, .. } if ifindex == from && !opening.turns_back => {
            return Err(Reason::SameEnd);
        }
        Route::Via { ifindex, next_hop, neighbour } => {
            opening.next_hop = next_hop;
            opening.neighbour_known = neighbour.is_some();
            ifindex
        }
        Route::No(reason) => return Err(reason),
        Route::TooBig => return Err(Reason::TooBig),
    };
    // SAFETY: an entry is replaced as a whole; one that is removed meanwhile stays readable until
    // this program ends.
    if unsafe { INTERFACES.get(to) }.is_none() {
        return Err(Reason::TargetNotManaged);
    }
    opening.to = to;
    if !opening.turns_back {
        opening.towards = to;
    }
    opening.bytes = u64::from(ctx.len());
    let index = pairs::index(PairKey { from, to: opening.towards });
    let rule = index.map_or_else(PairRule::default, pairs::rule);
    opening.pair = index.unwrap_or_default();
    opening.pair_generation = rule.generation;
    let permitted = match policy::permit(rule.policy, Unlisted::from_word(settings.unlisted)) {
        Ok(()) => describe(ctx, settings, &rule, opening),
        // The last hop is the router, which says so before it asks whether it may forward.
        Err(Reason::UnlistedDenied)
            if opening.packet.ip.ttl <= 1 && source_belongs(ctx, &opening.packet, from) =>
        {
            Err(Reason::TtlExpired)
        }
        Err(reason) => Err(reason),
    };
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
    rule: &PairRule,
    opening: &mut Scratch,
) -> Result<(), Reason> {
    let packet = &opening.packet;
    if policy::is_martian(&packet.ip.src, &packet.ip.dst) {
        return Err(Reason::Martian);
    }
    if !source_belongs(ctx, packet, opening.from) {
        return Err(Reason::SourceNotOfEnd);
    }
    let ttl = match policy::next_ttl(packet.ip.ttl) {
        Ok(ttl) => ttl,
        // The kernel would take it for its own.
        Err(_) if opening.turns_back => return Err(Reason::TtlExpiredReply),
        Err(reason) => return Err(reason),
    };
    let segment = packet.segment()?;
    let state = policy::opening_state(segment, Unlisted::from_word(settings.unlisted))?;
    let wire_len = transport::wire_len(&packet.ip, segment, packet.gso_size);
    let query = Query { src: packet.ip.src, dst: opening.target, in_end: opening.from, wire_len };
    match route::lookup(ctx, &packet.ip, &query) {
        Route::TooBig if opening.turns_back => return Err(Reason::TooBigTranslated),
        // Longer than the device can send: the kernel does not let it go, but answers.
        Route::TooBig if packet.ip.dont_fragment && route::exceeds_device(opening.to, wire_len) => {
            return Err(Reason::TooBig);
        }
        // The kernel cuts it to pieces, and we translate them; or what the host once found out about
        // the way does not count for what it forwards.
        Route::TooBig => opening.through_kernel = true,
        // The kernel may let it go as it is, whatever it asks for: so it has a flow, and is translated
        // where it leaves.
        Route::Via { .. } | Route::No(_) => {
            let family = packet.ip.family;
            opening.through_kernel |= route::may_be_too_big(settings, family, opening.to, wire_len);
        }
    }
    let mode = rule.policy.nat_of(packet.ip.family);
    let inner = packet.ip.src;
    opening.nat = mode as u8;
    opening.source = inner;
    if !matches!(mode, NatMode::None) && choose_source(rule.policy.pool) == 0 {
        return Err(Reason::NoNatAddress);
    }
    let source = opening.source;
    opening.ports = PortChoice::new(
        segment.transport,
        u16::from_be_bytes(segment.tuple.src_port),
        source != inner,
        settings,
        random(),
    );
    opening.original = segment.tuple;
    opening.leaving = Tuple { dst: opening.target, dst_port: opening.target_port, ..segment.tuple };
    let mapped =
        source != inner && mapping::has_mapping(rule.policy, packet.ip.family, segment.transport);
    opening.flow_flags = if mapped { Flow::MAPPED } else { 0 };
    opening.through_kernel &= !opening.turns_back;
    opening.state = state;
    opening.ttl = ttl;
    Ok(())
}

/// Sets the source address that the packet in `SCRATCH` leaves with, by the NAT mode there; 0 where
/// there is none. Global to the verifier: it is checked once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn choose_source(pool: u32) -> u32 {
    let Some(opening) = scratch::current() else { return 0 };
    // SAFETY: a pool is never changed, and stays readable until this program ends.
    let pool = unsafe { POOLS.get(pool) };
    // SAFETY: an entry is replaced as a whole, and stays readable too.
    let Some(target) = (unsafe { INTERFACES.get(opening.towards) }) else { return 0 };
    let ip = &opening.packet.ip;
    let mode = NatMode::from_byte(opening.nat);
    // What turns back would have gone no further than to the outer endpoint that it addresses.
    let next_hop = if opening.turns_back { &ip.dst } else { &opening.next_hop };
    match nat::source_address(mode, pool, &ip.src, target, next_hop, &ip.dst) {
        Ok(source) => {
            opening.source = source;
            1
        }
        Err(_) => 0,
    }
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
