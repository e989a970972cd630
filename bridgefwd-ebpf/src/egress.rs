//! Egress of ends: what the kernel forwards of our flows leaves translated, and what the host sends
//! itself does not get in the way of a flow.
//!
//! Packets that we redirect ourselves are marked as done and cost one look.

use aya_ebpf::bindings::{__sk_buff, TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::programs::TcContext;
use bridgefwd_common::Reason;
use bridgefwd_common::contract::{COLD_HOST, COLD_QUOTE, Direction, Flow, FlowState};
use bridgefwd_common::packet::ip::Fragment;
use bridgefwd_common::packet::{ipv4, ipv6};
use network_types::ip::Ipv4Hdr;

use crate::maps::COLD_PATHS;
use crate::read::{IP, Packet};
use crate::scratch::{self, Scratch};
use crate::{count, deep, events, flows, followers, host, index, marks, rewrite};

pub const ETHERTYPE_IPV4: u32 = 0x0800_u16.to_be() as u32;
pub const ETHERTYPE_IPV6: u32 = 0x86dd_u16.to_be() as u32;

/// What to return for a packet that leaves.
#[inline(always)]
pub fn leave(ctx: &TcContext) -> i32 {
    match marks::of_leaving(ctx) {
        marks::DONE => {
            marks::set_leaving(ctx, 0);
            return TC_ACT_UNSPEC;
        }
        marks::ASKED => return drop(ctx, Reason::NeighbourAsked),
        _ => {}
    }
    // SAFETY: the kernel hands a valid __sk_buff to the program for as long as it runs.
    let skb = unsafe { &*ctx.skb.skb };
    if skb.protocol != ETHERTYPE_IPV4 && skb.protocol != ETHERTYPE_IPV6 {
        return TC_ACT_UNSPEC;
    }
    // What cannot be read was not read at ingress either, and belongs to no flow.
    if read_leaving(ctx.skb.skb) == 0 || deep::read_deep(ctx.skb.skb) == 0 {
        return TC_ACT_UNSPEC;
    }
    match examine_leaving(ctx.skb.skb) {
        GOES => TC_ACT_UNSPEC,
        QUOTES => {
            // SAFETY: nothing that would have to be dropped is held.
            unsafe { COLD_PATHS.tail_call(ctx, COLD_QUOTE) };
            TC_ACT_UNSPEC
        }
        MAY_CLASH => {
            // SAFETY: as above.
            unsafe { COLD_PATHS.tail_call(ctx, COLD_HOST) };
            TC_ACT_UNSPEC
        }
        _ => drop(ctx, Reason::EgressUntranslated),
    }
}

#[inline(always)]
fn drop(ctx: &TcContext, reason: Reason) -> i32 {
    count::seen(ctx);
    count::packet(ctx, reason);
    events::ended(ctx, reason);
    TC_ACT_SHOT
}

/// It goes its way.
const GOES: u32 = 0;
/// It is an ICMP error: the host's own, or one that the kernel forwards.
const QUOTES: u32 = 1;
/// It must not leave as it is.
const REFUSED: u32 = 2;
/// It is the host's own, or under its address, and may have the tuple of a flow.
const MAY_CLASH: u32 = 3;

/// Reads the IP header of a packet that leaves into `SCRATCH`; 1 where it could be read. Global to the
/// verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn read_leaving(skb: *mut __sk_buff) -> u32 {
    let Some(scratch) = scratch::current() else { return 0 };
    u32::from(read(&TcContext::new(skb), scratch).is_ok())
}

/// Looks at the packet that was read. Global to the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn examine_leaving(skb: *mut __sk_buff) -> u32 {
    let Some(scratch) = scratch::current() else { return GOES };
    let ctx = TcContext::new(skb);
    // SAFETY: the kernel hands a valid __sk_buff to the program for as long as it runs.
    let (ingress, end) = unsafe { ((*skb).ingress_ifindex, (*skb).ifindex) };
    scratch.from = end;
    if scratch.packet.flaw == Some(Reason::IcmpError) {
        return QUOTES;
    }
    if ingress == 0 {
        return own(scratch, end);
    }
    match scratch.packet.ip.fragment {
        Fragment::None => {
            if scratch.packet.flaw.is_some() {
                return GOES;
            }
            scratch.original = scratch.packet.segment.tuple;
            if clashes(scratch) {
                scratch.to = end;
                return MAY_CLASH;
            }
        }
        Fragment::First => {
            if scratch.packet.flaw.is_some() {
                return GOES;
            }
            scratch.original = scratch.packet.segment.tuple;
            if flows::find(&scratch.original).is_some() {
                followers::note_first(followers::LEAVING);
            }
        }
        Fragment::Later => {
            if followers::find(followers::LEAVING) == 0 {
                return GOES;
            }
        }
    }
    translate(&ctx, scratch, end)
}

/// Has a packet that the kernel forwards for others, under an address of the host, the tuple of a flow?
#[inline(always)]
fn clashes(scratch: &Scratch) -> bool {
    let segment = &scratch.packet.segment;
    host::can_clash(segment)
        && index::get(&segment.tuple).is_none()
        && index::get(&segment.tuple.reversed())
            .is_some_and(|entry| matches!(entry.direction(), Direction::Reply))
}

/// A packet that the host sends itself.
#[inline(always)]
fn own(scratch: &mut Scratch, end: u32) -> u32 {
    let packet = &scratch.packet;
    scratch.to = end;
    let whole = packet.flaw.is_none() && matches!(packet.ip.fragment, Fragment::None);
    if !whole || !host::can_clash(&packet.segment) {
        return GOES;
    }
    // Most of what the host sends is nobody's: two look-ups, and no program more. Its queries have
    // nothing else that shows later whose an answer is.
    let tuple = &packet.segment.tuple;
    if tuple.query == 0 && index::get(tuple).is_none() && index::get(&tuple.reversed()).is_none() {
        return GOES;
    }
    MAY_CLASH
}

/// Gives a packet of the original direction of a flow the source that the flow has.
#[inline(always)]
fn translate(ctx: &TcContext, scratch: &mut Scratch, end: u32) -> u32 {
    let Some(found) = flows::find(&scratch.original) else { return GOES };
    if !matches!(found.direction, Direction::Original) {
        return GOES;
    }
    // SAFETY: array elements never move or go.
    let flow = unsafe { &*found.flow };
    if flow.from == Flow::FROM_HOST {
        scratch.to = end;
        return MAY_CLASH;
    }
    if !flow.translates() {
        return GOES;
    }
    if flow.to != end || flow.state == FlowState::Free as u8 {
        return REFUSED;
    }
    scratch.leaving = flow.translated();
    match rewrite::to_leaving(ctx) {
        Ok(()) => GOES,
        Err(_) => REFUSED,
    }
}

#[inline(always)]
fn read(ctx: &TcContext, scratch: &mut Scratch) -> Result<(), Reason> {
    // SAFETY: the kernel hands a valid __sk_buff to the program for as long as it runs.
    let (protocol, gso_size) = unsafe { ((*ctx.skb.skb).protocol, (*ctx.skb.skb).gso_size) };
    let available = ctx.len().saturating_sub(IP as u32);
    let cut_off = |_| Reason::MalformedIp;
    let ip = if protocol == ETHERTYPE_IPV4 {
        let raw = ctx.load::<[u8; Ipv4Hdr::LEN]>(IP).map_err(cut_off)?;
        // SAFETY: Ipv4Hdr is repr(C) of bytes and byte arrays, 20 bytes long.
        ipv4::read(unsafe { &*raw.as_ptr().cast::<Ipv4Hdr>() }, available, gso_size != 0)?
    } else {
        let raw = ctx.load::<ipv6::Header>(IP).map_err(cut_off)?;
        ipv6::read(&raw, available, gso_size != 0)?
    };
    scratch.packet = Packet {
        ip,
        ip_check: [0; 2],
        segment: bridgefwd_common::packet::transport::Segment::default(),
        flaw: None,
        gso_size,
        priority_tagged: false,
    };
    Ok(())
}
