//! How a packet ends: one reason counted, one verdict given; and how it goes on to another program.

use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::programs::TcContext;
use bridgefwd_common::contract::Role;
use bridgefwd_common::{Reason, Verdict};

use crate::count;
use crate::maps::{COLD_PATHS, INTERFACES};

/// How a packet ended: what the program returns where it was redirected, and the reason that it is
/// counted under.
pub type Outcome = Result<(Reason, i32), Reason>;

/// What comes after a program.
pub enum Way {
    /// Nothing.
    Ends(Outcome),
    /// The program at this place of `COLD_PATHS`.
    GoesOn(u32),
}

/// Left in `tc_index` by a port for the program on the bridge: this packet was judged already.
///
/// The field is the traffic control layer's own and never leaves the host; the bridge's program
/// sets it back to 0.
const JUDGED: u32 = 0xb41d;

/// Was this packet judged, and counted, on the port that it came in by?
#[inline(always)]
pub fn already_judged(ctx: &TcContext) -> bool {
    // SAFETY: the kernel hands a valid __sk_buff to the program for as long as it runs.
    let skb = unsafe { &mut *ctx.skb.skb };
    if skb.tc_index != JUDGED {
        return false;
    }
    skb.tc_index = 0;
    true
}

/// Counts the packet; what the program has to return.
#[inline(always)]
pub fn give(ctx: &TcContext, outcome: Outcome) -> i32 {
    let reason = match outcome {
        Ok((reason, action)) => {
            count::packet(ctx, reason);
            return action;
        }
        Err(reason) => reason,
    };
    count::packet(ctx, reason);
    match reason.verdict() {
        Verdict::Drop => TC_ACT_SHOT,
        Verdict::Redirect | Verdict::Pass => {
            mark_judged(ctx, reason);
            // On to other people's programs, then to the kernel.
            TC_ACT_UNSPEC
        }
    }
}

/// What a port lets go up to its bridge will meet us there again.
#[inline(always)]
fn mark_judged(ctx: &TcContext, reason: Reason) {
    if matches!(reason, Reason::NotForRouter | Reason::NotManaged) {
        return;
    }
    // SAFETY: as in `already_judged`.
    let skb = unsafe { &mut *ctx.skb.skb };
    // SAFETY: an entry is replaced as a whole; one that is removed meanwhile stays readable until
    // this program ends.
    let interface = unsafe { INTERFACES.get(skb.ifindex) };
    if interface.is_some_and(|interface| interface.role == Role::Port as u8) {
        skb.tc_index = JUDGED;
    }
}

/// Goes on to another program. It comes back only where that program is not there.
#[inline(always)]
pub fn go_on(ctx: &TcContext, place: u32) -> i32 {
    // SAFETY: nothing that would have to be dropped is held.
    unsafe { COLD_PATHS.tail_call(ctx, place) };
    give(ctx, Err(Reason::ProgramMissing))
}
