//! The IPv6 header and its extensions (RFC 8200): from bytes to values, or to the reason why not.

use super::ip::{Fragment, Ip};
use crate::Reason;
use crate::contract::{Address, Family};

/// Length of the IPv6 header in bytes.
pub const HEADER_LEN: usize = 40;
/// Length of the fragment header in bytes.
pub const FRAGMENT_HEADER_LEN: usize = 8;
/// How many extension headers are looked at before a packet is refused.
pub const MAX_EXTENSIONS: u32 = 8;
/// How far from the IPv6 header on a transport header may begin: beyond it the program cannot look.
pub const MAX_HEADERS_LEN: u32 = 3968;

/// Nothing follows (RFC 8200, section 4.7).
pub const NO_NEXT_HEADER: u8 = 59;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;
const MOBILITY: u8 = 135;
const HOST_IDENTITY: u8 = 139;
const SHIM6: u8 = 140;

/// The IPv6 header as it is in the packet.
pub type Header = [u8; HEADER_LEN];

/// Reads the IPv6 header; `available` is how many bytes the frame has from here on, trailing padding
/// included. `gso` packets may be longer than their length field can say.
///
/// `protocol` is the first next header: an extension's where [`is_extension`] says so.
///
/// # Errors
/// [`Reason::MalformedIp`] for what the kernel's `ip6_rcv_core` discards. Addresses that stand for IPv4
/// ones would be taken for those of IPv4 flows: as source [`Reason::Martian`], as destination
/// [`Reason::NotForwarded`], which the kernel answers.
#[inline(always)]
pub fn read(header: &Header, available: u32, gso: bool) -> Result<Ip, Reason> {
    if header[0] >> 4 != 6 {
        return Err(Reason::MalformedIp);
    }
    let word = |at: usize| {
        u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let mut payload_len = u32::from(u16::from_be_bytes([header[4], header[5]]));
    if payload_len == 0 && gso {
        payload_len = available.saturating_sub(HEADER_LEN as u32);
    }
    if payload_len + HEADER_LEN as u32 > available {
        return Err(Reason::MalformedIp);
    }
    let src = Address::from_words([word(8), word(12), word(16), word(20)]);
    let dst = Address::from_words([word(24), word(28), word(32), word(36)]);
    if matches!(src.family(), Family::V4) {
        return Err(Reason::Martian);
    }
    if matches!(dst.family(), Family::V4) {
        return Err(Reason::NotForwarded);
    }
    Ok(Ip {
        src,
        dst,
        family: Family::V6,
        ttl: header[7],
        tos: header[0] << 4 | header[1] >> 4,
        protocol: header[6],
        dont_fragment: true,
        fragment: Fragment::None,
        fragment_offset: 0,
        more_fragments: false,
        header_len: HEADER_LEN as u16,
        id: [0; 4],
        payload_len,
        flow_info: word(0) & 0x0fff_ffff_u32.to_be(),
    })
}

/// Does this next header announce an extension rather than a transport header?
#[inline(always)]
#[must_use]
pub const fn is_extension(next_header: u8) -> bool {
    matches!(
        next_header,
        HOP_BY_HOP
            | ROUTING
            | FRAGMENT
            | AUTHENTICATION
            | DESTINATION
            | MOBILITY
            | HOST_IDENTITY
            | SHIM6
    )
}

/// Steps over the extension header that `ip` stands at, given its first eight bytes.
///
/// A routing header is like any other: only whom the packet is addressed to may look at it.
///
/// # Errors
/// [`Reason::MalformedIp`] where it is longer than the packet, or reaches beyond [`MAX_HEADERS_LEN`].
#[inline(always)]
pub fn step(ip: &mut Ip, extension: &[u8; 8]) -> Result<(), Reason> {
    let kind = ip.protocol;
    let len = match kind {
        FRAGMENT => 8,
        AUTHENTICATION => (u32::from(extension[1]) + 2) * 4,
        _ => (u32::from(extension[1]) + 1) * 8,
    };
    if len > ip.payload_len || u32::from(ip.header_len) + len > MAX_HEADERS_LEN {
        return Err(Reason::MalformedIp);
    }
    if kind == FRAGMENT {
        let offset = u16::from_be_bytes([extension[2], extension[3]]);
        ip.fragment = if offset & 0xfff8 != 0 {
            Fragment::Later
        } else if offset & 1 != 0 {
            Fragment::First
        } else {
            // An atomic fragment (RFC 6946) is a whole packet.
            Fragment::None
        };
        ip.fragment_offset = offset & 0xfff8;
        ip.more_fragments = offset & 1 != 0;
        ip.id = [extension[4], extension[5], extension[6], extension[7]];
    }
    ip.protocol = extension[0];
    ip.header_len += len as u16;
    ip.payload_len -= len;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(edit: impl FnOnce(&mut Header)) -> Header {
        let mut header = [0; HEADER_LEN];
        header[0] = 0x6b;
        header[1] = 0x82;
        header[3] = 0x05;
        header[5] = 20;
        header[6] = 6;
        header[7] = 64;
        header[8] = 0xfd;
        header[23] = 2;
        header[24] = 0xfd;
        header[39] = 1;
        edit(&mut header);
        header
    }

    #[test]
    fn fields_are_read() {
        let ip = read(&header(|_| ()), 60, false).unwrap();
        assert_eq!((ip.ttl, ip.tos, ip.protocol), (64, 0xb8, 6));
        assert_eq!(ip.flow_info, 0x0b82_0005_u32.to_be());
        assert_eq!(ip.src.octets()[15], 2);
        assert_eq!((ip.header_len, ip.payload_len), (40, 20));
    }

    #[test]
    fn lengths_and_version_must_be_right() {
        let bad = |edit: fn(&mut Header), available| read(&header(edit), available, false);
        assert_eq!(bad(|_| (), 59).map(|_| ()), Err(Reason::MalformedIp));
        assert_eq!(bad(|h| h[0] = 0x4b, 60).map(|_| ()), Err(Reason::MalformedIp));
        assert!(bad(|_| (), 70).is_ok());
        let jumbo = read(&header(|h| h[5] = 0), 100_040, true).unwrap();
        assert_eq!(jumbo.payload_len, 100_000);
    }

    #[test]
    fn addresses_that_stand_for_ipv4_ones_are_refused() {
        let mapped = |at: usize| {
            read(
                &header(|h| {
                    h[at..at + 16].fill(0);
                    h[at + 10..at + 16].copy_from_slice(&[0xff, 0xff, 10, 2, 0, 2]);
                }),
                60,
                false,
            )
        };
        assert_eq!(mapped(8), Err(Reason::Martian));
        assert_eq!(mapped(24), Err(Reason::NotForwarded));
    }

    #[test]
    fn headers_beyond_where_the_program_looks_are_refused() {
        let mut ip = Ip {
            protocol: DESTINATION,
            payload_len: 60_000,
            ..read(&header(|_| ()), 60, false).unwrap()
        };
        step(&mut ip, &[DESTINATION, 255, 0, 0, 0, 0, 0, 0]).unwrap();
        let before = ip;
        assert_eq!(step(&mut ip, &[17, 255, 0, 0, 0, 0, 0, 0]), Err(Reason::MalformedIp));
        assert_eq!(ip, before);
        step(&mut ip, &[17, 234, 0, 0, 0, 0, 0, 0]).unwrap();
        assert_eq!(u32::from(ip.header_len), MAX_HEADERS_LEN);
    }

    #[test]
    fn extensions_are_stepped_over() {
        let ip = || read(&header(|h| (h[5], h[6]) = (60, HOP_BY_HOP)), 100, false).unwrap();
        let mut hops = ip();
        step(&mut hops, &[DESTINATION, 1, 0, 0, 0, 0, 0, 0]).unwrap();
        assert_eq!((hops.protocol, hops.header_len, hops.payload_len), (DESTINATION, 56, 44));
        step(&mut hops, &[17, 0, 0, 0, 0, 0, 0, 0]).unwrap();
        assert_eq!((hops.protocol, hops.header_len, hops.payload_len), (17, 64, 36));
        assert_eq!(step(&mut ip(), &[17, 7, 0, 0, 0, 0, 0, 0]), Err(Reason::MalformedIp));
        let mut routed = Ip { protocol: ROUTING, ..ip() };
        assert_eq!(step(&mut routed, &[17, 0, 0, 1, 0, 0, 0, 0]), Ok(()));
        let mut authenticated = Ip { protocol: AUTHENTICATION, ..ip() };
        step(&mut authenticated, &[17, 4, 0, 0, 0, 0, 0, 0]).unwrap();
        assert_eq!(authenticated.header_len, 64);
    }

    #[test]
    fn pieces_are_told_apart() {
        let piece = |offset: u16| {
            let whole = read(&header(|h| h[6] = FRAGMENT), 60, false).unwrap();
            let mut ip = Ip { payload_len: 20, ..whole };
            let [high, low] = offset.to_be_bytes();
            step(&mut ip, &[6, 0, high, low, 1, 2, 3, 4]).unwrap();
            assert_eq!((ip.protocol, ip.header_len, ip.id), (6, 48, [1, 2, 3, 4]));
            ip.fragment
        };
        assert_eq!(piece(0), Fragment::None);
        assert_eq!(piece(1), Fragment::First);
        assert_eq!(piece(8), Fragment::Later);
        assert_eq!(piece(9), Fragment::Later);
    }
}
