//! ICMP errors: each belongs to the flow of the packet that it quotes, and is translated with it
//! (RFC 5508, section 4.2). They neither refresh a flow nor change its state.

use aya_ebpf::bindings::{__sk_buff, BPF_F_RECOMPUTE_CSUM, TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::programs::TcContext;
use bridgefwd_common::Reason;
use bridgefwd_common::contract::{COLD_OPEN, Direction, Flow, Tuple};
use bridgefwd_common::decide::{Route, established, translate};
use bridgefwd_common::packet::checksum;
use bridgefwd_common::packet::ip::Fragment;
use bridgefwd_common::packet::quoted::{self, QUOTED_LEN};
use bridgefwd_common::packet::transport::Transport;
use network_types::icmp::Icmpv4Hdr;
use network_types::ip::Ipv4Hdr;

use crate::maps::SETTINGS;
use crate::read::{IP, L4, Packet};
use crate::route::{self, Query};
use crate::scratch::{self, Scratch};
use crate::verdict::Way;
use crate::{apply, asm, count, flows, pairs};

/// Where the quoted IP header begins.
const QUOTE: usize = L4 + Icmpv4Hdr::LEN;
const CHECK: usize = L4 + 2;
const TCP_CHECK: usize = 16;
const STORE: u64 = BPF_F_RECOMPUTE_CSUM as u64;
/// Errors are at most 576 bytes long (RFC 1812, section 4.3.2.3); some senders quote more.
const MAX_LEN: usize = 2048;

const NOT_OURS: u32 = 0;
const REFUSED: u32 = 1;
const TRANSLATED: u32 = 2;

/// Forwards the ICMP error in `SCRATCH`. One that quotes no packet of a flow goes on to be judged
/// like any other packet.
#[inline(always)]
pub fn forward_error(ctx: &TcContext) -> Way {
    let mut outcome = examine_error(ctx.skb.skb);
    if outcome == TRANSLATED {
        outcome = rewrite_error(ctx.skb.skb);
    }
    let Some(opening) = scratch::current() else { return Way::Ends(Err(Reason::IcmpError)) };
    match outcome {
        TRANSLATED => Way::Ends(
            apply::redirect(ctx, opening.to, &opening.next_hop)
                .map(|action| (Reason::ForwardedIcmpError, action)),
        ),
        REFUSED => {
            count::pair_outcome(opening.pair, opening.refused, u64::from(ctx.len()));
            Way::Ends(Err(opening.refused))
        }
        _ => Way::GoesOn(COLD_OPEN),
    }
}

#[inline(always)]
fn outcome(opening: &mut Scratch, result: Result<Option<()>, Reason>) -> u32 {
    match result {
        Ok(Some(())) => TRANSLATED,
        Ok(None) => NOT_OURS,
        Err(reason) => {
            opening.refused = reason;
            REFUSED
        }
    }
}

/// Finds the flow that the ICMP error in `SCRATCH` belongs to, and how it leaves. Global to the
/// verifier, as is the next step.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn examine_error(skb: *mut __sk_buff) -> u32 {
    let Some(opening) = scratch::current() else { return NOT_OURS };
    let result = examine(&TcContext::new(skb), opening);
    outcome(opening, result)
}

/// Rewrites it. Whatever fails here drops: the packet may be half rewritten.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn rewrite_error(skb: *mut __sk_buff) -> u32 {
    let Some(opening) = scratch::current() else { return NOT_OURS };
    let result = rewrite(&TcContext::new(skb), opening).map(Some);
    outcome(opening, result)
}

#[inline(always)]
fn examine(ctx: &TcContext, opening: &mut Scratch) -> Result<Option<()>, Reason> {
    if read_quote(ctx.skb.skb) == 0 {
        return Ok(None);
    }
    // The error travels as the answer to the packet that it quotes.
    let Some(found) = flows::find(&opening.quoted.tuple.reversed()) else { return Ok(None) };
    // SAFETY: array elements never move or go.
    let flow = unsafe { &*found.flow };
    opening.pair = flow.pair;
    decide_outer(opening, flow, found.direction)?;
    opening.shown = flow.leaving(found.direction).reversed();
    if message_sum(ctx.skb.skb, opening.packet.ip.payload_len) != 0xffff {
        return Err(Reason::IcmpMalformed);
    }
    if opening.packet.ip.ttl <= 1 {
        return Err(Reason::TtlExpiredReply);
    }
    let ip = &opening.packet.ip;
    let query = Query { src: ip.src, dst: opening.outer.dst, in_end: opening.from, wire_len: 0 };
    match route::lookup(ctx, ip, &query) {
        Route::Via { ifindex, next_hop, .. } if ifindex == opening.to => {
            opening.next_hop = next_hop;
            Ok(Some(()))
        }
        _ => Err(Reason::RouteChanged),
    }
}

/// Reads what the error in `SCRATCH` quotes; 1 if there is something to find a flow by. Global to
/// the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn read_quote(skb: *mut __sk_buff) -> u32 {
    let Some(opening) = scratch::current() else { return 0 };
    let ctx = TcContext::new(skb);
    let ip = &opening.packet.ip;
    let minimum = (Icmpv4Hdr::LEN + Ipv4Hdr::LEN + QUOTED_LEN) as u32;
    // Of a fragment we do not see everything that the checksum covers.
    if ip.payload_len < minimum || !matches!(ip.fragment, Fragment::None) {
        return 0;
    }
    let Ok(header) = load::<[u8; Ipv4Hdr::LEN]>(&ctx, QUOTE) else { return 0 };
    let header_len = usize::from(header[0].wrapping_mul(4) & 0x3c);
    if ip.payload_len < (Icmpv4Hdr::LEN + header_len + QUOTED_LEN) as u32 {
        return 0;
    }
    let Ok(after) = load::<[u8; QUOTED_LEN]>(&ctx, QUOTE + header_len) else { return 0 };
    match quoted::read(&header, &after) {
        Ok(quote) => {
            opening.quoted = quote;
            1
        }
        Err(_) => 0,
    }
}

#[inline(always)]
fn rewrite(ctx: &TcContext, opening: &Scratch) -> Result<(), Reason> {
    rewrite_quote(ctx, opening)?;
    write_outer(ctx, &opening.packet, &opening.outer)
}

/// Has the error quote what it shall show.
#[inline(always)]
fn rewrite_quote(ctx: &TcContext, opening: &Scratch) -> Result<(), Reason> {
    let (quote, shown) = (&opening.quoted, &opening.shown);
    let payload_len = opening.packet.ip.payload_len;
    let header_len = usize::from(quote.header_len & 0x3c);
    let after_at = QUOTE + header_len;
    if matches!(quote.transport, Transport::Tcp)
        && payload_len >= (Icmpv4Hdr::LEN + header_len + TCP_CHECK + 2) as u32
    {
        let old = load::<[u8; 2]>(ctx, after_at + TCP_CHECK)?;
        store(ctx, after_at + TCP_CHECK, &quoted::tcp_check(quote, shown, old))?;
    }
    let mut header = load::<[u8; Ipv4Hdr::LEN]>(ctx, QUOTE)?;
    let mut after = load::<[u8; QUOTED_LEN]>(ctx, after_at)?;
    quoted::translate(quote, &mut header, &mut after, shown);
    store(ctx, QUOTE, &header)?;
    store(ctx, after_at, &after)?;
    store(ctx, CHECK, &[0u8; 2])?;
    let sum = message_sum(ctx.skb.skb, payload_len) as u16;
    store(ctx, CHECK, &(!sum).to_ne_bytes())
}

/// At egress: an ICMP error of the host's own about a reply that we translated before the kernel saw
/// it quotes what the sender has never sent. What to return.
#[inline(always)]
pub fn mend_quote(ctx: &TcContext) -> i32 {
    if mend_own_error(ctx.skb.skb) == REFUSED { TC_ACT_SHOT } else { TC_ACT_UNSPEC }
}

/// The same. Global to the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn mend_own_error(skb: *mut __sk_buff) -> u32 {
    let Some(opening) = scratch::current() else { return NOT_OURS };
    let ctx = TcContext::new(skb);
    if read_quote(skb) == 0 {
        return NOT_OURS;
    }
    // What the kernel saw of a reply is addressed to where packets of the original direction come
    // from.
    let Some(found) = flows::find(&opening.quoted.tuple.reversed()) else { return NOT_OURS };
    // SAFETY: array elements never move or go.
    let flow = unsafe { &*found.flow };
    if !matches!(found.direction, Direction::Original) || !flow.translates() {
        return NOT_OURS;
    }
    opening.shown = flow.arriving(Direction::Reply);
    match rewrite_quote(&ctx, opening) {
        Ok(()) => TRANSLATED,
        Err(reason) => {
            count::seen(&ctx);
            count::packet(&ctx, reason);
            REFUSED
        }
    }
}

/// The addresses that the error leaves with, and the end it leaves by.
///
/// An error of the answering side, or of a router on the way there, goes to the client and keeps its
/// source. One of the opening side is sent from the address that its flow has, whoever it comes
/// from: beyond us nobody knows another (RFC 5508, REQ-5).
#[inline(always)]
fn decide_outer(opening: &mut Scratch, flow: &Flow, direction: Direction) -> Result<(), Reason> {
    let settings = SETTINGS.get(0).ok_or(Reason::IcmpError)?;
    if established::is_over(flow.state, flow.last_seen_ns, flows::now_ns(), settings) {
        return Err(Reason::IcmpError);
    }
    let rule = pairs::rule(flow.pair);
    if rule.generation != flow.pair_generation {
        return Err(Reason::FlowCut);
    }
    if !rule.policy.forwards_existing() {
        return Err(Reason::PairDenied);
    }
    let (arrives_by, out_end) = match direction {
        Direction::Original => (flow.from, flow.to),
        Direction::Reply => (flow.to, flow.from),
    };
    if arrives_by != opening.from {
        return Err(Reason::WrongEnd);
    }
    let ip = &opening.packet.ip;
    let (arriving, leaving) = (flow.arriving(direction), flow.leaving(direction));
    // The error answers the packet that it quotes, so it goes to whoever sent that.
    if ip.dst != arriving.dst {
        return Err(Reason::IcmpError);
    }
    let src = if arriving.src == leaving.src { ip.src } else { leaving.src };
    let outer = Tuple { src, dst: leaving.dst, protocol: ip.protocol, ..Tuple::default() };
    opening.outer = outer;
    opening.to = out_end;
    Ok(())
}

#[inline(always)]
fn write_outer(ctx: &TcContext, packet: &Packet, outer: &Tuple) -> Result<(), Reason> {
    let ip = &packet.ip;
    let arriving = Tuple { src: ip.src, dst: ip.dst, protocol: ip.protocol, ..Tuple::default() };
    let check = translate::ipv4_check(packet.ip_check, &arriving, outer, ip.ttl, ip.ttl - 1);
    store(ctx, IP + core::mem::offset_of!(Ipv4Hdr, ttl), &(ip.ttl - 1))?;
    store(ctx, IP + core::mem::offset_of!(Ipv4Hdr, check), &check)?;
    let addresses = [outer.src.last_word(), outer.dst.last_word()];
    store(ctx, IP + core::mem::offset_of!(Ipv4Hdr, src_addr), &addresses)
}

#[inline(always)]
fn load<T>(ctx: &TcContext, offset: usize) -> Result<T, Reason> {
    ctx.load(offset).map_err(|_| Reason::IcmpMalformed)
}

#[inline(always)]
fn store<T>(ctx: &TcContext, offset: usize, value: &T) -> Result<(), Reason> {
    ctx.store(offset, value, STORE).map_err(|_| Reason::WriteFailed)
}

/// The sum over an ICMP message of `len` bytes, folded to 16 bits; 0, which no sum over something
/// is, where it cannot be read. Global to the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn message_sum(skb: *mut __sk_buff, len: u32) -> u32 {
    let ctx = TcContext::new(skb);
    let len = len as usize;
    if len > MAX_LEN || ctx.pull_data((L4 + len) as u32).is_err() {
        return 0;
    }
    let (data, data_end) = asm::packet_bounds(&ctx);
    let mut sum = 0u64;
    let mut at = 0;
    while at < MAX_LEN {
        let word = data + L4 + at;
        if at + 4 > len || word + 4 > data_end {
            break;
        }
        // SAFETY: it was just checked that the four bytes lie before data_end.
        sum += u64::from(unsafe { (word as *const u32).read_unaligned() });
        at += 4;
    }
    // Up to three bytes are left; a last odd one counts as if a zero followed (RFC 1071).
    let mut tail = [0u8; 4];
    let mut index = 0;
    while index < 3 {
        if at + index < len {
            let Ok(byte) = ctx.load::<u8>(L4 + at + index) else { return 0 };
            tail[index] = byte;
        }
        index += 1;
    }
    sum += u64::from(u32::from_ne_bytes(tail));
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    u32::from(checksum::fold(
        (sum & 0xffff) as u32 + ((sum >> 16) & 0xffff) as u32 + (sum >> 32) as u32,
    ))
}
