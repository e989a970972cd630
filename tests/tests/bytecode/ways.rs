//! The shortest way: everyday packets of flows that know how they leave, without asking the kernel. It
//! is taken where it may be, left at once where something changed, and no packet can tell it from the
//! long way.

use bridgefwd_common::Reason;
use bridgefwd_common::contract::{
    COLD_FRONT, Direction, Flow, Interface, NatMode, PairState, Settings, Way,
};
use bridgefwd_tests::needs_root;
use bridgefwd_tests::packets::{Packet, Transport, flags};
use bridgefwd_tests::program::Buffer;
use bridgefwd_tests::skip::skipped;
use bridgefwd_tests::view::at;

use crate::bench::{A, A_TO_B, B, Bench, GENERATION, bench, policy};
use crate::generator::{Any, Generator};
use crate::mutations::damage;
use crate::random::Random;

/// As [`bench`], with flows that keep their ways, and that have been there and back.
fn keeping(test: impl FnOnce(&mut Bench<'_>) + Send) {
    bench(|bench| {
        if let Err(error) = bench.program.keep_ways() {
            skipped(&error);
            return;
        }
        for packet in there_and_back(bench) {
            send(bench, &packet);
        }
        test(bench);
    });
}

fn send(bench: &mut Bench<'_>, (sender, packet): &(usize, Packet)) -> Reason {
    bench.send(*sender, packet).reason
}

fn tcp(bench: &Bench<'_>, sender: usize, flags: u8, seq: u32, ack: u32) -> (usize, Packet) {
    let (client, server) = (bench.a().at(10_000), bench.b().at(80));
    let packet = match sender {
        A => Packet::tcp(client, server, flags),
        _ => Packet::tcp(server, at(bench.gateway(), 10_000), flags),
    };
    let (new_seq, new_ack) = (seq, ack);
    let packet = packet.with(|packet| {
        if let Transport::Tcp { seq, ack, .. } = &mut packet.transport {
            (*seq, *ack) = (new_seq, new_ack);
        }
    });
    (sender, packet)
}

fn udp(bench: &Bench<'_>, sender: usize) -> (usize, Packet) {
    let (client, server) = (bench.a().at(10_000), bench.b().at(53));
    let packet = match sender {
        A => Packet::udp(client, server),
        _ => Packet::udp(server, at(bench.gateway(), 10_000)),
    };
    (sender, packet.payload(&[7; 100]))
}

/// A connection and a datagram flow, each direction of them with an everyday packet.
fn there_and_back(bench: &Bench<'_>) -> Vec<(usize, Packet)> {
    let mut packets =
        vec![tcp(bench, A, flags::SYN, 1, 0), tcp(bench, B, flags::SYN | flags::ACK, 1, 2)];
    packets.extend(everyday(bench));
    packets.extend(everyday(bench));
    packets
}

/// Packets that take the shortest way, where it is open.
fn everyday(bench: &Bench<'_>) -> Vec<(usize, Packet)> {
    vec![
        tcp(bench, A, flags::ACK, 2, 2),
        tcp(bench, B, flags::ACK, 2, 2),
        udp(bench, A),
        udp(bench, B),
    ]
}

/// Takes the program away that asks the kernel: which packets still go on?
fn only_the_shortest_way(bench: &mut Bench<'_>) {
    bench.program.without_program(COLD_FRONT);
}

#[track_caller]
fn everyday_packets_are(bench: &mut Bench<'_>, short: bool) {
    for (sender, packet) in everyday(bench) {
        let wanted = match (short, sender) {
            (false, _) => Reason::ProgramMissing,
            (true, A) => Reason::Forwarded,
            (true, _) => Reason::ForwardedReply,
        };
        bench.expect(sender, &packet, wanted);
    }
}

#[test]
fn everyday_packets_need_no_other_program() {
    needs_root!();
    keeping(|bench| {
        let server = bench.b().at(80);
        only_the_shortest_way(bench);
        for _ in 0..3 {
            everyday_packets_are(bench, true);
        }
        let (_, data) = tcp(bench, A, flags::ACK | flags::FIN, 2, 2);
        bench.forwards(A, &data, Reason::Forwarded, at(bench.gateway(), 10_000), server);
        let counters = bench.program.counters();
        assert_eq!(counters.seen(), counters.sum());
    });
}

#[test]
fn what_is_not_everyday_takes_the_long_way() {
    needs_root!();
    keeping(|bench| {
        only_the_shortest_way(bench);
        let (_, ack) = tcp(bench, A, flags::ACK, 2, 2);
        let with = |edit: fn(&mut Packet)| ack.clone().with(edit);
        for packet in [
            with(|packet| packet.options = vec![1; 4]),
            with(|packet| packet.more_fragments = true),
            with(|packet| packet.ttl = 1),
            // Asked for neither of that service nor of that length.
            with(|packet| packet.tos ^= 0x40),
            with(|packet| packet.payload = vec![0; 200]),
            tcp(bench, A, flags::SYN, 500, 0).1,
            tcp(bench, A, flags::RST, 2, 0).1,
            Packet::udp(bench.a().at(10_000), bench.b().at(54)),
        ] {
            bench.expect(A, &packet, Reason::ProgramMissing);
        }
        // Of congestion the routing knows nothing.
        bench.expect(A, &with(|packet| packet.tos ^= 3), Reason::Forwarded);
        // Not by another end.
        bench.expect(B, &ack, Reason::ProgramMissing);
        everyday_packets_are(bench, true);
    });
}

#[test]
fn nothing_is_believed_after_a_change() {
    needs_root!();
    keeping(|bench| {
        let changes: [&[&str]; 5] = [
            &["ip", "route", "add", "10.2.0.2/32", "dev", "br-b"],
            &["ip", "route", "del", "10.2.0.2/32"],
            &["ip", "rule", "add", "from", "10.9.9.9", "lookup", "77"],
            &["ip", "address", "add", "10.55.0.1/24", "dev", "br-b"],
            &["ip", "link", "set", "br-b", "mtu", "1400"],
        ];
        for change in changes {
            for packet in everyday(bench) {
                send(bench, &packet);
            }
            let front = bench.program.take_program(COLD_FRONT);
            everyday_packets_are(bench, true);
            bench.router.ns.command(change[0], &change[1..]);
            everyday_packets_are(bench, false);
            bench.program.give_program(COLD_FRONT, &front);
        }
        bench.router.ns.sysctl("net/ipv4/ip_forward", "0");
        for packet in everyday(bench) {
            assert_eq!(send(bench, &packet), Reason::ThroughKernel);
        }
    });
}

#[test]
fn pairs_and_timers_are_asked_of_each_packet() {
    needs_root!();
    keeping(|bench| {
        let front = bench.program.take_program(COLD_FRONT);
        bench.set(policy(PairState::Denied), GENERATION);
        everyday_packets_are(bench, false);
        bench.program.give_program(COLD_FRONT, &front);
        for packet in everyday(bench) {
            assert_eq!(send(bench, &packet), Reason::PairDenied);
        }
        bench.set(policy(PairState::Allowed), GENERATION);
        bench.program.settings(|settings| settings.timeouts_s = [0; _]);
        let (sender, packet) = udp(bench, A);
        bench.expect(sender, &packet, Reason::FlowCreated);
        bench.program.settings(|settings| settings.timeouts_s = Settings::DEFAULT_TIMEOUTS_S);
        bench.set(policy(PairState::Allowed), GENERATION + 1);
        let (sender, packet) = tcp(bench, B, flags::ACK, 2, 2);
        bench.expect(sender, &packet, Reason::FlowCut);
    });
}

/// Says of every port that packets may be handed to its peer, and has flows note that.
fn hand_over(bench: &mut Bench<'_>) {
    for host in [A, B] {
        let ifindex = bench.router.hosts[host].port_index;
        let port = bench.program.interface(ifindex).expect("a managed port");
        bench.program.manage(ifindex, &Interface { flags: Interface::TO_PEER, ..port });
    }
    note_anew(bench);
}

/// Both ways are noted, then each end is seen.
fn note_anew(bench: &mut Bench<'_>) {
    bench.program.keep_ways().expect("as before");
    for packet in everyday(bench).into_iter().chain(everyday(bench)) {
        send(bench, &packet);
    }
}

/// The MAC addresses of a datagram from the client as it leaves: whose they are is for the kernel to say
/// where they are what they were.
fn addressed(bench: &mut Bench<'_>) -> ([u8; 6], [u8; 6]) {
    let (_, packet) = udp(bench, A);
    let frame = bench.frame(bench.a(), &packet);
    let outcome = bench.program.run_with(&Buffer { mark: 7, ..at_port(bench, A) }, &frame);
    assert_eq!(outcome.reason, Reason::Forwarded);
    let mac = |at: usize| outcome.frame[at..at + 6].try_into().expect("six bytes");
    // As where it goes from one network namespace to another.
    assert_eq!(outcome.mark, if outcome.frame[..12] == frame[..12] { 7 } else { 0 });
    (mac(0), mac(6))
}

fn at_port(bench: &Bench<'_>, host: usize) -> Buffer {
    Buffer::at(bench.router.hosts[host].port_index)
}

#[test]
fn a_neighbour_that_was_seen_a_moment_ago_is_handed_its_packets() {
    needs_root!();
    keeping(|bench| {
        let untouched = (bench.router.bridge("br-a").mac, bench.a().mac);
        let handed = (bench.b().mac, bench.router.bridge("br-b").mac);
        assert_eq!(addressed(bench), untouched, "nobody says that it may be");
        hand_over(bench);
        assert_eq!(addressed(bench), handed);
        only_the_shortest_way(bench);
        everyday_packets_are(bench, true);
        assert_eq!(addressed(bench), handed);
    });
}

#[test]
fn who_is_not_seen_where_the_kernel_has_it_gets_its_packets_by_the_kernel() {
    needs_root!();
    keeping(|bench| {
        let untouched = (bench.router.bridge("br-a").mac, bench.a().mac);
        let handed = (bench.b().mac, bench.router.bridge("br-b").mac);
        hand_over(bench);
        let (_, answer) = udp(bench, B);
        let mut from_elsewhere = bench.frame(bench.b(), &answer);
        from_elsewhere[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 0x99]);
        let by_itself = bench.frame(bench.b(), &answer);
        for _ in 0..2 {
            assert_eq!(addressed(bench), handed);
            // Somebody else has its address; the kernel still says where it is.
            let outcome = bench.program.run_with(&at_port(bench, B), &from_elsewhere);
            assert_eq!(outcome.reason, Reason::ForwardedReply);
            assert_eq!(addressed(bench), untouched);
            bench.program.run_with(&at_port(bench, B), &by_itself);
        }
        // It was seen too long ago.
        let slots: Vec<_> = bench.program.flows().iter().map(|(slot, _)| *slot).collect();
        for ago in [60, 0x4000_0000] {
            assert_eq!(addressed(bench), handed);
            for &slot in &slots {
                bench.program.edit_flow(slot, |flow| {
                    let way = flow.way_mut(Direction::Reply);
                    way.neighbour_seen = way.neighbour_seen.wrapping_sub(ago);
                });
            }
            assert_eq!(addressed(bench), untouched);
            bench.program.run_with(&at_port(bench, B), &by_itself);
        }
        // The routes changed, and nothing was noted since.
        bench.router.ns.command("ip", &["route", "add", "10.99.0.0/16", "via", "10.2.0.2"]);
        assert_eq!(addressed(bench), untouched);
        assert_eq!(addressed(bench), untouched, "the way back is not known yet");
        bench.program.run_with(&at_port(bench, B), &by_itself);
        assert_eq!(addressed(bench), untouched, "its MAC address is: it was not seen since");
        bench.program.run_with(&at_port(bench, B), &by_itself);
        assert_eq!(addressed(bench), handed);
    });
}

#[test]
fn what_the_kernel_has_had_in_hands_is_not_handed_over() {
    needs_root!();
    keeping(|bench| {
        hand_over(bench);
        // By the bridge: a connection of the kernel's may hang on it.
        let bridge = bench.router.bridge("br-a").ifindex;
        let (_, packet) = udp(bench, A);
        let frame = bench.frame(bench.a(), &packet);
        for _ in 0..3 {
            let outcome = bench.program.run_with(&Buffer::at(bridge), &frame);
            assert_eq!(outcome.reason, Reason::Forwarded);
            assert_eq!(outcome.frame[..12], frame[..12]);
        }
        addressed(bench);
        assert_eq!(addressed(bench).0, bench.b().mac, "by the port, once that is noted");
    });
}

/// What of a flow does not depend on the way.
fn comparable(flow: &Flow) -> Flow {
    let mut flow = *flow;
    if flow.flags & Flow::V6 == 0 {
        for direction in [Direction::Original, Direction::Reply] {
            *flow.way_mut(direction) = Way::default();
        }
    }
    (flow.last_seen, flow.created) = (0, 0);
    flow
}

/// Two programs get the same packets, damaged ones among them, by the thousand: one keeps ways, and the
/// other one asks the kernel each time.
#[test]
fn both_ways_do_the_same() {
    needs_root!();
    keeping(|bench| {
        let mut long = Bench::program_of(bench.router, 64);
        std::mem::swap(&mut bench.program, &mut long);
        bench.allow(NatMode::Masquerade, None);
        for packet in there_and_back(bench) {
            send(bench, &packet);
        }
        std::mem::swap(&mut bench.program, &mut long);
        let mut random = Random(2);
        let mut short = 0;
        for run in 0..6000 {
            change_both(bench, &mut long, &mut random);
            let Some((sender, frame)) = next(bench, &mut random) else { continue };
            let gso_size = if random.one_in(12) { 1 + random.below(1600) as u32 } else { 0 };
            let host = &bench.router.hosts[sender];
            let bridge = bench.router.bridge(host.bridge).ifindex;
            let ifindex = if random.one_in(4) { bridge } else { host.port_index };
            let buffer = Buffer { gso_size, ..Buffer::at(ifindex) };
            let before = bench.program.flows();
            let [one, other] =
                [&bench.program, &long].map(|program| program.run_with(&buffer, &frame));
            let what = format!("run {run}: {frame:02x?} at {buffer:?} of {before:?}");
            assert_eq!(one.reason, other.reason, "{what}");
            assert_eq!((one.verdict, one.mark), (other.verdict, other.mark), "{what}");
            assert!(one.frame == other.frame, "{:02x?} {:02x?} {what}", one.frame, other.frame);
            let [mine, theirs] = [&bench.program, &long].map(|program| {
                program.flows().iter().map(|(_, flow)| comparable(flow)).collect::<Vec<_>>()
            });
            assert_eq!(mine, theirs, "{what}");
            short += u32::from(one.reason == Reason::Forwarded);
        }
        let [mine, theirs] = [&bench.program, &long]
            .map(|program| (program.counters(), program.pair_counters(A_TO_B)));
        assert_eq!(mine, theirs);
        assert!(short > 500, "{short}");
    });
}

/// The next frame of a flow that there is, and by whom it is sent.
fn next(bench: &Bench<'_>, random: &mut Random) -> Option<(usize, Vec<u8>)> {
    let (sender, packet) = match random.below(4) {
        0 => {
            let mut generator = Generator { bench, random };
            match generator.of_some_flow()? {
                (sender, Any::V4(packet)) => (sender, packet),
                _ => return None,
            }
        }
        _ => {
            let packets = everyday(bench);
            let (sender, mut packet) = packets[random.below(packets.len())].clone();
            packet.payload.truncate(random.below(101));
            packet.ttl = random.pick(&[64, 64, 2, 1]);
            packet.tos ^= random.pick(&[0, 0, 2, 0x40]);
            (sender, packet)
        }
    };
    let mut frame = bench.frame(&bench.router.hosts[sender], &packet);
    if random.one_in(4) {
        damage(&mut frame, 34, random);
    }
    Some((sender, frame))
}

fn change_both(
    bench: &mut Bench<'_>,
    long: &mut bridgefwd_tests::program::Program,
    random: &mut Random,
) {
    let state = match random.below(100) {
        0 => PairState::Denied,
        1..4 => PairState::Allowed,
        _ => return,
    };
    let key = bench.key();
    for program in [&mut bench.program, long] {
        program.pair(A_TO_B, key, policy(state), GENERATION);
    }
}
