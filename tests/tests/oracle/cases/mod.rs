//! The cases, by subject. A new one is a new entry in one of these files.

mod fragments;
mod hostile;
mod hostile6;
mod icmp;
mod icmp6;
mod lives;
mod protocols;
mod queries;
mod quotes;
mod tags;
mod tcp;
mod udp;
mod uplink;
mod within;
mod within6;

use self::uplink::Beyond;
use crate::case::Case;
use crate::net::{self, Net, UP4, V4, Wire};
use crate::world::{B, B6, BEHIND, BEHIND6, BEYOND, BEYOND6, NEAR, NEAR6};

/// Those of IPv4.
#[must_use]
pub fn v4() -> Vec<Case> {
    [
        of_every_net(V4),
        of_every_net(UP4),
        within::cases(),
        icmp::cases(),
        queries::cases(V4),
        queries::cases(UP4),
        quotes::cases(V4, BEHIND),
        quotes::cases(UP4, BEYOND),
        uplink::cases(UP4, Beyond { beyond: BEYOND, inner: B, near: NEAR }),
        hostile::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Those of IPv6; `nat66`: clients are masqueraded.
#[must_use]
pub fn v6(nat66: bool) -> Vec<Case> {
    let (near, up) = (net::v6(nat66), net::up6(nat66));
    [
        of_every_net(near),
        of_every_net(up),
        within6::cases(near),
        icmp6::cases(near, BEHIND6),
        icmp6::cases(up, BEYOND6),
        icmp6::others(near),
        uplink::cases(up, Beyond { beyond: BEYOND6, inner: B6, near: NEAR6 }),
        hostile6::cases(near),
        hostile6::pieces(near),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// All of them.
#[must_use]
pub fn all(nat66: bool) -> Vec<Case> {
    v4().into_iter().chain(v6(nat66)).collect()
}

/// What there is of each family, towards each kind of server.
fn of_every_net<W: Wire>(net: Net<W>) -> Vec<Case> {
    [
        tcp::cases(net),
        lives::cases(net),
        udp::cases(net),
        protocols::cases(net),
        tags::cases(net),
        fragments::cases(net),
    ]
    .into_iter()
    .flatten()
    .collect()
}
