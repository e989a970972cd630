//! IPv6 frames to order: extension headers, fragments, and errors with the packet that they quote.

use std::net::{Ipv6Addr, SocketAddrV6};

use crate::packets::{Transport, numbers};
use crate::view::ETHERNET;
use crate::view6::fill_checksums6;

/// Length of the IPv6 header.
pub const HEADER: usize = 40;

/// An extension header.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Extension {
    /// Its number, which the header before it names as the next.
    pub number: u8,
    /// What follows its first byte, the number of the next header.
    pub body: Vec<u8>,
}

impl Extension {
    /// Hop-by-hop options: see [`Extension::options`].
    #[must_use]
    pub fn hop_by_hop(options: &[u8]) -> Self {
        Self::options(0, options)
    }

    /// Options for the destination: see [`Extension::options`].
    #[must_use]
    pub fn destination(options: &[u8]) -> Self {
        Self::options(60, options)
    }

    /// A header of options, padded to a multiple of 8 bytes by `Pad1` and `PadN` (RFC 8200,
    /// section 4.2).
    #[must_use]
    pub fn options(number: u8, options: &[u8]) -> Self {
        let mut body = [&[0], options].concat();
        let padding = (body.len() + 1).next_multiple_of(8) - body.len() - 1;
        match padding {
            0 => {}
            1 => body.push(0),
            _ => {
                body.extend([1, padding as u8 - 2]);
                body.resize(body.len() + padding - 2, 0);
            }
        }
        body[0] = u8::try_from((body.len() + 1) / 8 - 1).expect("fits");
        Self { number, body }
    }

    /// A routing header of this type with these addresses.
    #[must_use]
    pub fn routing(kind: u8, segments_left: u8, addresses: &[Ipv6Addr]) -> Self {
        let length = u8::try_from(addresses.len() * 2).expect("fits");
        let mut body = vec![length, kind, segments_left, 0, 0, 0, 0];
        if kind == 4 {
            // A segment routing header names its last entry (RFC 8754, section 2).
            body[3] = u8::try_from(addresses.len().saturating_sub(1)).expect("fits");
        }
        body.extend(addresses.iter().flat_map(Ipv6Addr::octets));
        Self { number: 43, body }
    }

    /// A fragment header; `offset` in bytes, a multiple of 8.
    #[must_use]
    pub fn fragment(offset: usize, more: bool, id: u32) -> Self {
        let field = u16::try_from(offset).expect("fits") | u16::from(more);
        Self { number: 44, body: [&[0], &field.to_be_bytes()[..], &id.to_be_bytes()].concat() }
    }

    /// An authentication header with a check value of 12 bytes (RFC 4302).
    #[must_use]
    pub fn authentication(spi: u32, sequence: u32) -> Self {
        let head = [&[4, 0, 0], &spi.to_be_bytes()[..], &sequence.to_be_bytes()].concat();
        Self { number: 51, body: [&head[..], &[0xa5; 12]].concat() }
    }
}

/// Description of a frame with an IPv6 packet in it.
#[derive(Clone, Debug)]
pub struct Packet6 {
    /// Source MAC.
    pub mac_src: [u8; 6],
    /// Destination MAC.
    pub mac_dst: [u8; 6],
    /// Priority and identifier of an 802.1Q tag in the frame.
    pub vlan: Option<u16>,
    /// Source address.
    pub src: Ipv6Addr,
    /// Destination address.
    pub dst: Ipv6Addr,
    /// Hop limit.
    pub hop_limit: u8,
    /// Traffic class.
    pub traffic_class: u8,
    /// Flow label, 20 bits.
    pub flow_label: u32,
    /// Between the IPv6 header and the transport's, in order.
    pub extensions: Vec<Extension>,
    /// The transport header; ICMP is ICMPv6.
    pub transport: Transport,
    /// What follows it.
    pub payload: Vec<u8>,
    /// Bytes after the IPv6 packet.
    pub padding: usize,
}

impl Packet6 {
    fn new(src: Ipv6Addr, dst: Ipv6Addr, transport: Transport) -> Self {
        Self {
            mac_src: [0; 6],
            mac_dst: [0; 6],
            vlan: None,
            src,
            dst,
            hop_limit: 64,
            traffic_class: 0x28,
            flow_label: 0x5_1234,
            extensions: Vec::new(),
            transport,
            payload: Vec::new(),
            padding: 0,
        }
    }

    /// A TCP segment with these flags, with the numbers of [`Packet::tcp`](crate::packets::Packet::tcp).
    #[must_use]
    pub fn tcp(src: SocketAddrV6, dst: SocketAddrV6, flags: u8) -> Self {
        let (src_port, dst_port) = (src.port(), dst.port());
        let [seq, ack] = numbers(flags);
        let transport = Transport::Tcp { src_port, dst_port, flags, seq, ack };
        Self::new(*src.ip(), *dst.ip(), transport)
    }

    /// A UDP datagram with a small payload.
    #[must_use]
    pub fn udp(src: SocketAddrV6, dst: SocketAddrV6) -> Self {
        let (src_port, dst_port) = (src.port(), dst.port());
        let transport = Transport::Udp { src_port, dst_port, checksum: true };
        Self::new(*src.ip(), *dst.ip(), transport).payload(b"datagram")
    }

    /// An ICMPv6 message.
    #[must_use]
    pub fn icmp(src: Ipv6Addr, dst: Ipv6Addr, kind: u8, code: u8, rest: [u8; 4]) -> Self {
        Self::new(src, dst, Transport::Icmp { kind, code, rest }).payload(b"echo echo echo")
    }

    /// An echo request.
    #[must_use]
    pub fn echo_request(src: Ipv6Addr, dst: Ipv6Addr, id: u16) -> Self {
        let [high, low] = id.to_be_bytes();
        Self::icmp(src, dst, 128, 0, [high, low, 0, 1])
    }

    /// An echo reply.
    #[must_use]
    pub fn echo_reply(src: Ipv6Addr, dst: Ipv6Addr, id: u16) -> Self {
        let [high, low] = id.to_be_bytes();
        Self::icmp(src, dst, 129, 0, [high, low, 0, 1])
    }

    /// An ICMPv6 error: `kind` is type and code, `rest` bytes 5 to 8, and `quoted` what it quotes,
    /// from the IPv6 header on.
    #[must_use]
    pub fn error(
        src: Ipv6Addr,
        dst: Ipv6Addr,
        kind: (u8, u8),
        rest: [u8; 4],
        quoted: &[u8],
    ) -> Self {
        Self::icmp(src, dst, kind.0, kind.1, rest).payload(quoted)
    }

    /// A packet of another protocol.
    #[must_use]
    pub fn other(src: Ipv6Addr, dst: Ipv6Addr, protocol: u8) -> Self {
        Self::new(src, dst, Transport::Other(protocol)).payload(&[7; 40])
    }

    /// With these MACs.
    #[must_use]
    pub fn macs(mut self, src: [u8; 6], dst: [u8; 6]) -> Self {
        (self.mac_src, self.mac_dst) = (src, dst);
        self
    }

    /// With this payload.
    #[must_use]
    pub fn payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    /// With one more extension header, the last.
    #[must_use]
    pub fn extension(mut self, extension: Extension) -> Self {
        self.extensions.push(extension);
        self
    }

    /// Changed by `edit`.
    #[must_use]
    pub fn with(mut self, edit: impl FnOnce(&mut Self)) -> Self {
        edit(&mut self);
        self
    }

    /// The frame, with its checksum right; that of a fragment stays 0.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let (protocol, transport) = self.transport.header(self.payload.len(), 58);
        let mut body = [&transport[..], &self.payload].concat();
        let mut next = protocol;
        for extension in self.extensions.iter().rev() {
            body.splice(..0, [&[next], &extension.body[..]].concat());
            next = extension.number;
        }
        let mut frame = self.link_header();
        let start = frame.len();
        let first = 6 << 28 | u32::from(self.traffic_class) << 20 | self.flow_label & 0xf_ffff;
        frame.extend(first.to_be_bytes());
        frame.extend(u16::try_from(body.len()).expect("fits").to_be_bytes());
        frame.extend([next, self.hop_limit]);
        frame.extend(self.src.octets());
        frame.extend(self.dst.octets());
        frame.extend(body);
        if !matches!(self.transport, Transport::Udp { checksum: false, .. }) {
            fill_checksums6(&mut frame[start..]);
        }
        frame.resize(frame.len() + self.padding, 0);
        frame
    }

    /// The frame, broken by `edit`; its checksum stays as it was.
    #[must_use]
    pub fn broken(&self, edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut frame = self.build();
        edit(&mut frame);
        frame
    }

    /// The packet from the IPv6 header on, as an error quotes it.
    #[must_use]
    pub fn quoted(&self) -> Vec<u8> {
        self.build()[self.link_header().len()..].to_vec()
    }

    /// The packet in pieces: `(offset, length)` of what follows its extension headers, in bytes. The
    /// piece that ends it says so; the transport checksum is that of the whole.
    #[must_use]
    pub fn pieces(&self, id: u32, cuts: &[(usize, usize)]) -> Vec<Vec<u8>> {
        let whole = self.build();
        let length =
            self.extensions.iter().map(|extension| extension.body.len() + 1).sum::<usize>();
        let body = &whole[self.link_header().len() + HEADER + length..];
        let (protocol, _) = self.transport.header(self.payload.len(), 58);
        let piece = |&(offset, length): &(usize, usize)| {
            let end = (offset + length).min(body.len());
            let fragment = Extension::fragment(offset, end < body.len(), id);
            let piece = Self {
                transport: Transport::Other(protocol),
                payload: body[offset..end].to_vec(),
                padding: 0,
                ..self.clone()
            };
            piece.extension(fragment).raw()
        };
        cuts.iter().map(piece).collect()
    }

    /// The frame without a checksum computed: the payload has it.
    fn raw(&self) -> Vec<u8> {
        let Transport::Other(protocol) = self.transport else { panic!("nothing to compute") };
        // No next header: nobody looks for a checksum behind it.
        let blank = Self { transport: Transport::Other(59), ..self.clone() };
        let mut frame = blank.build();
        let mut at = self.link_header().len() + 6;
        if let Some((_, before)) = self.extensions.split_last() {
            let length: usize = before.iter().map(|extension| extension.body.len() + 1).sum();
            at = self.link_header().len() + HEADER + length;
        }
        frame[at] = protocol;
        frame
    }

    fn link_header(&self) -> Vec<u8> {
        let mut header = [self.mac_dst, self.mac_src].concat();
        if let Some(vlan) = self.vlan {
            header.extend([0x8100, vlan].map(u16::to_be_bytes).concat());
        }
        header.extend([0x86, 0xdd]);
        debug_assert!(header.len() >= ETHERNET);
        header
    }
}
