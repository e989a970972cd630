//! May this packet open a flow? The checks in their order, each with its reason.
//!
//! What the kernel would answer or deliver itself is left to it; what a pair forbids is dropped
//! before anything else is asked of the packet, so that a denied pair denies every protocol.

use crate::Reason;
use crate::contract::{FlowState, PairPolicy, PairState, Unlisted};
use crate::packet::headers::{Segment, Transport};

/// Is the pair open?
///
/// # Errors
/// The reason why not.
#[inline(always)]
pub fn permit(policy: PairPolicy, unlisted: Unlisted) -> Result<(), Reason> {
    match PairState::from_byte(policy.state) {
        PairState::Allowed => Ok(()),
        PairState::Denied => Err(Reason::PairDenied),
        PairState::NotListed => match unlisted {
            Unlisted::Kernel => Err(Reason::NotListed),
            Unlisted::Deny => Err(Reason::UnlistedDenied),
        },
    }
}

/// The state that a flow begins in.
///
/// # Errors
/// The reason why this packet cannot open one.
#[inline(always)]
pub fn opening_state(segment: &Segment, unlisted: Unlisted) -> Result<FlowState, Reason> {
    match segment.transport {
        Transport::Udp | Transport::UdpLike | Transport::Sctp | Transport::Other => {
            Ok(FlowState::UdpOneWay)
        }
        Transport::Echo if segment.is_echo_reply => Err(Reason::IcmpUnsupported),
        Transport::Echo => Ok(FlowState::Icmp),
        Transport::Fragment => Err(Reason::FragmentUnknown),
        Transport::Tcp if segment.tcp_flags.opens() => Ok(FlowState::TcpOpening),
        Transport::Tcp => match unlisted {
            Unlisted::Kernel => Err(Reason::TcpNotOpening),
            Unlisted::Deny => Err(Reason::TcpNotOpeningDenied),
        },
    }
}

/// The TTL that a packet leaves with.
///
/// # Errors
/// [`Reason::TtlExpired`]: the kernel answers time exceeded.
#[inline(always)]
pub fn next_ttl(ttl: u8) -> Result<u8, Reason> {
    if ttl <= 1 { Err(Reason::TtlExpired) } else { Ok(ttl - 1) }
}

/// What becomes of an opening packet that is larger than the way out allows: with don't-fragment
/// the kernel answers, without it the kernel would forward the pieces untranslated.
#[inline(always)]
#[must_use]
pub const fn too_big(dont_fragment: bool) -> Reason {
    if dont_fragment { Reason::TooBig } else { Reason::TooBigTranslated }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Tuple;
    use crate::packet::headers::TcpFlags;

    fn policy(state: PairState) -> PairPolicy {
        PairPolicy { state: state as u8, ..PairPolicy::default() }
    }

    #[test]
    fn an_explicit_deny_always_drops() {
        for unlisted in [Unlisted::Kernel, Unlisted::Deny] {
            assert_eq!(permit(policy(PairState::Denied), unlisted), Err(Reason::PairDenied));
            assert_eq!(permit(policy(PairState::Allowed), unlisted), Ok(()));
        }
        let none = policy(PairState::NotListed);
        assert_eq!(permit(none, Unlisted::Kernel), Err(Reason::NotListed));
        assert_eq!(permit(none, Unlisted::Deny), Err(Reason::UnlistedDenied));
    }

    #[test]
    fn only_a_plain_syn_opens_a_connection() {
        for flags in 0..=u8::MAX {
            let segment = Segment {
                tuple: Tuple::default(),
                transport: Transport::Tcp,
                tcp_flags: TcpFlags(flags),
                header_len: 20,
                is_echo_reply: false,
            };
            let plain = flags & 0x17 == TcpFlags::SYN;
            assert_eq!(opening_state(&segment, Unlisted::Deny).is_ok(), plain, "{flags:#x}");
        }
    }

    #[test]
    fn ttl_never_reaches_zero() {
        assert_eq!(next_ttl(64), Ok(63));
        assert_eq!(next_ttl(2), Ok(1));
        assert_eq!(next_ttl(1), Err(Reason::TtlExpired));
        assert_eq!(next_ttl(0), Err(Reason::TtlExpired));
    }
}
