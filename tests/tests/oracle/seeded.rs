//! Many ordinary conversations with every field drawn at random, from a fixed seed.

use bridgefwd_tests::needs_root;
use bridgefwd_tests::packets::{Packet, Transport, flags::*};
use bridgefwd_tests::view::at;

use crate::case::{PORTS, Sender, Step, answer, b, send};
use crate::compare::Pair;
use crate::modes::PLAIN;
use crate::world::{A, A2, B, NAT};

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
    fn decorate(&mut self, packet: Packet) -> Packet {
        let payload: Vec<u8> = (0..self.below(600)).map(|_| self.below(256) as u8).collect();
        packet.payload(&payload).with(|packet| {
            packet.ttl = 2 + self.below(254) as u8;
            packet.tos = self.below(256) as u8;
            packet.id = self.below(65_536) as u16;
            packet.dont_fragment = self.below(2) == 0;
            packet.padding = if self.below(4) == 0 { self.below(40) as usize } else { 0 };
            if let Transport::Udp { checksum, .. } = &mut packet.transport {
                *checksum = self.below(4) > 0;
            }
        })
    }

    fn conversation(&mut self, first: u16) -> Vec<Step> {
        let (by, client) = if self.below(2) == 0 { (Sender::A, A) } else { (Sender::A2, A2) };
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
                (true, true) => Packet::echo_request(client, B, first),
                (true, false) => Packet::echo_reply(B, NAT, first),
                (false, true) => Packet::udp(at(client, port), at(B, server)),
                (false, false) => Packet::udp(at(B, server), at(NAT, port)),
            };
            let packet = self.decorate(packet);
            steps.push(match (original, echo) {
                (true, _) => send(by, packet),
                (false, true) => b(packet),
                (false, false) => answer(packet),
            });
        }
        if self.below(3) == 0 {
            let syn = Packet::tcp(at(client, port), at(B, server), SYN);
            steps.push(send(by, self.decorate(syn).payload(b"")));
        }
        steps
    }
}

#[test]
fn conversations() {
    needs_root!();
    let (pair, mut random) = (Pair::new(PLAIN), Random(SEED));
    let mut wrong = String::new();
    for number in 0..CONVERSATIONS {
        if let Some(difference) = pair.difference(|first| random.conversation(first)) {
            wrong += &format!("conversation {number} of seed {SEED:#x} differs:\n{difference}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
