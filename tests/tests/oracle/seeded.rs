//! Many ordinary conversations with every field drawn at random, from a fixed seed.

use bridgefwd_tests::needs_root;
use bridgefwd_tests::packets::{Transport, flags::*};

use crate::case::{PORTS, Sender, Step, send};
use crate::compare::Pair;
use crate::modes::{Mode, PLAIN};
use crate::net::{Fields, Net, UP4, V4, Wire, up6, v6};

const SEED: u64 = 0x6272_6964_6765;
const CONVERSATIONS: u16 = 300;

/// Splitmix64: the same numbers on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    /// Fields that any packet may have.
    fn decorate<W: Wire>(&mut self, packet: W) -> W {
        let payload: Vec<u8> = (0..self.below(600)).map(|_| self.below(256) as u8).collect();
        let fields = Fields {
            hops: 2 + self.below(254) as u8,
            class: self.below(256) as u8,
            label: self.below(1 << 20) as u32,
            dont_fragment: self.below(2) == 0,
            padding: if self.below(4) == 0 { self.below(40) as usize } else { 0 },
        };
        let mut packet = packet.bytes(&payload).fields(fields);
        if let Transport::Udp { checksum, .. } = packet.transport() {
            // IPv6 has no datagrams without one.
            *checksum = self.below(4) > 0 || size_of::<W::Address>() == 16;
        }
        packet
    }

    fn conversation<W: Wire>(&mut self, net: Net<W>, first: u16) -> Vec<Step> {
        let (by, client) = match self.below(2) {
            0 => (Sender::A, net.client),
            _ => (Sender::A2, net.other),
        };
        let seen = net.seen(client);
        let port = match self.below(4) {
            0 => first.wrapping_add(32_768).max(1024),
            _ => first + self.below(u64::from(PORTS)) as u16,
        };
        let server = 1 + self.below(65_535) as u16;
        let echo = self.below(3) == 0;
        let mut steps = Vec::new();
        for _ in 0..1 + self.below(6) {
            let original = self.below(2) == 0 || steps.is_empty();
            // An echo keeps its identifier in the router only where no one else has it: the case's
            // own ports are nobody else's.
            let packet = match (echo, original) {
                (true, true) => W::ping(client, net.server, first),
                (true, false) => W::pong(net.server, seen, first),
                (false, true) => W::udp((client, port), (net.server, server)),
                (false, false) => W::udp((net.server, server), (seen, port)),
            };
            let packet = self.decorate(packet);
            steps.push(match (original, echo) {
                (true, _) => send(by, packet),
                (false, true) => net.b(packet),
                (false, false) => net.answer(packet),
            });
        }
        if self.below(3) == 0 {
            let syn = W::tcp((client, port), (net.server, server), SYN);
            steps.push(send(by, self.decorate(syn).bytes(b"")));
        }
        steps
    }
}

/// Plays them on both routers.
fn play<W: Wire>(mode: Mode, net: Net<W>) {
    let (pair, mut random) = (Pair::new(mode), Random(SEED));
    let mut wrong = String::new();
    for number in 0..CONVERSATIONS {
        if let Some(difference) = pair.difference(|first| random.conversation(net, first)) {
            wrong += &format!("conversation {number} of seed {SEED:#x} differs:\n{difference}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn conversations() {
    needs_root!();
    play(PLAIN, V4);
}

#[test]
fn conversations_with_the_outside() {
    needs_root!();
    play(PLAIN, UP4);
}

#[test]
fn ipv6_conversations() {
    needs_root!();
    play(PLAIN, v6(false));
}

#[test]
fn ipv6_conversations_with_the_outside_masqueraded() {
    needs_root!();
    play(Mode { nat66: true, ..PLAIN }, up6(true));
}
