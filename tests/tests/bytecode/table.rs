//! The flow table: full, recovering, swept, and without leaks.

use std::net::Ipv4Addr;

use bridgefwd_common::Reason;
use bridgefwd_common::contract::{Address, FlowState, Settings, SweepRequest};
use bridgefwd_tests::needs_root;
use bridgefwd_tests::packets::{Packet, flags};
use bridgefwd_tests::view::at;

use crate::bench::{A, B, Bench, bench, bench_with};

const SLOTS: u32 = 4;

fn ask(bench: &Bench<'_>, port: u16) -> Packet {
    Packet::udp(bench.a().at(port), bench.b().at(53))
}

fn fill(bench: &mut Bench<'_>) {
    for port in 0..SLOTS as u16 {
        bench.expect(A, &ask(bench, 10_000 + port), Reason::FlowCreated);
    }
}

/// Everything that is in the table now is over.
fn expire(bench: &mut Bench<'_>) {
    bench.program.settings(|settings| settings.timeouts_s = [0; _]);
}

fn back_to_normal(bench: &mut Bench<'_>) {
    bench.program.settings(|settings| settings.timeouts_s = Settings::DEFAULT_TIMEOUTS_S);
}

/// Enough runs to look at every slot of a small table.
fn sweep(bench: &mut Bench<'_>) {
    for _ in 0..4 {
        bench.program.sweep();
    }
}

#[test]
fn a_full_table_refuses_and_evicts_nobody() {
    needs_root!();
    bench_with(SLOTS, |bench| {
        fill(bench);
        for port in 10_004..10_020 {
            bench.expect(A, &ask(bench, port), Reason::TableFull);
        }
        for port in 10_000..10_004 {
            bench.expect(A, &ask(bench, port), Reason::Forwarded);
        }
        assert_eq!((bench.program.flows().len(), bench.program.index().len()), (4, 8));
    });
}

#[test]
fn a_full_table_recovers_by_itself_when_flows_are_over() {
    needs_root!();
    bench_with(SLOTS, |bench| {
        fill(bench);
        bench.expect(A, &ask(bench, 10_100), Reason::TableFull);
        expire(bench);
        bench.expect(A, &ask(bench, 10_100), Reason::FlowCreated);
        back_to_normal(bench);
        bench.expect(A, &ask(bench, 10_100), Reason::Forwarded);
    });
}

#[test]
fn closed_connections_make_room_before_anything_is_refused() {
    needs_root!();
    bench_with(SLOTS, |bench| {
        let (client, server) = (bench.a().at(10_000), bench.b().at(80));
        let out = at(bench.gateway(), 10_000);
        bench.expect(A, &Packet::tcp(client, server, flags::SYN), Reason::FlowCreated);
        bench.expect(B, &Packet::tcp(server, out, flags::SYN | flags::ACK), Reason::ForwardedReply);
        bench.expect(A, &Packet::tcp(client, server, flags::FIN | flags::ACK), Reason::Forwarded);
        let fin = Packet::tcp(server, out, flags::FIN | flags::ACK);
        bench.expect(B, &fin, Reason::ForwardedReply);
        for port in 10_001..10_005 {
            bench.expect(A, &ask(bench, port), Reason::FlowCreated);
        }
        bench.expect(A, &ask(bench, 10_005), Reason::TableFull);
        assert!(bench.program.flows().iter().all(|(_, flow)| flow.protocol == 17));
    });
}

#[test]
fn the_sweep_frees_what_is_over_and_nothing_else() {
    needs_root!();
    bench_with(SLOTS, |bench| {
        fill(bench);
        sweep(bench);
        assert_eq!(bench.program.flows().len(), 4);
        // Answered flows live longer than those that are not.
        let answer = Packet::udp(bench.b().at(53), at(bench.gateway(), 10_002));
        bench.expect(B, &answer, Reason::ForwardedReply);
        let one_way = FlowState::UdpOneWay as usize;
        bench.program.settings(|settings| settings.timeouts_s[one_way] = 0);
        sweep(bench);
        assert_eq!(bench.program.flow().original().src_port, 10_002u16.to_be_bytes());
        assert_eq!(bench.program.index().len(), 2);
        back_to_normal(bench);
        for port in 10_100..10_103 {
            bench.expect(A, &ask(bench, port), Reason::FlowCreated);
        }
        bench.expect(A, &ask(bench, 10_103), Reason::TableFull);
    });
}

#[test]
fn the_sweep_frees_the_flows_of_an_address_and_no_others() {
    needs_root!();
    bench_with(SLOTS, |bench| {
        let (a, b) = (bench.a().address, bench.b().address);
        let asked =
            |end, address: Ipv4Addr| SweepRequest { end, address: Address::v4(address.octets()) };
        for (name, address, frees) in [
            ("br-a", b, false),
            ("br-b", a, false),
            ("br-a", Ipv4Addr::new(10, 1, 0, 200), false),
            ("br-a", a, true),
            ("br-b", b, true),
        ] {
            fill(bench);
            let request = asked(bench.router.bridge(name).ifindex, address);
            for _ in 0..4 {
                bench.program.sweep_for(request);
            }
            let left = if frees { 0 } else { SLOTS as usize };
            let (flows, index) = (bench.program.flows().len(), bench.program.index().len());
            assert_eq!((flows, index), (left, 2 * left), "{name} {address}");
            expire(bench);
            sweep(bench);
            back_to_normal(bench);
        }
    });
}

#[test]
fn slots_are_used_again_and_again_without_a_leak() {
    needs_root!();
    bench_with(SLOTS, |bench| {
        for round in 0..50u16 {
            for port in 0..SLOTS as u16 {
                bench.expect(A, &ask(bench, 1024 + round * 10 + port), Reason::FlowCreated);
            }
            bench.expect(A, &ask(bench, 20_000), Reason::TableFull);
            expire(bench);
            sweep(bench);
            assert_eq!((bench.program.flows(), bench.program.index().len()), (Vec::new(), 0));
            back_to_normal(bench);
        }
    });
}

#[test]
fn a_flow_that_is_over_begins_anew() {
    needs_root!();
    bench_with(SLOTS, |bench| {
        bench.expect(A, &ask(bench, 10_000), Reason::FlowCreated);
        expire(bench);
        bench.expect(A, &ask(bench, 10_000), Reason::FlowCreated);
        back_to_normal(bench);
        let new = bench.program.flow();
        assert_eq!((new.sides[0].packets, bench.program.index().len()), (1, 2));
        // An answer to a flow that is over is not forwarded.
        let answer = Packet::udp(bench.b().at(53), at(bench.gateway(), 10_000));
        bench.expect(B, &answer, Reason::ForwardedReply);
        expire(bench);
        bench.expect(B, &answer, Reason::NotForwarded);
    });
}

#[test]
fn a_late_packet_that_writes_into_a_slot_that_was_freed() {
    needs_root!();
    bench(|bench| {
        bench.expect(A, &Packet::udp(bench.a().at(9), bench.b().at(53)), Reason::FlowCreated);
        let slot = bench.program.flows()[0].0;
        bench.program.settings(|settings| settings.timeouts_s = [0; _]);
        bench.program.sweep();
        assert_eq!(bench.program.free_slots().len(), 64);
        // On another CPU a packet had found the flow, and notes its state now.
        bench.program.edit_flow(slot, |flow| flow.state = FlowState::UdpTwoWay as u8);
        bench.program.sweep();
        let mut free = bench.program.free_slots();
        free.sort_unstable();
        assert!(free.into_iter().eq(0..64), "a slot is free twice");
        // Nor does it do harm to whoever gets the slot.
        bench.program.settings(|settings| settings.timeouts_s = Settings::DEFAULT_TIMEOUTS_S);
        for port in 1..=64 {
            let packet = Packet::udp(bench.a().at(port), bench.b().at(53));
            bench.expect(A, &packet, Reason::FlowCreated);
        }
        bench.program.assert_consistent();
    });
}
