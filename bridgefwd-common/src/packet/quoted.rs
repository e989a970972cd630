//! The packet that an ICMP error quotes: told by its transport header, and translated back
//! (RFC 5508, section 4.2).

use super::checksum;
use super::transport::{self, Transport};
use crate::Reason;
use crate::contract::Tuple;

/// How much of a quoted transport header is needed, in bytes: what every router quotes (RFC 792).
pub const QUOTED_LEN: usize = 8;

/// The quoted packet, by value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quoted {
    /// Its addresses and ports, as the sender of the error got it.
    pub tuple: Tuple,
    /// How its transport header is to be read.
    pub transport: Transport,
    /// Length of its IP header in bytes, options or extension headers included.
    pub header_len: u16,
    /// How many bytes behind that are quoted.
    pub len: u32,
}

impl Quoted {
    /// Are there [`QUOTED_LEN`] bytes of a transport header to be looked at? Other protocols are
    /// known by their addresses alone.
    #[inline(always)]
    #[must_use]
    pub const fn has_header(&self) -> bool {
        !matches!(self.transport, Transport::Other | Transport::Fragment)
    }

    /// Completes what is known of the packet by the first bytes behind its IP header.
    ///
    /// # Errors
    /// [`Reason::IcmpError`] where no flow can be found by it: an ICMP message that is no query.
    #[inline(always)]
    pub fn identify(&mut self, after: &[u8; QUOTED_LEN]) -> Result<(), Reason> {
        let tuple = &mut self.tuple;
        match self.transport {
            Transport::Tcp | Transport::Udp | Transport::UdpLike | Transport::Sctp => {
                tuple.src_port = [after[0], after[1]];
                tuple.dst_port = [after[2], after[3]];
            }
            Transport::Query | Transport::QueryV6 => {
                let family = tuple.family();
                let Some((request, is_reply)) = transport::query_of(family, after[0]) else {
                    return Err(Reason::IcmpError);
                };
                tuple.query = request;
                tuple.answer = u8::from(is_reply);
                let id = [after[4], after[5]];
                if is_reply {
                    tuple.dst_port = id;
                } else {
                    tuple.src_port = id;
                }
            }
            Transport::Other | Transport::Fragment => {}
        }
        Ok(())
    }

    /// What a checksum over a pseudo-header and the ports becomes when the packet shows `to`.
    #[inline(always)]
    #[must_use]
    pub fn check(&self, to: &Tuple, check: [u8; 2]) -> [u8; 2] {
        checksum::update_by(check, checksum::difference(&words(&self.tuple), &words(to)))
    }

    /// Rewrites the first bytes behind the IP header so that they show `to`. The checksum of TCP lies
    /// behind them: see [`Quoted::check`].
    #[inline(always)]
    pub fn translate(&self, after: &mut [u8; QUOTED_LEN], to: &Tuple) {
        match self.transport {
            Transport::Udp | Transport::UdpLike => {
                let check = [after[6], after[7]];
                let is_udp = matches!(self.transport, Transport::Udp);
                if check != [0, 0] || !is_udp {
                    let updated = self.check(to, check);
                    // A UDP checksum that comes out as zero is sent as all ones (RFC 768).
                    let updated = if updated == [0, 0] && is_udp { [0xff; 2] } else { updated };
                    after[6] = updated[0];
                    after[7] = updated[1];
                }
                write_ports(after, to);
            }
            Transport::Tcp | Transport::Sctp => write_ports(after, to),
            Transport::Query => {
                let old = self.tuple.query_id();
                let check = checksum::update([after[2], after[3]], &old, &to.query_id());
                write_query(after, check, to);
            }
            Transport::QueryV6 => {
                // The identifier stands in one of the ports, the other being zero: the same sum.
                let check = self.check(to, [after[2], after[3]]);
                write_query(after, check, to);
            }
            Transport::Other | Transport::Fragment => {}
        }
    }
}

/// Addresses and ports of a tuple. What IPv4 addresses are mapped with is the same in all of them,
/// and so does not count in a difference.
#[inline(always)]
fn words(tuple: &Tuple) -> [u32; 9] {
    let [a, b, c, d] = tuple.src.words();
    let [e, f, g, h] = tuple.dst.words();
    let ([i, j], [k, l]) = (tuple.src_port, tuple.dst_port);
    [a, b, c, d, e, f, g, h, u32::from_ne_bytes([i, j, k, l])]
}

#[inline(always)]
fn write_ports(after: &mut [u8; QUOTED_LEN], to: &Tuple) {
    after[0] = to.src_port[0];
    after[1] = to.src_port[1];
    after[2] = to.dst_port[0];
    after[3] = to.dst_port[1];
}

#[inline(always)]
fn write_query(after: &mut [u8; QUOTED_LEN], check: [u8; 2], to: &Tuple) {
    let id = to.query_id();
    after[2] = check[0];
    after[3] = check[1];
    after[4] = id[0];
    after[5] = id[1];
}

#[cfg(test)]
#[path = "quoted_tests.rs"]
mod tests;
