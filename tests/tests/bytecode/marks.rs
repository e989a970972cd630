//! What the program says to itself from one place to the next, and what others say in the same words.

use bridgefwd_common::Reason;
use bridgefwd_tests::needs_root;
use bridgefwd_tests::packets::{Packet, flags};
use bridgefwd_tests::program::{Buffer, Change};
use bridgefwd_tests::view::at;

use crate::bench::{A, Bench, bench};

/// Our bit of `mark`.
const OURS: u32 = 1 << 30;
/// `tc_index` of a packet that was judged on its port.
const JUDGED: u32 = 0xb41d;
/// Of a copy that is for the kernel alone.
const ASKED: u32 = 0xb41f;
/// Of a packet on its way out.
const DONE: u32 = 0xb420;

fn says(tc_index: u32) -> Change {
    Change { tc_index, ..Change::default() }
}

fn datagram(bench: &Bench<'_>, port: u16) -> Vec<u8> {
    bench.frame(bench.a(), &Packet::udp(bench.a().at(port), bench.b().at(53)))
}

#[test]
fn judged_on_its_port_a_packet_goes_on_at_the_bridge() {
    needs_root!();
    bench(|bench| {
        // A stranger's packet is passed on the port, marked (which `run` checks)...
        let stray = Packet::tcp(bench.a().at(9), bench.b().at(80), flags::ACK);
        let outcome = bench.expect(A, &stray, Reason::TcpNotOpening);
        assert_eq!(outcome.mark, OURS);
        // ... and goes on at the bridge, unmarked and uncounted.
        let bridge = Buffer { mark: outcome.mark | 5, ..Buffer::at(bench.key().from) };
        let frame = bench.frame(bench.a(), &stray);
        assert_eq!(bench.program.goes_uncounted(says(JUDGED), &bridge, &frame), 5);
        // Even what would open a flow: it was judged.
        let frame = datagram(bench, 10_000);
        assert_eq!(bench.program.goes_uncounted(says(JUDGED), &bridge, &frame), 5);
        assert_eq!(bench.program.flows(), []);
    });
}

#[test]
fn somebody_elses_marks_stay() {
    needs_root!();
    bench(|bench| {
        let own = bench.frame(bench.a(), &Packet::udp(bench.a().at(9), at(bench.gateway(), 9)));
        for ifindex in [bench.a().port_index, bench.key().from] {
            for mark in [1, 0x8000_0000, 0xbfff_ffff] {
                let buffer = Buffer { mark, ..Buffer::at(ifindex) };
                // What becomes of the mark is checked by the run.
                let outcome = bench.program.run_with(&buffer, &own);
                assert_eq!(outcome.reason, Reason::NotForwarded);
            }
        }
    });
}

#[test]
fn a_container_cannot_say_that_its_packet_was_judged() {
    needs_root!();
    bench(|bench| {
        let mut port = 10_000;
        let (on_port, on_bridge) = (bench.a().port_index, bench.key().from);
        // `tc_index` survives the way out of a container, `mark` does not.
        for ifindex in [on_port, on_bridge] {
            for tc_index in [JUDGED, ASKED, DONE, JUDGED + 1, 0] {
                port += 1;
                let frame = datagram(bench, port);
                let outcome =
                    bench.program.run_behind(says(tc_index), &Buffer::at(ifindex), &frame);
                assert_eq!(outcome.reason, Reason::FlowCreated, "{tc_index:#x}");
            }
        }
        // Our bit alone says nothing either.
        for ifindex in [on_port, on_bridge] {
            for tc_index in [0, DONE, 7] {
                port += 1;
                let frame = datagram(bench, port);
                let buffer = Buffer { mark: OURS, ..Buffer::at(ifindex) };
                let outcome = bench.program.run_behind(says(tc_index), &buffer, &frame);
                assert_eq!(outcome.reason, Reason::FlowCreated, "{tc_index:#x}");
            }
        }
        // What was judged on a port is for a bridge, never for a port.
        let frame = datagram(bench, 20_000);
        let buffer = Buffer { mark: OURS, ..Buffer::at(on_port) };
        let outcome = bench.program.run_behind(says(JUDGED), &buffer, &frame);
        assert_eq!(outcome.reason, Reason::FlowCreated);
    });
}

#[test]
fn copies_for_the_kernel_go_on_everywhere() {
    needs_root!();
    bench(|bench| {
        let frame = datagram(bench, 10_000);
        let on_port = Buffer { mark: OURS, ..Buffer::at(bench.a().port_index) };
        // The bridge has yet to see that it is one.
        assert_eq!(bench.program.goes_uncounted(says(ASKED), &on_port, &frame), OURS);
        let on_bridge = Buffer { mark: OURS | 3, ..Buffer::at(bench.key().from) };
        assert_eq!(bench.program.goes_uncounted(says(ASKED), &on_bridge, &frame), 3);
        assert_eq!(bench.program.flows(), []);
    });
}
