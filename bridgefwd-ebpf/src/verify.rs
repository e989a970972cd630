//! Transport checksums, verified of packets that make or end a flow: a damaged one must not. Those of
//! all others are the receiver's to verify, and stay right or wrong.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::programs::TcContext;
use bridgefwd_common::contract::Family;
use bridgefwd_common::packet::checksum;
use bridgefwd_common::packet::ip::{Fragment, Ip};
use bridgefwd_common::packet::transport::Transport;

use crate::apply::{ICMP_CHECK, TCP_CHECK, UDP_CHECK};
use crate::icmp_quote::message_sum;
use crate::scratch;

/// What a message sums up to with its checksum.
const RIGHT: u32 = 0xffff;

/// Does the transport checksum of the packet in `SCRATCH` hold, as far as it can be told? 1 if so. Global
/// to the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn checksum_holds(skb: *mut __sk_buff) -> u32 {
    let Some(scratch) = scratch::current() else { return 0 };
    let packet = &scratch.packet;
    // Of a piece we do not see everything that it covers; segments get theirs when they are cut.
    if packet.gso_size != 0 || !matches!(packet.ip.fragment, Fragment::None) {
        return 1;
    }
    let check = match packet.segment.transport {
        Transport::Tcp => TCP_CHECK,
        Transport::Udp => UDP_CHECK,
        Transport::Query | Transport::QueryV6 => ICMP_CHECK,
        Transport::UdpLike | Transport::Sctp | Transport::Other | Transport::Fragment => return 1,
    };
    let at = (packet.transport_at() + check) & 0xfff;
    let Ok(field) = TcContext::new(skb).load::<u16>(at) else { return 0 };
    if matches!(packet.segment.transport, Transport::Query) {
        return u32::from(message_sum(skb, 0) == RIGHT);
    }
    if field == 0 && matches!(packet.segment.transport, Transport::Udp) {
        // There is none (RFC 768).
        return 1;
    }
    let pseudo = pseudo_header(&packet.ip);
    // With offloaded checksums there is only that yet.
    if field == checksum::fold(pseudo) {
        return 1;
    }
    u32::from(message_sum(skb, pseudo) == RIGHT)
}

#[inline(always)]
fn pseudo_header(ip: &Ip) -> u32 {
    match ip.family {
        Family::V4 => {
            let addresses = checksum::add(ip.src.last_word(), ip.dst.last_word());
            let rest = u32::from((ip.payload_len as u16).to_be())
                + u32::from(u16::from(ip.protocol).to_be());
            checksum::add(addresses, rest)
        }
        Family::V6 => checksum::pseudo_header_v6(
            &ip.src.words(),
            &ip.dst.words(),
            ip.payload_len,
            ip.protocol,
        ),
    }
}
