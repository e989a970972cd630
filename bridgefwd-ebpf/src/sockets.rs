//! The host's own conversations: a flow must not take the tuple of one.

use aya_ebpf::bindings::{BPF_F_CURRENT_NETNS, BPF_TCP_LISTEN, bpf_sock_tuple};
use aya_ebpf::helpers::generated::{bpf_sk_lookup_udp, bpf_sk_release, bpf_skc_lookup_tcp};
use aya_ebpf::programs::TcContext;
use bridgefwd_common::contract::{Family, Tuple};
use bridgefwd_common::packet::transport::{PROTOCOL_TCP, PROTOCOL_UDP};

/// Length of an IPv4 tuple in `bpf_sock_tuple`: two addresses and two ports.
const LEN_V4: u32 = 12;
/// Length of an IPv6 tuple in it.
const LEN_V6: u32 = 36;

/// Has the host a socket that packets with this tuple are for? TCP sockets that only listen do not
/// count: what we take from them is what nobody sends them. One of UDP that is not connected may be
/// talking to anybody.
#[inline(always)]
pub fn host_has(ctx: &TcContext, arriving: &Tuple) -> bool {
    has_socket(ctx, arriving, false)
}

/// The same, where one that only listens counts.
#[inline(always)]
pub fn host_serves(ctx: &TcContext, arriving: &Tuple) -> bool {
    has_socket(ctx, arriving, true)
}

#[inline(always)]
fn has_socket(ctx: &TcContext, arriving: &Tuple, listening_too: bool) -> bool {
    // SAFETY: plain data, for which zeros are a value.
    let mut tuple: bpf_sock_tuple = unsafe { core::mem::zeroed() };
    let src_port = u16::from_ne_bytes(arriving.src_port);
    let dst_port = u16::from_ne_bytes(arriving.dst_port);
    let len = match arriving.family() {
        Family::V4 => {
            // SAFETY: every member of the union is plain data.
            let v4 = unsafe { &mut tuple.__bindgen_anon_1.ipv4 };
            v4.saddr = arriving.src.last_word();
            v4.daddr = arriving.dst.last_word();
            (v4.sport, v4.dport) = (src_port, dst_port);
            LEN_V4
        }
        Family::V6 => {
            // SAFETY: as above.
            let v6 = unsafe { &mut tuple.__bindgen_anon_1.ipv6 };
            v6.saddr = arriving.src.words();
            v6.daddr = arriving.dst.words();
            (v6.sport, v6.dport) = (src_port, dst_port);
            LEN_V6
        }
    };
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
            listening_too || state != BPF_TCP_LISTEN
        }
        PROTOCOL_UDP => {
            // SAFETY: as for TCP.
            let socket = unsafe { bpf_sk_lookup_udp(skb, tuple, len, netns, 0) };
            if socket.is_null() {
                return false;
            }
            // SAFETY: as for TCP.
            unsafe { bpf_sk_release(socket.cast()) };
            true
        }
        _ => false,
    }
}
