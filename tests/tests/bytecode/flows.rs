//! What a flow holds: counters, times, states, and whom it listens to.

use bridgefwd_common::Reason;
use bridgefwd_common::contract::{Counter, Direction, FlowSide, FlowState, IndexEntry, Settings};
use bridgefwd_tests::needs_root;
use bridgefwd_tests::packets::{Packet, Transport, flags};
use bridgefwd_tests::program::Outcome;
use bridgefwd_tests::view::at;

use crate::bench::{A, A_TO_B, B, bench};

use Direction::{Original, Reply};

#[test]
fn packets_and_bytes_of_both_directions() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at(10_000), bench.b().at(53));
        let out = at(bench.gateway(), 10_000);
        let (mut there, mut back) = (FlowSide::default(), FlowSide::default());
        let add = |side: &mut FlowSide, outcome: &Outcome| {
            side.packets += 1;
            side.bytes += outcome.frame.len() as u64;
        };
        for length in [5, 100, 1000] {
            let ask = Packet::udp(client, server).payload(&vec![1; length]);
            add(&mut there, &bench.send(A, &ask));
            let answer = Packet::udp(server, out).payload(&vec![2; 2 * length / 3]);
            add(&mut back, &bench.send(B, &answer));
            add(&mut back, &bench.send(B, &answer));
        }
        let flow = bench.program.flow();
        assert_eq!(flow.sides, [there, back]);
        assert!(flow.created > 0 && flow.last_seen >= flow.created);
        let pair = bench.program.pair_counters(A_TO_B);
        let counter = |side: FlowSide| Counter { packets: side.packets, bytes: side.bytes };
        assert_eq!((pair.original, pair.reply), (counter(there), counter(back)));
        assert_eq!((pair.flows_created, pair.refused), (1, Counter::default()));
        let counters = bench.program.counters();
        assert_eq!(counters.seen(), counters.sum());
        assert_eq!(counters.of(Reason::ForwardedReply), counter(back));
    });
}

#[test]
fn states_of_a_connection() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at(10_000), bench.b().at(80));
        let out = at(bench.gateway(), 10_000);
        let steps = [
            (Original, flags::SYN, FlowState::TcpOpening),
            (Reply, flags::SYN | flags::ACK, FlowState::TcpAnswered),
            (Original, flags::ACK, FlowState::TcpEstablished),
            (Reply, flags::RST, FlowState::TcpReset),
            // It was stray: the connection goes on.
            (Original, flags::ACK, FlowState::TcpEstablished),
            (Original, flags::FIN | flags::ACK, FlowState::TcpFinOriginal),
            (Reply, flags::ACK, FlowState::TcpFinOriginal),
            (Reply, flags::FIN | flags::ACK, FlowState::TcpClosed),
            (Original, flags::ACK, FlowState::TcpClosed),
        ];
        for (direction, flags, state) in steps {
            let verdict = match direction {
                Original => bench.send(A, &Packet::tcp(client, server, flags)).reason.verdict(),
                Reply => bench.send(B, &Packet::tcp(server, out, flags)).reason.verdict(),
            };
            assert_eq!(verdict, bridgefwd_common::Verdict::Redirect);
            assert_eq!(FlowState::from_byte(bench.program.flow().state), state);
        }
        let old = bench.program.flow();
        bench.expect(A, &Packet::tcp(client, server, flags::SYN), Reason::FlowCreated);
        let new = bench.program.flow();
        assert_eq!(FlowState::from_byte(new.state), FlowState::TcpOpening);
        assert!(new.created >= old.created);
        assert_eq!((new.sides[0].packets, new.sides[1].packets), (1, 0));
    });
}

#[test]
fn segments_outside_the_window() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at(10_000), bench.b().at(80));
        let out = at(bench.gateway(), 10_000);
        bench.expect(A, &Packet::tcp(client, server, flags::SYN), Reason::FlowCreated);
        let answer = Packet::tcp(server, out, flags::SYN | flags::ACK);
        bench.expect(B, &answer, Reason::ForwardedReply);
        bench.expect(A, &Packet::tcp(client, server, flags::ACK), Reason::Forwarded);
        let before = bench.program.flow();
        let moved = |flags, seq_by: u32, ack_by: u32| {
            Packet::tcp(server, out, flags).with(|packet| {
                if let Transport::Tcp { seq, ack, .. } = &mut packet.transport {
                    *seq = seq.wrapping_add(seq_by);
                    *ack = ack.wrapping_add(ack_by);
                }
            })
        };
        // Beyond what the client permits; what the client never sent; a guess at a reset.
        for packet in [
            moved(flags::ACK, 1 << 30, 0),
            moved(flags::ACK, 0, 1 << 30),
            moved(flags::RST, 1 << 30, 0),
        ] {
            bench.expect(B, &packet, Reason::TcpOutOfWindow);
        }
        assert_eq!(bench.program.flow(), before, "none of them has changed anything");
        bench.expect(B, &moved(flags::ACK, 0, 0), Reason::ForwardedReply);
    });
}

#[test]
fn packets_of_a_flow_by_a_wrong_end() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at(10_000), bench.b().at(80));
        bench.expect(A, &Packet::tcp(client, server, flags::SYN), Reason::FlowCreated);
        let before = bench.program.flow();
        // A neighbour of the client plays the server.
        let answer = Packet::tcp(server, at(bench.gateway(), 10_000), flags::SYN | flags::ACK);
        bench.expect(A, &answer, Reason::WrongEnd);
        // A neighbour of the server plays the client.
        bench.expect(B, &Packet::tcp(client, server, flags::ACK), Reason::WrongEnd);
        assert_eq!(bench.program.flow(), before);
    });
}

#[test]
fn a_flow_whose_route_has_moved() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at(10_000), bench.b().at(53));
        let ask = Packet::udp(client, server);
        let answer = Packet::udp(server, at(bench.gateway(), 10_000));
        bench.expect(A, &ask, Reason::FlowCreated);
        // The way back: the flow waits for it to be as it was.
        bench.router.ns.ip(&format!("route add {}/32 via 10.3.0.9 dev br-c\n", client.ip()));
        bench.expect(B, &answer, Reason::RouteChanged);
        assert_eq!(bench.program.flows().len(), 1);
        bench.router.ns.ip(&format!("route del {}/32\n", client.ip()));
        bench.expect(B, &answer, Reason::ForwardedReply);
        // The way there: the flow is forgotten, and the next packet begins anew by the new way.
        bench.router.ns.ip(&format!("route add {}/32 via 10.3.0.9 dev br-c\n", server.ip()));
        bench.expect(A, &ask, Reason::RouteChanged);
        assert_eq!(bench.program.flows(), []);
        bench.program.assert_consistent();
        bench.expect(A, &ask, Reason::TargetNotManaged);
        bench.router.ns.ip(&format!("route del {}/32\n", server.ip()));
        bench.expect(A, &ask, Reason::FlowCreated);
    });
}

#[test]
fn a_tuple_that_somebody_else_is_just_taking() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at(10_000), bench.b().at(53));
        let ask = Packet::udp(client, server);
        bench.expect(A, &ask, Reason::FlowCreated);
        let original = bench.program.flow().original();
        bench.program.settings(|settings| settings.timeouts_s = [0; _]);
        bench.program.sweep();
        bench.program.settings(|settings| settings.timeouts_s = Settings::DEFAULT_TIMEOUTS_S);
        assert_eq!(bench.program.flows(), []);
        // What another CPU leaves in the index before its flow is there.
        bench.program.claim(&original, IndexEntry::new(7, Original, 1234));
        bench.expect(A, &ask, Reason::FlowContended);
        assert_eq!(bench.program.flows(), []);
        bench.program.unclaim(&original);
        bench.program.assert_consistent();
        bench.expect(A, &ask, Reason::FlowCreated);
        bench.program.assert_consistent();
    });
}

#[test]
fn answers_without_a_flow_are_the_hosts() {
    needs_root!();
    bench(|bench| {
        let stray = Packet::tcp(bench.b().at(80), at(bench.gateway(), 10_000), flags::ACK);
        bench.expect(B, &stray, Reason::NotForwarded);
        assert_eq!(bench.program.flows(), []);
    });
}
