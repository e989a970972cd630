//! Writes a plan into the packet and sends it on. The only place that changes packets; whatever
//! fails here drops.

use aya_ebpf::bindings::{
    BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR, TC_ACT_REDIRECT, bpf_redir_neigh,
    bpf_redir_neigh__bindgen_ty_1,
};
use aya_ebpf::helpers::generated::bpf_redirect_neigh;
use aya_ebpf::programs::TcContext;
use aya_log_ebpf::warn;
use bridgefwd_common::Reason;
use bridgefwd_common::contract::Tuple;
use bridgefwd_common::decide::Plan;
use bridgefwd_common::decide::translate::Rewrite;
use bridgefwd_common::packet::headers::{Segment, Transport};
use network_types::ip::Ipv4Hdr;

use crate::read::{IP, L4, Packet, header_at_mut};

const AF_INET: u32 = 2;
const TCP_CHECK: usize = 16;
const UDP_CHECK: usize = 6;
const ICMP_CHECK: usize = 2;
const ICMP_ID: usize = 4;

/// Rewrites the packet and redirects it; the value that the program has to return.
///
/// # Errors
/// [`Reason::WriteFailed`]: the packet may be half rewritten and must not go on.
#[inline(always)]
pub fn apply(
    ctx: &mut TcContext,
    packet: &Packet,
    segment: &Segment,
    plan: &Plan,
) -> Result<i32, Reason> {
    let rewrite =
        Rewrite::new(&segment.tuple, &plan.leaving, packet.ip.ttl, plan.ttl, packet.ip_check);
    // The checksum helpers first: they invalidate pointers into the packet.
    let written = update_transport_checksum(ctx, segment, &plan.leaving, &rewrite)
        .and_then(|()| write_headers(ctx, segment.transport, &plan.leaving, &rewrite));
    if written.is_none() {
        warn!(&*ctx, "a packet could not be rewritten and was dropped");
        return Err(Reason::WriteFailed);
    }
    redirect(plan.out_end, plan.next_hop)
}

/// With offloaded checksums the field holds the sum of the pseudo-header only: the helper knows
/// which it is, so address changes go through it as such, and ports apart from them.
#[inline(always)]
fn update_transport_checksum(
    ctx: &TcContext,
    segment: &Segment,
    leaving: &Tuple,
    rewrite: &Rewrite,
) -> Option<()> {
    let arriving = &segment.tuple;
    let (check, flags) = match segment.transport {
        Transport::Tcp => (L4 + TCP_CHECK, 0),
        // A UDP checksum of zero means none, and stays; a computed zero becomes 0xffff.
        Transport::Udp => (L4 + UDP_CHECK, u64::from(BPF_F_MARK_MANGLED_0)),
        Transport::UdpLike => (L4 + UDP_CHECK, 0),
        // No checksum covers the addresses, and the ports stay.
        Transport::Sctp | Transport::Other | Transport::Fragment => return Some(()),
        Transport::Echo => {
            // ICMPv4 has no pseudo-header: only the identifier counts.
            return if rewrite.ports_change {
                let (old, new) = (arriving.echo_id(), leaving.echo_id());
                replace(ctx, L4 + ICMP_CHECK, word(old), word(new), 2)
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
fn write_headers(
    ctx: &mut TcContext,
    transport: Transport,
    leaving: &Tuple,
    rewrite: &Rewrite,
) -> Option<()> {
    match transport {
        Transport::Tcp | Transport::Udp | Transport::UdpLike => {
            *header_at_mut::<[[u8; 2]; 2]>(ctx, L4)? = rewrite.ports;
        }
        Transport::Echo => *header_at_mut::<[u8; 2]>(ctx, L4 + ICMP_ID)? = leaving.echo_id(),
        Transport::Sctp | Transport::Other | Transport::Fragment => {}
    }
    let header = header_at_mut::<Ipv4Hdr>(ctx, IP)?;
    header.ttl = rewrite.ttl;
    header.check = rewrite.ip_check;
    header.src_addr = rewrite.addresses[0];
    header.dst_addr = rewrite.addresses[1];
    Some(())
}

/// Hands the packet to the neighbour by the way out; the value that the program has to return. The kernel writes the MAC addresses, and asks
/// for the neighbour where it is not known, keeping the packet meanwhile.
///
/// # Errors
/// [`Reason::WriteFailed`].
#[inline(always)]
pub fn redirect(out_end: u32, next_hop: [u8; 4]) -> Result<i32, Reason> {
    let mut neighbour = bpf_redir_neigh {
        nh_family: AF_INET,
        __bindgen_anon_1: bpf_redir_neigh__bindgen_ty_1 { ipv6_nh: [0; 4] },
    };
    neighbour.__bindgen_anon_1.ipv4_nh = u32::from_ne_bytes(next_hop);
    let len = size_of::<bpf_redir_neigh>() as i32;
    // SAFETY: the parameters are valid for the call, and the kernel copies them.
    let action = unsafe { bpf_redirect_neigh(out_end, &raw mut neighbour, len, 0) };
    if action == i64::from(TC_ACT_REDIRECT) {
        Ok(TC_ACT_REDIRECT)
    } else {
        Err(Reason::WriteFailed)
    }
}
