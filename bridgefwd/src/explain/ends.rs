//! Who talks to whom: networks with their bridges, the host itself, and everything outside.

use std::fmt;
use std::net::Ipv4Addr;

use super::model::Table;
use super::space::{Field, Span, union, without};

/// A network: a bridge with a subnet.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Network {
    /// What the user calls it; the bridge's name where it has no other.
    pub name: String,
    /// Its bridge.
    pub bridge: String,
    /// The address part of its subnet, and the prefix' length.
    pub subnet: Option<(Ipv4Addr, u8)>,
    /// The host's address on it.
    pub gateway: Option<Ipv4Addr>,
    /// Those on it, as far as they are known.
    pub containers: Vec<Container>,
}

/// A container on a network.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Its address on this network.
    pub address: Ipv4Addr,
}

impl Network {
    /// Its subnet.
    #[must_use]
    pub fn span(&self) -> Option<Span> {
        self.subnet.map(|(address, length)| Span::prefix(address, length))
    }

    /// The addresses of those on it: known ones where there are any, else all of the subnet that
    /// somebody could have.
    #[must_use]
    pub fn members(&self) -> Vec<Span> {
        if !self.containers.is_empty() {
            let addresses = self.containers.iter().map(|one| Span::address(one.address));
            return union(addresses.collect());
        }
        let Some(span) = self.span() else { return Vec::new() };
        let mut taken: Vec<Span> = self.gateway.map(Span::address).into_iter().collect();
        if span.last - span.first > 1 {
            // The network itself and its broadcast are nobody's.
            taken.extend([Span::one(span.first), Span::one(span.last)]);
        }
        without(span, &taken)
    }
}

/// One end of a conversation.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum End {
    /// A network, by its place in the list.
    Network(usize),
    /// Whoever is reached by the host's other interfaces.
    Outside,
    /// The host itself.
    Host,
}

/// What is known of the host beside its rules.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Facts {
    /// Its networks.
    pub networks: Vec<Network>,
    /// Its addresses; those on its networks are added to these.
    pub addresses: Vec<Ipv4Addr>,
    /// The interface to the outside.
    pub outside: Option<String>,
    /// `net.bridge.bridge-nf-call-iptables`.
    pub bridge_nf: Option<bool>,
    /// `net.ipv4.ip_forward`.
    pub forwarding: Option<bool>,
}

/// A host: its rules and what else is known of it.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Its rules.
    pub tables: Vec<Table>,
    /// The rest.
    pub facts: Facts,
    /// Its addresses, those of 127/8 too.
    pub local: Vec<Span>,
    /// Where addresses of it that are not known can be: on none of its networks.
    pub elsewhere: Vec<Span>,
    /// Names of interfaces that are not the one to the outside.
    pub names: Vec<String>,
}

impl World {
    /// A host with these rules.
    #[must_use]
    pub fn new(tables: Vec<Table>, facts: Facts) -> Self {
        let gateways = facts.networks.iter().filter_map(|network| network.gateway);
        let addresses = gateways.chain(facts.addresses.iter().copied()).map(Span::address);
        let local = union(addresses.chain([loopback()]).collect());
        let networks = facts.networks.iter().filter_map(Network::span);
        let elsewhere = without(Field::Dst.whole(), &networks.chain(nobody()).collect::<Vec<_>>());
        let bridges = facts.networks.iter().map(|network| network.bridge.clone());
        let names = bridges.chain(["lo".to_owned()]).collect();
        Self { tables, facts, local, elsewhere, names }
    }

    /// Every end that there is.
    #[must_use]
    pub fn ends(&self) -> Vec<End> {
        let networks = (0..self.facts.networks.len()).map(End::Network);
        networks.chain([End::Outside, End::Host]).collect()
    }

    /// The network of that place.
    #[must_use]
    pub fn network(&self, index: usize) -> Option<&Network> {
        self.facts.networks.get(index)
    }

    /// The addresses of an end.
    #[must_use]
    pub fn members(&self, end: End) -> Vec<Span> {
        match end {
            End::Network(index) => self.network(index).map(Network::members).unwrap_or_default(),
            End::Host => union(
                self.local.iter().copied().flat_map(|span| without(span, &[loopback()])).collect(),
            ),
            End::Outside => {
                let networks = self.facts.networks.iter().filter_map(Network::span);
                let taken: Vec<Span> =
                    networks.chain(self.local.iter().copied()).chain(nobody()).collect();
                without(Field::Dst.whole(), &taken)
            }
        }
    }

    /// Where the host sends packets to an address.
    #[must_use]
    pub fn route(&self, address: u32) -> End {
        if self.local.iter().any(|span| span.contains(address)) {
            return End::Host;
        }
        let networks = self.facts.networks.iter().enumerate();
        let on = networks.filter_map(|(index, network)| {
            let span = network.span().filter(|span| span.contains(address))?;
            Some((span.last - span.first, index))
        });
        // The longest prefix wins, as in the kernel.
        on.min().map_or(End::Outside, |(_, index)| End::Network(index))
    }

    /// Where routes differ: the spans of addresses that all go the same way.
    #[must_use]
    pub fn ways(&self) -> Vec<Span> {
        let networks = self.facts.networks.iter().filter_map(Network::span);
        networks.chain(self.local.iter().copied()).collect()
    }

    /// The host's address that it has towards an end.
    #[must_use]
    pub fn address_towards(&self, end: End) -> Option<Ipv4Addr> {
        match end {
            End::Network(index) => self.network(index)?.gateway,
            End::Host | End::Outside => None,
        }
    }

    /// What people call an end.
    #[must_use]
    pub fn name(&self, end: End) -> &str {
        match end {
            End::Network(index) => self.network(index).map_or("?", |network| &network.name),
            End::Outside => "outside",
            End::Host => "host",
        }
    }
}

fn loopback() -> Span {
    Span::prefix(Ipv4Addr::LOCALHOST, 8)
}

/// Addresses that no interface has that packets could leave by: this network's, loopback's,
/// multicast's and above.
fn nobody() -> [Span; 3] {
    [(0, 8), (127, 8), (224, 3)]
        .map(|(first, length)| Span::prefix(Ipv4Addr::new(first, 0, 0, 0), length))
}

impl fmt::Display for Network {
    /// The name, and the bridge where it is called something else.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name == self.bridge {
            f.write_str(&self.name)
        } else {
            write!(f, "{} ({})", self.name, self.bridge)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world() -> World {
        let network = |third: u8, length| Network {
            name: format!("net{third}"),
            bridge: format!("br{third}"),
            subnet: Some((Ipv4Addr::new(10, 0, third, 0), length)),
            gateway: Some(Ipv4Addr::new(10, 0, third, 1)),
            containers: Vec::new(),
        };
        let networks = vec![network(0, 16), network(7, 24)];
        World::new(Vec::new(), Facts { networks, ..Facts::default() })
    }

    #[test]
    fn the_longest_prefix_wins() {
        let world = world();
        let at = |third, last| world.route(Ipv4Addr::new(10, 0, third, last).to_bits());
        assert_eq!(at(7, 9), End::Network(1));
        assert_eq!(at(8, 9), End::Network(0));
        assert_eq!(at(7, 1), End::Host);
        assert_eq!(world.route(1), End::Outside);
    }

    #[test]
    fn members_are_those_that_somebody_could_have() {
        let world = world();
        let spans = world.members(End::Network(1));
        assert_eq!(spans, [Span::new(0x0a00_0702, 0x0a00_07fe)]);
        let outside = world.members(End::Outside);
        assert!(!outside.iter().any(|span| span.contains(0x0a00_0702)));
        assert!(outside.iter().any(|span| span.contains(0x0808_0808)));
    }
}
