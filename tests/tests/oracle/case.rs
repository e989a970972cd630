//! A case: what is sent, and by whom.

use bridgefwd_tests::packets::{Packet, Transport};
use bridgefwd_tests::packets6::Packet6;
use bridgefwd_tests::topology::mac_of;

/// Ports that each case has to itself, from the first on.
pub const PORTS: u16 = 16;

/// Who sends; also the place of the host among the world's taps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sender {
    /// The other client.
    A2 = 0,
    /// The client.
    A = 1,
    /// The server.
    B = 2,
    /// The host that nothing is allowed from or to.
    C = 3,
    /// The host outside, behind the uplink.
    O = 4,
}

impl Sender {
    /// Every host, in the order of the taps.
    pub const ALL: [Self; 5] = [Self::A2, Self::A, Self::B, Self::C, Self::O];

    /// Number of its network, and of itself in it.
    fn place(self) -> (u8, u8) {
        match self {
            Self::A2 => (1, 2),
            // Not 2: 10.1.0.2 and 10.2.0.1, to which it is translated, have the same sum, and so a
            // checksum that was not updated would be right.
            Self::A => (1, 3),
            Self::B => (2, 2),
            Self::C => (3, 2),
            Self::O => (9, 2),
        }
    }

    /// MAC of its interface.
    #[must_use]
    pub fn mac(self) -> [u8; 6] {
        mac_of(self.place().0, self.place().1)
    }

    /// MAC of the router, as it sees it.
    #[must_use]
    pub fn router_mac(self) -> [u8; 6] {
        mac_of(self.place().0, 1)
    }

    /// What it is called in what the test prints.
    #[must_use]
    pub fn name(self) -> &'static str {
        ["a2", "a", "b", "c", "outside"][self as usize]
    }
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
    /// To the port that the router chose, as its sender last saw it.
    ToChosenPort(Packet),
    /// The same, by IPv6.
    ToChosenPort6(Packet6),
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
        let set = |transport: &mut Transport| {
            if let Transport::Tcp { dst_port, .. } | Transport::Udp { dst_port, .. } = transport
                && let Some(chosen) = chosen
            {
                *dst_port = chosen;
            }
        };
        match &self.what {
            What::Frame(bytes) => bytes.clone(),
            What::ToChosenPort(packet) => packet.clone().with(|p| set(&mut p.transport)).build(),
            What::ToChosenPort6(packet) => packet.clone().with(|p| set(&mut p.transport)).build(),
        }
    }
}

/// A packet that steps can be made of, of either family.
pub trait Sent {
    /// With the MACs of a sender and its router.
    #[must_use]
    fn addressed(self, by: Sender) -> Self;
    /// The frame as its sender sends it.
    fn frame(self, by: Sender) -> Vec<u8>;
    /// Sent to the port that the router chose, as `by` last saw it.
    fn to_chosen_port(self, by: Sender) -> Step;
}

impl Sent for Packet {
    fn addressed(self, by: Sender) -> Self {
        self.macs(by.mac(), by.router_mac())
    }

    fn frame(self, by: Sender) -> Vec<u8> {
        self.addressed(by).build()
    }

    fn to_chosen_port(self, by: Sender) -> Step {
        Step { by, what: What::ToChosenPort(self.addressed(by)) }
    }
}

impl Sent for Packet6 {
    fn addressed(self, by: Sender) -> Self {
        self.macs(by.mac(), by.router_mac())
    }

    fn frame(self, by: Sender) -> Vec<u8> {
        self.addressed(by).build()
    }

    fn to_chosen_port(self, by: Sender) -> Step {
        Step { by, what: What::ToChosenPort6(self.addressed(by)) }
    }
}

/// The packet as it is, sent by `by` to its router.
#[must_use]
pub fn send(by: Sender, packet: impl Sent) -> Step {
    raw(by, packet.frame(by))
}

/// The client sends this.
#[must_use]
pub fn a(packet: impl Sent) -> Step {
    send(Sender::A, packet)
}

/// The server sends this.
#[must_use]
pub fn b(packet: impl Sent) -> Step {
    send(Sender::B, packet)
}

/// Bytes as they are.
#[must_use]
pub fn raw(by: Sender, frame: Vec<u8>) -> Step {
    Step { by, what: What::Frame(frame) }
}
