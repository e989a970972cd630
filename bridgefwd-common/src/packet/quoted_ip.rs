//! The IP header of the packet that an ICMP error quotes, of both families
//! (RFC 792, RFC 1812 section 4.3.2.3, RFC 4443).
//!
//! The quote ends anywhere, so what is read is compared with what is there, not with the lengths in it.

use network_types::ip::Ipv4Hdr;

use super::ip::{Fragment, Ip};
use super::ipv6;
use super::quoted::{QUOTED_LEN, Quoted};
use super::transport::{self, Transport};
use crate::Reason;
use crate::contract::{Address, Family, Tuple};

/// Reads the fixed part of a quoted IPv4 header; `len` bytes are quoted from there on.
///
/// # Errors
/// [`Reason::IcmpMalformed`] where it is none, [`Reason::IcmpError`] where no flow can be found by
/// it: a later fragment.
#[inline(always)]
pub fn v4(header: &[u8; Ipv4Hdr::LEN], len: u32) -> Result<Quoted, Reason> {
    let header_len = header[0].wrapping_mul(4) & 0x3c;
    if header[0] >> 4 != 4 || header_len < Ipv4Hdr::LEN as u8 {
        return Err(Reason::IcmpMalformed);
    }
    if header[6] & 0x1f != 0 || header[7] != 0 {
        return Err(Reason::IcmpError);
    }
    let src = Address::v4([header[12], header[13], header[14], header[15]]);
    let dst = Address::v4([header[16], header[17], header[18], header[19]]);
    quoted([src, dst], Family::V4, header[9], u16::from(header_len), len)
}

/// Reads a quoted IPv6 header, whose extensions have still to be stepped over.
///
/// # Errors
/// [`Reason::IcmpMalformed`] where it is none.
#[inline(always)]
pub fn header_v6(header: &ipv6::Header) -> Result<Ip, Reason> {
    // What is not quoted is not there, and its length is not wrong for that.
    ipv6::read(header, u32::MAX, false).map_err(|_| Reason::IcmpMalformed)
}

/// The quoted packet by its IPv6 header, whose extensions were stepped over; `len` bytes are quoted
/// from that header on.
///
/// # Errors
/// As of [`v4`].
#[inline(always)]
pub fn v6(ip: &Ip, len: u32) -> Result<Quoted, Reason> {
    if matches!(ip.fragment, Fragment::Later) {
        return Err(Reason::IcmpError);
    }
    if ipv6::is_extension(ip.protocol) {
        return Err(Reason::IcmpMalformed);
    }
    quoted([ip.src, ip.dst], Family::V6, ip.protocol, ip.header_len, len)
}

#[inline(always)]
fn quoted(
    addresses: [Address; 2],
    family: Family,
    protocol: u8,
    header_len: u16,
    len: u32,
) -> Result<Quoted, Reason> {
    let Some(len) = len.checked_sub(u32::from(header_len)) else {
        return Err(Reason::IcmpMalformed);
    };
    let [src, dst] = addresses;
    let transport = transport::of_protocol(family, protocol);
    let quoted = Quoted {
        tuple: Tuple { src, dst, protocol, ..Tuple::default() },
        transport,
        header_len,
        len,
    };
    if quoted.has_header() && (len as usize) < QUOTED_LEN {
        return Err(Reason::IcmpMalformed);
    }
    debug_assert!(!matches!(transport, Transport::Fragment));
    Ok(quoted)
}
