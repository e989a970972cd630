//! May this packet open a flow? The checks in their order, each with its reason.
//!
//! What the kernel would answer or deliver itself is left to it; what a pair forbids is dropped
//! before anything else is asked of the packet, so that a denied pair denies every protocol.

use super::tcp;
use crate::Reason;
use crate::contract::{Address, Family, FlowState, PairPolicy, PairState, Unlisted};
use crate::packet::transport::{Segment, Transport};

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
        Transport::Query | Transport::QueryV6 if segment.is_query_reply => {
            Err(Reason::IcmpUnsupported)
        }
        Transport::Query | Transport::QueryV6 => Ok(FlowState::Icmp),
        Transport::Fragment => Err(Reason::FragmentUnknown),
        Transport::Tcp if segment.tcp_flags.opens() => Ok(FlowState::TcpOpening),
        Transport::Tcp if !tcp::are_possible(segment.tcp_flags) => Err(Reason::TcpFlagsInvalid),
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

/// Addresses that no packet on a wire may have, beyond what routing refuses: the kernel calls them
/// martian (`ip_route_input_slow`, `ip6_rcv_core`). Multicast and the limited broadcast are the
/// kernel's to deliver.
#[inline(always)]
#[must_use]
pub fn is_martian(src: &Address, dst: &Address) -> bool {
    match dst.family() {
        Family::V4 => {
            let ([s, ..], [d, ..]) = (src.last_word().to_ne_bytes(), dst.last_word().to_ne_bytes());
            // This network, loopback; as source multicast and the limited broadcast too.
            s == 0
                || s == 127
                || (224..240).contains(&s)
                || src.last_word() == u32::MAX
                || d == 0
                || d == 127
        }
        Family::V6 => {
            let ([s, ..], loopback) = (src.octets(), 1_u32.to_be());
            let is_low = |address: &Address, last: u32| {
                let words = address.words();
                words[0] == 0 && words[1] == 0 && words[2] == 0 && words[3] == last
            };
            s == 0xff
                || is_low(src, 0)
                || is_low(src, loopback)
                || is_low(dst, 0)
                || is_low(dst, loopback)
        }
    }
}

/// Of IPv6: is it a message between neighbours (RFC 4861, RFC 2710, RFC 3810), or to or from an
/// address that has a meaning on its link only? Such packets are the kernel's.
#[inline(always)]
#[must_use]
pub const fn stays_on_link(src: &Address, dst: &Address) -> bool {
    const fn is_link_local(address: &Address) -> bool {
        let [a, b, ..] = address.octets();
        a == 0xfe && b & 0xc0 == 0x80
    }
    let [first, ..] = dst.octets();
    is_link_local(src) || is_link_local(dst) || first == 0xff
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Tuple;
    use crate::packet::transport::TcpFlags;

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
                ..Segment::default()
            };
            let plain = flags & 0x17 == TcpFlags::SYN;
            assert_eq!(opening_state(&segment, Unlisted::Deny).is_ok(), plain, "{flags:#x}");
        }
    }

    #[test]
    fn martians() {
        let address = |text: &str| Address::from(text.parse::<core::net::IpAddr>().unwrap());
        let martian = |src, dst| is_martian(&address(src), &address(dst));
        for bad in ["0.1.2.3", "127.0.0.1", "224.0.0.1", "255.255.255.255"] {
            assert!(martian(bad, "10.0.0.1"), "{bad}");
        }
        for bad in ["::", "::1", "ff02::1"] {
            assert!(martian(bad, "fd00::1"), "{bad}");
        }
        assert!(martian("10.0.0.1", "0.0.0.1") && martian("10.0.0.1", "127.0.0.1"));
        assert!(martian("fd00::1", "::1") && martian("fd00::1", "::"));
        assert!(!martian("240.0.0.1", "10.0.0.1") && !martian("10.0.0.1", "240.0.0.1"));
        assert!(!martian("10.0.0.1", "10.0.0.2") && !martian("fd00::1", "fd00::2"));
    }

    #[test]
    fn what_stays_on_its_link() {
        let address = |text: &str| Address::from(text.parse::<core::net::IpAddr>().unwrap());
        let stays = |src, dst| stays_on_link(&address(src), &address(dst));
        assert!(stays("fe80::1", "fd00::1") && stays("fd00::1", "febf::1"));
        assert!(stays("fd00::1", "ff02::1") && stays("fd00::1", "ff0e::1"));
        assert!(!stays("fd00::1", "fec0::1") && !stays("fd00::1", "2001:db8::1"));
    }

    #[test]
    fn ttl_never_reaches_zero() {
        assert_eq!(next_ttl(64), Ok(63));
        assert_eq!(next_ttl(2), Ok(1));
        assert_eq!(next_ttl(1), Err(Reason::TtlExpired));
        assert_eq!(next_ttl(0), Err(Reason::TtlExpired));
    }
}
