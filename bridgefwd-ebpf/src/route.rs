//! Asks the kernel's routing, rather than keep a copy of it.

use aya_ebpf::bindings::{
    BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_FWD_DISABLED, BPF_FIB_LKUP_RET_NO_NEIGH,
    BPF_FIB_LKUP_RET_NOT_FWDED, BPF_FIB_LKUP_RET_SUCCESS, bpf_fib_lookup as Params,
};
use aya_ebpf::helpers::generated::bpf_fib_lookup;
use aya_ebpf::programs::TcContext;
use bridgefwd_common::Reason;
use bridgefwd_common::contract::{Address, Family, Settings};
use bridgefwd_common::decide::Route;
use bridgefwd_common::packet::ip::Ip;

use crate::maps::INTERFACES;

pub const AF_INET: u8 = 2;
pub const AF_INET6: u8 = 10;

/// What to look up.
pub struct Query {
    /// Source address.
    pub src: Address,
    /// Destination address.
    pub dst: Address,
    /// ifindex of the end that the packet comes in by.
    pub in_end: u32,
    /// Length of the packet on the wire from the IP header on, or 0 to ask regardless of it.
    pub wire_len: u32,
}

/// Where the kernel would forward the packet.
#[inline(always)]
pub fn lookup(ctx: &TcContext, ip: &Ip, query: &Query) -> Route {
    // SAFETY: Params is plain data, for which zeros are a value.
    let mut params: Params = unsafe { core::mem::zeroed() };
    params.l4_protocol = ip.protocol;
    params.ifindex = query.in_end;
    params.__bindgen_anon_1.tot_len =
        if query.wire_len > u16::MAX as u32 { u16::MAX } else { query.wire_len as u16 };
    let is_v4 = matches!(ip.family, Family::V4);
    if is_v4 {
        params.family = AF_INET;
        params.__bindgen_anon_2.tos = ip.tos;
        params.__bindgen_anon_3.ipv4_src = query.src.last_word();
        params.__bindgen_anon_4.ipv4_dst = query.dst.last_word();
    } else {
        params.family = AF_INET6;
        params.__bindgen_anon_2.flowinfo = ip.flow_info;
        params.__bindgen_anon_3.ipv6_src = query.src.words();
        params.__bindgen_anon_4.ipv6_dst = query.dst.words();
    }
    // SAFETY: both pointers are valid for the call, and the length is that of Params.
    let answer = unsafe {
        bpf_fib_lookup(ctx.skb.skb.cast(), &raw mut params, size_of::<Params>() as i32, 0)
    } as u32;
    // SAFETY: the helper writes the next hop, of this family, over the destination.
    let next_hop = unsafe {
        if is_v4 {
            Address::v4_word(params.__bindgen_anon_4.ipv4_dst)
        } else {
            Address::from_words(params.__bindgen_anon_4.ipv6_dst)
        }
    };
    let neighbour = if answer == BPF_FIB_LKUP_RET_NO_NEIGH { None } else { Some(params.dmac) };
    let via = Route::Via { ifindex: params.ifindex, next_hop, neighbour };
    match answer {
        // A neighbour that is not known yet is asked for when the packet is sent.
        BPF_FIB_LKUP_RET_SUCCESS | BPF_FIB_LKUP_RET_NO_NEIGH => via,
        // Asked regardless of length, the kernel still says so where the device's MTU is passed,
        // and by then it has filled in the way out.
        BPF_FIB_LKUP_RET_FRAG_NEEDED if query.wire_len == 0 => via,
        BPF_FIB_LKUP_RET_FRAG_NEEDED => Route::TooBig,
        BPF_FIB_LKUP_RET_NOT_FWDED => Route::No(Reason::NotForwarded),
        BPF_FIB_LKUP_RET_FWD_DISABLED => Route::No(Reason::ForwardingDisabled),
        _ => Route::No(Reason::Unreachable),
    }
}

/// Does the kernel have to say whether a packet of that length, for which [`lookup`] found room, is too
/// big to leave by `out_end`?
///
/// A route's own MTU holds for what the kernel forwards, but `bpf_fib_lookup` looks at it only where it
/// is locked. We know the smallest of each end's routes, not which of them the packet takes.
#[inline(always)]
pub fn may_be_too_big(settings: &Settings, family: Family, out_end: u32, wire_len: u32) -> bool {
    let smallest = settings.smallest_route_mtu;
    smallest != 0
        && wire_len > smallest
        && exceeds_route_mtu(out_end, wire_len, u32::from(matches!(family, Family::V6))) == 1
}

/// Is a packet of `wire_len` bytes longer than what leaves by that end can be?
#[inline(always)]
pub fn exceeds_device(out_end: u32, wire_len: u32) -> bool {
    // SAFETY: an entry is replaced as a whole; one that is removed meanwhile stays readable until
    // this program ends.
    unsafe { INTERFACES.get(out_end) }.is_some_and(|end| wire_len > end.mtu)
}

/// 1 where the packet is longer than the smallest MTU of a route by that end. Global to the verifier,
/// and out of the way of hosts without such routes.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn exceeds_route_mtu(out_end: u32, wire_len: u32, is_v6: u32) -> u32 {
    // SAFETY: an entry is replaced as a whole; one that is removed meanwhile stays readable until
    // this program ends.
    let Some(end) = (unsafe { INTERFACES.get(out_end) }) else { return 0 };
    let family = if is_v6 == 1 { Family::V6 } else { Family::V4 };
    let route_mtu = end.route_mtu_of(family);
    u32::from(route_mtu != 0 && wire_len > route_mtu)
}
