//! Reads packets whose transport header does not stand where it mostly does: behind IPv4 options or
//! IPv6 extension headers, or in a piece of a larger packet.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::programs::TcContext;
use bridgefwd_common::Reason;
use bridgefwd_common::contract::Family;
use bridgefwd_common::packet::ip::{Fragment, Ip};
use bridgefwd_common::packet::ipv6::{self, MAX_EXTENSIONS};
use bridgefwd_common::packet::transport::{self, Segment, Transport};
use network_types::ip::Ipv4Hdr;
use network_types::udp::UdpHdr;

use crate::read::{IP, Packet};
use crate::scratch;

/// Where IPv4 options begin, and how many bytes there can be of them.
const OPTIONS: usize = IP + Ipv4Hdr::LEN;
const MAX_OPTIONS: u32 = 40;

/// Reads options or extension headers of the packet in `SCRATCH`, and then its transport header.
///
/// # Errors
/// The reason why they cannot be read, or the packet may not be forwarded.
#[inline(always)]
pub fn read(ctx: &TcContext) -> Result<(), Reason> {
    if read_deep(ctx.skb.skb) == 1 {
        return Ok(());
    }
    Err(scratch::current().map_or(Reason::MalformedIp, |scratch| scratch.refused))
}

/// The same; 1 where it is done, else `refused` says why not. Global to the verifier: checked once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn read_deep(skb: *mut __sk_buff) -> u32 {
    let Some(scratch) = scratch::current() else { return 0 };
    let read = read_packet(&TcContext::new(skb), &mut scratch.packet);
    scratch.answer(read)
}

#[inline(always)]
fn read_packet(ctx: &TcContext, packet: &mut Packet) -> Result<(), Reason> {
    match packet.ip.family {
        Family::V4 => {
            let options = u32::from(packet.ip.header_len).saturating_sub(Ipv4Hdr::LEN as u32);
            if options > 0 && is_source_routed(ctx, options) {
                return Err(Reason::SourceRouted);
            }
        }
        Family::V6 => step_over_extensions(ctx, packet)?,
    }
    packet.flaw = None;
    if matches!(packet.ip.fragment, Fragment::Later) {
        packet.segment = Segment { transport: Transport::Fragment, ..transport::other(&packet.ip) };
    } else {
        match segment(ctx, &packet.ip, packet.transport_at()) {
            Ok(segment) => packet.segment = segment,
            Err(reason) => packet.flaw = Some(reason),
        }
    }
    Ok(())
}

#[inline(always)]
fn segment(ctx: &TcContext, ip: &Ip, at: usize) -> Result<Segment, Reason> {
    // Masked, so that the verifier knows that the offset is small.
    let at = at & 0xfff;
    match transport::of_protocol(ip.family, ip.protocol) {
        Transport::Tcp => transport::tcp(&load(ctx, at)?, ip),
        Transport::Udp => {
            let bytes = load::<[u8; UdpHdr::LEN]>(ctx, at)?;
            // SAFETY: UdpHdr is repr(C) of byte arrays, as long as these bytes.
            transport::udp(unsafe { &*bytes.as_ptr().cast::<UdpHdr>() }, ip)
        }
        Transport::Query | Transport::QueryV6 => transport::icmp(&load(ctx, at)?, ip),
        Transport::UdpLike => transport::udp_like(&load(ctx, at)?, ip),
        Transport::Sctp => transport::sctp(&load(ctx, at)?, ip),
        Transport::Other | Transport::Fragment => Ok(transport::other(ip)),
    }
}

#[inline(always)]
fn load<T>(ctx: &TcContext, at: usize) -> Result<T, Reason> {
    ctx.load(at).map_err(|_| Reason::MalformedTransport)
}

#[inline(always)]
fn step_over_extensions(ctx: &TcContext, packet: &mut Packet) -> Result<(), Reason> {
    for _ in 0..MAX_EXTENSIONS {
        // What follows in a later piece is no header.
        if !ipv6::is_extension(packet.ip.protocol) || matches!(packet.ip.fragment, Fragment::Later)
        {
            return Ok(());
        }
        let at = packet.transport_at() & 0xfff;
        let bytes = ctx.load::<[u8; 8]>(at).map_err(|_| Reason::MalformedIp)?;
        ipv6::step(&mut packet.ip, &bytes)?;
    }
    if ipv6::is_extension(packet.ip.protocol) { Err(Reason::MalformedIp) } else { Ok(()) }
}

/// Is there a source route among the options, `len` bytes of them?
#[inline(always)]
fn is_source_routed(ctx: &TcContext, len: u32) -> bool {
    let mut at = 0;
    for _ in 0..MAX_OPTIONS {
        if at >= len {
            break;
        }
        at = next_option(ctx.skb.skb, at, len);
    }
    at == SOURCE_ROUTE
}

/// Beyond any option.
const SOURCE_ROUTE: u32 = u32::MAX;

/// Where the option behind the one at `at` begins: at `len` where there is none, or where the rest
/// cannot be read, which the kernel then says to the sender; or `SOURCE_ROUTE`. Global to the
/// verifier: checked once, not once a turn of the loop.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn next_option(skb: *mut __sk_buff, at: u32, len: u32) -> u32 {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const LOOSE_SOURCE_ROUTE: u8 = 131;
    const STRICT_SOURCE_ROUTE: u8 = 137;

    let ctx = TcContext::new(skb);
    let byte = |at: u32| ctx.load::<u8>(OPTIONS + (at & 0x3f) as usize);
    match byte(at) {
        Ok(END) => len,
        Ok(NO_OPERATION) => at + 1,
        Ok(LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE) => SOURCE_ROUTE,
        Ok(_) if at + 1 < len => match byte(at + 1) {
            Ok(own_len) if own_len >= 2 => at + u32::from(own_len),
            _ => len,
        },
        _ => len,
    }
}
