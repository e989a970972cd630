//! Other protocols, sources that are not true, wrong bridges, and addresses that are not forwarded.

use std::net::Ipv4Addr;

use bridgefwd_tests::packets::{Packet, Transport, flags::*};
use bridgefwd_tests::view::at;

use super::tcp::Connection;
use crate::case::{Case, Sender, Step, a, addressed, answer, b, raw, send};
use crate::world::{A, A2, B, C, NAT, NEAR, mac};

type Make = fn(u16) -> Vec<Step>;

fn there(port: u16) -> Packet {
    Packet::udp(at(A, port), at(B, 53))
}

fn back(port: u16) -> Packet {
    Packet::udp(at(B, 53), at(NAT, port))
}

/// An SCTP packet with an INIT chunk; its CRC32c does not cover the addresses.
fn sctp(src: Ipv4Addr, dst: Ipv4Addr, ports: (u16, u16)) -> Packet {
    let head = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
    let chunk = [1, 0, 0, 20, 0, 0, 0, 1, 0, 0, 0x40, 0, 0, 1, 0, 1, 0, 0, 0, 9];
    let mut bytes = [&head[..], &[0; 8], &chunk].concat();
    let crc = crc32c(&bytes).to_le_bytes();
    bytes[8..12].copy_from_slice(&crc);
    Packet::other(src, dst, 132).payload(&bytes)
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
        })
    })
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, src) in [
        ("of the other bridge", Ipv4Addr::new(10, 2, 0, 77)),
        ("of a third bridge", C),
        ("of nobody", Ipv4Addr::new(192, 0, 2, 1)),
        ("of the router", NEAR),
        ("of the router's other side", NAT),
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
        ("the subnet's broadcast", Ipv4Addr::new(10, 2, 0, 255)),
        ("everybody", Ipv4Addr::BROADCAST),
        ("a group", Ipv4Addr::new(239, 1, 2, 3)),
        ("loopback", Ipv4Addr::LOCALHOST),
        ("nobody", Ipv4Addr::new(192, 0, 2, 1)),
        ("a reserved address", Ipv4Addr::new(240, 0, 0, 1)),
        ("the third bridge", C),
    ] {
        cases.push(Case::new(format!("hostile/to {name}"), move |port| {
            vec![a(Packet { dst, ..there(port) })]
        }));
    }
    let single: [(&str, Make); 21] = [
        ("udp/there and back", |p| vec![a(there(p)), b(back(p)), a(there(p)), b(back(p))]),
        ("udp/two clients with one port", |p| {
            let other = Packet { src: A2, ..there(p) };
            vec![a(there(p)), b(back(p)), send(Sender::A2, other), answer(back(p)), b(back(p))]
        }),
        ("udp/one port to two ports of the server", |p| {
            let other = Packet::udp(at(A, p), at(B, 54));
            vec![a(there(p)), a(other), b(back(p)), b(Packet::udp(at(B, 54), at(NAT, p)))]
        }),
        ("udp/a well-known source port", |p| vec![a(Packet::udp(at(A, 600 + p % 400), at(B, 53)))]),
        ("udp/a source port of the host's range", |p| {
            vec![a(there(p + 32_768)), answer(back(p)), a(there(p + 32_768))]
        }),
        ("udp/source port 0", |_| vec![a(there(0))]),
        ("udp/destination port 0", |p| vec![a(Packet::udp(at(A, p), at(B, 0)))]),
        ("udp/another server answers", |p| {
            let stray = Packet::udp(at(Ipv4Addr::new(10, 2, 0, 9), 53), at(NAT, p));
            vec![a(there(p)), b(stray)]
        }),
        ("udp/another port of the server answers", |p| {
            vec![a(there(p)), b(Packet::udp(at(B, 54), at(NAT, p)))]
        }),
        ("hostile/the server begins, to the client", |p| vec![b(Packet { dst: A, ..back(p) })]),
        ("hostile/the server begins, to the router", |p| vec![b(back(p))]),
        ("hostile/the server answers to the client's own address", |p| {
            vec![a(there(p)), b(Packet { dst: A, ..back(p) }), b(back(p))]
        }),
        ("hostile/a reply by the wrong bridge", |p| {
            let packet = addressed(Sender::C, back(p)).build();
            vec![a(there(p)), raw(Sender::C, packet), b(back(p))]
        }),
        ("hostile/a packet of the flow by the wrong bridge", |p| {
            let packet = addressed(Sender::C, there(p)).build();
            vec![a(there(p)), raw(Sender::C, packet), b(back(p))]
        }),
        ("hostile/a packet of the flow by the server's bridge", |p| {
            let packet = addressed(Sender::B, there(p)).build();
            vec![a(there(p)), raw(Sender::B, packet), b(back(p))]
        }),
        ("hostile/a reply by the client's bridge", |p| {
            let packet = addressed(Sender::A, back(p)).build();
            vec![a(there(p)), raw(Sender::A, packet), b(back(p))]
        }),
        ("hostile/the third bridge to the client", |p| {
            vec![send(Sender::C, Packet::udp(at(C, p), at(A, 53)))]
        }),
        ("hostile/the third bridge to the server", |p| {
            let syn = Packet::tcp(at(C, p), at(B, 80), SYN);
            vec![send(Sender::C, syn), send(Sender::C, Packet::echo_request(C, B, p))]
        }),
        ("hostile/not for the router's MAC", |p| {
            vec![raw(Sender::A, there(p).macs(mac(A), [2, 0, 0, 0, 0, 9]).build())]
        }),
        ("hostile/for the MAC of everybody", |p| {
            vec![raw(Sender::A, there(p).macs(mac(A), [0xff; 6]).build())]
        }),
        ("hostile/a reset of a stranger", |p| {
            let open = Connection::open(p);
            let stray = Packet { src: A2, ..open.of_client(RST, b"") };
            open.and(send(Sender::A2, stray)).data().steps()
        }),
    ];
    cases.extend(single.map(|(name, make)| Case::new(name, make)));
    // Of such protocols the kernel knows no ports: one mapping for each pair of addresses. Each
    // case has its own protocol or it would meet the mapping of another one.
    let others: [(&str, u8); 5] =
        [("GRE", 47), ("ESP", 50), ("OSPF", 89), ("an experiment", 253), ("IPv4 in IPv4", 4)];
    for (name, protocol) in others {
        cases.push(Case::new(format!("protocols/{name}"), move |_| {
            let there = || a(Packet::other(A, B, protocol).payload(&[0; 40]));
            let back = || b(Packet::other(B, NAT, protocol).payload(&[0; 40]));
            vec![there(), back(), there(), back()]
        }));
    }
    cases.push(Case::new("protocols/for nothing, from the server", |_| {
        vec![b(Packet::other(B, NAT, 254)), b(Packet::other(B, A, 254))]
    }));
    cases.push(Case::new("protocols/SCTP", |p| {
        vec![a(sctp(A, B, (p, 80))), b(sctp(B, NAT, (80, p)))]
    }));
    cases.push(Case::new("udp/a checksum that comes to 0", |p| {
        // The last two bytes are what makes the sum of the translated datagram 0xffff.
        let blank = Packet { src: NAT, ..there(p).payload(&[0, 0]) }.build();
        let sum = u16::from_be_bytes([blank[40], blank[41]]);
        vec![a(there(p).payload(&sum.to_be_bytes())), b(back(p))]
    }));
    cases.push(Case::new("hostile/ports of a spoofed flow", |p| {
        let syn = Connection::new(p).of_client(SYN, b"");
        let mut spoofed = Packet { src: Ipv4Addr::new(10, 3, 0, 9), ..syn };
        if let Transport::Tcp { seq, .. } = &mut spoofed.transport {
            *seq = 1;
        }
        vec![a(spoofed)]
    }));
    cases
}
