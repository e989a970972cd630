//! What an ICMP error quotes: read from the packet, and rewritten with the checksum of the message.
//!
//! The message begins anywhere: behind options, behind extension headers.

use aya_ebpf::bindings::{__sk_buff, BPF_F_RECOMPUTE_CSUM};
use aya_ebpf::helpers::generated::{bpf_csum_diff, bpf_skb_load_bytes};
use aya_ebpf::programs::TcContext;
use bridgefwd_common::Reason;
use bridgefwd_common::contract::{Family, Tuple};
use bridgefwd_common::decide::translate;
use bridgefwd_common::packet::ip::Fragment;
use bridgefwd_common::packet::ipv6::{self, MAX_EXTENSIONS};
use bridgefwd_common::packet::quoted::{QUOTED_LEN, Quoted};
use bridgefwd_common::packet::transport::Transport;
use bridgefwd_common::packet::{checksum, quoted_ip};
use network_types::icmp::Icmpv4Hdr;
use network_types::ip::Ipv4Hdr;

use crate::apply::{ICMP_CHECK, TCP_CHECK};
use crate::asm;
use crate::read::{IP, Packet};
use crate::scratch::{self, CHUNK, Scratch};

/// Length of the header of an ICMP error, of both families; the quote follows.
const HEADER_LEN: usize = Icmpv4Hdr::LEN;
/// No message is longer, in chunks that are summed at one time.
const MAX_CHUNKS: usize = (u16::MAX as usize).div_ceil(CHUNK);
const STORE: u64 = BPF_F_RECOMPUTE_CSUM as u64;
/// Where the addresses begin in an IPv4 and an IPv6 header.
const V4_ADDRESSES: usize = core::mem::offset_of!(Ipv4Hdr, src_addr);
const V6_ADDRESSES: usize = 8;
const V4_CHECK: usize = core::mem::offset_of!(Ipv4Hdr, check);

/// The sum over something whose checksum is right.
pub const RIGHT: u32 = 0xffff;

/// Reads what the error in `SCRATCH` quotes into `quoted` there; 1 if there is something to find a
/// flow by. Global to the verifier, as is what follows.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn read_quote(skb: *mut __sk_buff) -> u32 {
    let Some(scratch) = scratch::current() else { return 0 };
    match read(&TcContext::new(skb), &scratch.packet) {
        Some(quoted) => {
            scratch.quoted = quoted;
            1
        }
        None => 0,
    }
}

#[inline(always)]
fn read(ctx: &TcContext, packet: &Packet) -> Option<Quoted> {
    let ip = &packet.ip;
    // Of a piece we do not see everything that the checksum covers.
    if !matches!(ip.fragment, Fragment::None) {
        return None;
    }
    let len = ip.payload_len.checked_sub(HEADER_LEN as u32)?;
    let at = packet.transport_at() + HEADER_LEN;
    let mut quoted = match ip.family {
        Family::V4 => quoted_ip::v4(&ctx.load(at).ok()?, len).ok()?,
        Family::V6 => {
            let mut inner = quoted_ip::header_v6(&ctx.load(at).ok()?).ok()?;
            for _ in 0..MAX_EXTENSIONS {
                if !ipv6::is_extension(inner.protocol) || matches!(inner.fragment, Fragment::Later)
                {
                    break;
                }
                let extension = ctx.load(at + usize::from(inner.header_len)).ok()?;
                ipv6::step(&mut inner, &extension).ok()?;
            }
            quoted_ip::v6(&inner, len).ok()?
        }
    };
    if quoted.has_header() {
        let after = ctx.load::<[u8; QUOTED_LEN]>(at + usize::from(quoted.header_len)).ok()?;
        quoted.identify(&after).ok()?;
    }
    Some(quoted)
}

/// Has the error in `SCRATCH` quote what is in `shown` there, and gives it the addresses in `outer`
/// and the TTL in `ttl`; 1 where it is done. Where not, it may be half rewritten and must not go on.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn rewrite_message(skb: *mut __sk_buff) -> u32 {
    let Some(scratch) = scratch::current() else { return 0 };
    u32::from(rewrite(&TcContext::new(skb), scratch).is_some())
}

#[inline(always)]
fn rewrite(ctx: &TcContext, scratch: &Scratch) -> Option<()> {
    let (packet, outer) = (&scratch.packet, &scratch.outer);
    let translates = scratch.shown != scratch.quoted.tuple;
    if translates {
        rewrite_quote(ctx, packet, &scratch.quoted, &scratch.shown)?;
    }
    write_outer(ctx, packet, outer, scratch.ttl)?;
    if !translates {
        return Some(());
    }
    let check_at = packet.transport_at() + ICMP_CHECK;
    ctx.store(check_at, &[0u8; 2], STORE).ok()?;
    let sum = message_sum(ctx.skb.skb, pseudo_header(packet, outer));
    ctx.store(check_at, &(!sum as u16), STORE).ok()
}

#[inline(always)]
fn rewrite_quote(ctx: &TcContext, packet: &Packet, quoted: &Quoted, shown: &Tuple) -> Option<()> {
    let at = packet.transport_at() + HEADER_LEN;
    let after_at = at + usize::from(quoted.header_len);
    if matches!(quoted.transport, Transport::Tcp) && quoted.len >= (TCP_CHECK + 2) as u32 {
        let check = ctx.load::<[u8; 2]>(after_at + TCP_CHECK).ok()?;
        ctx.store(after_at + TCP_CHECK, &quoted.check(shown, check), STORE).ok()?;
    }
    if quoted.has_header() {
        let mut after = ctx.load::<[u8; QUOTED_LEN]>(after_at).ok()?;
        quoted.translate(&mut after, shown);
        ctx.store(after_at, &after, STORE).ok()?;
    }
    write_addresses(ctx, at, &quoted.tuple, shown, 0, 0)
}

#[inline(always)]
fn write_outer(ctx: &TcContext, packet: &Packet, outer: &Tuple, ttl: u8) -> Option<()> {
    let ip = &packet.ip;
    let arriving = Tuple { src: ip.src, dst: ip.dst, protocol: outer.protocol, ..Tuple::default() };
    write_addresses(ctx, IP, &arriving, outer, ip.ttl, ttl)?;
    match ip.family {
        Family::V4 => ctx.store(IP + core::mem::offset_of!(Ipv4Hdr, ttl), &ttl, STORE).ok(),
        Family::V6 => ctx.store(IP + 7, &ttl, STORE).ok(),
    }
}

/// Writes the addresses of the IP header at `at`, and its checksum if it has one.
#[inline(always)]
fn write_addresses(
    ctx: &TcContext,
    at: usize,
    from: &Tuple,
    to: &Tuple,
    ttl: u8,
    new_ttl: u8,
) -> Option<()> {
    match from.family() {
        Family::V4 => {
            let check = ctx.load::<[u8; 2]>(at + V4_CHECK).ok()?;
            let check = translate::ipv4_check(check, from, to, ttl, new_ttl);
            ctx.store(at + V4_CHECK, &check, STORE).ok()?;
            let addresses = [to.src.last_word(), to.dst.last_word()];
            ctx.store(at + V4_ADDRESSES, &addresses, STORE).ok()
        }
        Family::V6 => {
            let addresses = [to.src.words(), to.dst.words()];
            ctx.store(at + V6_ADDRESSES, &addresses, STORE).ok()
        }
    }
}

/// What the checksum of the message covers beside it.
#[inline(always)]
fn pseudo_header(packet: &Packet, outer: &Tuple) -> u32 {
    match packet.ip.family {
        Family::V4 => 0,
        Family::V6 => checksum::pseudo_header_v6(
            &outer.src.words(),
            &outer.dst.words(),
            packet.ip.payload_len,
            packet.ip.protocol,
        ),
    }
}

/// Does the checksum of the message in `SCRATCH` hold?
///
/// # Errors
/// [`Reason::IcmpMalformed`].
#[inline(always)]
pub fn verify(ctx: &TcContext, packet: &Packet) -> Result<(), Reason> {
    let ip = &packet.ip;
    let arriving = Tuple { src: ip.src, dst: ip.dst, ..Tuple::default() };
    if message_sum(ctx.skb.skb, pseudo_header(packet, &arriving)) == RIGHT {
        Ok(())
    } else {
        Err(Reason::IcmpMalformed)
    }
}

/// The sum over the ICMP message in `SCRATCH` and what is given, folded to 16 bits; 0, which no sum
/// over something is, where it cannot be read.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn message_sum(skb: *mut __sk_buff, beside: u32) -> u32 {
    let Some(scratch) = scratch::current() else { return 0 };
    let mut at = scratch.packet.transport_at() as u32;
    let mut left = scratch.packet.ip.payload_len as usize;
    let chunk = &mut scratch.chunk;
    let mut sum = beside;
    for _ in 0..MAX_CHUNKS {
        if left < CHUNK {
            break;
        }
        let Some(more) = sum_chunk(skb, at, chunk, CHUNK as u32, CHUNK as u32, sum) else {
            return 0;
        };
        sum = more;
        at += CHUNK as u32;
        left -= CHUNK;
    }
    if left >= CHUNK {
        return 0;
    }
    if left > 0 {
        // One less, masked, and one more: so the verifier knows that it is neither nothing nor too
        // much, and the compiler does not know better.
        let last = asm::opaque(left as u64 - 1) as usize & (CHUNK - 1);
        // What follows the last byte in its word counts as zero (RFC 1071).
        chunk[last / 4] = 0;
        let words_len = (last / 4 + 1) * 4;
        let Some(more) = sum_chunk(skb, at, chunk, last as u32 + 1, words_len as u32, sum) else {
            return 0;
        };
        sum = more;
    }
    u32::from(checksum::fold(sum))
}

/// The sum over `len` bytes at `at` in the packet, which fill `words_len` bytes of `chunk`.
#[inline(always)]
fn sum_chunk(
    skb: *mut __sk_buff,
    at: u32,
    chunk: &mut [u32; CHUNK / 4],
    len: u32,
    words_len: u32,
    sum: u32,
) -> Option<u32> {
    let words = chunk.as_mut_ptr();
    // SAFETY: the context is valid, and there is room for `len` bytes.
    if unsafe { bpf_skb_load_bytes(skb.cast(), at, words.cast(), len) } != 0 {
        return None;
    }
    // SAFETY: as many bytes are there; from nothing on, so that they are added as they are.
    let sum = unsafe { bpf_csum_diff(core::ptr::null_mut(), 0, words, words_len, sum) };
    (sum >= 0).then_some(sum as u32)
}
