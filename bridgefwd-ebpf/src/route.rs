//! Asks the kernel's routing, rather than keep a copy of it.

use aya_ebpf::bindings::{
    BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_FWD_DISABLED, BPF_FIB_LKUP_RET_NO_NEIGH,
    BPF_FIB_LKUP_RET_NOT_FWDED, BPF_FIB_LKUP_RET_SUCCESS, bpf_fib_lookup as Params,
};
use aya_ebpf::helpers::generated::bpf_fib_lookup;
use aya_ebpf::programs::TcContext;
use bridgefwd_common::Reason;
use bridgefwd_common::decide::Route;
use bridgefwd_common::packet::headers::Ipv4;

const AF_INET: u8 = 2;

/// What to look up.
pub struct Query {
    /// Source address, wire order.
    pub src: [u8; 4],
    /// Destination address, wire order.
    pub dst: [u8; 4],
    /// ifindex of the end that the packet comes in by.
    pub in_end: u32,
    /// Length of the packet on the wire from the IP header on, or 0 to ask regardless of it.
    pub wire_len: u32,
}

/// Where the kernel would forward the packet.
#[inline(never)]
pub fn lookup(ctx: &TcContext, ip: &Ipv4, query: &Query) -> Route {
    // SAFETY: Params is plain data, for which zeros are a value.
    let mut params: Params = unsafe { core::mem::zeroed() };
    params.family = AF_INET;
    params.l4_protocol = ip.protocol;
    params.ifindex = query.in_end;
    params.__bindgen_anon_1.tot_len =
        if query.wire_len > u16::MAX as u32 { u16::MAX } else { query.wire_len as u16 };
    params.__bindgen_anon_2.tos = ip.tos;
    params.__bindgen_anon_3.ipv4_src = u32::from_ne_bytes(query.src);
    params.__bindgen_anon_4.ipv4_dst = u32::from_ne_bytes(query.dst);
    // SAFETY: both pointers are valid for the call, and the length is that of Params.
    let answer = unsafe {
        bpf_fib_lookup(ctx.skb.skb.cast(), &raw mut params, size_of::<Params>() as i32, 0)
    } as u32;
    // SAFETY: the helper writes the IPv4 address of the next hop for this family.
    let next_hop = unsafe { params.__bindgen_anon_4.ipv4_dst }.to_ne_bytes();
    let via = Route::Via { ifindex: params.ifindex, next_hop };
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
