//! Pieces of fragmented packets that arrive: they wait until all of a packet are there, and are then
//! forwarded one after the other, the first one by its ports, the others by following it.

use aya_ebpf::programs::TcContext;
use bridgefwd_common::Reason;
use bridgefwd_common::contract::{COLD_OPEN, Family};
use bridgefwd_common::packet::ip::{Fragment, Ip};
use bridgefwd_common::packet::ipv6;
use network_types::ip::Ipv4Hdr;

use crate::verdict::Way;
use crate::{cold, collect, deep, followers, marks, scratch};

/// Forwards the piece in `SCRATCH`.
#[inline(always)]
pub fn forward(ctx: &TcContext) -> Way {
    let Some(scratch) = scratch::current() else { return Way::Ends(Err(Reason::NotManaged)) };
    if let Err(reason) = deep::read(ctx) {
        return Way::Ends(Err(reason));
    }
    if !matches!(scratch.packet.ip.fragment, Fragment::None) {
        if marks::of_arriving(ctx) != marks::COLLECTED {
            return Way::Ends(Err(collect::take(ctx)));
        }
        marks::clear(ctx, 0);
    }
    if matches!(scratch.packet.ip.fragment, Fragment::Later) {
        if followers::find(followers::ARRIVING) == 0 {
            scratch.packet.flaw = Some(Reason::FragmentUnknown);
            return Way::GoesOn(COLD_OPEN);
        }
    } else {
        if scratch.packet.flaw.is_some() {
            return Way::GoesOn(COLD_OPEN);
        }
        scratch.original = scratch.packet.segment.tuple;
        if matches!(scratch.packet.ip.fragment, Fragment::First) {
            followers::note_first(followers::ARRIVING);
        }
    }
    let by = if is_plain(&scratch.packet.ip) { cold::BY_US } else { cold::BY_KERNEL };
    cold::forward(ctx, scratch, by)
}

/// Has it nothing in its header that the kernel must look at on its way?
#[inline(always)]
fn is_plain(ip: &Ip) -> bool {
    usize::from(ip.header_len)
        == match ip.family {
            Family::V4 => Ipv4Hdr::LEN,
            Family::V6 => ipv6::HEADER_LEN + ipv6::FRAGMENT_HEADER_LEN,
        }
}
