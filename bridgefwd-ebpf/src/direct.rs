//! The last hop taken at once: into the container, by the peer of its port, past the bridge, the port and
//! the queue behind it.
//!
//! Only where that comes to the same. The kernel said which MAC address the neighbour has; a packet of the
//! other direction said, within [`FRESH_NS`], by which port that MAC address is reached; the daemon said
//! that nobody wants to see what leaves by that port. All three hold as long as the epoch is the same:
//! see [`watch`](crate::watch).

use aya_ebpf::bindings::TC_ACT_REDIRECT;
use aya_ebpf::helpers::generated::{bpf_redirect_peer, bpf_skb_change_type};
use aya_ebpf::programs::TcContext;
use bridgefwd_common::Reason;
use bridgefwd_common::contract::{Direction, Flow, Interface, Role, Way, ns_between};

use crate::flows::Found;

/// How long a neighbour is believed to be where it was last seen. A bridge believes it for 300 s, and the
/// kernel goes by what it knows of a neighbour for half a minute; but they hear more of it than we do.
const FRESH_NS: u64 = 1_000_000_000;
/// `PACKET_HOST`.
const PACKET_HOST: u32 = 0;

/// 1 where the kernel has `bpf_redirect_peer` (Linux 5.10): set when the program is loaded.
#[unsafe(no_mangle)]
static HAS_REDIRECT_PEER: u8 = 0;

/// Where a packet is handed over, and what its Ethernet header begins with.
pub struct Hop {
    /// ifindex of the port.
    pub port: u32,
    /// Destination and source.
    pub addresses: [u32; 3],
}

/// [`Way::flags`] of packets that arrive at that interface.
#[inline(always)]
pub fn flags(arrives_at: &Interface) -> u8 {
    let mut flags = 0;
    if arrives_at.role != Role::Bridge as u8 {
        flags |= Way::BEFORE_STACK;
    }
    if arrives_at.flags & Interface::TO_PEER != 0 {
        flags |= Way::TO_PEER;
    }
    flags
}

/// Notes whether a packet, that arrived where its way says, is from the neighbour that the other direction
/// leaves to.
#[inline(always)]
pub fn note_neighbour(found: &Found, sender: [u8; 6], epoch: u32, now: u32) {
    // SAFETY: array elements never move or go.
    let flow = unsafe { &mut *found.flow };
    let back = flow.way(found.direction.opposite());
    let seen = if back.epoch == epoch && back.neighbour_mac == sender { now } else { 0 };
    let way = flow.way_mut(found.direction);
    if way.flags & Way::TO_PEER != 0 && way.neighbour_seen != seen {
        way.neighbour_seen = seen;
    }
}

/// Where a packet of that direction may be handed over.
#[inline(always)]
pub fn hop(flow: &Flow, direction: Direction, epoch: u32, now: u32) -> Option<Hop> {
    let (way, back) = (flow.way(direction), flow.way(direction.opposite()));
    let may = back.epoch == epoch
        && back.flags & Way::TO_PEER != 0
        && way.flags & Way::BEFORE_STACK != 0
        && back.neighbour_seen != 0
        && ns_between(back.neighbour_seen, now) < FRESH_NS;
    if !may {
        return None;
    }
    let [a, b, c, d, e, f] = way.neighbour_mac;
    let [g, h, i, j, k, l] = back.router_mac;
    Some(Hop {
        port: back.arrives_at,
        addresses: bytemuck::cast([a, b, c, d, e, f, g, h, i, j, k, l]),
    })
}

/// Hands the packet to the port's peer; the value that the program has to return.
///
/// # Errors
/// [`Reason::WriteFailed`].
#[inline(always)]
pub fn redirect(ctx: &TcContext, port: u32) -> Result<i32, Reason> {
    // SAFETY: a plain byte, that is set before the program is loaded.
    if unsafe { (&raw const HAS_REDIRECT_PEER).read_volatile() } == 0 {
        return Err(Reason::WriteFailed);
    }
    // SAFETY: the kernel hands a valid __sk_buff to the program for as long as it runs.
    let skb = unsafe { &mut *ctx.skb.skb };
    // As a packet that comes from another network namespace.
    skb.mark = 0;
    skb.tc_index = 0;
    // It was for the router, whose MAC address is not that of the port it came by.
    // SAFETY: the context is valid.
    if skb.pkt_type != PACKET_HOST && unsafe { bpf_skb_change_type(ctx.skb.skb, PACKET_HOST) } != 0
    {
        return Err(Reason::WriteFailed);
    }
    // SAFETY: takes numbers only.
    let action = unsafe { bpf_redirect_peer(port, 0) };
    if action == i64::from(TC_ACT_REDIRECT) {
        Ok(TC_ACT_REDIRECT)
    } else {
        Err(Reason::WriteFailed)
    }
}
