//! What cases of both families and of every server have in common: packets between a client and a
//! server, and how the server sees the client.

use std::net::{Ipv4Addr, Ipv6Addr};

use bridgefwd_tests::packets::{Packet, Transport};
use bridgefwd_tests::packets6::Packet6;
use bridgefwd_tests::uplink::{OUTSIDE, OUTSIDE6, UPLINK, UPLINK6};
use bridgefwd_tests::view::{ETHERNET, at, internet_checksum};
use bridgefwd_tests::view6::{at6, checksum6};

use crate::case::{Sender, Sent, Step, raw, send};
use crate::world::{A, A2, A2_6, A6, B, B6, NAT, NAT6};

/// Fields of an IP header that both families have, and what else is anybody's choice.
pub struct Fields {
    /// Time to live, or hop limit.
    pub hops: u8,
    /// Type of service, or traffic class.
    pub class: u8,
    /// Flow label; of IPv4 the lower 16 bits are the identification.
    pub label: u32,
    /// Don't fragment, in IPv4.
    pub dont_fragment: bool,
    /// Bytes behind the packet.
    pub padding: usize,
}

/// Packets of one family.
pub trait Wire: Sent + Clone + 'static {
    /// IPv4 or IPv6 address.
    type Address: Copy + 'static;

    /// A TCP segment.
    fn tcp(from: (Self::Address, u16), to: (Self::Address, u16), flags: u8) -> Self;
    /// A UDP datagram.
    fn udp(from: (Self::Address, u16), to: (Self::Address, u16)) -> Self;
    /// An echo request.
    fn ping(from: Self::Address, to: Self::Address, id: u16) -> Self;
    /// An echo reply.
    fn pong(from: Self::Address, to: Self::Address, id: u16) -> Self;
    /// Another protocol.
    fn other(from: Self::Address, to: Self::Address, protocol: u8) -> Self;
    /// With another source.
    #[must_use]
    fn from(self, source: Self::Address) -> Self;
    /// With another destination.
    #[must_use]
    fn to(self, target: Self::Address) -> Self;
    /// With this payload.
    #[must_use]
    fn bytes(self, payload: &[u8]) -> Self;
    /// With these fields.
    #[must_use]
    fn fields(self, fields: Fields) -> Self;
    /// With the checksum at this offset of its payload set, over so many bytes of that and the
    /// pseudo-header.
    #[must_use]
    fn summed(self, offset: usize, covered: usize) -> Self;
    /// Its transport header.
    fn transport(&mut self) -> &mut Transport;
    /// Sent in pieces: `(offset, length)` of its body in bytes; the one that ends it says so. `id` is
    /// their identification.
    fn in_pieces(self, by: Sender, id: u16, cuts: &[(usize, usize)]) -> Vec<Step>;
}

impl Wire for Packet {
    type Address = Ipv4Addr;

    fn tcp(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), flags: u8) -> Self {
        Self::tcp(at(from.0, from.1), at(to.0, to.1), flags)
    }

    fn udp(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) -> Self {
        Self::udp(at(from.0, from.1), at(to.0, to.1))
    }

    fn ping(from: Ipv4Addr, to: Ipv4Addr, id: u16) -> Self {
        Self::echo_request(from, to, id)
    }

    fn pong(from: Ipv4Addr, to: Ipv4Addr, id: u16) -> Self {
        Self::echo_reply(from, to, id)
    }

    fn other(from: Ipv4Addr, to: Ipv4Addr, protocol: u8) -> Self {
        Self::other(from, to, protocol)
    }

    fn from(self, src: Ipv4Addr) -> Self {
        Self { src, ..self }
    }

    fn to(self, dst: Ipv4Addr) -> Self {
        Self { dst, ..self }
    }

    fn bytes(self, payload: &[u8]) -> Self {
        self.payload(payload)
    }

    fn fields(self, fields: Fields) -> Self {
        let Fields { hops, class, label, dont_fragment, padding } = fields;
        Self { ttl: hops, tos: class, id: label as u16, dont_fragment, padding, ..self }
    }

    fn summed(mut self, offset: usize, covered: usize) -> Self {
        let Transport::Other(protocol) = self.transport else { return self };
        let length = (self.payload.len() as u16).to_be_bytes();
        let pseudo = [&self.src.octets()[..], &self.dst.octets(), &[0, protocol], &length].concat();
        let sum = internet_checksum(&[&pseudo, &self.payload[..covered]]);
        self.payload[offset..offset + 2].copy_from_slice(&sum.to_be_bytes());
        self
    }

    fn transport(&mut self) -> &mut Transport {
        &mut self.transport
    }

    fn in_pieces(self, by: Sender, id: u16, cuts: &[(usize, usize)]) -> Vec<Step> {
        let whole = self.with(|p| (p.id, p.dont_fragment) = (id, false)).frame(by);
        let (head, body) = whole.split_at(ETHERNET + 20);
        let piece = |&(offset, length): &(usize, usize)| {
            let end = (offset + length).min(body.len());
            let mut frame = [head, &body[offset..end]].concat();
            let total = (20 + end - offset) as u16;
            frame[ETHERNET + 2..ETHERNET + 4].copy_from_slice(&total.to_be_bytes());
            let more = if end < body.len() { 0x2000 } else { 0 };
            let field = (offset / 8) as u16 | more;
            frame[ETHERNET + 6..ETHERNET + 8].copy_from_slice(&field.to_be_bytes());
            frame[ETHERNET + 10..ETHERNET + 12].fill(0);
            let sum = internet_checksum(&[&frame[ETHERNET..ETHERNET + 20]]);
            frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&sum.to_be_bytes());
            raw(by, frame)
        };
        cuts.iter().map(piece).collect()
    }
}

impl Wire for Packet6 {
    type Address = Ipv6Addr;

    fn tcp(from: (Ipv6Addr, u16), to: (Ipv6Addr, u16), flags: u8) -> Self {
        Self::tcp(at6(from.0, from.1), at6(to.0, to.1), flags)
    }

    fn udp(from: (Ipv6Addr, u16), to: (Ipv6Addr, u16)) -> Self {
        Self::udp(at6(from.0, from.1), at6(to.0, to.1))
    }

    fn ping(from: Ipv6Addr, to: Ipv6Addr, id: u16) -> Self {
        Self::echo_request(from, to, id)
    }

    fn pong(from: Ipv6Addr, to: Ipv6Addr, id: u16) -> Self {
        Self::echo_reply(from, to, id)
    }

    fn other(from: Ipv6Addr, to: Ipv6Addr, protocol: u8) -> Self {
        Self::other(from, to, protocol)
    }

    fn from(self, src: Ipv6Addr) -> Self {
        Self { src, ..self }
    }

    fn to(self, dst: Ipv6Addr) -> Self {
        Self { dst, ..self }
    }

    fn bytes(self, payload: &[u8]) -> Self {
        self.payload(payload)
    }

    fn fields(self, fields: Fields) -> Self {
        let Fields { hops, class, label, padding, .. } = fields;
        Self { hop_limit: hops, traffic_class: class, flow_label: label, padding, ..self }
    }

    fn summed(mut self, offset: usize, covered: usize) -> Self {
        let Transport::Other(protocol) = self.transport else { return self };
        let sum = checksum6(&self.quoted(), protocol, self.payload.len(), &self.payload[..covered]);
        self.payload[offset..offset + 2].copy_from_slice(&sum.to_be_bytes());
        self
    }

    fn transport(&mut self) -> &mut Transport {
        &mut self.transport
    }

    fn in_pieces(self, by: Sender, id: u16, cuts: &[(usize, usize)]) -> Vec<Step> {
        let frames = self.addressed(by).pieces(u32::from(id), cuts);
        frames.into_iter().map(|frame| raw(by, frame)).collect()
    }
}

/// A client and a server, and what the router makes of the client's source.
pub struct Net<W: Wire> {
    /// What names of its cases begin with.
    pub prefix: &'static str,
    /// The client, [`Sender::A`].
    pub client: W::Address,
    /// The other client, [`Sender::A2`].
    pub other: W::Address,
    /// The server.
    pub server: W::Address,
    /// The server's host.
    pub far: Sender,
    /// The router's address on the server's side.
    pub router: W::Address,
    /// Clients leave with [`Net::router`] as their source.
    pub masquerade: bool,
}

// Derived, they would ask the same of packets.
impl<W: Wire> Clone for Net<W> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<W: Wire> Copy for Net<W> {}

/// The server on the other bridge, by IPv4.
pub const V4: Net<Packet> = Net {
    prefix: "",
    client: A,
    other: A2,
    server: B,
    far: Sender::B,
    router: NAT,
    masquerade: true,
};

/// The server outside, by IPv4.
pub const UP4: Net<Packet> =
    Net { prefix: "uplink/", server: OUTSIDE, far: Sender::O, router: UPLINK, ..V4 };

/// The server on the other bridge, by IPv6.
#[must_use]
pub fn v6(masquerade: bool) -> Net<Packet6> {
    Net {
        prefix: if masquerade { "nat66/" } else { "v6/" },
        client: A6,
        other: A2_6,
        server: B6,
        far: Sender::B,
        router: NAT6,
        masquerade,
    }
}

/// The server outside, by IPv6.
#[must_use]
pub fn up6(masquerade: bool) -> Net<Packet6> {
    Net {
        prefix: if masquerade { "nat66/uplink/" } else { "v6/uplink/" },
        server: OUTSIDE6,
        far: Sender::O,
        router: UPLINK6,
        ..v6(masquerade)
    }
}

impl<W: Wire> Net<W> {
    /// How the server sees a client.
    #[must_use]
    pub fn seen(&self, client: W::Address) -> W::Address {
        if self.masquerade { self.router } else { client }
    }

    /// The client's datagram from `port` to the server's port 53.
    #[must_use]
    pub fn there(&self, port: u16) -> W {
        W::udp((self.client, port), (self.server, 53))
    }

    /// The answer to it.
    #[must_use]
    pub fn back(&self, port: u16) -> W {
        W::udp((self.server, 53), (self.seen(self.client), port))
    }

    /// The server sends this.
    #[must_use]
    pub fn b(&self, packet: W) -> Step {
        send(self.far, packet)
    }

    /// The server answers to the port that it last saw.
    #[must_use]
    pub fn answer(&self, packet: W) -> Step {
        packet.to_chosen_port(self.far)
    }

    /// Name of a case.
    #[must_use]
    pub fn name(&self, rest: &str) -> String {
        format!("{}{rest}", self.prefix)
    }
}
