//! The host's own conversations: a flow must not take the tuple of one.

use aya_ebpf::bindings::{
    BPF_F_CURRENT_NETNS, BPF_TCP_LISTEN, bpf_sock_tuple, bpf_sock_tuple__bindgen_ty_1,
    bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1,
};
use aya_ebpf::helpers::generated::{bpf_sk_lookup_udp, bpf_sk_release, bpf_skc_lookup_tcp};
use aya_ebpf::programs::TcContext;
use bridgefwd_common::contract::Tuple;
use bridgefwd_common::packet::headers::{PROTOCOL_TCP, PROTOCOL_UDP};

/// Has the host a conversation of its own whose packets arrive with this tuple? Sockets that only
/// listen have none: what we take from them is what nobody sends them.
#[inline(always)]
pub fn host_has(ctx: &TcContext, arriving: &Tuple) -> bool {
    let mut tuple = bpf_sock_tuple {
        __bindgen_anon_1: bpf_sock_tuple__bindgen_ty_1 {
            ipv4: bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1 {
                saddr: u32::from_ne_bytes(arriving.src),
                daddr: u32::from_ne_bytes(arriving.dst),
                sport: u16::from_ne_bytes(arriving.src_port),
                dport: u16::from_ne_bytes(arriving.dst_port),
            },
        },
    };
    let len = size_of::<bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1>() as u32;
    let netns = i64::from(BPF_F_CURRENT_NETNS) as u64;
    let (skb, tuple) = (ctx.skb.skb.cast(), &raw mut tuple);
    match arriving.protocol {
        PROTOCOL_TCP => {
            // SAFETY: the tuple is valid for the call; what is returned is released below.
            let socket = unsafe { bpf_skc_lookup_tcp(skb, tuple, len, netns, 0) };
            if socket.is_null() {
                return false;
            }
            // SAFETY: not null, and held until it is released.
            let state = unsafe { (*socket).state };
            // SAFETY: as above, and not used afterwards.
            unsafe { bpf_sk_release(socket.cast()) };
            state != BPF_TCP_LISTEN
        }
        PROTOCOL_UDP => {
            // SAFETY: as for TCP.
            let socket = unsafe { bpf_sk_lookup_udp(skb, tuple, len, netns, 0) };
            if socket.is_null() {
                return false;
            }
            // SAFETY: as for TCP.
            let connected = unsafe { (*socket).dst_ip4 } != 0;
            // SAFETY: as for TCP.
            unsafe { bpf_sk_release(socket.cast()) };
            connected
        }
        _ => false,
    }
}
