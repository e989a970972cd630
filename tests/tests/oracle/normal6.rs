//! IPv6 frames in a form in which the two routers can be compared.

use std::fmt::Write as _;
use std::net::Ipv6Addr;

use bridgefwd_tests::packets6::HEADER;
use bridgefwd_tests::view::ETHERNET;
use bridgefwd_tests::view6::{Chain, address, checksum6};

use crate::case::Sender;
use crate::normal::{Symbols, covered, digest, macs, verdict, word};

const FRAGMENT: u8 = 44;
const ICMP: u8 = 58;

/// `neighbour_discovery`: what the router says of itself to its neighbours, at some time or other;
/// redirects too, of which it sends so many in a second.
/// Its answers to solicitations are not of that kind, nor is what it would forward of others.
pub fn is_own_talk(frame: &[u8]) -> bool {
    let packet = &frame[ETHERNET..];
    let Some(chain) = Chain::of(packet).filter(|chain| chain.protocol == ICMP) else {
        return false;
    };
    let router = Sender::ALL.iter().any(|sender| frame[6..12] == sender.router_mac());
    let source = address(packet, 8);
    let own = source.is_unspecified() || source.is_unicast_link_local() || is_router(source);
    router && own && matches!(packet.get(chain.end), Some(130..=135 | 137 | 143))
}

/// Is this the router's own address on one of its networks?
fn is_router(address: Ipv6Addr) -> bool {
    matches!(address.segments(), [0xfd00, 1 | 2 | 3 | 9, 0, 0, 0, 0, 0, 1])
}

/// The line of a frame, or that of the datagram which it completes.
pub fn next(pieces: &mut Vec<Vec<u8>>, frame: &[u8], symbols: &mut Symbols) -> Option<String> {
    let packet = &frame[ETHERNET..];
    match Chain::of(packet) {
        // Not to be put together with anything, and the same as no fragment at all (RFC 6946).
        Some(Chain { fragment: Some(0), .. }) => {
            let whole = whole_of(frame, &packet[body_at(packet)?..]).unwrap_or(frame.to_vec());
            Some(line(&whole, symbols))
        }
        Some(chain) if chain.is_piece() => {
            pieces.push(frame.to_vec());
            let whole = reassembled(pieces, frame)?;
            pieces.retain(|piece| key(piece) != key(frame));
            Some(format!("in fragments: {}", line(&whole, symbols)))
        }
        _ => Some(line(frame, symbols)),
    }
}

/// Where the number of the fragment header is written, and where that header is, in a packet.
fn fragment_header(packet: &[u8]) -> Option<(usize, usize)> {
    let (mut number_at, mut at) = (6, HEADER);
    while *packet.get(number_at)? != FRAGMENT {
        let length = match packet[number_at] {
            0 | 43 | 60 => (usize::from(*packet.get(at + 1)?) + 1) * 8,
            51 => (usize::from(*packet.get(at + 1)?) + 2) * 4,
            _ => return None,
        };
        (number_at, at) = (at, at + length);
    }
    (packet.len() >= at + 8).then_some((number_at, at))
}

/// Where the body of a piece begins in its packet.
fn body_at(packet: &[u8]) -> Option<usize> {
    Some(fragment_header(packet)?.1 + 8)
}

/// What pieces of one datagram have in common.
fn key(frame: &[u8]) -> Option<Vec<u8>> {
    let packet = &frame[ETHERNET..];
    let (_, at) = fragment_header(packet)?;
    Some([&packet[8..HEADER], &packet[at + 4..at + 8]].concat())
}

/// The datagram of `last`, once all its pieces are there.
fn reassembled(pieces: &[Vec<u8>], last: &[u8]) -> Option<Vec<u8>> {
    let mut data: Vec<Option<u8>> = Vec::new();
    let (mut first, mut length) = (None, None);
    for piece in pieces.iter().filter(|piece| key(piece) == key(last)) {
        let packet = &piece[ETHERNET..];
        let (_, at) = fragment_header(packet)?;
        let end = (HEADER + usize::from(word(packet, 4))).min(packet.len());
        let (field, body) = (word(packet, at + 2), packet.get(at + 8..end)?);
        let offset = usize::from(field & 0xfff8);
        if offset == 0 {
            first.get_or_insert(piece);
        }
        if field & 1 == 0 {
            length.get_or_insert(offset + body.len());
        }
        data.resize(data.len().max(offset + body.len()), None);
        for (slot, byte) in data[offset..].iter_mut().zip(body) {
            slot.get_or_insert(*byte);
        }
    }
    data.truncate(length?);
    let data =
        data.into_iter().collect::<Option<Vec<u8>>>().filter(|data| Some(data.len()) == length)?;
    let mut whole = whole_of(first?, &data)?;
    // Whoever puts them together keeps what any of them says of congestion (RFC 3168, section 5.3).
    let congested = |piece: &&Vec<u8>| piece[ETHERNET + 1] & 0x30 == 0x30;
    if pieces.iter().filter(|piece| key(piece) == key(last)).any(|piece| congested(&piece)) {
        whole[ETHERNET + 1] |= 0x30;
    }
    Some(whole)
}

/// The datagram whose first piece is `frame`, with all of its body.
fn whole_of(frame: &[u8], body: &[u8]) -> Option<Vec<u8>> {
    let (number_at, at) = fragment_header(&frame[ETHERNET..])?;
    let mut whole = [&frame[..ETHERNET + at], body].concat();
    whole[ETHERNET + number_at] = frame[ETHERNET + at];
    let length = u16::try_from(at - HEADER + body.len()).ok()?;
    whole[ETHERNET + 4..ETHERNET + 6].copy_from_slice(&length.to_be_bytes());
    Some(whole)
}

/// A frame as a line.
pub fn line(frame: &[u8], symbols: &mut Symbols) -> String {
    format!("{} {}", macs(frame), packet(&frame[ETHERNET..], symbols, false))
}

/// An IPv6 packet; `inner`: as an ICMPv6 error quotes it, maybe cut off.
fn packet(bytes: &[u8], symbols: &mut Symbols, inner: bool) -> String {
    let chain = Chain::of(bytes).filter(|chain| bytes.len() >= HEADER && chain.end <= bytes.len());
    let Some(chain) = chain.filter(|_| bytes[0] >> 4 == 6) else {
        return format!("no IPv6: {bytes:02x?}");
    };
    let (src, dst) = (address(bytes, 8), address(bytes, 24));
    let end = (HEADER + usize::from(word(bytes, 4))).clamp(chain.end, bytes.len());
    let body = &bytes[chain.end..end];
    let whole = !inner && !chain.is_piece();
    // `router_flow_label`
    let label = match chain.protocol {
        ICMP if !inner && is_router(src) && !is_echo(body) => "-".to_owned(),
        _ => format!("{:02x}{:04x}", bytes[1] & 15, word(bytes, 2)),
    };
    let class = bytes[0] << 4 | bytes[1] >> 4;
    let mut text = format!(
        "{src}>{dst} proto {} hops {} class {class:02x} label {label} len {}",
        chain.protocol,
        bytes[7],
        word(bytes, 4)
    );
    if chain.end > HEADER {
        let mut headers = bytes[HEADER..chain.end].to_vec();
        if let Some((_, at)) = fragment_header(bytes)
            && !inner
        {
            // `fragment_ids6`
            headers[at + 4 - HEADER..at + 8 - HEADER].fill(0);
        }
        let _ = write!(text, " headers {:?} {headers:02x?}", chain.extensions);
    }
    if chain.later_fragment || body.len() < 8 {
        let _ = write!(text, " {}", digest(body));
        return text;
    }
    let covered = covered(chain.protocol, body);
    let mut sum = verdict(checksum6(bytes, chain.protocol, body.len(), covered) == 0);
    if !whole {
        sum = "-";
    }
    match chain.protocol {
        protocol @ (6 | 17 | 33 | 132 | 136) => {
            let source = symbols.name(protocol, src, word(body, 0));
            let target = symbols.name(protocol, dst, word(body, 2));
            let (at, sum) = match protocol {
                6 => (16, sum),
                132 => (0, "crc"),
                17 if body[6..8] == [0, 0] => (6, "none"),
                _ => (6, sum),
            };
            let mut rest = body[4..].to_vec();
            if let Some(field) = rest.get_mut(at.max(4) - 4..at.max(4) - 2)
                && protocol != 132
                && (whole || !inner)
            {
                field.fill(0);
            }
            let _ = write!(text, " ports {source}>{target} sum {sum} {}", digest(&rest));
        }
        ICMP => {
            let _ = write!(text, " icmp {}/{} sum {sum}", body[0], body[1]);
            if is_echo(body) {
                let owner = if body[0] == 128 { src } else { dst };
                let id = symbols.name(ICMP, owner, word(body, 4));
                let _ = write!(text, " id {id} {}", digest(&body[6..]));
            } else if body[0] < 128 && body.len() >= 8 + HEADER {
                let quoted = packet(&body[8..], symbols, true);
                let (rest, length) = (&body[4..8], body.len() - 8);
                let _ = write!(text, " {rest:02x?} quotes {length} bytes [{quoted}]");
            } else {
                let _ = write!(text, " {}", digest(&body[4..]));
            }
        }
        _ => {
            let _ = write!(text, " {}", digest(body));
        }
    }
    text
}

fn is_echo(body: &[u8]) -> bool {
    body.first().is_some_and(|kind| matches!(kind, 128 | 129))
}
