//! A case: what is sent, by whom, and whether both routers must do the same with it.

use bridgefwd_tests::packets::{Packet, Transport};

use crate::world::{A, A2, B, C, NAT, NEAR, mac};

/// Ports that each case has to itself, from the first on.
pub const PORTS: u16 = 16;

/// Who sends; also the place of the host in the router's list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sender {
    /// The client.
    A = 0,
    /// The other client.
    A2 = 1,
    /// The server.
    B = 2,
    /// The host that nothing is allowed from or to.
    C = 3,
}

/// One frame.
#[derive(Clone, Debug)]
pub struct Step {
    /// Who sends it.
    pub by: Sender,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Frame(Vec<u8>),
    /// To the port that the router chose, as the server last saw it.
    ToChosenPort(Packet),
}

/// A named conversation.
pub struct Case {
    /// What it shows.
    pub name: String,
    /// The frames; the argument is the first of [`PORTS`] ports that no other case uses.
    pub steps: Box<dyn Fn(u16) -> Vec<Step>>,
}

impl Case {
    /// A case.
    pub fn new(name: impl Into<String>, steps: impl Fn(u16) -> Vec<Step> + 'static) -> Self {
        Self { name: name.into(), steps: Box::new(steps) }
    }
}

impl Step {
    /// The frame's bytes, once it is known which port the router chose.
    #[must_use]
    pub fn frame(&self, chosen: Option<u16>) -> Vec<u8> {
        match &self.what {
            What::Frame(bytes) => bytes.clone(),
            What::ToChosenPort(packet) => {
                let to = |packet: &mut Packet| {
                    if let Transport::Tcp { dst_port, .. } | Transport::Udp { dst_port, .. } =
                        &mut packet.transport
                        && let Some(chosen) = chosen
                    {
                        *dst_port = chosen;
                    }
                };
                packet.clone().with(to).build()
            }
        }
    }
}

/// With the MACs of a sender and its router.
#[must_use]
pub fn addressed(by: Sender, packet: Packet) -> Packet {
    let (host, router) = match by {
        Sender::A => (A, NEAR),
        Sender::A2 => (A2, NEAR),
        Sender::B => (B, NAT),
        Sender::C => (C, std::net::Ipv4Addr::new(10, 3, 0, 1)),
    };
    packet.macs(mac(host), mac(router))
}

/// The packet as it is, sent by `by` to its router.
#[must_use]
pub fn send(by: Sender, packet: Packet) -> Step {
    Step { by, what: What::Frame(addressed(by, packet).build()) }
}

/// The client sends this.
#[must_use]
pub fn a(packet: Packet) -> Step {
    send(Sender::A, packet)
}

/// The server sends this.
#[must_use]
pub fn b(packet: Packet) -> Step {
    send(Sender::B, packet)
}

/// The server answers to the port that it last saw.
#[must_use]
pub fn answer(packet: Packet) -> Step {
    Step { by: Sender::B, what: What::ToChosenPort(addressed(Sender::B, packet)) }
}

/// Bytes as they are.
#[must_use]
pub fn raw(by: Sender, frame: Vec<u8>) -> Step {
    Step { by, what: What::Frame(frame) }
}
