//! Frames to order: well formed from a description, and broken on purpose by editing the bytes.

use std::net::{Ipv4Addr, SocketAddrV4};

use etherparse::{
    IpDscp, IpEcn, IpFragOffset, IpNumber, Ipv4Header, Ipv4Options, TcpHeader, UdpHeader,
};

use crate::view::{ETHERNET, fill_checksums};

/// TCP flags.
pub mod flags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Opens.
    pub const SYN: u8 = 0x02;
    /// Aborts.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement number counts.
    pub const ACK: u8 = 0x10;
}

/// What follows the IP header, and its extension headers where it is IPv6.
#[derive(Clone, Debug)]
pub enum Transport {
    /// TCP, without options.
    Tcp {
        /// Source port.
        src_port: u16,
        /// Destination port.
        dst_port: u16,
        /// See [`flags`].
        flags: u8,
        /// Sequence number.
        seq: u32,
        /// Acknowledgement number.
        ack: u32,
    },
    /// UDP.
    Udp {
        /// Source port.
        src_port: u16,
        /// Destination port.
        dst_port: u16,
        /// With a checksum, or the 0 that says there is none.
        checksum: bool,
    },
    /// ICMP, or ICMPv6; for an echo `rest` is the identifier and the sequence number.
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// Bytes 5 to 8.
        rest: [u8; 4],
    },
    /// Only the payload, under this protocol number.
    Other(u8),
}

/// Description of a frame with an IPv4 packet in it.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Source MAC.
    pub mac_src: [u8; 6],
    /// Destination MAC.
    pub mac_dst: [u8; 6],
    /// VLAN identifier of an 802.1Q tag in the frame.
    pub vlan: Option<u16>,
    /// Source address.
    pub src: Ipv4Addr,
    /// Destination address.
    pub dst: Ipv4Addr,
    /// Time to live.
    pub ttl: u8,
    /// Type of service.
    pub tos: u8,
    /// IP identification.
    pub id: u16,
    /// Don't fragment.
    pub dont_fragment: bool,
    /// More fragments.
    pub more_fragments: bool,
    /// Fragment offset in units of 8 bytes.
    pub fragment_offset: u16,
    /// IPv4 options; a multiple of 4 bytes.
    pub options: Vec<u8>,
    /// The transport header.
    pub transport: Transport,
    /// What follows it.
    pub payload: Vec<u8>,
    /// Bytes after the IPv4 packet, as Ethernet pads short frames.
    pub padding: usize,
}

impl Packet {
    fn new(src: Ipv4Addr, dst: Ipv4Addr, transport: Transport) -> Self {
        Self {
            mac_src: [0; 6],
            mac_dst: [0; 6],
            vlan: None,
            src,
            dst,
            ttl: 64,
            tos: 0x28,
            id: 0x1234,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            options: Vec::new(),
            transport,
            payload: Vec::new(),
            padding: 0,
        }
    }

    /// A TCP segment with these flags, of a connection that each side began with the number 1000.
    #[must_use]
    pub fn tcp(src: SocketAddrV4, dst: SocketAddrV4, flags: u8) -> Self {
        let (src_port, dst_port) = (src.port(), dst.port());
        let [seq, ack] = numbers(flags);
        let transport = Transport::Tcp { src_port, dst_port, flags, seq, ack };
        Self::new(*src.ip(), *dst.ip(), transport)
    }

    /// A UDP datagram with a small payload.
    #[must_use]
    pub fn udp(src: SocketAddrV4, dst: SocketAddrV4) -> Self {
        let (src_port, dst_port) = (src.port(), dst.port());
        let transport = Transport::Udp { src_port, dst_port, checksum: true };
        Self::new(*src.ip(), *dst.ip(), transport).payload(b"datagram")
    }

    /// An ICMP message.
    #[must_use]
    pub fn icmp(src: Ipv4Addr, dst: Ipv4Addr, kind: u8, code: u8, rest: [u8; 4]) -> Self {
        Self::new(src, dst, Transport::Icmp { kind, code, rest }).payload(b"echo echo echo")
    }

    /// An ICMP echo request.
    #[must_use]
    pub fn echo_request(src: Ipv4Addr, dst: Ipv4Addr, id: u16) -> Self {
        let [high, low] = id.to_be_bytes();
        Self::icmp(src, dst, 8, 0, [high, low, 0, 1])
    }

    /// An ICMP echo reply.
    #[must_use]
    pub fn echo_reply(src: Ipv4Addr, dst: Ipv4Addr, id: u16) -> Self {
        let [high, low] = id.to_be_bytes();
        Self::icmp(src, dst, 0, 0, [high, low, 0, 1])
    }

    /// A packet of another protocol.
    #[must_use]
    pub fn other(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8) -> Self {
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

    /// Changed by `edit`.
    #[must_use]
    pub fn with(mut self, edit: impl FnOnce(&mut Self)) -> Self {
        edit(&mut self);
        self
    }

    /// The frame, with every checksum right.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let mut frame = [self.mac_dst, self.mac_src].concat();
        if let Some(vlan) = self.vlan {
            frame.extend([0x8100, vlan].map(u16::to_be_bytes).concat());
        }
        frame.extend([0x08, 0x00]);
        let start = frame.len();
        let (protocol, transport) = self.transport.header(self.payload.len(), 1);
        let length = transport.len() + self.payload.len();
        let mut header = Ipv4Header::new(
            u16::try_from(length).expect("fits"),
            self.ttl,
            IpNumber(protocol),
            self.src.octets(),
            self.dst.octets(),
        )
        .expect("fits");
        header.dscp = IpDscp::try_new(self.tos >> 2).expect("6 bits");
        header.ecn = IpEcn::try_new(self.tos & 3).expect("2 bits");
        header.identification = self.id;
        header.dont_fragment = self.dont_fragment;
        header.more_fragments = self.more_fragments;
        header.fragment_offset = IpFragOffset::try_new(self.fragment_offset).expect("13 bits");
        header.options = Ipv4Options::try_from(&self.options[..]).expect("multiple of 4");
        header.set_payload_len(length).expect("fits");
        header.write(&mut frame).expect("written");
        frame.extend(&transport);
        frame.extend(&self.payload);
        let no_checksum = matches!(self.transport, Transport::Udp { checksum: false, .. });
        if !self.more_fragments && self.fragment_offset == 0 && !no_checksum {
            fill_checksums(&mut frame[start..]);
        }
        frame.resize(frame.len() + self.padding, 0);
        frame
    }

    /// The frame, broken by `edit`. Checksums stay as they were: see [`edited`] to have them right.
    #[must_use]
    pub fn broken(&self, edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut frame = self.build();
        edit(&mut frame);
        frame
    }

    /// The frame with the IPv4 header edited, and its checksum made right again.
    #[must_use]
    pub fn edited(&self, edit: impl FnOnce(&mut [u8])) -> Vec<u8> {
        let mut frame = self.build();
        let header = &mut frame[ETHERNET..ETHERNET + 20];
        edit(header);
        header[10..12].fill(0);
        let sum = crate::view::internet_checksum(&[header]);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        frame
    }
}

impl Transport {
    /// The header in front of `payload` bytes, and its protocol number; `icmp` is that of ICMP. The
    /// checksum is left 0.
    pub(crate) fn header(&self, payload: usize, icmp: u8) -> (u8, Vec<u8>) {
        match *self {
            Self::Tcp { src_port, dst_port, flags, seq, ack } => {
                let header = TcpHeader {
                    acknowledgment_number: ack,
                    ..TcpHeader::new(src_port, dst_port, seq, 0x4000)
                };
                let mut bytes = header.to_bytes().to_vec();
                bytes[13] = flags;
                (6, bytes)
            }
            Self::Udp { src_port, dst_port, .. } => {
                let header = UdpHeader::without_ipv4_checksum(src_port, dst_port, payload);
                (17, header.expect("fits").to_bytes().to_vec())
            }
            Self::Icmp { kind, code, rest } => {
                (icmp, [&[kind, code, 0, 0][..], &rest[..]].concat())
            }
            Self::Other(protocol) => (protocol, Vec::new()),
        }
    }
}

/// Sequence and acknowledgment number of a segment without data in front of it, where both sides
/// began with 1000.
pub(crate) const fn numbers(flags: u8) -> [u32; 2] {
    let is_first = flags & flags::SYN != 0;
    let acknowledges = flags & flags::ACK != 0 || !is_first;
    [if is_first { 1000 } else { 1001 }, if acknowledges { 1001 } else { 0 }]
}

/// An ARP request of `src` for `wanted`.
#[must_use]
pub fn arp_request(mac: [u8; 6], src: Ipv4Addr, wanted: Ipv4Addr) -> Vec<u8> {
    let mut frame = [&[0xff; 6][..], &mac[..], &[0x08, 0x06]].concat();
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend(src.octets());
    frame.extend([0; 6]);
    frame.extend(wanted.octets());
    frame
}

/// A UDP datagram over IPv6, between link-local addresses.
#[must_use]
pub fn ipv6_udp(mac_src: [u8; 6], mac_dst: [u8; 6]) -> Vec<u8> {
    let mut frame = Vec::new();
    let mut address = [0; 16];
    (address[0], address[1], address[15]) = (0xfe, 0x80, 1);
    etherparse::PacketBuilder::ethernet2(mac_src, mac_dst)
        .ipv6(address, [2; 16], 64)
        .udp(1000, 2000)
        .write(&mut frame, b"six")
        .expect("written");
    frame
}
