//! Which segments of a TCP connection may be believed, by their sequence numbers.
//!
//! What is followed is what the kernel's connection tracking follows, so that its firewall and ours
//! drop the same segments: those beyond what the receiver permits, those that acknowledge what was
//! never sent, and those that have no place in the handshake. Old ones (late, or sent again) go on,
//! but nothing is concluded from them. Where what is kept here is coarser than the kernel's, it
//! errs towards forwarding.

use bytemuck::Zeroable;

use super::tcp;
pub use super::tcp_side::{NO_SCALE, TcpSegment, TcpSide};
use super::tcp_side::{adopt, is_after, is_recent, is_recent_ack, permit};
use super::tcp_syn::{ack_of_syn, before_the_answer, synchronise};
use crate::contract::{Direction, FlowState};
use crate::packet::transport::TcpFlags;

/// What a segment does to its connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Judgement {
    /// It is forwarded and refreshes the flow, which is in that state now.
    Continues(FlowState),
    /// It is forwarded, but proves nothing: state and age of the flow stay as they are.
    Passes,
    /// It is the first segment of a new connection: the flow is over.
    Reopens,
    /// Drop: beyond the window, or it acknowledges what was not sent.
    OutOfWindow,
    /// Drop: nothing that may be sent in this state.
    OutOfPlace,
    /// Drop: no segment has such flags.
    ImpossibleFlags,
}

/// Begins the tracking of a flow with its first segment: `original` and `reply` are as after it.
#[inline(always)]
pub fn begin(segment: &TcpSegment, original: &mut TcpSide, reply: &mut TcpSide) {
    *original = TcpSide::zeroed();
    *reply = TcpSide::zeroed();
    if segment.flags.any(TcpFlags::SYN) {
        *original = TcpSide::from_syn(segment);
    } else {
        adopt(segment, original, reply);
    }
}

/// Judges a segment in `direction` of a flow that is in `state`; `mine` is the side that sent it.
///
/// Nothing changes unless it [`Continues`](Judgement::Continues), but for what has to be kept of
/// segments that the endpoints will understand better than we do.
#[inline(always)]
pub fn judge(
    segment: &TcpSegment,
    direction: Direction,
    state: FlowState,
    mine: &mut TcpSide,
    theirs: &mut TcpSide,
) -> Judgement {
    if is_plain(segment.flags, state) {
        judge_plain(segment, direction, state, mine, theirs)
    } else {
        judge_rare(segment, direction, state, mine, theirs)
    }
}

/// Is it for [`judge_plain`]? It is if it has ACK, with or without FIN, after the handshake's
/// beginning.
#[inline(always)]
#[must_use]
pub const fn is_plain(flags: TcpFlags, state: FlowState) -> bool {
    flags.0 & (TcpFlags::SYN | TcpFlags::RST | TcpFlags::ACK) == TcpFlags::ACK
        && !matches!(state, FlowState::TcpOpening)
}

/// As [`judge`], of segments that are not [plain](is_plain): much code for few segments, to be kept
/// out of the everyday path.
#[inline(always)]
pub fn judge_rare(
    segment: &TcpSegment,
    direction: Direction,
    state: FlowState,
    mine: &mut TcpSide,
    theirs: &mut TcpSide,
) -> Judgement {
    let flags = segment.flags;
    if !tcp::are_possible(flags) {
        Judgement::ImpossibleFlags
    } else if flags.any(TcpFlags::RST) {
        reset(segment, direction, state, mine, theirs)
    } else if flags.any(TcpFlags::SYN) {
        synchronise(segment, direction, state, mine, theirs)
    } else {
        before_the_answer(segment, direction, mine)
    }
}

/// As [`judge`], of [plain](is_plain) segments.
#[inline(always)]
pub fn judge_plain(
    segment: &TcpSegment,
    direction: Direction,
    state: FlowState,
    mine: &mut TcpSide,
    theirs: &mut TcpSide,
) -> Judgement {
    let flags = segment.flags;
    match place(segment, mine, theirs) {
        Place::Inside => {}
        Place::Aside => return Judgement::Passes,
        Place::Outside => return Judgement::OutOfWindow,
    }
    let fin = flags.any(TcpFlags::FIN);
    let closed = matches!(state, FlowState::TcpClosed) && !fin;
    let bits = mine.bits | theirs.bits;
    if bits & TcpSide::SYN_PENDING != 0 {
        let challenge = theirs.has(TcpSide::SYN_PENDING);
        mine.bits &= !TcpSide::SYN_PENDING;
        theirs.bits &= !TcpSide::SYN_PENDING;
        if challenge && closed && bits & TcpSide::LAST_ACK == 0 {
            // The answer to that SYN (RFC 5961, section 4): it acknowledges no FIN.
            return Judgement::Passes;
        }
    }
    if closed && !mine.has(TcpSide::LAST_ACK) {
        mine.bits |= TcpSide::LAST_ACK;
    }
    if matches!(state, FlowState::TcpAnswered) && !fin && mine.has(TcpSide::SIMULTANEOUS) {
        return Judgement::Continues(FlowState::TcpEstablished);
    }
    Judgement::Continues(tcp::next_state(state, direction, flags))
}

pub(super) enum Place {
    /// Where the receiver expects it.
    Inside,
    /// Late, or a little too far ahead: harmless.
    Aside,
    Outside,
}

/// Where does a segment with ACK, but neither SYN nor RST, lie? Takes note of it if inside.
#[inline(always)]
fn place(segment: &TcpSegment, mine: &mut TcpSide, theirs: &mut TcpSide) -> Place {
    if !mine.has(TcpSide::KNOWN) {
        adopt(segment, mine, theirs);
        return Place::Inside;
    }
    let (end, ack) = (segment.end(), segment.ack);
    let permitted = !is_after(segment.seq, mine.edge);
    let sent = !is_after(ack, theirs.next);
    let recent = is_recent(end, mine, theirs) && is_recent_ack(ack, mine, theirs);
    if permitted && sent && recent {
        advance(segment, mine, theirs);
        return Place::Inside;
    }
    if (mine.bits | theirs.bits) & TcpSide::LIBERAL != 0 {
        return Place::Inside;
    }
    if !sent {
        return Place::Outside;
    }
    if permitted {
        return Place::Aside;
    }
    // Some receivers take more than they permitted, and will acknowledge it.
    let excess = end.wrapping_sub(mine.edge).wrapping_add(1);
    if recent && excess <= theirs.window_bytes() {
        if is_after(end, mine.next) {
            mine.next = end;
        }
        return Place::Aside;
    }
    Place::Outside
}

/// Takes note of a segment that lies where it should.
#[inline(always)]
fn advance(segment: &TcpSegment, mine: &mut TcpSide, theirs: &mut TcpSide) {
    let end = segment.end();
    if segment.window > mine.window {
        mine.window = segment.window;
    }
    if is_after(end, mine.next) {
        mine.next = end;
    }
    if is_after(end, mine.edge) {
        theirs.widen(end.wrapping_sub(mine.edge));
    }
    let bytes = u32::from(segment.window) << (mine.bits & TcpSide::SCALE);
    permit(segment.ack, bytes, theirs);
}

/// A segment with RST. What is known of the sides stays: the connection may yet show that it lives.
#[inline(always)]
fn reset(
    segment: &TcpSegment,
    direction: Direction,
    state: FlowState,
    mine: &TcpSide,
    theirs: &TcpSide,
) -> Judgement {
    let acks = segment.flags.any(TcpFlags::ACK);
    let opening = matches!(state, FlowState::TcpOpening);
    let place = match direction {
        Direction::Reply if opening && !mine.has(TcpSide::KNOWN) => {
            // The answer to a SYN has to acknowledge it (RFC 9293, section 3.10.7.3).
            let acknowledged = if acks { segment.ack } else { 0 };
            match (acknowledged, theirs.has(TcpSide::KNOWN)) {
                (0, _) | (_, false) => Place::Aside,
                (ack, true) => ack_of_syn(ack, theirs),
            }
        }
        // The client gives up, or answers a challenge.
        Direction::Original if theirs.has(TcpSide::CHALLENGED) && theirs.next == segment.seq => {
            Place::Inside
        }
        Direction::Original if opening && !theirs.has(TcpSide::KNOWN) => {
            ack_of_syn(segment.seq, mine)
        }
        // The server knows nothing of the connection that the client's SYN seemed to disturb.
        Direction::Reply if acks && segment.seq == 0 && theirs.has(TcpSide::SYN_PENDING) => {
            Place::Inside
        }
        _ => place_of_reset(segment, acks, mine, theirs),
    };
    match place {
        Place::Inside => Judgement::Continues(FlowState::TcpReset),
        Place::Aside => Judgement::Passes,
        // Where the connection is ending, the ports may be in use again with other numbers; and a
        // SYN sent again may be answered by a reset with none.
        Place::Outside => match state {
            FlowState::TcpOpening | FlowState::TcpEstablished => Judgement::OutOfWindow,
            FlowState::TcpAnswered if segment.seq != 0 => Judgement::OutOfWindow,
            _ => Judgement::Passes,
        },
    }
}

/// Where does a reset lie in a connection of which both sides are known?
#[inline(always)]
fn place_of_reset(segment: &TcpSegment, acks: bool, mine: &TcpSide, theirs: &TcpSide) -> Place {
    // Some put a zero there.
    let ack = if acks && segment.ack != 0 { segment.ack } else { theirs.next };
    let liberal = (mine.bits | theirs.bits) & TcpSide::LIBERAL != 0;
    // What the other side has acknowledged, or less: its windows may have been larger once.
    let acknowledged = mine.edge.wrapping_sub(theirs.window_bytes());
    let old = is_after(acknowledged, segment.seq);
    let permitted = !is_after(segment.seq, mine.edge);
    let sent = !is_after(ack, theirs.next);
    let recent = is_recent_ack(ack, mine, theirs);
    if !old && permitted && sent && recent {
        return Place::Inside;
    }
    let excess = segment.seq.wrapping_sub(mine.edge).wrapping_add(1);
    let close = permitted || (recent && excess <= theirs.window_bytes());
    if liberal || (!old && sent && close) { Place::Aside } else { Place::Outside }
}

#[cfg(test)]
#[path = "tcp_window_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "tcp_honest_tests.rs"]
mod honest;
