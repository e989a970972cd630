//! Pieces of fragmented packets that wait for one another: held, put back in order when all are there,
//! refused where they fit into nothing; and no more of them than there is room for.

use std::net::SocketAddrV4;

use bridgefwd_common::Reason;
use bridgefwd_tests::capture::Capture;
use bridgefwd_tests::needs_root;
use bridgefwd_tests::packets::Packet;
use bridgefwd_tests::packets6::Packet6;
use bridgefwd_tests::view::{ETHERNET, at};

use crate::bench::{A, A2, Bench, bench};
use crate::fragments::{cut, whole};

/// Pieces of a datagram from the client to the server, in order.
fn pieces(bench: &Bench<'_>, id: u16, size: usize) -> Vec<Vec<u8>> {
    let packet = whole(Packet::udp(bench.a().at(40_000), bench.b().at(53)), id);
    cut(&bench.frame(bench.a(), &packet), size)
}

/// Waits until the interface has received each of `frames`; where in the order of what it received.
#[track_caller]
fn received(capture: &Capture, frames: &[Vec<u8>]) -> Vec<usize> {
    let id = frames[0][ETHERNET + 4..ETHERNET + 6].to_vec();
    let wanted = |frame: &bridgefwd_tests::capture::Frame, _: &_| {
        !frame.outgoing && frame.bytes[ETHERNET + 4..ETHERNET + 6] == id[..]
    };
    let seen = capture.wait_for(frames.len(), wanted);
    let place = |frame: &Vec<u8>| {
        seen.iter().position(|(seen, _)| seen.bytes == *frame).expect("not put back as it came")
    };
    frames.iter().map(place).collect()
}

#[test]
fn all_are_put_back_in_order_when_the_last_one_comes() {
    needs_root!();
    bench(|bench| {
        for (id, order) in [(1, [0, 1, 2]), (2, [2, 1, 0]), (3, [1, 2, 0])] {
            let capture = Capture::start(&bench.router.ns, &bench.a().port);
            let pieces = pieces(bench, id, 400);
            for index in order {
                bench.expect_frame(A, &pieces[index], Reason::FragmentHeld);
            }
            assert_eq!(received(&capture, &pieces), [0, 1, 2], "came as {order:?}");
        }
        // Only when they are put back is anything made of them.
        assert_eq!(bench.program.flows(), []);
    });
}

#[test]
fn large_frames_are_put_back_too() {
    needs_root!();
    bench(|bench| {
        let packet = Packet::udp(bench.a().at(40_000), bench.b().at(53))
            .payload(&(0..7000).map(|byte| byte as u8).collect::<Vec<_>>())
            .with(|packet| packet.dont_fragment = false);
        // The most that a test run takes is less than a page.
        let pieces = cut(&bench.frame(bench.a(), &packet), 2400);
        bench.router.ns.ip(&format!("link set {} mtu 9000\n", bench.a().port));
        let capture = Capture::start(&bench.router.ns, &bench.a().port);
        for index in [1, 0, 2] {
            bench.expect_frame(A, &pieces[index], Reason::FragmentHeld);
        }
        assert_eq!(received(&capture, &pieces), [0, 1, 2]);
    });
}

#[test]
fn what_fits_into_nothing() {
    needs_root!();
    bench(|bench| {
        // The same again changes nothing.
        let one = pieces(bench, 1, 400);
        bench.expect_frame(A, &one[0], Reason::FragmentHeld);
        bench.expect_frame(A, &one[0], Reason::FragmentRepeated);
        // Others' bytes in its place: all of it is gone, and begins anew.
        let other = pieces(bench, 1, 480);
        bench.expect_frame(A, &other[1], Reason::FragmentHeld);
        bench.expect_frame(A, &one[1], Reason::FragmentOverlap);
        bench.expect_frame(A, &one[0], Reason::FragmentHeld);
        // It would begin where the packet has ended.
        let two = pieces(bench, 2, 400);
        let mut beyond = two[1].clone();
        beyond[ETHERNET + 6..ETHERNET + 8].copy_from_slice(&0x2200_u16.to_be_bytes());
        mend(&mut beyond);
        bench.expect_frame(A, &two[2], Reason::FragmentHeld);
        bench.expect_frame(A, &beyond, Reason::FragmentMalformed);
        // Of IPv6: one that is not the last, and no multiple of eight bytes long.
        let packet = Packet6::udp(bench.a().at6(40_000), bench.b().at6(53)).payload(&[7; 1000]);
        let packet = packet.macs(bench.a().mac, bench.router.bridge("br-a").mac);
        let odd = &packet.pieces(3, &[(0, 404)])[0];
        bench.expect_frame(A, odd, Reason::FragmentMalformed);
        let pieces = packet.pieces(4, &[(0, 400), (400, 400)]);
        bench.expect_frame(A, &pieces[1], Reason::FragmentHeld);
        bench.expect_frame(A, &pieces[0], Reason::FragmentHeld);
        bench.expect_frame(A, &pieces[0], Reason::FragmentRepeated);
        assert_eq!(bench.program.flows(), []);
    });
}

/// Makes the checksum of the IPv4 header right.
fn mend(frame: &mut [u8]) {
    frame[ETHERNET + 10..ETHERNET + 12].fill(0);
    let sum = bridgefwd_tests::view::internet_checksum(&[&frame[ETHERNET..ETHERNET + 20]]);
    frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&sum.to_be_bytes());
}

#[test]
fn too_many_pieces_of_one_packet() {
    needs_root!();
    bench(|bench| {
        // 126 pieces; the last one is not sent, so it is never whole.
        let pieces = pieces(bench, 1, 8);
        let held = (0..).zip(&pieces).find_map(|(count, piece)| {
            let reason = bench.program.run(bench.a().port_index, piece).reason;
            if reason == Reason::FragmentHeld {
                return None;
            }
            assert_eq!(reason, Reason::FragmentsFull);
            Some(count)
        });
        assert_eq!(held, Some(bridgefwd_common::decide::reassembly::MAX_PIECES));
    });
}

#[test]
fn a_flood_fills_the_room_of_its_own_source_only() {
    needs_root!();
    bench(|bench| {
        let server = bench.b().at(53);
        let first = |bench: &Bench<'_>, client: SocketAddrV4, sender: usize, id: u16| {
            let host = &bench.router.hosts[sender];
            cut(&bench.frame(host, &whole(Packet::udp(client, server), id)), 400)[0].clone()
        };
        let mut held = 0;
        // From as many addresses as it likes: they come by one port.
        for id in 0..2000_u16 {
            let [low, high] = id.to_le_bytes();
            let client = at([10, 1, 1 + high, low].into(), 9);
            let frame = first(bench, client, A, id);
            match bench.program.run(bench.a().port_index, &frame).reason {
                Reason::FragmentHeld => held += 1,
                Reason::FragmentsFull => {}
                other => panic!("{other:?} of piece {id}"),
            }
        }
        assert!((100..=256).contains(&held), "{held} of 2000 pieces are held");
        let other = first(bench, bench.a2().at(9), A2, 1);
        let reason = bench.program.run(bench.a2().port_index, &other).reason;
        assert_eq!(reason, Reason::FragmentHeld, "another source, on another port");
    });
}
