//! Frames with random damage: whatever they are, one reason is counted, what passes is untouched
//! (both checked by [`Program::run`]), and nothing leaves with an inner source address.
//!
//! [`Program::run`]: bridgefwd_tests::program::Program::run

use bridgefwd_tests::needs_root;
use bridgefwd_tests::packets::{Packet, flags};
use bridgefwd_tests::program::REDIRECT;
use bridgefwd_tests::view::{ETHERNET, internet_checksum};

use crate::bench::bench;

/// SplitMix64 with a fixed seed: a failure is met again in the next run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }
}

#[test]
fn damaged_frames() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at(10_000), bench.b().at(80));
        let whole = [
            Packet::tcp(client, server, flags::SYN),
            Packet::udp(client, server),
            Packet::echo_request(*client.ip(), *server.ip(), 7),
            Packet::tcp(client, server, flags::SYN).with(|packet| packet.options = vec![1; 8]),
        ];
        let port = bench.a().port_index;
        let mut random = Random(3);
        let mut redirected = 0;
        for _ in 0..3000 {
            let mut frame = bench.frame(bench.a(), &whole[random.below(whole.len())]);
            for _ in 0..random.below(4) {
                // Behind the MACs, and mostly in the headers.
                let at = 12 + random.below(frame.len() - 12);
                frame[at] = random.below(256) as u8;
            }
            if random.below(4) == 0 {
                // As short as a test run takes it.
                frame.truncate(ETHERNET + 20 + random.below(frame.len() - ETHERNET - 20));
            }
            if random.below(2) == 0 {
                frame[ETHERNET + 10..ETHERNET + 12].fill(0);
                let sum = internet_checksum(&[&frame[ETHERNET..ETHERNET + 20]]);
                frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&sum.to_be_bytes());
            }
            let outcome = bench.program.run(port, &frame);
            if outcome.verdict == REDIRECT {
                redirected += 1;
                let header = &outcome.frame[ETHERNET..ETHERNET + 20];
                assert_eq!(internet_checksum(&[header]), 0, "{frame:02x?}");
                assert_eq!(header[8], frame[ETHERNET + 8] - 1, "{frame:02x?}");
                assert_eq!(header[12..16], bench.gateway().octets(), "{frame:02x?}");
            }
        }
        assert!(redirected > 100, "only {redirected} were good");
    });
}
