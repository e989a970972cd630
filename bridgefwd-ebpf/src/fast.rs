//! The shortest way: packets of IPv4 flows, TCP or UDP, of which the flow still knows how they leave.
//!
//! Nothing is decided here that is not decided by the same functions on the long way
//! ([`forward`](crate::forward)); what is left out is asking the kernel's routing once more. Whatever is
//! not everyday is left to the long way, which begins anew: so nothing is written or counted here before
//! it is certain that the packet ends here.

use core::mem::offset_of;

use aya_ebpf::bindings::{__sk_buff, TC_ACT_SHOT};
use aya_ebpf::programs::TcContext;
use bridgefwd_common::Reason;
use bridgefwd_common::contract::{Address, Direction, Family, Flow, NOTHING_KEPT, Way};
use bridgefwd_common::decide::established::{self, Known};
use bridgefwd_common::decide::translate::{self, Rewrite};
use bridgefwd_common::decide::{Plan, Route, tcp_window};
use bridgefwd_common::packet::ip::{self, Fragment, Ip};
use bridgefwd_common::packet::ipv4;
use bridgefwd_common::packet::transport::{self, PROTOCOL_TCP, PROTOCOL_UDP, Segment};
use network_types::eth::EthHdr;
use network_types::ip::Ipv4Hdr;
use network_types::udp::UdpHdr;

use crate::direct::{self, Hop};
use crate::flows::{self, Found};
use crate::maps::{INTERFACES, SETTINGS};
use crate::read::{IP, L4, Packet};
use crate::verdict::Outcome;
use crate::{apply, asm, connection, count, events, forward, index, marks, pairs, scratch, watch};

/// The bits of the type of service that routing looks at; the others are for congestion.
const ROUTED_TOS: u8 = 0xfc;

/// Length of the headers of an everyday frame, as far as that is fixed.
const HEADERS: usize = L4 + size_of::<[u32; 5]>();

/// Forwards the packet, if it is everyday.
#[inline(always)]
pub fn forward(ctx: &TcContext) -> Option<Outcome> {
    let epoch = watch::epoch();
    // Read as they are here: the verifier wants the context's address unchanged, and the compiler would
    // otherwise share a part of the sum with other places.
    let skb = ctx.skb.skb as usize;
    // SAFETY: the kernel hands a valid __sk_buff to the program for as long as it runs.
    let (mark, ifindex, vlan_present, gso_size) = unsafe {
        (
            asm::load_word::<{ offset_of!(__sk_buff, mark) }>(skb),
            asm::load_word::<{ offset_of!(__sk_buff, ifindex) }>(skb),
            asm::load_word::<{ offset_of!(__sk_buff, vlan_present) }>(skb),
            asm::load_word::<{ offset_of!(__sk_buff, gso_size) }>(skb),
        )
    };
    if epoch == NOTHING_KEPT || vlan_present != 0 || marks::is_marked(mark) {
        return None;
    }
    let (link, packet) = read(ctx, gso_size)?;
    let found = flows::found(index::get_v4(&packet.segment.tuple)?)?;
    // SAFETY: array elements never move or go.
    let flow = unsafe { &*found.flow };
    let way = flow.way(found.direction);
    // What arrives there, addressed to that MAC, is from the flow's end: what the daemon says of
    // interfaces has not changed either.
    if way.epoch != epoch || way.arrives_at != ifindex || !covers(way, &packet) {
        return None;
    }
    let Ok(Family::V4) = ip::ethernet(&link, way.router_mac) else { return None };
    let end = match found.direction {
        Direction::Original => flow.from,
        Direction::Reply => flow.to,
    };
    let plan =
        established::plan(&packet.ip, flow, found.direction, route(flow, &found, way)).ok()?;
    continue_flow(ctx, end, &packet, &link, &found, &plan, epoch)
}

/// Counts a packet that ended here; what the program has to return.
#[inline(always)]
pub fn end(ctx: &TcContext, outcome: Outcome) -> i32 {
    count::seen(ctx);
    match outcome {
        Ok((reason, action)) => {
            count::packet(ctx, reason);
            action
        }
        // None of them passes.
        Err(reason) => {
            count::packet(ctx, reason);
            events::refused(ctx, reason);
            TC_ACT_SHOT
        }
    }
}

/// The packet with its Ethernet header, if its others are everyday ones.
#[inline(always)]
fn read(ctx: &TcContext, gso_size: u32) -> Option<(EthHdr, Packet)> {
    let (frame, end) = asm::packet_bounds(ctx);
    if frame + HEADERS > end {
        return None;
    }
    // SAFETY: all of these are before the packet's end.
    let (link, header, transport) = unsafe {
        (
            [
                asm::load_word::<0>(frame),
                asm::load_word::<4>(frame),
                asm::load_word::<8>(frame),
                asm::load_word::<12>(frame),
            ],
            [
                asm::load_word::<{ IP }>(frame),
                asm::load_word::<{ IP + 4 }>(frame),
                asm::load_word::<{ IP + 8 }>(frame),
                asm::load_word::<{ IP + 12 }>(frame),
                asm::load_word::<{ IP + 16 }>(frame),
            ],
            [
                asm::load_word::<{ L4 }>(frame),
                asm::load_word::<{ L4 + 4 }>(frame),
                asm::load_word::<{ L4 + 8 }>(frame),
                asm::load_word::<{ L4 + 12 }>(frame),
                asm::load_word::<{ L4 + 16 }>(frame),
            ],
        )
    };
    let header: [u8; Ipv4Hdr::LEN] = bytemuck::cast(header);
    // SAFETY: Ipv4Hdr is repr(C) of bytes and byte arrays, 20 bytes long.
    let fields: Ipv4Hdr = unsafe { core::mem::transmute(header) };
    let available = ctx.len().wrapping_sub(EthHdr::LEN as u32);
    let ip = ipv4::read(&fields, available, gso_size != 0).ok()?;
    if ip.header_len != Ipv4Hdr::LEN as u16 || !matches!(ip.fragment, Fragment::None) {
        return None;
    }
    ipv4::verify_checksum(&header).ok()?;
    let segment = segment(bytemuck::cast(transport), &ip)?;
    let ip_check = fields.check;
    let packet = Packet { ip, ip_check, segment, flaw: None, gso_size, priority_tagged: false };
    Some((ethernet(link), packet))
}

/// The Ethernet header, from its bytes and the two behind it.
#[inline(always)]
fn ethernet(words: [u32; 4]) -> EthHdr {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, ..]: [u8; 16] = bytemuck::cast(words);
    EthHdr {
        dst_addr: [a, b, c, d, e, f],
        src_addr: [g, h, i, j, k, l],
        ether_type: u16::from_ne_bytes([m, n]),
    }
}

#[inline(always)]
fn segment(header: [u8; 20], ip: &Ip) -> Option<Segment> {
    match ip.protocol {
        PROTOCOL_TCP => transport::tcp(&header, ip).ok(),
        PROTOCOL_UDP => {
            let [a, b, c, d, e, f, g, h, ..] = header;
            let header = UdpHdr { src: [a, b], dst: [c, d], len: [e, f], check: [g, h] };
            transport::udp(&header, ip).ok()
        }
        _ => None,
    }
}

/// Was the kernel asked for packets like this one?
#[inline(always)]
fn covers(way: &Way, packet: &Packet) -> bool {
    let wire_len = transport::wire_len(&packet.ip, &packet.segment, packet.gso_size);
    wire_len <= u32::from(way.longest) && packet.ip.tos & ROUTED_TOS == way.tos
}

/// What the kernel's routing has said.
#[inline(always)]
fn route(flow: &Flow, found: &Found, way: &Way) -> Route {
    let ifindex = match found.direction {
        Direction::Original => flow.to,
        Direction::Reply => flow.from,
    };
    Route::Via {
        ifindex,
        next_hop: Address::v4_word(way.next_hop),
        neighbour: Some(way.neighbour_mac),
    }
}

#[inline(always)]
fn continue_flow(
    ctx: &TcContext,
    end: u32,
    packet: &Packet,
    link: &EthHdr,
    found: &Found,
    plan: &Plan,
    epoch: u32,
) -> Option<Outcome> {
    // SAFETY: array elements never move or go.
    let flow = unsafe { &*found.flow };
    let settings = SETTINGS.get(0)?;
    let rule = pairs::rule(flow.pair);
    let now = flows::now();
    let (segment, direction) = (&packet.segment, found.direction);
    let known = established::recognise(segment, flow, direction, &rule, end, now, settings).ok()?;
    let bytes = u64::from(ctx.len());
    let state = match known {
        Known::Continues(state) => Some(state),
        Known::Segment(state) => {
            if !tcp_window::is_plain(segment.tcp_flags, state) {
                return None;
            }
            match connection::judge_plain(packet, found, state) {
                Ok(Known::Continues(state)) => Some(state),
                Ok(_) => None,
                Err(reason) => {
                    forward::refuse(found, reason, bytes);
                    return Some(Err(reason));
                }
            }
        }
        Known::Passes | Known::Over => return None,
    };
    flows::refresh(found, state, now, bytes);
    direct::note_neighbour(found, link.src_addr, epoch, now);
    let hop = direct::hop(flow, direction, epoch, now);
    Some(match send(ctx, packet, plan, hop) {
        Ok(action) => {
            count::pair_forwarded(flow.pair, direction, bytes);
            Ok((plan.reason, action))
        }
        Err(reason) => {
            count::pair_outcome(flow.pair, reason, bytes);
            Err(reason)
        }
    })
}

/// As [`apply::apply`], of an everyday packet.
#[inline(always)]
fn send(ctx: &TcContext, packet: &Packet, plan: &Plan, hop: Option<Hop>) -> Result<i32, Reason> {
    let (arriving, leaving) = (&packet.segment.tuple, &plan.leaving);
    let rewrite = Rewrite::v4(arriving, leaving);
    // The checksum helper first: it invalidates pointers into the packet. It also knows what else
    // depends on these bytes.
    apply::update_transport_checksum(
        ctx,
        packet.segment.transport,
        L4,
        arriving,
        leaving,
        &rewrite,
    )
    .ok_or(Reason::WriteFailed)?;
    let (ttl, new_ttl) = (packet.ip.ttl, plan.ttl);
    let check = translate::ipv4_check(packet.ip_check, arriving, leaving, ttl, new_ttl);
    let (frame, end) = asm::packet_bounds(ctx);
    if frame + HEADERS > end {
        return Err(Reason::WriteFailed);
    }
    let [check0, check1] = check;
    // SAFETY: all of these are before the packet's end.
    unsafe {
        asm::store_word::<{ IP + 8 }>(
            frame,
            u32::from_ne_bytes([new_ttl, packet.ip.protocol, check0, check1]),
        );
        asm::store_word::<{ IP + 12 }>(frame, leaving.src.last_word());
        asm::store_word::<{ IP + 16 }>(frame, leaving.dst.last_word());
        asm::store_word::<{ L4 }>(frame, u32::from_ne_bytes(bytemuck::cast(rewrite.ports)));
    }
    match hop {
        Some(hop) => {
            let [first, second, third] = hop.addresses;
            // SAFETY: as above.
            unsafe {
                asm::store_word::<0>(frame, first);
                asm::store_word::<4>(frame, second);
                asm::store_word::<8>(frame, third);
            }
            direct::redirect(ctx, hop.port)
        }
        None => apply::redirect(ctx, plan.out_end, &plan.next_hop),
    }
}

/// Notes how the packet in `SCRATCH` leaves, which is of the IPv4 flow in `slot`: what the kernel said after
/// `epoch` was read. 1 where that was noted. Global to the verifier, and out of the way of what comes next.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn note_way(skb: *mut __sk_buff, slot: u32, direction: u32, epoch: u32) -> u32 {
    let Some(scratch) = scratch::current() else { return 0 };
    let Some(found) = flows::found_in(slot, direction) else { return 0 };
    let packet = &scratch.packet;
    // SAFETY: array elements never move or go.
    let flow = unsafe { &mut *found.flow };
    let everyday = matches!(packet.ip.protocol, PROTOCOL_TCP | PROTOCOL_UDP);
    if epoch == NOTHING_KEPT || !everyday || flow.from == Flow::FROM_HOST || flow.turns_back() {
        return 0;
    }
    // SAFETY: the kernel hands a valid __sk_buff to the program for as long as it runs.
    let arrives_at = unsafe { (*skb).ifindex };
    // SAFETY: an entry is replaced as a whole; one that is removed meanwhile stays readable until
    // this program ends.
    let Some(interface) = (unsafe { INTERFACES.get(arrives_at) }) else { return 0 };
    let wire_len = transport::wire_len(&packet.ip, &packet.segment, packet.gso_size);
    let way: *mut Way = flow.way_mut(found.direction);
    // Not true while it is written; and if another CPU writes it too, it is not believed by more than
    // the packets of that very moment, unless both say the same.
    // SAFETY: array elements never move or go; plain words of it.
    unsafe {
        (&raw mut (*way).epoch).write_volatile(NOTHING_KEPT);
        (*way).longest = if wire_len > u32::from(u16::MAX) { u16::MAX } else { wire_len as u16 };
        (*way).tos = packet.ip.tos & ROUTED_TOS;
        (*way).arrives_at = arrives_at;
        (*way).flags = direct::flags(interface);
        (*way).router_mac = interface.router_mac;
        (*way).neighbour_mac = scratch.neighbour_mac;
        (*way).neighbour_seen = 0;
        (*way).next_hop = scratch.next_hop.last_word();
        (&raw mut (*way).epoch).write_volatile(epoch);
    }
    1
}
