//! Segments with SYN, and what comes before a SYN is answered.

use super::tcp;
use super::tcp_side::{ACK_SLACK, TcpSegment, TcpSide, is_after, is_recent, is_recent_ack, permit};
use super::tcp_window::{Judgement, Place};
use crate::contract::{Direction, FlowState};
use crate::packet::transport::TcpFlags;

/// A segment with SYN.
#[inline(always)]
pub(super) fn synchronise(
    segment: &TcpSegment,
    direction: Direction,
    state: FlowState,
    mine: &mut TcpSide,
    theirs: &mut TcpSide,
) -> Judgement {
    let opening = matches!(state, FlowState::TcpOpening);
    let answers = segment.flags.any(TcpFlags::ACK);
    match (direction, answers) {
        (_, true) if opening => answer(segment, direction, mine, theirs),
        (_, true) => answer_again(segment, direction, mine, theirs),
        (Direction::Reply, false) if opening => {
            if !mine.has(TcpSide::KNOWN) || is_after(segment.end(), mine.next) {
                *mine = TcpSide::from_syn(segment);
                mine.bits |= TcpSide::SIMULTANEOUS;
                agree_on_scaling(mine, theirs);
            }
            Judgement::Continues(FlowState::TcpOpening)
        }
        (Direction::Reply, false) => Judgement::OutOfPlace,
        (Direction::Original, false) if opening => again(segment, mine, theirs),
        (Direction::Original, false) => {
            let acknowledged = (mine.bits | theirs.bits) & TcpSide::LAST_ACK != 0;
            let over = match state {
                FlowState::TcpClosed => acknowledged,
                _ => tcp::reopens(state, direction, segment.flags),
            };
            if over {
                return Judgement::Reopens;
            }
            // A stray one is answered by a challenge, a real one by a SYN-ACK or a reset.
            mine.bits |= TcpSide::SYN_PENDING;
            Judgement::Passes
        }
    }
}

/// The SYN again, or with other numbers. It does not refresh the flow: a client that gets no answer
/// for its port is to get another one in time.
#[inline(always)]
fn again(segment: &TcpSegment, mine: &mut TcpSide, theirs: &mut TcpSide) -> Judgement {
    if segment.end() != mine.next {
        *mine = TcpSide::from_syn(segment);
        mine.bits |= TcpSide::SYN_PENDING;
        if theirs.has(TcpSide::KNOWN) {
            agree_on_scaling(mine, theirs);
        }
    }
    Judgement::Passes
}

/// A SYN-ACK while the connection opens. Its acknowledgment tells that it is no stray one.
#[inline(always)]
fn answer(
    segment: &TcpSegment,
    direction: Direction,
    mine: &mut TcpSide,
    theirs: &mut TcpSide,
) -> Judgement {
    if theirs.has(TcpSide::KNOWN) {
        match ack_of_syn(segment.ack, theirs) {
            Place::Inside => {}
            Place::Aside => return Judgement::Passes,
            Place::Outside => return Judgement::OutOfWindow,
        }
    } else if matches!(direction, Direction::Original) {
        return Judgement::OutOfPlace;
    } else {
        *theirs = TcpSide::from_course(segment.ack, segment.ack, 0);
    }
    if !mine.has(TcpSide::KNOWN) || segment.end() != mine.next {
        *mine = TcpSide::from_syn(segment);
        agree_on_scaling(mine, theirs);
    }
    theirs.bits &= !TcpSide::SYN_PENDING;
    permit(segment.ack, u32::from(segment.window), theirs);
    Judgement::Continues(FlowState::TcpAnswered)
}

/// A SYN-ACK inside a connection: a late one of its own, or both have begun anew after a SYN that
/// seemed stray.
#[inline(always)]
fn answer_again(
    segment: &TcpSegment,
    direction: Direction,
    mine: &mut TcpSide,
    theirs: &mut TcpSide,
) -> Judgement {
    let end = segment.end();
    let late = !is_after(end, mine.next)
        && is_recent(end, mine, theirs)
        && !is_after(segment.ack, theirs.next)
        && is_recent_ack(segment.ack, mine, theirs);
    if late {
        // Its receiver may go by the window that it offers.
        permit(segment.ack, u32::from(segment.window), theirs);
    } else if theirs.has(TcpSide::SYN_PENDING) && matches!(direction, Direction::Reply) {
        // That SYN's own numbers are not kept, so this is not proven: liberal from here on.
        *theirs = TcpSide::from_course(segment.ack, segment.ack, u16::MAX);
        permit(segment.ack, u32::from(segment.window), theirs);
        *mine = TcpSide::from_course(end, end, segment.window.max(1));
        return Judgement::Continues(FlowState::TcpAnswered);
    }
    Judgement::Passes
}

/// A segment with ACK alone or with FIN while the SYN is not yet answered.
#[inline(always)]
pub(super) fn before_the_answer(
    segment: &TcpSegment,
    direction: Direction,
    mine: &mut TcpSide,
) -> Judgement {
    if matches!(direction, Direction::Original) || segment.flags.any(TcpFlags::FIN) {
        return Judgement::OutOfPlace;
    }
    // The server still has an older connection, and the client will reset it.
    if !mine.has(TcpSide::KNOWN) {
        mine.next = segment.ack;
        mine.bits |= TcpSide::CHALLENGED;
    }
    Judgement::Passes
}

/// Does `ack` acknowledge the SYN of `side`?
#[inline(always)]
pub(super) fn ack_of_syn(ack: u32, side: &TcpSide) -> Place {
    if is_after(ack, side.next) {
        // It may be meant for a SYN before the last.
        if side.has(TcpSide::SYN_PENDING) { Place::Aside } else { Place::Outside }
    } else if side.next.wrapping_sub(ack) > ACK_SLACK {
        Place::Aside
    } else {
        Place::Inside
    }
}

/// Scaling takes the option of both (RFC 7323, section 2.2).
#[inline(always)]
fn agree_on_scaling(mine: &mut TcpSide, theirs: &mut TcpSide) {
    if mine.bits & theirs.bits & TcpSide::OFFERED == 0 {
        mine.unscale();
        theirs.unscale();
    }
}
