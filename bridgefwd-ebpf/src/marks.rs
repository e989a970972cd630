//! What the program tells itself about a packet from one place where it runs to the next.
//!
//! `tc_index` is the traffic control layer's own field; it says what. But it survives the way from one
//! network namespace to another, so a container could have set it. `mark` does not survive that way:
//! at ingress only a packet that has our bit there as well is one that we have marked.
//! The bit is taken off again before the kernel's IP stack sees the packet. At egress `tc_index` alone
//! is enough: every packet that came in by an end has been marked or unmarked by us.

use aya_ebpf::programs::TcContext;
use bridgefwd_common::contract::Role;

use crate::maps::INTERFACES;

/// Our bit of `mark`.
const OURS: u32 = 1 << 30;

/// Judged on the port that it came in by; the program on the bridge lets it go on.
pub const JUDGED: u32 = 0xb41d;
/// A piece of a packet all of whose pieces have been there.
pub const COLLECTED: u32 = 0xb41e;
/// A copy for the kernel of a packet that waits for its neighbour: not to leave the host.
pub const ASKED: u32 = 0xb41f;
/// Translated, and on its way out.
pub const DONE: u32 = 0xb420;

/// Does its `mark` say that a packet at ingress was marked by us?
#[inline(always)]
pub const fn is_marked(mark: u32) -> bool {
    mark & OURS != 0
}

/// What a packet at ingress was marked with by us, or 0.
#[inline(always)]
pub fn of_arriving(ctx: &TcContext) -> u32 {
    // SAFETY: the kernel hands a valid __sk_buff to the program for as long as it runs.
    let skb = unsafe { &*ctx.skb.skb };
    if is_marked(skb.mark) { skb.tc_index } else { 0 }
}

/// What a packet at egress was marked with.
#[inline(always)]
pub fn of_leaving(ctx: &TcContext) -> u32 {
    // SAFETY: as in `of_arriving`.
    unsafe { (*ctx.skb.skb).tc_index }
}

/// Is this a packet that we have marked to go on to the kernel?
///
/// On a port only the copies that we have put there ourselves: what was judged on a port is for a
/// bridge.
#[inline(always)]
pub fn let_go(ctx: &TcContext) -> bool {
    let mark = of_arriving(ctx);
    if mark != JUDGED && mark != ASKED {
        return false;
    }
    // SAFETY: as in `of_arriving`.
    let ifindex = unsafe { (*ctx.skb.skb).ifindex };
    // SAFETY: an entry is replaced as a whole; one that is removed meanwhile stays readable until
    // this program ends.
    let on_port = unsafe { INTERFACES.get(ifindex) }
        .is_some_and(|interface| interface.role == Role::Port as u8);
    if mark == JUDGED {
        if !on_port {
            clear(ctx, 0);
        }
        return !on_port;
    }
    if !on_port {
        clear(ctx, ASKED);
    }
    true
}

/// Marks a packet for the next ingress.
#[inline(always)]
pub fn set(ctx: &TcContext, what: u32) {
    // SAFETY: as in `of_arriving`; nobody else has the packet.
    let skb = unsafe { &mut *ctx.skb.skb };
    skb.mark |= OURS;
    skb.tc_index = what;
}

/// Marks a packet for egress.
#[inline(always)]
pub fn set_leaving(ctx: &TcContext, what: u32) {
    // SAFETY: as in `set`.
    unsafe { (*ctx.skb.skb).tc_index = what };
}

/// Takes our bit off again, and sets what egress will find.
#[inline(always)]
pub fn clear(ctx: &TcContext, what: u32) {
    // SAFETY: as in `set`.
    let skb = unsafe { &mut *ctx.skb.skb };
    skb.mark &= !OURS;
    skb.tc_index = what;
}
