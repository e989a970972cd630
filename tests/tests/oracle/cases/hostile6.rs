//! Sources that are not true, wrong bridges, and addresses that are not forwarded: IPv6; and pieces
//! that are odd.

use std::net::Ipv6Addr;

use bridgefwd_tests::packets::flags::*;
use bridgefwd_tests::packets6::{Extension, Packet6};
use bridgefwd_tests::uplink::{OUTSIDE6, UPLINK6};
use bridgefwd_tests::view6::at6;

use super::tcp::Connection;
use crate::case::{Case, Sender, Sent as _, Step, a, raw, send};
use crate::net::Net;
use crate::world::{A2_6, A6, B6, C6, NAT6, NEAR6};

type Net6 = Net<Packet6>;

const fn address(first: u16, second: u16, last: u16) -> Ipv6Addr {
    Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, last)
}

pub fn cases(net: Net6) -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, src) in [
        ("of the other bridge", address(0xfd00, 2, 0x77)),
        ("of a third bridge", C6),
        ("of nobody", address(0x2001, 0xdb8, 1)),
        ("of the router", NEAR6),
        ("of the router's other side", NAT6),
        ("of the router's third side", address(0xfd00, 3, 1)),
        ("of the router's uplink", UPLINK6),
        ("of the host outside", OUTSIDE6),
        ("of the subnet's routers", address(0xfd00, 1, 0)),
        ("that is loopback", Ipv6Addr::LOCALHOST),
        ("that is unspecified", Ipv6Addr::UNSPECIFIED),
        ("that is multicast", address(0xff02, 0, 5)),
        ("that is a global group", address(0xff0e, 0, 5)),
        ("that is link-local", address(0xfe80, 0, 2)),
        ("that is site-local", address(0xfec0, 0, 2)),
        ("that is mapped", Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0x0a01, 2)),
        ("that is compatible", Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0x0a01, 2)),
    ] {
        cases.push(Case::new(net.name(&format!("hostile/a source {name}")), move |port| {
            vec![a(Packet6 { src, ..net.there(port) })]
        }));
    }
    for (name, dst) in [
        ("the router's far address", NAT6),
        ("the router's near address", NEAR6),
        ("the router's third address", address(0xfd00, 3, 1)),
        ("the router's address outside", UPLINK6),
        ("the subnet's routers", address(0xfd00, 2, 0)),
        ("everybody on the link", address(0xff02, 0, 1)),
        ("every router on the link", address(0xff02, 0, 2)),
        ("a group of the interface", address(0xff01, 0, 1)),
        ("a group of the site", address(0xff05, 0, 9)),
        ("a group of the world", address(0xff0e, 0, 9)),
        ("loopback", Ipv6Addr::LOCALHOST),
        ("the unspecified address", Ipv6Addr::UNSPECIFIED),
        ("nobody", address(0x2001, 0xdb8, 1)),
        ("a link-local address", address(0xfe80, 0, 0x77)),
        ("a mapped address", Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0x0a02, 2)),
        ("the third bridge", C6),
    ] {
        cases.push(Case::new(net.name(&format!("hostile/to {name}")), move |port| {
            vec![a(Packet6 { dst, ..net.there(port) })]
        }));
    }
    type Make = fn(Net6, u16) -> Vec<Step>;
    let single: [(&str, Make); 18] = [
        ("a reply by the wrong bridge", |n, p| {
            vec![a(n.there(p)), send(Sender::C, n.back(p)), n.b(n.back(p))]
        }),
        ("a packet of the flow by the wrong bridge", |n, p| {
            vec![a(n.there(p)), send(Sender::C, n.there(p)), n.b(n.back(p))]
        }),
        ("a packet of the flow by the server's bridge", |n, p| {
            vec![a(n.there(p)), n.b(n.there(p)), n.b(n.back(p))]
        }),
        ("a reply by the client's bridge", |n, p| {
            vec![a(n.there(p)), a(n.back(p)), n.b(n.back(p))]
        }),
        ("the third bridge to the client", |_, p| {
            vec![send(Sender::C, Packet6::udp(at6(C6, p), at6(A6, 53)))]
        }),
        ("the third bridge to the server", |_, p| {
            let syn = Packet6::tcp(at6(C6, p), at6(B6, 80), SYN);
            vec![send(Sender::C, syn), send(Sender::C, Packet6::echo_request(C6, B6, p))]
        }),
        ("not for the router's MAC", |n, p| {
            vec![raw(Sender::A, n.there(p).macs(Sender::A.mac(), [2, 0, 0, 0, 0, 9]).build())]
        }),
        ("for the MAC of everybody", |n, p| {
            vec![raw(Sender::A, n.there(p).macs(Sender::A.mac(), [0xff; 6]).build())]
        }),
        ("for the MAC of a group", |n, p| {
            vec![raw(Sender::A, n.there(p).macs(Sender::A.mac(), [0x33, 0x33, 0, 0, 0, 1]).build())]
        }),
        ("in a flow for the MAC of everybody", |n, p| {
            let stray = n.there(p).macs(Sender::A.mac(), [0xff; 6]).build();
            vec![a(n.there(p)), n.b(n.back(p)), raw(Sender::A, stray), a(n.there(p))]
        }),
        ("a reply for the MAC of nobody", |n, p| {
            let stray = n.back(p).macs(n.far.mac(), [2, 0, 0, 0, 0, 9]).build();
            vec![a(n.there(p)), raw(n.far, stray), n.b(n.back(p))]
        }),
        ("a reset of a stranger", |n, p| {
            let open = Connection::open(n, p);
            let stray = Packet6 { src: A2_6, ..open.of_client(RST, b"") };
            open.and(send(Sender::A2, stray)).data().steps()
        }),
        ("a reply from loopback", |n, p| {
            let stray = Packet6 { src: Ipv6Addr::LOCALHOST, ..n.back(p) };
            vec![a(n.there(p)), n.b(stray), n.b(n.back(p))]
        }),
        ("to the router by routing type 0", |n, p| {
            let via = Packet6 { dst: NEAR6, ..n.there(p) };
            vec![a(via.extension(Extension::routing(0, 1, &[n.server])))]
        }),
        ("to the router by routing type 2", |n, p| {
            let via = Packet6 { dst: NEAR6, ..n.there(p) };
            vec![a(via.extension(Extension::routing(2, 1, &[n.server])))]
        }),
        ("to the router by routing type 4", |n, p| {
            let via = Packet6 { dst: NEAR6, ..n.there(p) };
            vec![a(via.extension(Extension::routing(4, 1, &[n.server])))]
        }),
        ("no next header", |n, _| vec![a(Packet6::other(n.client, n.server, 59).payload(&[]))]),
        ("no next header, and something behind it", |n, _| {
            vec![a(Packet6::other(n.client, n.server, 59))]
        }),
    ];
    cases.extend(single.map(|(name, make)| {
        Case::new(net.name(&format!("hostile/{name}")), move |port| make(net, port))
    }));
    cases
}

/// Pieces that are odd, by what they are and not by their order.
pub fn pieces(net: Net6) -> Vec<Case> {
    /// Sent by the client in these pieces, of which one is changed.
    fn changed(
        net: Net6,
        port: u16,
        cuts: &[(usize, usize)],
        edit: fn(&mut Vec<Vec<u8>>),
    ) -> Vec<Step> {
        let whole = net.there(port).payload(&[6; 1600]).addressed(Sender::A);
        let mut pieces = whole.pieces(u32::from(port), cuts);
        edit(&mut pieces);
        pieces.into_iter().map(|piece| raw(Sender::A, piece)).collect()
    }
    const CUTS: &[(usize, usize)] = &[(0, 800), (800, 900)];
    /// Where a fragment header begins that follows the IPv6 header.
    const FRAGMENT: usize = 54;
    type Make = fn(Net6, u16) -> Vec<Step>;
    let single: [(&str, Make); 9] = [
        ("not a multiple of 8", |n, p| {
            changed(n, p, CUTS, |pieces| {
                pieces[0].truncate(FRAGMENT + 8 + 796);
                pieces[0][18..20].copy_from_slice(&804u16.to_be_bytes());
            })
        }),
        ("the reserved bits", |n, p| {
            changed(n, p, CUTS, |pieces| pieces.iter_mut().for_each(|f| f[FRAGMENT + 1] = 0xff))
        }),
        ("the last twice, of two lengths", |n, p| {
            changed(n, p, &[(0, 800), (800, 900), (1000, 900)], |_| {})
        }),
        ("beyond the largest packet", |n, p| {
            changed(n, p, CUTS, |pieces| {
                pieces[1][FRAGMENT + 2..FRAGMENT + 4].copy_from_slice(&0xfff8u16.to_be_bytes());
            })
        }),
        ("a first piece without its transport header", |n, p| {
            changed(n, p, &[(0, 8), (8, 800), (808, 900)], |pieces| {
                pieces[0].truncate(FRAGMENT + 8);
                pieces[0][18..20].copy_from_slice(&8u16.to_be_bytes());
            })
        }),
        ("another next header in the second", |n, p| {
            changed(n, p, CUTS, |pieces| pieces[1][FRAGMENT] = 6)
        }),
        ("another hop limit in the second", |n, p| changed(n, p, CUTS, |pieces| pieces[1][21] = 1)),
        ("congestion in the second", |n, p| {
            changed(n, p, CUTS, |pieces| {
                pieces[0][15] = pieces[0][15] & 0xcf | 0x20;
                pieces[1][15] |= 0x30;
            })
        }),
        ("with options before and behind", |n, p| {
            let whole = n.there(p).payload(&[6; 1600]);
            let whole = whole.extension(Extension::hop_by_hop(&[5, 2, 0, 0])).addressed(Sender::A);
            whole.pieces(u32::from(p), CUTS).into_iter().map(|f| raw(Sender::A, f)).collect()
        }),
    ];
    let mut cases: Vec<_> = single
        .into_iter()
        .map(|(name, make)| {
            Case::new(net.name(&format!("pieces/{name}")), move |port| make(net, port))
        })
        .collect();
    cases.push(Case::new(net.name("pieces/larger than the way out"), move |port| {
        let large = net.there(port).payload(&[6; 2600]).addressed(Sender::A);
        let pieces = large.pieces(u32::from(port), &[(0, 1440), (1440, 1300)]);
        pieces.into_iter().map(|piece| raw(Sender::A, piece)).collect()
    }));
    cases
}
