//! Fragmented packets: the pieces that follow the first one go its way, and no piece goes
//! untranslated.

use std::net::Ipv4Addr;

use bridgefwd_common::Reason;
use bridgefwd_tests::needs_root;
use bridgefwd_tests::packets::Packet;
use bridgefwd_tests::view::{View, assert_checksums, at, internet_checksum};

use crate::bench::{A, A2, B, Bench, bench};

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

fn whole(packet: Packet, id: u16) -> Packet {
    packet
        .payload(&(0..1000).map(|byte| byte as u8).collect::<Vec<_>>())
        .with(|packet| (packet.dont_fragment, packet.id) = (false, id))
}

/// Sends the pieces by `sender`; what comes out, joined.
#[track_caller]
fn send(bench: &mut Bench<'_>, sender: usize, pieces: &[Vec<u8>], first: Reason) -> Vec<u8> {
    let port = bench.router.hosts[sender].port_index;
    let mut out = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        let outcome = bench.program.run(port, piece);
        let wanted = if index == 0 { first } else { Reason::ForwardedFragment };
        assert_eq!(outcome.reason, wanted, "piece {index}");
        out.push(outcome.frame);
    }
    join(&out)
}

#[test]
fn in_order_both_ways() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at(40_000), bench.b().at(53));
        let question = whole(Packet::udp(client, server), 7);
        let pieces = cut(&bench.frame(bench.a(), &question), 400);
        let out = send(bench, A, &pieces, Reason::FlowCreated);
        assert_checksums(&out);
        let view = View::of(&out).unwrap();
        assert_eq!((*view.src.ip(), view.dst), (bench.gateway(), server));

        let answer = whole(Packet::udp(server, view.src), 8);
        let pieces = cut(&bench.frame(bench.b(), &answer), 400);
        let back = send(bench, B, &pieces, Reason::ForwardedReply);
        assert_checksums(&back);
        let view = View::of(&back).unwrap();
        assert_eq!((view.src, view.dst), (server, client));
        let sides = bench.program.flow().sides;
        assert_eq!((sides[0].packets, sides[1].packets), (3, 3));
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
        let mut sources = Vec::new();
        let ports = [A, A2].map(|number| bench.router.hosts[number].port_index);
        let mut out = [Vec::new(), Vec::new()];
        for index in 0..3 {
            for (client, pieces) in [&one, &two].into_iter().enumerate() {
                out[client].push(bench.program.run(ports[client], &pieces[index]).frame);
            }
        }
        for pieces in &out {
            let packet = join(pieces);
            assert_checksums(&packet);
            sources.push(View::of(&packet).unwrap().src);
        }
        assert_ne!(sources[0], sources[1]);
    });
}

#[test]
fn without_their_first_piece() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at(40_000), bench.b().at(53));
        let pieces = cut(&bench.frame(bench.a(), &whole(Packet::udp(client, server), 7)), 400);
        bench.expect_frame(A, &pieces[2], Reason::FragmentUnknown);
        bench.expect_frame(A, &pieces[1], Reason::FragmentUnknown);
        assert_eq!(bench.program.flows(), []);
        // To the router itself they are the kernel's.
        let gateway = at(Ipv4Addr::new(10, 1, 0, 1), 53);
        let pieces = cut(&bench.frame(bench.a(), &whole(Packet::udp(client, gateway), 9)), 400);
        bench.expect_frame(A, &pieces[1], Reason::NotForwarded);
    });
}

#[test]
fn of_a_flow_that_was_cut() {
    needs_root!();
    bench(|bench| {
        use bridgefwd_common::contract::PairState;
        let (client, server) = (bench.a().at(40_000), bench.b().at(53));
        let pieces = cut(&bench.frame(bench.a(), &whole(Packet::udp(client, server), 7)), 400);
        bench.expect_frame(A, &pieces[0], Reason::FlowCreated);
        bench.set(crate::bench::policy(PairState::Denied), crate::bench::GENERATION);
        bench.expect_frame(A, &pieces[1], Reason::PairDenied);
    });
}
