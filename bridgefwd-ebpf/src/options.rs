//! Packets with IPv4 options. They are not translated yet; but those of a flow must not reach the
//! kernel, which would forward them as they are, or answer a reply with a reset. Only where the
//! options themselves are malformed is the kernel asked: it answers, and never forwards.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::programs::TcContext;
use bridgefwd_common::packet::quoted::{self, QUOTED_LEN};
use network_types::ip::Ipv4Hdr;

use crate::flows;
use crate::read::IP;

/// Where the options begin, and how many bytes there can be of them.
const OPTIONS: usize = IP + Ipv4Hdr::LEN;
const MAX_LEN: usize = 40;

/// Does this packet belong to a flow, and could be forwarded? 1 if so. Global to the verifier: out of the hot path's
/// way.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn belong_to_flow(skb: *mut __sk_buff) -> u32 {
    let ctx = TcContext::new(skb);
    let Ok(header) = ctx.load::<[u8; Ipv4Hdr::LEN]>(IP) else { return 0 };
    let header_len = usize::from(header[0].wrapping_mul(4) & 0x3c);
    let Ok(after) = ctx.load::<[u8; QUOTED_LEN]>(IP + header_len) else { return 0 };
    match quoted::read(&header, &after) {
        Ok(packet) if flows::find(&packet.tuple).is_some() => {
            u32::from(are_well_formed(&ctx, header_len.saturating_sub(Ipv4Hdr::LEN)))
        }
        _ => 0,
    }
}

/// Do the options, `len` bytes of them, fit one behind the other (RFC 791, section 3.1)?
#[inline(always)]
fn are_well_formed(ctx: &TcContext, len: usize) -> bool {
    let mut at = 0;
    for _ in 0..MAX_LEN {
        if at >= len as u32 {
            break;
        }
        at = next_option(ctx.skb.skb, at, len as u32);
    }
    at != MALFORMED
}

/// Beyond any option.
const MALFORMED: u32 = u32::MAX;

/// Where the option behind the one at `at` begins: at `len` where there is none, or `MALFORMED`.
/// Global to the verifier: checked once, not once a turn of the loop.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn next_option(skb: *mut __sk_buff, at: u32, len: u32) -> u32 {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;

    let ctx = TcContext::new(skb);
    let byte = |at: u32| ctx.load::<u8>(OPTIONS + (at & 0x3f) as usize);
    match byte(at) {
        Ok(END) => len,
        Ok(NO_OPERATION) => at + 1,
        Ok(_) if at + 1 < len => match byte(at + 1) {
            Ok(own_len) if own_len >= 2 && at + u32::from(own_len) <= len => {
                at + u32::from(own_len)
            }
            _ => MALFORMED,
        },
        _ => MALFORMED,
    }
}
