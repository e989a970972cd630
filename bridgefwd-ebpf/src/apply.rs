//! Writes a plan into the packet and sends it on. For packets whose headers are where they mostly are;
//! [`rewrite`](crate::rewrite) is for all others. Whatever fails here drops.

use aya_ebpf::bindings::{
    BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR, TC_ACT_REDIRECT, bpf_redir_neigh,
    bpf_redir_neigh__bindgen_ty_1,
};
use aya_ebpf::helpers::generated::{bpf_redirect_neigh, bpf_skb_vlan_pop};
use aya_ebpf::programs::TcContext;
use aya_log_ebpf::warn;
use bridgefwd_common::Reason;
use bridgefwd_common::contract::{Address, Family, Tuple};
use bridgefwd_common::decide::translate::{self, Rewrite};
use bridgefwd_common::packet::ipv6;
use bridgefwd_common::packet::transport::Transport;
use network_types::ip::Ipv4Hdr;

use crate::marks;
use crate::read::{IP, L4, L4_V6, header_at_mut};
use crate::route::{AF_INET, AF_INET6};
use crate::scratch::Scratch;

/// Where the checksum is in a TCP header.
pub const TCP_CHECK: usize = 16;
/// Where it is in a UDP header.
pub const UDP_CHECK: usize = 6;
/// Where it is in an ICMP header.
pub const ICMP_CHECK: usize = 2;
/// Where an ICMP query has its identifier.
pub const ICMP_ID: usize = 4;

/// Rewrites the packet in `SCRATCH` and redirects it; the value that the program has to return.
///
/// # Errors
/// [`Reason::WriteFailed`]: the packet may be half rewritten and must not go on.
#[inline(always)]
pub fn apply<const V6: bool>(ctx: &mut TcContext, scratch: &Scratch) -> Result<i32, Reason> {
    let packet = &scratch.packet;
    if packet.priority_tagged {
        end_tag(ctx)?;
    }
    let (arriving, leaving) = (&packet.segment.tuple, &scratch.leaving);
    let (rewrite, at) = if V6 {
        (Rewrite::v6(arriving, leaving), L4_V6)
    } else {
        (Rewrite::v4(arriving, leaving), L4)
    };
    // The checksum helpers first: they invalidate pointers into the packet.
    let written =
        update_transport_checksum(ctx, packet.segment.transport, at, arriving, leaving, &rewrite)
            .and_then(|()| write_headers::<V6>(ctx, scratch, &rewrite));
    if written.is_none() {
        warn!(&*ctx, "a packet could not be rewritten and was dropped");
        return Err(Reason::WriteFailed);
    }
    redirect(ctx, scratch.to, &scratch.next_hop)
}

/// Takes a VLAN tag off that says nothing but a priority: it was for the way here.
#[inline(always)]
pub fn end_tag(ctx: &TcContext) -> Result<(), Reason> {
    // SAFETY: the context is valid; pointers into the packet are taken anew afterwards.
    if unsafe { bpf_skb_vlan_pop(ctx.skb.skb) } == 0 { Ok(()) } else { Err(Reason::WriteFailed) }
}

/// With offloaded checksums the field holds the sum of the pseudo-header only: the helper knows
/// which it is, so address changes go through it as such, and ports apart from them.
///
/// `at` is where the transport header begins in the frame.
#[inline(always)]
pub fn update_transport_checksum(
    ctx: &TcContext,
    transport: Transport,
    at: usize,
    arriving: &Tuple,
    leaving: &Tuple,
    rewrite: &Rewrite,
) -> Option<()> {
    let (check, flags) = match transport {
        Transport::Tcp => (at + TCP_CHECK, 0),
        // A UDP checksum of zero means none, and stays; a computed zero becomes 0xffff.
        Transport::Udp => (at + UDP_CHECK, u64::from(BPF_F_MARK_MANGLED_0)),
        Transport::UdpLike => (at + UDP_CHECK, 0),
        Transport::QueryV6 => (at + ICMP_CHECK, 0),
        // No checksum covers the addresses, and the ports stay.
        Transport::Sctp | Transport::Other | Transport::Fragment => return Some(()),
        Transport::Query => {
            // ICMPv4 has no pseudo-header: only the identifier counts.
            return if rewrite.ports_change {
                let (old, new) = (arriving.query_id(), leaving.query_id());
                replace(ctx, at + ICMP_CHECK, word(old), word(new), 2)
            } else {
                Some(())
            };
        }
    };
    if rewrite.address_difference != 0 {
        let difference = u64::from(rewrite.address_difference);
        // Size 0: `to` is a difference, not a value.
        replace(ctx, check, 0, difference, flags | u64::from(BPF_F_PSEUDO_HDR))?;
    }
    if rewrite.ports_change {
        // The identifier of a query stands in one of the ports, the other being zero: the same sum.
        let old = double_word([arriving.src_port, arriving.dst_port]);
        replace(ctx, check, old, double_word(rewrite.ports), flags | 4)?;
    }
    Some(())
}

#[inline(always)]
fn replace(ctx: &TcContext, check: usize, from: u64, to: u64, flags: u64) -> Option<()> {
    ctx.l4_csum_replace(check, from, to, flags).ok()
}

#[inline(always)]
fn word(bytes: [u8; 2]) -> u64 {
    u64::from(u16::from_ne_bytes(bytes))
}

#[inline(always)]
fn double_word(ports: [[u8; 2]; 2]) -> u64 {
    u64::from(u32::from_ne_bytes(bytemuck::cast(ports)))
}

#[inline(always)]
fn write_headers<const V6: bool>(
    ctx: &mut TcContext,
    scratch: &Scratch,
    rewrite: &Rewrite,
) -> Option<()> {
    let packet = &scratch.packet;
    let segment = &packet.segment;
    let at = if V6 { L4_V6 } else { L4 };
    match segment.transport {
        Transport::Tcp | Transport::Udp | Transport::UdpLike => {
            *header_at_mut::<[[u8; 2]; 2]>(ctx, at)? = rewrite.ports;
        }
        Transport::Query | Transport::QueryV6 => {
            *header_at_mut::<[u8; 2]>(ctx, at + ICMP_ID)? = scratch.leaving.query_id();
        }
        Transport::Sctp | Transport::Other | Transport::Fragment => {}
    }
    if V6 {
        let header = header_at_mut::<ipv6::Header>(ctx, IP)?;
        header[7] = scratch.ttl;
        let (_, addresses) = header.split_at_mut(8);
        let addresses: &mut [u8; 32] = addresses.try_into().ok()?;
        let [src, dst] = rewrite.addresses;
        *addresses = bytemuck::cast([src.octets(), dst.octets()]);
    } else {
        let check = translate::ipv4_check(
            packet.ip_check,
            &segment.tuple,
            &scratch.leaving,
            packet.ip.ttl,
            scratch.ttl,
        );
        let header = header_at_mut::<Ipv4Hdr>(ctx, IP)?;
        header.ttl = scratch.ttl;
        header.check = check;
        header.src_addr = rewrite.addresses[0].last_word().to_ne_bytes();
        header.dst_addr = rewrite.addresses[1].last_word().to_ne_bytes();
    }
    Some(())
}

/// Hands the packet to the neighbour by the way out; the value that the program has to return. The
/// kernel writes the MAC addresses, and asks for the neighbour where it is not known, keeping the
/// packet meanwhile.
///
/// # Errors
/// [`Reason::WriteFailed`].
#[inline(always)]
pub fn redirect(ctx: &TcContext, out_end: u32, next_hop: &Address) -> Result<i32, Reason> {
    marks::set_leaving(ctx, marks::DONE);
    let mut neighbour = bpf_redir_neigh {
        nh_family: u32::from(AF_INET6),
        __bindgen_anon_1: bpf_redir_neigh__bindgen_ty_1 { ipv6_nh: next_hop.words() },
    };
    if matches!(next_hop.family(), Family::V4) {
        neighbour.nh_family = u32::from(AF_INET);
        neighbour.__bindgen_anon_1.ipv4_nh = next_hop.last_word();
    }
    let len = size_of::<bpf_redir_neigh>() as i32;
    // SAFETY: the parameters are valid for the call, and the kernel copies them.
    let action = unsafe { bpf_redirect_neigh(out_end, &raw mut neighbour, len, 0) };
    if action == i64::from(TC_ACT_REDIRECT) {
        Ok(TC_ACT_REDIRECT)
    } else {
        Err(Reason::WriteFailed)
    }
}
