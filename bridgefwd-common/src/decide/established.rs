//! What a packet of a known flow does.

use super::tcp_window::{Judgement, TcpSegment};
use super::{Plan, Route};
use crate::Reason;
use crate::contract::{
    Direction, Flow, FlowState, MOMENT_SHIFT, PairRule, Settings, TIMEOUTS, ns_between,
};
use crate::packet::ip::Ip;
use crate::packet::transport::{Segment, Transport};

/// What the flow table has for a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Known {
    /// It belongs to this flow, which will be in that state after it.
    Continues(FlowState),
    /// It belongs to this flow, but proves nothing: the flow's state and age stay as they are.
    Passes,
    /// It is a segment of this connection; what it does to it is for
    /// [`tcp_window`](super::tcp_window) to say.
    Segment(FlowState),
    /// The flow is over: the packet is the first of a new one, if of any.
    Over,
}

const NS_PER_S: u64 = 1_000_000_000;

/// Has no packet refreshed the flow for longer than its state, as it stands in the map, allows? Both
/// times are [`moment`](crate::contract::moment)s. Never too early, and less than 35 ms late.
#[inline(always)]
#[must_use]
pub fn is_over(state: u8, last_seen: u32, now: u32, settings: &Settings) -> bool {
    // Masked rather than checked: the compiler drops a check that the verifier would need to see.
    let timeout_ns = u64::from(settings.timeouts_s[usize::from(state) % TIMEOUTS]) * NS_PER_S;
    // The last packet came up to a step after its moment. What has no timeout is over at once.
    let step = if timeout_ns == 0 { 0 } else { 1 << MOMENT_SHIFT };
    ns_between(last_seen, now) >= timeout_ns + step
}

/// Does the packet that found this flow still belong to it, at this [`moment`](crate::contract::moment)?
///
/// # Errors
/// The reason why it is refused. All of them drop: whatever belongs to a flow is never left to the
/// kernel, which would forward it untranslated or answer it with a reset.
#[inline(always)]
pub fn recognise(
    segment: &Segment,
    flow: &Flow,
    direction: Direction,
    rule: &PairRule,
    end: u32,
    now: u32,
    settings: &Settings,
) -> Result<Known, Reason> {
    let state = FlowState::from_byte(flow.state);
    let arrives_by = match direction {
        Direction::Original => flow.from,
        Direction::Reply => flow.to,
    };
    if is_over(flow.state, flow.last_seen, now, settings) {
        return Ok(Known::Over);
    }
    if arrives_by != end {
        return Err(Reason::WrongEnd);
    }
    // A conversation of the host's own is of no pair.
    let of_host = flow.from == Flow::FROM_HOST;
    if !of_host && rule.generation != flow.pair_generation {
        // The pair was turned off, or its NAT changed. What can begin anew does so under the
        // pair as it is now; a connection in full course cannot.
        let begins_anew = matches!(direction, Direction::Original)
            && !matches!(segment.transport, Transport::Fragment)
            && (!matches!(segment.transport, Transport::Tcp) || segment.tcp_flags.opens());
        return if begins_anew { Ok(Known::Over) } else { Err(Reason::FlowCut) };
    }
    if !of_host && !rule.policy.forwards_existing() {
        return Err(Reason::PairDenied);
    }
    Ok(match segment.transport {
        Transport::Tcp => Known::Segment(state),
        Transport::Query | Transport::QueryV6 | Transport::Fragment => Known::Continues(state),
        Transport::Udp | Transport::UdpLike | Transport::Sctp | Transport::Other => {
            Known::Continues(match direction {
                Direction::Original => state,
                Direction::Reply => FlowState::UdpTwoWay,
            })
        }
    })
}

/// What a judged segment of TCP does to its flow.
///
/// # Errors
/// The reason why it is refused.
#[inline(always)]
pub const fn after_segment(judgement: Judgement) -> Result<Known, Reason> {
    match judgement {
        Judgement::Continues(state) => Ok(Known::Continues(state)),
        Judgement::Passes => Ok(Known::Passes),
        Judgement::Reopens => Ok(Known::Over),
        Judgement::OutOfWindow | Judgement::OutOfPlace => Err(Reason::TcpOutOfWindow),
        Judgement::ImpossibleFlags => Err(Reason::TcpFlagsInvalid),
    }
}

/// What counts of a segment for its connection; `scale` is the shift of its window scale option, or
/// [`NO_SCALE`](super::tcp_window::NO_SCALE).
#[inline(always)]
#[must_use]
pub const fn tcp_segment(ip: &Ip, segment: &Segment, scale: u8) -> TcpSegment {
    TcpSegment {
        seq: segment.tcp_seq,
        ack: segment.tcp_ack,
        payload_len: ip.payload_len.saturating_sub(segment.header_len as u32),
        window: segment.tcp_window,
        flags: segment.tcp_flags,
        scale,
    }
}

/// How a packet of a known flow leaves.
///
/// # Errors
/// The reason why it does not. [`Reason::ThroughKernel`] is for what the kernel has to answer, or to
/// cut to pieces: it gets the packet as it would without translation, so that its answer is right.
/// Of the original direction that is the packet as it is; a reply has to be translated for it first.
#[inline(always)]
pub fn plan(ip: &Ip, flow: &Flow, direction: Direction, route: Route) -> Result<Plan, Reason> {
    let (out_end, reason) = match direction {
        Direction::Original => (flow.to, Reason::Forwarded),
        Direction::Reply => (flow.from, Reason::ForwardedReply),
    };
    if ip.ttl <= 1 {
        let reason = Reason::TtlExpiredReply;
        return Err(if flow.turns_back() { reason } else { Reason::ThroughKernel });
    }
    match route {
        Route::Via { ifindex, next_hop, neighbour } if ifindex == out_end => Ok(Plan {
            leaving: flow.leaving(direction),
            ttl: ip.ttl - 1,
            out_end,
            next_hop,
            neighbour,
            reason,
        }),
        Route::Via { .. } => Err(Reason::RouteChanged),
        // Both its addresses change: the kernel would take the packet for its own, or for a martian.
        Route::TooBig if flow.turns_back() => Err(Reason::TooBigTranslated),
        Route::No(_) if flow.turns_back() => Err(Reason::RouteChanged),
        Route::TooBig | Route::No(_) => Err(Reason::ThroughKernel),
    }
}

#[cfg(test)]
#[path = "established_tests.rs"]
mod tests;
