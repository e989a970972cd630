//! The packet that an ICMP error quotes (RFC 792, RFC 1812 section 4.3.2.3): read, and translated
//! back (RFC 5508, section 4.2).

use network_types::ip::Ipv4Hdr;

use super::checksum;
use super::transport::{self, Transport};
use crate::Reason;
use crate::contract::{Address, Family, Tuple};

/// How much of a quoted transport header there is for certain.
pub const QUOTED_LEN: usize = 8;

/// The quoted packet, by value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quoted {
    /// Its addresses and ports, as the sender of the error got it.
    pub tuple: Tuple,
    /// How its transport header is to be read.
    pub transport: Transport,
    /// Length of its IP header in bytes, 20 to 60.
    pub header_len: u8,
}

/// Reads a quoted packet from its IP header and the first bytes behind that.
///
/// # Errors
/// [`Reason::IcmpMalformed`] where it is none, [`Reason::IcmpError`] where no flow can be found by
/// it: a later fragment, or an ICMP message that is no echo.
#[inline(always)]
pub fn read(header: &[u8; Ipv4Hdr::LEN], after: &[u8; QUOTED_LEN]) -> Result<Quoted, Reason> {
    let header_len = header[0].wrapping_mul(4) & 0x3c;
    if header[0] >> 4 != 4 || header_len < Ipv4Hdr::LEN as u8 {
        return Err(Reason::IcmpMalformed);
    }
    if header[6] & 0x1f != 0 || header[7] != 0 {
        return Err(Reason::IcmpError);
    }
    let transport = transport::of_protocol(Family::V4, header[9]);
    let mut query = 0;
    let ports = match transport {
        Transport::Tcp | Transport::Udp | Transport::UdpLike | Transport::Sctp => {
            [[after[0], after[1]], [after[2], after[3]]]
        }
        Transport::Query => {
            let Some((request, is_reply)) = transport::query_of(Family::V4, after[0]) else {
                return Err(Reason::IcmpError);
            };
            query = request;
            let id = [after[4], after[5]];
            if is_reply { [[0; 2], id] } else { [id, [0; 2]] }
        }
        Transport::QueryV6 | Transport::Other | Transport::Fragment => [[0; 2]; 2],
    };
    Ok(Quoted {
        tuple: Tuple {
            src: Address::v4([header[12], header[13], header[14], header[15]]),
            dst: Address::v4([header[16], header[17], header[18], header[19]]),
            src_port: ports[0],
            dst_port: ports[1],
            protocol: header[9],
            query,
            _zero: [0; 2],
        },
        transport,
        header_len,
    })
}

/// Addresses and ports of a tuple: what the checksums of a quoted packet cover of it.
#[inline(always)]
fn words(tuple: &Tuple) -> [u8; 12] {
    let [a, b, c, d] = tuple.src.last_word().to_ne_bytes();
    let [e, f, g, h] = tuple.dst.last_word().to_ne_bytes();
    let ([i, j], [k, l]) = (tuple.src_port, tuple.dst_port);
    [a, b, c, d, e, f, g, h, i, j, k, l]
}

/// Rewrites the quoted headers so that they show `to` instead of what they show.
#[inline(always)]
pub fn translate(
    quoted: &Quoted,
    header: &mut [u8; Ipv4Hdr::LEN],
    after: &mut [u8; QUOTED_LEN],
    to: &Tuple,
) {
    let (old, new) = (words(&quoted.tuple), words(to));
    let old_addresses = [old[0], old[1], old[2], old[3], old[4], old[5], old[6], old[7]];
    let new_addresses = [new[0], new[1], new[2], new[3], new[4], new[5], new[6], new[7]];
    let check = checksum::update([header[10], header[11]], &old_addresses, &new_addresses);
    header[10] = check[0];
    header[11] = check[1];
    let mut at = 0;
    while at < 8 {
        header[12 + at] = new_addresses[at];
        at += 1;
    }
    match quoted.transport {
        Transport::Udp | Transport::UdpLike => {
            let check = [after[6], after[7]];
            if check != [0, 0] || matches!(quoted.transport, Transport::UdpLike) {
                let updated = checksum::update(check, &old, &new);
                // A UDP checksum that comes out as zero is sent as all ones (RFC 768).
                let zero = updated == [0, 0] && matches!(quoted.transport, Transport::Udp);
                let updated = if zero { [0xff; 2] } else { updated };
                after[6] = updated[0];
                after[7] = updated[1];
            }
            write_ports(after, &new);
        }
        Transport::Tcp | Transport::Sctp => write_ports(after, &new),
        Transport::Query => {
            let old_id = quoted.tuple.query_id();
            let new_id = to.query_id();
            let check = checksum::update([after[2], after[3]], &old_id, &new_id);
            after[2] = check[0];
            after[3] = check[1];
            after[4] = new_id[0];
            after[5] = new_id[1];
        }
        Transport::QueryV6 | Transport::Other | Transport::Fragment => {}
    }
}

#[inline(always)]
fn write_ports(after: &mut [u8; QUOTED_LEN], new: &[u8; 12]) {
    after[0] = new[8];
    after[1] = new[9];
    after[2] = new[10];
    after[3] = new[11];
}

/// What the checksum of a quoted TCP header becomes, where the quote reaches that far.
#[inline(always)]
#[must_use]
pub fn tcp_check(quoted: &Quoted, to: &Tuple, check: [u8; 2]) -> [u8; 2] {
    checksum::update(check, &words(&quoted.tuple), &words(to))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::packet::transport::{PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP};

    fn header(protocol: u8) -> [u8; 20] {
        let mut header = [0; 20];
        header[0] = 0x45;
        header[9] = protocol;
        header[12..20].copy_from_slice(&[172, 19, 0, 1, 172, 19, 0, 2]);
        let check = (!checksum::fold(checksum::sum_words(&header))).to_ne_bytes();
        header[10..12].copy_from_slice(&check);
        header
    }

    #[test]
    fn what_cannot_be_found_by_is_refused() {
        let after = [0; QUOTED_LEN];
        let with = |at: usize, value: u8| {
            let mut bytes = header(PROTOCOL_UDP);
            bytes[at] = value;
            read(&bytes, &after).map(|quoted| quoted.header_len)
        };
        assert_eq!(with(0, 0x45), Ok(20));
        assert_eq!(with(0, 0x4f), Ok(60));
        assert_eq!(with(0, 0x44), Err(Reason::IcmpMalformed));
        assert_eq!(with(0, 0x65), Err(Reason::IcmpMalformed));
        assert_eq!(with(6, 0x20), Ok(20)); // a first fragment has ports
        assert_eq!(with(7, 1), Err(Reason::IcmpError));
        assert_eq!(with(6, 0x1f), Err(Reason::IcmpError));
        let unreachable = [3, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(read(&header(PROTOCOL_ICMP), &unreachable), Err(Reason::IcmpError));
    }

    proptest! {
        #[test]
        fn there_and_back_is_the_original(
            after: [u8; 8], src: [u8; 4], port: [u8; 2],
            protocol in prop_oneof![Just(PROTOCOL_TCP), Just(PROTOCOL_UDP), Just(PROTOCOL_ICMP), Just(132), Just(47)],
        ) {
            let mut after = after;
            if protocol == PROTOCOL_ICMP { after[0] = 8; }
            let original = (header(protocol), after);
            let there = read(&original.0, &original.1).unwrap();
            let src = Address::v4(src);
            let to = match there.transport {
                Transport::Other => Tuple { src, ..there.tuple },
                _ => Tuple { src, src_port: port, ..there.tuple },
            };
            let (mut bytes, mut rest) = original;
            translate(&there, &mut bytes, &mut rest, &to);
            let back = read(&bytes, &rest).unwrap();
            prop_assert_eq!(back.tuple, to);
            prop_assert_eq!(checksum::fold(checksum::sum_words(&bytes)), 0xffff);
            translate(&back, &mut bytes, &mut rest, &there.tuple);
            prop_assert_eq!(bytes, original.0);
            // The checksum may come back as the other zero.
            let at = if protocol == PROTOCOL_ICMP { 2 } else { 6 };
            let (mut a, mut b) = (rest, original.1);
            if a[at..at + 2] != b[at..at + 2] {
                let other_zero = |x: &[u8]| x == [0, 0] || x == [0xff, 0xff];
                prop_assert!(other_zero(&a[at..at + 2]) && other_zero(&b[at..at + 2]));
            }
            a[at..at + 2].fill(0);
            b[at..at + 2].fill(0);
            prop_assert_eq!(a, b);
        }
    }
}
