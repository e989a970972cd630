//! Connections followed by their numbers: what lies outside the window is dropped and changes nothing.

use bridgefwd_common::Reason;
use bridgefwd_common::contract::FlowState;
use bridgefwd_tests::needs_root;
use bridgefwd_tests::packets::{Packet, Transport, flags};
use bridgefwd_tests::packets6::Packet6;
use bridgefwd_tests::view::at;
use bridgefwd_tests::view6::at6;

use crate::bench::{A, B, Bench, bench};

const PORT: u16 = 10_000;

fn there(bench: &Bench<'_>, flags: u8) -> Packet {
    Packet::tcp(bench.a().at(PORT), bench.b().at(80), flags)
}

fn back(bench: &Bench<'_>, flags: u8) -> Packet {
    Packet::tcp(bench.b().at(80), at(bench.gateway(), PORT), flags)
}

fn establish(bench: &mut Bench<'_>) {
    bench.expect(A, &there(bench, flags::SYN), Reason::FlowCreated);
    bench.expect(B, &back(bench, flags::SYN | flags::ACK), Reason::ForwardedReply);
    bench.expect(A, &there(bench, flags::ACK), Reason::Forwarded);
    assert_eq!(bench.program.flow().state, FlowState::TcpEstablished as u8);
}

/// With its numbers moved.
fn moved(packet: Packet, of_seq: i32, of_ack: i32) -> Packet {
    packet.with(|packet| {
        let Transport::Tcp { seq, ack, .. } = &mut packet.transport else { panic!("TCP") };
        *seq = seq.wrapping_add_signed(of_seq);
        *ack = ack.wrapping_add_signed(of_ack);
    })
}

#[test]
fn segments_outside_the_window() {
    needs_root!();
    bench(|bench| {
        establish(bench);
        let before = bench.program.flow();
        const FAR: i32 = 10_000_000;
        for flags in [flags::ACK, flags::FIN | flags::ACK, flags::RST, flags::RST | flags::ACK] {
            bench.expect(A, &moved(there(bench, flags), FAR, 0), Reason::TcpOutOfWindow);
            bench.expect(B, &moved(back(bench, flags), FAR, 0), Reason::TcpOutOfWindow);
        }
        for flags in [flags::RST, flags::RST | flags::ACK] {
            bench.expect(A, &moved(there(bench, flags), -FAR, 0), Reason::TcpOutOfWindow);
            bench.expect(B, &moved(back(bench, flags), -FAR, 0), Reason::TcpOutOfWindow);
        }
        // An acknowledgment of what nobody has sent.
        bench.expect(A, &moved(there(bench, flags::ACK), 0, FAR), Reason::TcpOutOfWindow);
        bench.expect(B, &moved(back(bench, flags::ACK), 0, FAR), Reason::TcpOutOfWindow);
        assert_eq!(bench.program.flow(), before, "a stray segment changed the flow");
        // What is late goes on, as by the kernel, but says nothing.
        for flags in [flags::ACK, flags::FIN | flags::ACK] {
            bench.expect(A, &moved(there(bench, flags), -FAR, 0), Reason::Forwarded);
            bench.expect(B, &moved(back(bench, flags), -FAR, 0), Reason::ForwardedReply);
        }
        let after = bench.program.flow();
        assert_eq!((after.state, after.last_seen), (before.state, before.last_seen));
        assert_eq!(after.tcp, before.tcp);
        // Within it is all of 16 KiB.
        bench.expect(A, &moved(there(bench, flags::ACK), 0x3000, 0), Reason::Forwarded);
    });
}

#[test]
fn resets_end_a_connection_only_where_they_are_believed() {
    needs_root!();
    bench(|bench| {
        establish(bench);
        bench.expect(B, &moved(back(bench, flags::RST), 900_000_000, 0), Reason::TcpOutOfWindow);
        assert_eq!(bench.program.flow().state, FlowState::TcpEstablished as u8);
        bench.expect(B, &back(bench, flags::RST), Reason::ForwardedReply);
        assert_eq!(bench.program.flow().state, FlowState::TcpReset as u8);
    });
}

#[test]
fn impossible_flags_within_a_connection() {
    needs_root!();
    bench(|bench| {
        establish(bench);
        let before = bench.program.flow();
        for flags in [0, flags::SYN | flags::FIN, flags::SYN | flags::RST, 0xff] {
            bench.expect(A, &there(bench, flags), Reason::TcpFlagsInvalid);
            bench.expect(B, &back(bench, flags), Reason::TcpFlagsInvalid);
        }
        assert_eq!(bench.program.flow(), before);
    });
}

/// The frame with one bit of its last byte wrong, so that no checksum over it holds.
fn damaged(mut frame: Vec<u8>) -> Vec<u8> {
    if let Some(last) = frame.last_mut() {
        *last ^= 1;
    }
    frame
}

#[test]
fn a_damaged_packet_opens_nothing() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at(PORT), bench.b().at(80));
        let (client6, server6) = (bench.a().at6(PORT), bench.b().at6(80));
        let host = bench.a();
        let frames = [
            bench.frame(host, &Packet::tcp(client, server, flags::SYN)),
            bench.frame(host, &Packet::udp(client, server)),
            bench.frame(host, &Packet::echo_request(*client.ip(), *server.ip(), 7)),
            bench.frame(host, &Packet6::tcp(client6, server6, flags::SYN)),
            bench.frame(host, &Packet6::udp(client6, server6)),
            bench.frame(host, &Packet6::echo_request(*client6.ip(), *server6.ip(), 7)),
        ];
        for frame in &frames {
            bench.expect_frame(A, &damaged(frame.clone()), Reason::BadChecksum);
        }
        assert_eq!(bench.program.flows(), []);
        bench.program.assert_consistent();
        for frame in &frames {
            bench.expect_frame(A, frame, Reason::FlowCreated);
        }
        // A datagram without a checksum is as good.
        let plain = Packet::udp(bench.a().at(9), server).with(|packet| {
            packet.transport = Transport::Udp { src_port: 9, dst_port: 80, checksum: false };
        });
        bench.expect(A, &plain, Reason::FlowCreated);
    });
}

#[test]
fn a_damaged_segment_neither_answers_nor_resets() {
    needs_root!();
    bench(|bench| {
        bench.expect(A, &there(bench, flags::SYN), Reason::FlowCreated);
        let answer = bench.frame(bench.b(), &back(bench, flags::SYN | flags::ACK));
        bench.expect_frame(B, &damaged(answer.clone()), Reason::BadChecksum);
        assert_eq!(bench.program.flow().state, FlowState::TcpOpening as u8);
        bench.expect_frame(B, &answer, Reason::ForwardedReply);
        bench.expect(A, &there(bench, flags::ACK), Reason::Forwarded);
        let before = bench.program.flow();
        let reset = bench.frame(bench.b(), &back(bench, flags::RST));
        bench.expect_frame(B, &damaged(reset.clone()), Reason::BadChecksum);
        assert_eq!(bench.program.flow(), before);
        bench.expect_frame(B, &reset, Reason::ForwardedReply);
        assert_eq!(bench.program.flow().state, FlowState::TcpReset as u8);
    });
}

#[test]
fn ipv6() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at6(PORT), bench.b().at6(80));
        let out = at6(bench.gateway6(), PORT);
        bench.expect(A, &Packet6::tcp(client, server, flags::SYN), Reason::FlowCreated);
        let answer = Packet6::tcp(server, out, flags::SYN | flags::ACK);
        bench.expect(B, &answer, Reason::ForwardedReply);
        bench.expect(A, &Packet6::tcp(client, server, flags::ACK), Reason::Forwarded);
        let stray = Packet6::tcp(server, out, flags::ACK).with(|packet| {
            let Transport::Tcp { seq, .. } = &mut packet.transport else { panic!("TCP") };
            *seq = seq.wrapping_add(10_000_000);
        });
        bench.expect(B, &stray, Reason::TcpOutOfWindow);
        bench.expect(
            B,
            &Packet6::tcp(server, out, flags::SYN | flags::FIN),
            Reason::TcpFlagsInvalid,
        );
    });
}
