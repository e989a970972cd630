//! The cases, by subject. A new one is a new entry in one of these files.

mod fragments;
mod hostile;
mod icmp;
mod lives;
mod protocols;
mod tags;
mod tcp;
mod udp;
mod within;

use crate::case::Case;
use crate::net::{self, Net, UP4, V4, Wire};

/// Those of IPv4.
#[must_use]
pub fn v4() -> Vec<Case> {
    let each = [V4, UP4].map(of_every_net);
    each.into_iter()
        .flatten()
        .chain(within::cases())
        .chain(icmp::cases())
        .chain(hostile::cases())
        .collect()
}

/// Those of IPv6; `nat66`: clients are masqueraded.
#[must_use]
pub fn v6(nat66: bool) -> Vec<Case> {
    let each = [net::v6(nat66), net::up6(nat66)].map(of_every_net);
    each.into_iter().flatten().collect()
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
