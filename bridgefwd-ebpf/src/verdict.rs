//! How a packet ends: one reason counted, one verdict given; and how it goes on to another program.

use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::programs::TcContext;
use bridgefwd_common::contract::Role;
use bridgefwd_common::{Reason, Verdict};

use crate::maps::{COLD_PATHS, INTERFACES};
use crate::{count, events, marks};

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
    events::ended(ctx, reason);
    match reason.verdict() {
        Verdict::Drop | Verdict::Hold => TC_ACT_SHOT,
        Verdict::Redirect | Verdict::Pass => {
            mark_passed(ctx, reason);
            // On to other people's programs, then to the kernel.
            TC_ACT_UNSPEC
        }
    }
}

/// What a port lets go up to its bridge will meet us there again. What goes to the kernel's stack has
/// no mark left that egress could take for ours.
#[inline(always)]
fn mark_passed(ctx: &TcContext, reason: Reason) {
    if matches!(reason, Reason::NotForRouter | Reason::NotManaged) {
        return;
    }
    // SAFETY: the kernel hands a valid __sk_buff to the program for as long as it runs.
    let ifindex = unsafe { (*ctx.skb.skb).ifindex };
    // SAFETY: an entry is replaced as a whole; one that is removed meanwhile stays readable until
    // this program ends.
    let interface = unsafe { INTERFACES.get(ifindex) };
    if interface.is_some_and(|interface| interface.role == Role::Port as u8) {
        marks::set(ctx, marks::JUDGED);
    } else {
        marks::set_leaving(ctx, 0);
    }
}

/// Follows the way: the verdict, or the next program.
#[inline(always)]
pub fn follow(ctx: &TcContext, way: Way) -> i32 {
    match way {
        Way::Ends(outcome) => give(ctx, outcome),
        Way::GoesOn(place) => {
            // SAFETY: nothing that would have to be dropped is held.
            unsafe { COLD_PATHS.tail_call(ctx, place) };
            // It comes back only where that program is not there.
            give(ctx, Err(Reason::ProgramMissing))
        }
    }
}
