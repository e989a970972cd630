//! Packets to neighbours that are not known yet: translated and sent like any other, while the kernel
//! gets a copy to ask by.

use bridgefwd_common::Reason;
use bridgefwd_tests::needs_root;
use bridgefwd_tests::packets::Packet;
use bridgefwd_tests::packets6::Packet6;
use bridgefwd_tests::view::at;
use bridgefwd_tests::view6::at6;

use crate::bench::{A, B, bench};

#[test]
fn the_first_packet_goes_its_way() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at(10_000), bench.b().at(53));
        let out = at(bench.gateway(), 10_000);
        bench.router.ns.ip(&format!("neigh del {} dev br-b\n", server.ip()));
        bench.forwards(A, &Packet::udp(client, server), Reason::FlowCreated, out, server);
        assert_eq!(bench.program.flows().len(), 1);
        bench.program.assert_consistent();
    });
}

#[test]
fn a_reply_to_a_client_that_was_forgotten() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at(10_000), bench.b().at(53));
        bench.expect(A, &Packet::udp(client, server), Reason::FlowCreated);
        bench.router.ns.ip(&format!("neigh del {} dev br-a\n", client.ip()));
        let answer = Packet::udp(server, at(bench.gateway(), 10_000));
        bench.forwards(B, &answer, Reason::ForwardedReply, server, client);
        assert_eq!(bench.program.flow().sides[1].packets, 1);
    });
}

#[test]
fn the_same_of_ipv6() {
    needs_root!();
    bench(|bench| {
        let (client, server) = (bench.a().at6(10_000), bench.b().at6(53));
        let out = at6(bench.gateway6(), 10_000);
        bench.router.ns.ip(&format!("neigh del {} dev br-b\n", server.ip()));
        bench.forwards6(A, &Packet6::udp(client, server), Reason::FlowCreated, out, server);
        bench.router.ns.ip(&format!("neigh del {} dev br-a\n", client.ip()));
        let answer = Packet6::udp(server, out);
        bench.forwards6(B, &answer, Reason::ForwardedReply, server, client);
        bench.program.assert_consistent();
    });
}
