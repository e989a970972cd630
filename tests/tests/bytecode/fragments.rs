//! Pieces of fragmented packets whose other pieces are there: the first one goes its way by its ports,
//! those that follow go after it, and none goes untranslated.

use std::net::Ipv4Addr;

use bridgefwd_common::Reason;
use bridgefwd_common::contract::PairState;
use bridgefwd_tests::needs_root;
use bridgefwd_tests::packets::Packet;
use bridgefwd_tests::packets6::Packet6;
use bridgefwd_tests::program::{Buffer, Change, Outcome};
use bridgefwd_tests::view::{View, assert_checksums, at, internet_checksum};
use bridgefwd_tests::view6::{at6, translated6};

use crate::bench::{A, A2, B, Bench, GENERATION, bench, policy};

/// Our bit of `mark`, and `tc_index` of a piece that was put back.
const OURS: u32 = 1 << 30;
const COLLECTED: u32 = 0xb41e;

const ETHERNET: usize = 14;
const IP: usize = ETHERNET + 20;

/// The frame cut into pieces of at most `size` bytes behind the IP header.
pub fn cut(frame: &[u8], size: usize) -> Vec<Vec<u8>> {
    let payload = &frame[IP..];
    let pieces = payload.chunks(size).enumerate().map(|(index, piece)| {
        let mut frame = [&frame[..IP], piece].concat();
        let len = u16::try_from(20 + piece.len()).unwrap();
        let more = if (index + 1) * size < payload.len() { 0x2000 } else { 0 };
        let offset = u16::try_from(index * size / 8).unwrap() | more;
        frame[ETHERNET + 2..ETHERNET + 4].copy_from_slice(&len.to_be_bytes());
        frame[ETHERNET + 6..ETHERNET + 8].copy_from_slice(&offset.to_be_bytes());
        frame[ETHERNET + 10..ETHERNET + 12].fill(0);
        let check = internet_checksum(&[&frame[ETHERNET..IP]]);
        frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&check.to_be_bytes());
        frame
    });
    pieces.collect()
}

/// The packet that these pieces, in order, are of.
pub fn join(pieces: &[Vec<u8>]) -> Vec<u8> {
    let mut frame = pieces[0][..IP].to_vec();
    pieces.iter().for_each(|piece| frame.extend(&piece[IP..]));
    let len = u16::try_from(frame.len() - ETHERNET).unwrap();
    frame[ETHERNET + 2..ETHERNET + 4].copy_from_slice(&len.to_be_bytes());
    frame[ETHERNET + 6..ETHERNET + 8].fill(0);
    frame[ETHERNET + 10..ETHERNET + 12].fill(0);
    let check = internet_checksum(&[&frame[ETHERNET..IP]]);
    frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&check.to_be_bytes());
    frame
}

pub fn whole(packet: Packet, id: u16) -> Packet {
    packet
        .payload(&(0..1000).map(|byte| byte as u8).collect::<Vec<_>>())
        .with(|packet| (packet.dont_fragment, packet.id) = (false, id))
}

/// `piece` comes in by `sender` again, together with all the others.
#[track_caller]
pub fn collected(bench: &Bench<'_>, sender: usize, piece: &[u8]) -> Outcome {
    let buffer = Buffer { mark: OURS, ..Buffer::at(bench.router.hosts[sender].port_index) };
    let change = Change { tc_index: COLLECTED, ..Change::default() };
    bench.program.run_behind(change, &buffer, piece)
}

/// Sends the pieces by `sender`; what comes out.
#[track_caller]
fn send(
    bench: &Bench<'_>,
    sender: usize,
    pieces: &[Vec<u8>],
    reasons: [Reason; 2],
) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        let outcome = collected(bench, sender, piece);
        assert_eq!(outcome.reason, reasons[index.min(1)], "piece {index}");
        out.push(outcome.frame);
    }
    out
}

const OPENS: [Reason; 2] = [Reason::FlowCreated, Reason::ForwardedFragment];
const ANSWERS: [Reason; 2] = [Reason::ForwardedFragment; 2];

#[test]
fn in_order_both_ways() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at(40_000), bench.b().at(53));
        let question = whole(Packet::udp(client, server), 7);
        let pieces = cut(&bench.frame(bench.a(), &question), 400);
        let out = join(&send(bench, A, &pieces, OPENS));
        assert_checksums(&out);
        let view = View::of(&out).unwrap();
        assert_eq!((view.src, view.dst), (at(bench.gateway(), 40_000), server));

        let answer = whole(Packet::udp(server, view.src), 8);
        let pieces = cut(&bench.frame(bench.b(), &answer), 400);
        let back = join(&send(bench, B, &pieces, ANSWERS));
        assert_checksums(&back);
        let view = View::of(&back).unwrap();
        assert_eq!((view.src, view.dst), (server, client));
        let sides = bench.program.flow().sides;
        assert_eq!((sides[0].packets, sides[1].packets), (3, 3));
        bench.program.assert_consistent();
    });
}

#[test]
fn ipv6_both_ways() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at6(40_000), bench.b().at6(53));
        let out = at6(bench.gateway6(), 40_000);
        let cuts = [(0, 400), (400, 400), (800, 400)];
        for (sender, there, left, reasons) in [
            (A, Packet6::udp(client, server), (out, server), OPENS),
            (B, Packet6::udp(server, out), (server, client), ANSWERS),
        ] {
            let host = &bench.router.hosts[sender];
            let packet = there.payload(&[7; 1000]);
            let packet = packet.macs(host.mac, bench.router.bridge(host.bridge).mac);
            let went = send(bench, sender, &packet.pieces(7, &cuts), reasons);
            // Each of them is a piece of the packet as it would have left in one.
            let whole = translated6(&packet.build(), left.0, left.1);
            for (piece, (offset, length)) in went.iter().zip(cuts) {
                let body = &whole[ETHERNET + 40 + offset..];
                assert_eq!(piece[ETHERNET + 8..ETHERNET + 40], whole[ETHERNET + 8..ETHERNET + 40]);
                assert_eq!(piece[ETHERNET + 48..], body[..length.min(body.len())]);
            }
        }
        bench.program.assert_consistent();
    });
}

#[test]
fn of_two_clients_with_one_identification() {
    needs_root!();
    bench(|bench| {
        let server = bench.b().at(53);
        let of = |bench: &Bench<'_>, number: usize| {
            let host = &bench.router.hosts[number];
            cut(&bench.frame(host, &whole(Packet::udp(host.at(40_000), server), 7)), 400)
        };
        let (one, two) = (of(bench, A), of(bench, A2));
        let mut out = [Vec::new(), Vec::new()];
        for index in 0..3 {
            for (client, (sender, pieces)) in [(A, &one), (A2, &two)].into_iter().enumerate() {
                out[client].push(collected(bench, sender, &pieces[index]).frame);
            }
        }
        let sources = out.map(|pieces| {
            let packet = join(&pieces);
            assert_checksums(&packet);
            View::of(&packet).unwrap().src
        });
        assert_ne!(sources[0], sources[1]);
    });
}

#[test]
fn without_their_first_piece() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at(40_000), bench.b().at(53));
        let pieces = cut(&bench.frame(bench.a(), &whole(Packet::udp(client, server), 7)), 400);
        for index in [2, 1] {
            let reason = collected(bench, A, &pieces[index]).reason;
            assert_eq!(reason, Reason::FragmentUnknown, "piece {index}");
        }
        assert_eq!(bench.program.flows(), []);
        // To the router itself they are the kernel's.
        let gateway = at(Ipv4Addr::new(10, 1, 0, 1), 53);
        let pieces = cut(&bench.frame(bench.a(), &whole(Packet::udp(client, gateway), 9)), 400);
        assert_eq!(collected(bench, A, &pieces[1]).reason, Reason::NotForwarded);
    });
}

#[test]
fn of_a_pair_that_denies_them() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at(40_000), bench.b().at(53));
        let pieces = cut(&bench.frame(bench.a(), &whole(Packet::udp(client, server), 7)), 400);
        assert_eq!(collected(bench, A, &pieces[0]).reason, Reason::FlowCreated);
        bench.set(policy(PairState::Denied), GENERATION);
        assert_eq!(collected(bench, A, &pieces[1]).reason, Reason::PairDenied);
        // Nor does a first one open anything.
        let other = whole(Packet::udp(bench.a().at(1), server), 8);
        let pieces = cut(&bench.frame(bench.a(), &other), 400);
        for piece in &pieces {
            assert_eq!(collected(bench, A, piece).reason, Reason::PairDenied);
        }
    });
}
