//! Reads the packet: from the frame's bytes to values. Nothing is written here.

use aya_ebpf::programs::TcContext;
use bridgefwd_common::Reason;
use bridgefwd_common::packet::headers::{self, Ipv4, Segment, Transport};
use network_types::eth::EthHdr;
use network_types::icmp::Icmpv4Hdr;
use network_types::ip::Ipv4Hdr;
use network_types::udp::UdpHdr;

use crate::asm;

/// Where the IPv4 header begins.
pub const IP: usize = EthHdr::LEN;
/// Where the transport header begins: we only read it behind a header without options.
pub const L4: usize = IP + Ipv4Hdr::LEN;
/// Length of the fixed part of a TCP header.
const TCP_LEN: usize = 20;

/// The `T` at `offset`, if the packet's linear part holds all of it.
///
/// A reference, not a copy: an `Option` of it is one register, without an unset payload that the
/// verifier would see being copied.
#[inline(always)]
pub fn header_at<T>(ctx: &TcContext, offset: usize) -> Option<&T> {
    let (data, data_end) = asm::packet_bounds(ctx);
    let start = data + offset;
    if start + size_of::<T>() > data_end {
        return None;
    }
    // SAFETY: all of it lies before data_end. T is a header of plain bytes, and x86-64 and arm64
    // read what the NIC left unaligned. No helper that moves the packet runs while it is held.
    Some(unsafe { &*(start as *const T) })
}

/// The same, to be written.
#[inline(always)]
pub fn header_at_mut<T>(ctx: &mut TcContext, offset: usize) -> Option<&mut T> {
    let (data, data_end) = asm::packet_bounds(ctx);
    let start = data + offset;
    if start + size_of::<T>() > data_end {
        return None;
    }
    // SAFETY: as in `header_at`; nobody else holds a reference while the one writer runs.
    Some(unsafe { &mut *(start as *mut T) })
}

/// Has the headers in the linear part of the packet, as far as the packet reaches.
#[inline(always)]
fn pull_headers(ctx: &TcContext) {
    let (data, data_end) = asm::packet_bounds(ctx);
    let wanted = L4 + TCP_LEN;
    if data + wanted > data_end && ctx.len() as usize > data_end - data {
        let len = ctx.len();
        let len = if (len as usize) < wanted { len } else { wanted as u32 };
        // Where it fails the headers are not there, and the packet is refused for that.
        let _ = ctx.pull_data(len);
    }
}

/// What is read of every packet that is ours to judge.
#[derive(Clone, Copy)]
pub struct Packet {
    /// The IPv4 header.
    pub ip: Ipv4,
    /// Its checksum field.
    pub ip_check: [u8; 2],
    /// The transport header; all zeros where `flaw` says that it cannot be used. Apart from it
    /// rather than in a `Result`, whose unset payload the verifier would see being copied.
    segment: Segment,
    /// Why the transport header cannot be used, where it cannot.
    pub flaw: Option<Reason>,
    /// Size of the segments that it will be cut into, 0 where it will not.
    pub gso_size: u32,
}

impl Packet {
    /// The transport header.
    ///
    /// # Errors
    /// The reason why it cannot be used.
    #[inline(always)]
    pub fn segment(&self) -> Result<&Segment, Reason> {
        match self.flaw {
            Some(reason) => Err(reason),
            None => Ok(&self.segment),
        }
    }
}

/// Reads an IPv4 packet that is addressed to the router.
///
/// # Errors
/// The reason why it is not one.
#[inline(always)]
pub fn packet(ctx: &TcContext, router_mac: [u8; 6]) -> Result<Packet, Reason> {
    // SAFETY: the kernel hands a valid __sk_buff to the program for as long as it runs.
    let skb = unsafe { &*ctx.skb.skb };
    if skb.vlan_present != 0 {
        return Err(Reason::VlanTagged);
    }
    pull_headers(ctx);
    headers::ethernet(header_at(ctx, 0).ok_or(Reason::NotIp)?, router_mac)?;
    let gso_size = skb.gso_size;
    let raw = header_at::<[u8; Ipv4Hdr::LEN]>(ctx, IP).ok_or(Reason::MalformedIp)?;
    // SAFETY: Ipv4Hdr is repr(C) of bytes and byte arrays, 20 bytes long.
    let header = unsafe { &*raw.as_ptr().cast::<Ipv4Hdr>() };
    let available = ctx.len().saturating_sub(IP as u32);
    let ip = headers::ipv4(header, available, gso_size != 0)?;
    let ip_check = header.check;
    if ip.header_len as usize == Ipv4Hdr::LEN {
        headers::verify_ipv4_checksum(raw)?;
    }
    let (segment, flaw) = match segment(ctx, &ip) {
        Ok(segment) => (segment, None),
        Err(reason) => (Segment::default(), Some(reason)),
    };
    Ok(Packet { ip, ip_check, segment, flaw, gso_size })
}

#[inline(always)]
fn segment(ctx: &TcContext, ip: &Ipv4) -> Result<Segment, Reason> {
    let cut_off = Reason::MalformedTransport;
    match headers::transport(ip)? {
        Transport::Tcp => headers::tcp(header_at(ctx, L4).ok_or(cut_off)?, ip),
        Transport::Udp => headers::udp(header_at::<UdpHdr>(ctx, L4).ok_or(cut_off)?, ip),
        Transport::Echo => headers::icmp(header_at::<Icmpv4Hdr>(ctx, L4).ok_or(cut_off)?, ip),
        Transport::UdpLike => headers::udp_like(header_at(ctx, L4).ok_or(cut_off)?, ip),
        Transport::Sctp => headers::sctp(header_at(ctx, L4).ok_or(cut_off)?, ip),
        Transport::Other | Transport::Fragment => Ok(headers::other(ip)),
    }
}
