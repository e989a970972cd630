//! Frames in a form in which the two routers can be compared: see [`crate::differences`] for what
//! is left out, and why.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use bridgefwd_tests::topology::mac_of;
use bridgefwd_tests::uplink::{UPLINK, UPLINK6};
use bridgefwd_tests::view::{ETHERNET, internet_checksum};
use bridgefwd_tests::view6::Chain;

use crate::normal6;
use crate::world::{NAT, NAT6};

/// What one host received, in order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Seen {
    /// The host.
    pub host: &'static str,
    /// Its packets, each as a line.
    pub packets: Vec<String>,
}

/// Names for ports that the router chose, by first appearance.
pub struct Symbols {
    own: BTreeSet<u16>,
    chosen: Vec<(u8, u16)>,
}

impl Symbols {
    /// The clients' own ports appear as they are.
    #[must_use]
    pub fn new(own: BTreeSet<u16>) -> Self {
        Self { own, chosen: Vec::new() }
    }

    /// What stands for a port of `owner` in a line.
    pub fn name(&mut self, protocol: u8, owner: impl Into<IpAddr>, port: u16) -> String {
        let routers: [IpAddr; 4] = [NAT.into(), UPLINK.into(), NAT6.into(), UPLINK6.into()];
        // A port below 512 is translated to another one of these only, and cases have one each.
        let low = port < 512 && !matches!(protocol, 1 | 58);
        if !routers.contains(&owner.into()) || self.own.contains(&port) || low {
            return port.to_string();
        }
        let known = self.chosen.iter().position(|&entry| entry == (protocol, port));
        let place = known.unwrap_or_else(|| {
            self.chosen.push((protocol, port));
            self.chosen.len() - 1
        });
        format!("#{place}")
    }
}

/// Ports of a frame; of an ICMP query both are its identifier.
pub struct Ends {
    /// IP protocol number.
    pub protocol: u8,
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub target: u16,
}

/// Of a frame of either family; `None` where it has none, or is a later fragment.
#[must_use]
pub fn ends(frame: &[u8]) -> Option<Ends> {
    let (_, frame) = without_tag(frame);
    let packet = frame.get(ETHERNET..)?;
    let (protocol, body) = match frame[12..14] {
        [8, 0] if packet.len() >= 20 => {
            let header = usize::from(packet[0] & 15) * 4;
            (word(packet, 6) & 0x1fff == 0).then(|| (packet[9], packet.get(header..)))?
        }
        [0x86, 0xdd] if packet.len() >= 40 => {
            let chain = Chain::of(packet).filter(|chain| !chain.later_fragment)?;
            (chain.protocol, packet.get(chain.end..))
        }
        _ => return None,
    };
    let body = body.filter(|body| body.len() >= 8)?;
    match protocol {
        6 | 17 | 33 | 132 | 136 => {
            Some(Ends { protocol, source: word(body, 0), target: word(body, 2) })
        }
        1 | 58 if has_identifier(body[0]) || matches!(body[0], 128 | 129) => {
            Some(Ends { protocol, source: word(body, 4), target: word(body, 4) })
        }
        _ => None,
    }
}

/// The IP packets among the frames. Fragments are put together: see `fragment_boundaries`.
#[must_use]
pub fn packets_of(frames: &[Vec<u8>], symbols: &mut Symbols) -> Vec<String> {
    let (mut four, mut six) = (Vec::new(), Vec::new());
    let mut lines = Vec::new();
    for frame in frames {
        let (tag, frame) = without_tag(frame);
        let from = lines.len();
        match frame[12..14] {
            // `igmp`: whoever sends it.
            [8, 0] if frame.len() > 34 && frame[ETHERNET + 9] != 2 => {
                lines.extend(next(&mut four, &frame, symbols));
            }
            [0x86, 0xdd] if frame.len() > 54 && !normal6::is_own_talk(&frame) => {
                lines.extend(normal6::next(&mut six, &frame, symbols));
            }
            _ => {}
        }
        for line in &mut lines[from..] {
            line.insert_str(0, &tag);
        }
    }
    lines.extend(four.iter().map(|piece| format!("fragment: {}", line(piece, symbols))));
    lines.extend(six.iter().map(|piece| format!("fragment: {}", normal6::line(piece, symbols))));
    lines
}

/// An 802.1Q tag as text, and the frame without it.
fn without_tag(frame: &[u8]) -> (String, Vec<u8>) {
    if frame[12..14] != [0x81, 0] || frame.len() < 18 {
        return (String::new(), frame.to_vec());
    }
    let (more, inner) = without_tag(&[&frame[..12], &frame[16..]].concat());
    (format!("tag {:04x} {more}", word(frame, 14)), inner)
}

/// The line of a frame, or that of the datagram which it completes.
fn next(pieces: &mut Vec<Vec<u8>>, frame: &[u8], symbols: &mut Symbols) -> Option<String> {
    if fragment_field(frame) & 0x3fff == 0 {
        return Some(line(frame, symbols));
    }
    pieces.push(frame.to_vec());
    let whole = reassembled(pieces, frame)?;
    pieces.retain(|piece| !same_datagram(piece, frame));
    Some(format!("in fragments: {}", line(&whole, symbols)))
}

/// MAC addresses of a frame: those of the world by name.
pub fn macs(frame: &[u8]) -> String {
    let name = |bytes: &[u8]| {
        let known = [1, 2, 3, 9].into_iter().flat_map(|n| (1..=3).map(move |h| (n, h)));
        match known.into_iter().find(|&(network, host)| mac_of(network, host) == bytes) {
            Some((network, host)) => format!("mac({network}.{host})"),
            None => format!("{bytes:02x?}"),
        }
    };
    format!("{}>{}", name(&frame[6..12]), name(&frame[..6]))
}

/// A number of two bytes in network order.
pub fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn fragment_field(frame: &[u8]) -> u16 {
    word(frame, ETHERNET + 6)
}

/// Identification, protocol and addresses are the same.
fn same_datagram(one: &[u8], other: &[u8]) -> bool {
    let key = |frame: &[u8]| {
        [&frame[ETHERNET + 4..ETHERNET + 6], &frame[ETHERNET + 9..=ETHERNET + 9]]
            .concat()
            .into_iter()
            .chain(frame[ETHERNET + 12..ETHERNET + 20].iter().copied())
            .collect::<Vec<u8>>()
    };
    key(one) == key(other)
}

/// The datagram of `last`, once all its pieces are there.
fn reassembled(pieces: &[Vec<u8>], last: &[u8]) -> Option<Vec<u8>> {
    let mine: Vec<_> = pieces.iter().filter(|piece| same_datagram(piece, last)).collect();
    let place = |piece: &[u8]| usize::from(fragment_field(piece) & 0x1fff) * 8;
    let body = |piece: &[u8]| {
        let header = usize::from(piece[ETHERNET] & 15) * 4;
        let total = usize::from(word(piece, ETHERNET + 2)).min(piece.len() - ETHERNET);
        piece[ETHERNET + header..ETHERNET + total].to_vec()
    };
    let end = mine.iter().find(|piece| fragment_field(piece) & 0x2000 == 0)?;
    let length = place(end) + body(end).len();
    let mut data: Vec<Option<u8>> = vec![None; length];
    for piece in &mine {
        for (slot, byte) in data.iter_mut().skip(place(piece)).zip(body(piece)) {
            slot.get_or_insert(byte);
        }
    }
    let data: Vec<u8> = data.into_iter().collect::<Option<_>>()?;
    let first = mine.iter().find(|piece| place(piece) == 0)?;
    let header = usize::from(first[ETHERNET] & 15) * 4;
    let mut whole = [&first[..ETHERNET + header], &data].concat();
    let total = u16::try_from(header + length).ok()?;
    whole[ETHERNET + 2..ETHERNET + 4].copy_from_slice(&total.to_be_bytes());
    let flags = fragment_field(first) & 0x4000;
    whole[ETHERNET + 6..ETHERNET + 8].copy_from_slice(&flags.to_be_bytes());
    whole[ETHERNET + 10..ETHERNET + 12].fill(0);
    let sum = internet_checksum(&[&whole[ETHERNET..ETHERNET + header]]);
    whole[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&sum.to_be_bytes());
    Some(whole)
}

fn line(frame: &[u8], symbols: &mut Symbols) -> String {
    format!("{} {}", macs(frame), packet(&frame[ETHERNET..], symbols, false))
}

/// An IPv4 packet; `inner`: as an ICMP error quotes it, maybe cut off.
fn packet(bytes: &[u8], symbols: &mut Symbols, inner: bool) -> String {
    let header = usize::from(bytes[0] & 15) * 4;
    if bytes[0] >> 4 != 4 || header < 20 || header > bytes.len() {
        return format!("no IPv4: {bytes:02x?}");
    }
    let address =
        |at: usize| Ipv4Addr::from([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let (src, dst, protocol) = (address(12), address(16), bytes[9]);
    // `padding`: what follows the packet is not looked at.
    let end = usize::from(word(bytes, 2)).clamp(header, bytes.len());
    let body = &bytes[header..end];
    let from_router = !inner && src.octets()[3] == 1 && protocol == 1 && !asks(body);
    let id = if from_router { "-".to_owned() } else { format!("{:04x}", word(bytes, 4)) };
    let sum = internet_checksum(&[&bytes[..header]]) == 0;
    let mut text = format!(
        "{src}>{dst} proto {protocol} ttl {} tos {:02x} id {id} frag {:04x} len {} ip-sum {}",
        bytes[8],
        bytes[1],
        word(bytes, 6),
        word(bytes, 2),
        verdict(sum)
    );
    if header > 20 {
        let mut options = bytes[20..header].to_vec();
        // `times`: the last four bytes of the timestamp option of our case.
        if let [0x44, 12, .., _, _, _, _] = options[..] {
            options[8..12].fill(0);
        }
        let _ = write!(text, " options {options:02x?}");
    }
    let first = word(bytes, 6) & 0x1fff == 0;
    let whole = !inner && word(bytes, 6) & 0x3fff == 0;
    let pseudo = [&bytes[12..20], &[0, protocol], &(body.len() as u16).to_be_bytes()].concat();
    match protocol {
        6 | 17 if first && body.len() >= 8 => {
            let source = symbols.name(protocol, src, word(body, 0));
            let target = symbols.name(protocol, dst, word(body, 2));
            let at = if protocol == 6 { 16 } else { 6 };
            let sum = match body.get(at..at + 2) {
                Some([0, 0]) if protocol == 17 => "none",
                Some(_) if whole => verdict(internet_checksum(&[&pseudo, body]) == 0),
                _ => "-",
            };
            let mut rest = body[4..].to_vec();
            if let Some(field) = rest.get_mut(at - 4..at - 2)
                && (whole || !inner)
            {
                field.fill(0);
            }
            let _ = write!(text, " ports {source}>{target} sum {sum} {}", digest(&rest));
        }
        33 | 132 | 136 if first && body.len() >= 8 => {
            let source = symbols.name(protocol, src, word(body, 0));
            let target = symbols.name(protocol, dst, word(body, 2));
            let sum = match protocol {
                132 => "crc",
                _ => verdict(internet_checksum(&[&pseudo, covered(protocol, body)]) == 0),
            };
            let mut rest = body[4..].to_vec();
            if protocol != 132 {
                rest[2..4].fill(0);
            }
            let _ = write!(text, " ports {source}>{target} sum {sum} {}", digest(&rest));
        }
        1 if first && body.len() >= 8 => icmp(&mut text, body, whole, src, dst, symbols),
        _ => {
            let _ = write!(text, " {}", digest(body));
        }
    }
    text
}

fn icmp(
    text: &mut String,
    body: &[u8],
    whole: bool,
    src: Ipv4Addr,
    dst: Ipv4Addr,
    symbols: &mut Symbols,
) {
    let sum = if whole { verdict(internet_checksum(&[body]) == 0) } else { "-" };
    let _ = write!(text, " icmp {}/{} sum {sum}", body[0], body[1]);
    if has_identifier(body[0]) {
        let owner = if asks(body) { src } else { dst };
        let id = symbols.name(1, owner, word(body, 4));
        let mut rest = body[6..].to_vec();
        // `times`: when the router itself was asked, and when it answered.
        if body[0] == 14 && src.octets()[3] == 1 && rest.len() == 14 {
            rest.truncate(6);
        }
        let _ = write!(text, " id {id} {}", digest(&rest));
    } else if matches!(body[0], 3 | 4 | 5 | 11 | 12) && body.len() >= 28 {
        let quoted = packet(&body[8..], symbols, true);
        let _ = write!(text, " {:02x?} quotes {} bytes [{quoted}]", &body[4..8], body.len() - 8);
    } else {
        let _ = write!(text, " {}", digest(&body[4..]));
    }
}

/// Types of queries and of their answers.
fn has_identifier(kind: u8) -> bool {
    matches!(kind, 0 | 8 | 13..=18)
}

/// Is this a query?
fn asks(body: &[u8]) -> bool {
    body.first().is_some_and(|kind| matches!(kind, 8 | 13 | 15 | 17))
}

/// What the checksum of a body covers: of UDP-Lite what it says.
pub fn covered(protocol: u8, body: &[u8]) -> &[u8] {
    let length = usize::from(word(body, 4));
    if protocol == 136 && length >= 8 { body.get(..length).unwrap_or(body) } else { body }
}

/// Of a checksum.
pub fn verdict(good: bool) -> &'static str {
    if good { "ok" } else { "BAD" }
}

/// Short ones as they are, long ones by length and checksum.
pub fn digest(bytes: &[u8]) -> String {
    if bytes.len() <= 64 {
        return bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    }
    let sum = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{} bytes {sum:016x}", bytes.len())
}
