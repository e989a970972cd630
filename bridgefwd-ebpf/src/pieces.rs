//! Pieces of fragmented packets that arrive.

use aya_ebpf::programs::TcContext;
use bridgefwd_common::Reason;
use bridgefwd_common::contract::{COLD_NEIGHBOUR, COLD_OPEN};
use bridgefwd_common::packet::ip::Fragment;

use crate::verdict::Way;
use crate::{cold, deep, followers, scratch};

/// Forwards the piece in `SCRATCH`.
#[inline(always)]
pub fn forward(ctx: &TcContext) -> Way {
    let Some(scratch) = scratch::current() else { return Way::Ends(Err(Reason::NotManaged)) };
    if let Err(reason) = deep::read(ctx) {
        return Way::Ends(Err(reason));
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
        followers::note_first(followers::ARRIVING);
    }
    match cold::continue_flow(ctx, cold::BY_US) {
        Ok(true) if !scratch.neighbour_known => Way::GoesOn(COLD_NEIGHBOUR),
        Ok(true) => {
            Way::Ends(cold::send(ctx, scratch).map(|action| (Reason::ForwardedFragment, action)))
        }
        Ok(false) => Way::GoesOn(COLD_OPEN),
        Err(reason) => Way::Ends(Err(reason)),
    }
}
