//! What the kernel forwards, or answers, and we translate: packets with options or extension headers,
//! which it has to look at on their way; replies that are too big or have used up their TTL.
//!
//! As netfilter does it: a reply is translated on its way in, so that the kernel's stack sees to whom it
//! goes; a packet of the original direction on its way out, at egress.

use aya_ebpf::programs::TcContext;
use bridgefwd_common::Reason;
use bridgefwd_common::contract::{COLD_ICMP, COLD_OPEN, COLD_PIECES};
use bridgefwd_common::packet::ip::Fragment;

use crate::verdict::Way;
use crate::{cold, deep, hairpin, scratch};

/// Hands the packet in `SCRATCH` over to the kernel, if it belongs to a flow; else it may open one.
#[inline(always)]
pub fn hand_over(ctx: &TcContext) -> Way {
    let Some(scratch) = scratch::current() else { return Way::Ends(Err(Reason::NotManaged)) };
    if scratch.packet.flaw == Some(Reason::IpOptions)
        && let Err(reason) = deep::read(ctx)
    {
        return Way::Ends(Err(reason));
    }
    if !matches!(scratch.packet.ip.fragment, Fragment::None) {
        return Way::GoesOn(COLD_PIECES);
    }
    scratch.through_kernel = true;
    if scratch.packet.flaw == Some(Reason::IcmpError) {
        return Way::GoesOn(COLD_ICMP);
    }
    if scratch.packet.flaw.is_some() {
        return Way::GoesOn(COLD_OPEN);
    }
    scratch.original = scratch.packet.segment.tuple;
    // Of what turns back both addresses change: the kernel would take it for its own, or for a martian.
    // So it is sent on with its options as they are.
    let by = if hairpin::belongs_to_hairpin() == 1 { cold::BY_US } else { cold::BY_KERNEL };
    cold::forward(ctx, scratch, by)
}
