//! Packets that may be longer than the MTU of the route that they take, which the program does not know:
//! the kernel decides, and whatever it lets go is translated.

use bridgefwd_common::Reason;
use bridgefwd_common::contract::NatMode;
use bridgefwd_tests::needs_root;
use bridgefwd_tests::packets::Packet;
use bridgefwd_tests::view::at;

use crate::bench::{A, B, Bench, bench};

/// The smallest MTU of an IPv4 route by `br-b`, and by `br-a`.
const SMALL: u32 = 1000;

/// As the daemon would write it.
fn learn(bench: &mut Bench<'_>, route_mtu: u32) {
    bench.program.settings(|settings| settings.smallest_route_mtu = route_mtu);
    for name in ["br-a", "br-b"] {
        bench.program.manage_bridge(bench.router, name, |end| end.route_mtu = route_mtu);
    }
}

fn of_length(packet: Packet, length: u32) -> Packet {
    packet.payload(&vec![7; length as usize - 28])
}

#[test]
fn what_opens_a_flow_is_translated_whatever_the_kernel_does() {
    needs_root!();
    bench(|bench| {
        learn(bench, SMALL);
        let (client, server) = (bench.a().at(10_000), bench.b().at(53));
        let out = at(bench.gateway(), 10_000);
        // With don't-fragment, too: the kernel's route may be another.
        bench.through_kernel(A, &of_length(Packet::udp(client, server), SMALL + 1));
        let flow = bench.program.flow();
        assert!(flow.translates());
        assert_eq!(flow.translated().src, bench.gateway().into());
        // Then what is small is not the kernel's, and what is not, is.
        let small = of_length(Packet::udp(client, server), SMALL);
        bench.forwards(A, &small, Reason::Forwarded, out, server);
        bench.through_kernel(A, &of_length(Packet::udp(client, server), SMALL + 1));
        let back = Packet::udp(server, out);
        bench.handed_over(B, &of_length(back.clone(), SMALL + 1), client);
        bench.forwards(B, &of_length(back, SMALL), Reason::ForwardedReply, server, client);
        bench.program.assert_consistent();
    });
}

#[test]
fn what_is_too_big_for_the_device_opens_none() {
    needs_root!();
    bench(|bench| {
        learn(bench, SMALL);
        bench.router.ns.ip("link set br-b mtu 1100\n");
        bench.program.manage_bridge(bench.router, "br-b", |entry| {
            (entry.mtu, entry.route_mtu) = (1100, SMALL);
        });
        let (client, server) = (bench.a().at(10_000), bench.b().at(53));
        bench.expect(A, &of_length(Packet::udp(client, server), 1101), Reason::TooBig);
        assert_eq!(bench.program.flows(), []);
    });
}

#[test]
fn each_end_and_family_has_its_own() {
    needs_root!();
    bench(|bench| {
        bench.allow(NatMode::None, None);
        // Another end's, and another family's, is none of this packet's.
        bench.program.settings(|settings| settings.smallest_route_mtu = SMALL);
        bench.program.manage_bridge(bench.router, "br-a", |end| end.route_mtu = SMALL);
        bench.program.manage_bridge(bench.router, "br-b", |end| end.route_mtu_v6 = SMALL);
        let (client, server) = (bench.a().at(10_000), bench.b().at(53));
        let large = of_length(Packet::udp(client, server), 1400);
        bench.forwards(A, &large, Reason::FlowCreated, client, server);
        bench.through_kernel(B, &of_length(Packet::udp(server, client), 1400));
    });
}
