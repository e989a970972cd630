//! Rewrites packets whose transport header is anywhere: behind options, behind extension headers, in
//! pieces, or in the hands of the kernel. Slower than [`apply`](crate::apply), and never on the way of
//! everyday traffic. The TTL is not touched: whoever forwards takes one off.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::programs::TcContext;
use bridgefwd_common::Reason;
use bridgefwd_common::contract::{Family, Tuple};
use bridgefwd_common::decide::translate::{self, Rewrite};
use bridgefwd_common::packet::ip::Fragment;
use bridgefwd_common::packet::transport::Transport;
use network_types::ip::Ipv4Hdr;

use crate::apply::{self, ICMP_ID};
use crate::read::IP;
use crate::scratch;

/// Where an IPv6 header has its addresses.
const V6_ADDRESSES: usize = IP + 8;

/// Gives the packet in `SCRATCH` the tuple `leaving` there.
///
/// # Errors
/// [`Reason::WriteFailed`]: the packet may be half rewritten and must not go on.
#[inline(always)]
pub fn to_leaving(ctx: &TcContext) -> Result<(), Reason> {
    if rewrite_packet(ctx.skb.skb) == 1 { Ok(()) } else { Err(Reason::WriteFailed) }
}

/// The same; 1 where it is done. Global to the verifier: checked once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn rewrite_packet(skb: *mut __sk_buff) -> u32 {
    let Some(scratch) = scratch::current() else { return 0 };
    let ctx = TcContext::new(skb);
    let packet = &scratch.packet;
    let transport = match packet.ip.fragment {
        Fragment::Later => Transport::Fragment,
        Fragment::None | Fragment::First => packet.segment.transport,
    };
    let (arriving, leaving) = (&scratch.original, &scratch.leaving);
    u32::from(write(&ctx, packet.transport_at(), transport, arriving, leaving).is_some())
}

#[inline(always)]
fn write(
    ctx: &TcContext,
    at: usize,
    transport: Transport,
    arriving: &Tuple,
    leaving: &Tuple,
) -> Option<()> {
    // Masked, so that the verifier knows that the offset is small.
    let at = at & 0xfff;
    let is_v4 = matches!(arriving.family(), Family::V4);
    let rewrite =
        if is_v4 { Rewrite::v4(arriving, leaving) } else { Rewrite::v6(arriving, leaving) };
    apply::update_transport_checksum(ctx, transport, at, arriving, leaving, &rewrite)?;
    match transport {
        Transport::Tcp | Transport::Udp | Transport::UdpLike => {
            ctx.store(at, &rewrite.ports, 0).ok()?;
        }
        Transport::Query | Transport::QueryV6 => {
            ctx.store(at + ICMP_ID, &leaving.query_id(), 0).ok()?;
        }
        Transport::Sctp | Transport::Other | Transport::Fragment => {}
    }
    let [src, dst] = rewrite.addresses;
    if is_v4 {
        let check_at = IP + core::mem::offset_of!(Ipv4Hdr, check);
        let check = ctx.load::<[u8; 2]>(check_at).ok()?;
        let check = translate::ipv4_check(check, arriving, leaving, 0, 0);
        ctx.store(check_at, &check, 0).ok()?;
        let addresses = [src.last_word(), dst.last_word()];
        ctx.store(IP + core::mem::offset_of!(Ipv4Hdr, src_addr), &addresses, 0).ok()?;
    } else {
        ctx.store(V6_ADDRESSES, &[src.words(), dst.words()], 0).ok()?;
    }
    Some(())
}
