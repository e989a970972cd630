//! Reads the packet: from the frame's bytes to values. Nothing is written here.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::programs::TcContext;
use bridgefwd_common::Reason;
use bridgefwd_common::contract::Family;
use bridgefwd_common::packet::ip::{self, Ip};
use bridgefwd_common::packet::transport::{self, Segment, Transport};
use bridgefwd_common::packet::{ipv4, ipv6};
use network_types::eth::EthHdr;
use network_types::ip::Ipv4Hdr;
use network_types::udp::UdpHdr;

use crate::{asm, scratch};

/// Where the IP header begins.
pub const IP: usize = EthHdr::LEN;
/// Where the transport header begins behind an IPv4 header without options.
pub const L4: usize = IP + Ipv4Hdr::LEN;
/// Where the transport header begins behind an IPv6 header without extensions.
pub const L4_V6: usize = IP + ipv6::HEADER_LEN;
/// Length of the fixed part of a TCP header.
const TCP_LEN: usize = 20;
/// The VLAN identifier's bits of a tag; the others are its priority.
const VLAN_ID: u32 = 0x0fff;

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

/// Has the first `wanted` bytes in the linear part of the packet, as far as the packet reaches.
#[inline(always)]
fn pull(ctx: &TcContext, wanted: usize) {
    let (data, data_end) = asm::packet_bounds(ctx);
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
    /// The IP header.
    pub ip: Ip,
    /// Checksum field of an IPv4 header.
    pub ip_check: [u8; 2],
    /// The transport header; all zeros where `flaw` says that it cannot be used. Apart from it
    /// rather than in a `Result`, whose unset payload the verifier would see being copied.
    pub segment: Segment,
    /// Why the transport header cannot be used, where it cannot.
    pub flaw: Option<Reason>,
    /// Size of the segments that it will be cut into, 0 where it will not.
    pub gso_size: u32,
    /// Has it a VLAN tag that says nothing but a priority? The tag ends here.
    pub priority_tagged: bool,
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

    /// Where its transport header begins in the frame.
    #[inline(always)]
    pub fn transport_at(&self) -> usize {
        IP + usize::from(self.ip.header_len)
    }
}

/// Is this an IP packet that is addressed to the router? Of which family?
///
/// # Errors
/// The reason why it is not one.
#[inline(always)]
pub fn family(ctx: &TcContext, router_mac: [u8; 6]) -> Result<Family, Reason> {
    // SAFETY: the kernel hands a valid __sk_buff to the program for as long as it runs.
    let skb = unsafe { &*ctx.skb.skb };
    if skb.vlan_present != 0 && skb.vlan_tci & VLAN_ID != 0 {
        return Err(Reason::VlanTagged);
    }
    pull(ctx, L4 + TCP_LEN);
    ip::ethernet(header_at(ctx, 0).ok_or(Reason::NotIp)?, router_mac)
}

/// What the packet's buffer says beside its bytes: `gso_size`, `priority_tagged`.
#[inline(always)]
fn buffer(ctx: &TcContext) -> (u32, bool) {
    // SAFETY: as in `family`.
    let skb = unsafe { &*ctx.skb.skb };
    (skb.gso_size, skb.vlan_present != 0)
}

/// Reads an IPv4 packet into `SCRATCH`; 0 where it is none that anybody could forward: why not is in
/// `refused` there. Global to the verifier: what was read is told apart here, and not on all ways from here.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn read_v4(skb: *mut __sk_buff) -> u32 {
    let Some(scratch) = scratch::current() else { return 0 };
    let read = packet_v4(&TcContext::new(skb), &mut scratch.packet);
    scratch.answer(read)
}

/// The same of an IPv6 packet.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn read_v6(skb: *mut __sk_buff) -> u32 {
    let Some(scratch) = scratch::current() else { return 0 };
    let read = packet_v6(&TcContext::new(skb), &mut scratch.packet);
    scratch.answer(read)
}

#[inline(always)]
fn packet_v4(ctx: &TcContext, packet: &mut Packet) -> Result<(), Reason> {
    let (gso_size, priority_tagged) = buffer(ctx);
    let raw = header_at::<[u8; Ipv4Hdr::LEN]>(ctx, IP).ok_or(Reason::MalformedIp)?;
    // SAFETY: Ipv4Hdr is repr(C) of bytes and byte arrays, 20 bytes long.
    let header = unsafe { &*raw.as_ptr().cast::<Ipv4Hdr>() };
    let available = ctx.len().saturating_sub(IP as u32);
    let ip = ipv4::read(header, available, gso_size != 0)?;
    let ip_check = header.check;
    if ip.header_len as usize == Ipv4Hdr::LEN {
        ipv4::verify_checksum(raw)?;
    }
    packet.ip = ip;
    packet.ip_check = ip_check;
    packet.gso_size = gso_size;
    packet.priority_tagged = priority_tagged;
    take(packet, plain_segment::<L4>(ctx, &ip));
    Ok(())
}

#[inline(always)]
fn packet_v6(ctx: &TcContext, packet: &mut Packet) -> Result<(), Reason> {
    pull(ctx, L4_V6 + TCP_LEN);
    let (gso_size, priority_tagged) = buffer(ctx);
    let header = header_at::<ipv6::Header>(ctx, IP).ok_or(Reason::MalformedIp)?;
    let available = ctx.len().saturating_sub(IP as u32);
    let ip = ipv6::read(header, available, gso_size != 0)?;
    packet.ip = ip;
    packet.ip_check = [0; 2];
    packet.gso_size = gso_size;
    packet.priority_tagged = priority_tagged;
    take(packet, plain_segment::<L4_V6>(ctx, &ip));
    Ok(())
}

#[inline(always)]
fn take(packet: &mut Packet, segment: Result<Segment, Reason>) {
    match segment {
        Ok(segment) => {
            packet.segment = segment;
            packet.flaw = None;
        }
        Err(reason) => {
            packet.segment = Segment::default();
            packet.flaw = Some(reason);
        }
    }
}

#[inline(always)]
fn plain_segment<const AT: usize>(ctx: &TcContext, ip: &Ip) -> Result<Segment, Reason> {
    let cut_off = Reason::MalformedTransport;
    match transport::of_plain(ip)? {
        Transport::Tcp => transport::tcp(header_at(ctx, AT).ok_or(cut_off)?, ip),
        Transport::Udp => transport::udp(header_at::<UdpHdr>(ctx, AT).ok_or(cut_off)?, ip),
        Transport::Query | Transport::QueryV6 => {
            transport::icmp(header_at(ctx, AT).ok_or(cut_off)?, ip)
        }
        Transport::UdpLike => transport::udp_like(header_at(ctx, AT).ok_or(cut_off)?, ip),
        Transport::Sctp => transport::sctp(header_at(ctx, AT).ok_or(cut_off)?, ip),
        Transport::Other | Transport::Fragment => Ok(transport::other(ip)),
    }
}
