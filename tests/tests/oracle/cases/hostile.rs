//! Sources that are not true, wrong bridges, and addresses that are not forwarded: IPv4.

use std::net::Ipv4Addr;

use bridgefwd_tests::packets::{Packet, Transport, flags::*};
use bridgefwd_tests::uplink::{OUTSIDE, UPLINK};
use bridgefwd_tests::view::at;

use super::tcp::Connection;
use crate::case::{Case, Sender, Step, a, b, raw, send};
use crate::net::V4;
use crate::world::{A, A2, B, C, NAT, NEAR};

type Make = fn(u16) -> Vec<Step>;

fn there(port: u16) -> Packet {
    Packet::udp(at(A, port), at(B, 53))
}

fn back(port: u16) -> Packet {
    Packet::udp(at(B, 53), at(NAT, port))
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, src) in [
        ("of the other bridge", Ipv4Addr::new(10, 2, 0, 77)),
        ("of a third bridge", C),
        ("of nobody", Ipv4Addr::new(198, 51, 100, 1)),
        ("of the router", NEAR),
        ("of the router's other side", NAT),
        ("of the router's third side", Ipv4Addr::new(10, 3, 0, 1)),
        ("of the router's uplink", UPLINK),
        ("of the host outside", OUTSIDE),
        ("that is the subnet's network", Ipv4Addr::new(10, 1, 0, 0)),
        ("that is the other subnet's broadcast", Ipv4Addr::new(10, 2, 0, 255)),
        ("that is of network 0", Ipv4Addr::new(0, 1, 2, 3)),
        ("that is loopback", Ipv4Addr::LOCALHOST),
        ("that is unspecified", Ipv4Addr::UNSPECIFIED),
        ("that is multicast", Ipv4Addr::new(224, 0, 0, 5)),
        ("that is broadcast", Ipv4Addr::BROADCAST),
        ("that is the subnet's broadcast", Ipv4Addr::new(10, 1, 0, 255)),
        ("that is reserved", Ipv4Addr::new(240, 0, 0, 1)),
    ] {
        cases.push(Case::new(format!("hostile/a source {name}"), move |port| {
            vec![a(Packet { src, ..there(port) })]
        }));
    }
    for (name, dst) in [
        ("the router's far address", NAT),
        ("the router's near address", NEAR),
        ("the router's third address", Ipv4Addr::new(10, 3, 0, 1)),
        ("the router's address outside", UPLINK),
        ("the subnet's broadcast", Ipv4Addr::new(10, 2, 0, 255)),
        ("its own subnet's broadcast", Ipv4Addr::new(10, 1, 0, 255)),
        ("the subnet's network", Ipv4Addr::new(10, 2, 0, 0)),
        ("network 0", Ipv4Addr::new(0, 1, 2, 3)),
        ("the link's group of everybody", Ipv4Addr::new(224, 0, 0, 1)),
        ("everybody", Ipv4Addr::BROADCAST),
        ("a group", Ipv4Addr::new(239, 1, 2, 3)),
        ("loopback", Ipv4Addr::LOCALHOST),
        ("nobody", Ipv4Addr::new(198, 51, 100, 1)),
        ("a reserved address", Ipv4Addr::new(240, 0, 0, 1)),
        ("the third bridge", C),
    ] {
        cases.push(Case::new(format!("hostile/to {name}"), move |port| {
            vec![a(Packet { dst, ..there(port) })]
        }));
    }
    let single: [(&str, Make); 18] = [
        ("hostile/the server begins, to the client", |p| vec![b(Packet { dst: A, ..back(p) })]),
        ("hostile/the server begins, to the router", |p| vec![b(back(p))]),
        ("hostile/the server answers to the client's own address", |p| {
            vec![a(there(p)), b(Packet { dst: A, ..back(p) }), b(back(p))]
        }),
        ("hostile/a reply by the wrong bridge", |p| {
            vec![a(there(p)), send(Sender::C, back(p)), b(back(p))]
        }),
        ("hostile/a packet of the flow by the wrong bridge", |p| {
            vec![a(there(p)), send(Sender::C, there(p)), b(back(p))]
        }),
        ("hostile/a packet of the flow by the server's bridge", |p| {
            vec![a(there(p)), send(Sender::B, there(p)), b(back(p))]
        }),
        ("hostile/a reply by the client's bridge", |p| {
            vec![a(there(p)), send(Sender::A, back(p)), b(back(p))]
        }),
        ("hostile/the third bridge to the client", |p| {
            vec![send(Sender::C, Packet::udp(at(C, p), at(A, 53)))]
        }),
        ("hostile/the third bridge to the server", |p| {
            let syn = Packet::tcp(at(C, p), at(B, 80), SYN);
            vec![send(Sender::C, syn), send(Sender::C, Packet::echo_request(C, B, p))]
        }),
        ("hostile/not for the router's MAC", |p| {
            vec![raw(Sender::A, there(p).macs(Sender::A.mac(), [2, 0, 0, 0, 0, 9]).build())]
        }),
        ("hostile/for the MAC of everybody", |p| {
            vec![raw(Sender::A, there(p).macs(Sender::A.mac(), [0xff; 6]).build())]
        }),
        ("hostile/for the MAC of a group", |p| {
            vec![raw(Sender::A, there(p).macs(Sender::A.mac(), [1, 0, 0x5e, 1, 2, 3]).build())]
        }),
        ("hostile/in a flow for the MAC of everybody", |p| {
            let stray = there(p).macs(Sender::A.mac(), [0xff; 6]).build();
            vec![a(there(p)), b(back(p)), raw(Sender::A, stray), a(there(p))]
        }),
        ("hostile/a reply for the MAC of everybody", |p| {
            let stray = back(p).macs(Sender::B.mac(), [0xff; 6]).build();
            vec![a(there(p)), raw(Sender::B, stray), b(back(p))]
        }),
        ("hostile/a reply for the MAC of nobody", |p| {
            let stray = back(p).macs(Sender::B.mac(), [2, 0, 0, 0, 0, 9]).build();
            vec![a(there(p)), raw(Sender::B, stray), b(back(p))]
        }),
        ("hostile/a reply from loopback", |p| {
            let stray = Packet { src: Ipv4Addr::LOCALHOST, ..back(p) };
            vec![a(there(p)), b(stray), b(back(p))]
        }),
        ("hostile/a reply from the router's own address", |p| {
            vec![a(there(p)), b(Packet { src: NAT, ..back(p) }), b(back(p))]
        }),
        ("hostile/a reset of a stranger", |p| {
            let open = Connection::open(V4, p);
            let stray = Packet { src: A2, ..open.of_client(RST, b"") };
            open.and(send(Sender::A2, stray)).data().steps()
        }),
    ];
    cases.extend(single.map(|(name, make)| Case::new(name, make)));
    cases.push(Case::new("udp/a checksum that comes to 0", |p| {
        // The last two bytes are what makes the sum of the translated datagram 0xffff.
        let blank = Packet { src: NAT, ..there(p).payload(&[0, 0]) }.build();
        let sum = u16::from_be_bytes([blank[40], blank[41]]);
        vec![a(there(p).payload(&sum.to_be_bytes())), b(back(p))]
    }));
    cases.push(Case::new("hostile/ports of a spoofed flow", |p| {
        let syn = Connection::new(V4, p).of_client(SYN, b"");
        let mut spoofed = Packet { src: Ipv4Addr::new(10, 3, 0, 9), ..syn };
        if let Transport::Tcp { seq, .. } = &mut spoofed.transport {
            *seq = 1;
        }
        vec![a(spoofed)]
    }));
    cases
}
