//! The IPv4 header (RFC 791): from bytes to values, or to the reason why not.

use network_types::ip::Ipv4Hdr;

use super::checksum;
use super::ip::{Fragment, Ip};
use crate::Reason;
use crate::contract::{Address, Family};

const MORE_FRAGMENTS: u8 = 0x20;
/// The part of the fragment offset that shares a byte with the flags.
const OFFSET_HIGH: u8 = 0x1f;
const DONT_FRAGMENT: u8 = 0x40;

/// Reads the fixed part of an IPv4 header; `available` is how many bytes the frame has from here
/// on, trailing padding included. `gso` packets may be longer than their length field can say.
///
/// # Errors
/// [`Reason::MalformedIp`] for what the kernel's `ip_rcv` discards.
#[inline(always)]
pub fn read(header: &Ipv4Hdr, available: u32, gso: bool) -> Result<Ip, Reason> {
    let header_len = header.vihl.wrapping_mul(4) & 0x3c;
    if header.vihl >> 4 != 4 || header_len < Ipv4Hdr::LEN as u8 {
        return Err(Reason::MalformedIp);
    }
    let mut total_len = u32::from(u16::from_be_bytes(header.tot_len));
    if total_len == 0 && gso {
        total_len = available;
    }
    if total_len < u32::from(header_len) || total_len > available {
        return Err(Reason::MalformedIp);
    }
    let [flags, offset_low] = header.frags;
    let fragment = if flags & OFFSET_HIGH != 0 || offset_low != 0 {
        Fragment::Later
    } else if flags & MORE_FRAGMENTS != 0 {
        Fragment::First
    } else {
        Fragment::None
    };
    Ok(Ip {
        src: Address::v4(header.src_addr),
        dst: Address::v4(header.dst_addr),
        family: Family::V4,
        ttl: header.ttl,
        tos: header.tos,
        protocol: header.proto,
        dont_fragment: flags & DONT_FRAGMENT != 0,
        fragment,
        fragment_offset: u16::from_be_bytes([flags & OFFSET_HIGH, offset_low]) << 3,
        more_fragments: flags & MORE_FRAGMENTS != 0,
        header_len: u16::from(header_len),
        id: [header.id[0], header.id[1], 0, 0],
        payload_len: total_len - u32::from(header_len),
        flow_info: 0,
    })
}

/// Does the checksum of a header without options hold?
///
/// # Errors
/// [`Reason::MalformedIp`].
#[inline(always)]
pub fn verify_checksum(header: &[u8; Ipv4Hdr::LEN]) -> Result<(), Reason> {
    if checksum::fold(checksum::sum_words(header)) == 0xffff {
        Ok(())
    } else {
        Err(Reason::MalformedIp)
    }
}

#[cfg(test)]
#[path = "ipv4_tests.rs"]
mod tests;
