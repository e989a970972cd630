//! Pairs that change under their flows.

use bridgefwd_common::Reason;
use bridgefwd_common::contract::{FlowState, NatMode, PairPolicy, PairState};
use bridgefwd_tests::needs_root;
use bridgefwd_tests::packets::{Packet, flags};
use bridgefwd_tests::view::at;

use crate::bench::{A, A_TO_B, B, B_TO_A, Bench, GENERATION, bench, policy};

/// Opens a connection and returns a packet of it in each direction.
fn established(bench: &mut Bench<'_>) -> (Packet, Packet) {
    let (client, server) = (bench.a().at(10_000), bench.b().at(80));
    let out = at(bench.gateway(), 10_000);
    bench.expect(A, &Packet::tcp(client, server, flags::SYN), Reason::FlowCreated);
    let answer = Packet::tcp(server, out, flags::SYN | flags::ACK);
    bench.expect(B, &answer, Reason::ForwardedReply);
    let (there, back) =
        (Packet::tcp(client, server, flags::ACK), Packet::tcp(server, out, flags::ACK));
    bench.expect(A, &there, Reason::Forwarded);
    bench.expect(B, &back, Reason::ForwardedReply);
    (there, back)
}

#[test]
fn denied_at_once_and_on_again_with_the_same_flow() {
    needs_root!();
    bench(|bench| {
        let (there, back) = established(bench);
        let before = bench.program.flow();
        bench.set(policy(PairState::Denied), GENERATION);
        bench.expect(A, &there, Reason::PairDenied);
        bench.expect(B, &back, Reason::PairDenied);
        let during = bench.program.flow();
        assert_eq!(during, before, "what is refused is not counted as forwarded");
        bench.set(policy(PairState::Allowed), GENERATION);
        bench.expect(A, &there, Reason::Forwarded);
        bench.expect(B, &back, Reason::ForwardedReply);
        assert_eq!(bench.program.pair_counters(A_TO_B).refused.packets, 2);
    });
}

#[test]
fn a_new_generation_cuts_connections() {
    needs_root!();
    bench(|bench| {
        let (there, back) = established(bench);
        bench.set(policy(PairState::Allowed), GENERATION + 1);
        bench.expect(A, &there, Reason::FlowCut);
        bench.expect(B, &back, Reason::FlowCut);
        // The client may begin again.
        let again = Packet::tcp(bench.a().at(10_000), bench.b().at(80), flags::SYN);
        bench.expect(A, &again, Reason::FlowCreated);
        bench.expect(B, &back.with(|_| ()), Reason::ForwardedReply);
        assert_eq!(bench.program.flow().pair_generation, GENERATION + 1);
    });
}

#[test]
fn a_new_generation_begins_datagrams_anew_with_the_new_nat() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at(10_000), bench.b().at(53));
        let ask = Packet::udp(client, server);
        bench.forwards(A, &ask, Reason::FlowCreated, at(bench.gateway(), 10_000), server);
        let policy = PairPolicy { nat: NatMode::None as u8, ..policy(PairState::Allowed) };
        bench.set(policy, GENERATION + 1);
        let late = Packet::udp(server, at(bench.gateway(), 10_000));
        bench.expect(B, &late, Reason::FlowCut);
        bench.forwards(A, &ask, Reason::FlowCreated, client, server);
        bench.forwards(B, &Packet::udp(server, client), Reason::ForwardedReply, server, client);
    });
}

#[test]
fn a_draining_pair_finishes_what_it_began() {
    needs_root!();
    bench(|bench| {
        let (there, back) = established(bench);
        let flags_now = PairPolicy::DRAINING;
        bench.set(PairPolicy { flags: flags_now, ..policy(PairState::Denied) }, GENERATION);
        bench.expect(A, &there, Reason::Forwarded);
        bench.expect(B, &back, Reason::ForwardedReply);
        let other = Packet::tcp(bench.a().at(10_001), bench.b().at(80), flags::SYN);
        bench.expect(A, &other, Reason::PairDenied);
    });
}

#[test]
fn replies_need_no_rule_and_are_not_stopped_by_the_other_direction() {
    needs_root!();
    bench(|bench| {
        let key = bench.key();
        let reverse = bridgefwd_common::contract::PairKey { from: key.to, to: key.from };
        bench.program.pair(B_TO_A, reverse, policy(PairState::Denied), GENERATION);
        let (_, back) = established(bench);
        bench.expect(B, &back, Reason::ForwardedReply);
        let own = Packet::tcp(bench.b().at(10_000), bench.a().at(80), flags::SYN);
        bench.expect(B, &own, Reason::PairDenied);
        assert_eq!(bench.program.flow().state, FlowState::TcpEstablished as u8);
    });
}

#[test]
fn both_directions_are_pairs_of_their_own() {
    needs_root!();
    bench(|bench| {
        let key = bench.key();
        let reverse = bridgefwd_common::contract::PairKey { from: key.to, to: key.from };
        bench.program.pair(B_TO_A, reverse, policy(PairState::Allowed), GENERATION);
        established(bench);
        let (client, server) = (bench.b().at(10_000), bench.a().at(80));
        let out = at(bench.router.bridge("br-a").address, 10_000);
        let open = Packet::tcp(client, server, flags::SYN);
        bench.forwards(B, &open, Reason::FlowCreated, out, server);
        assert_eq!(bench.program.pair_counters(A_TO_B).flows_created, 1);
        assert_eq!(bench.program.pair_counters(B_TO_A).flows_created, 1);
    });
}
