//! What ends are called: Docker's networks by name or id, and bridges by the names of their interfaces.
//!
//! Each thing that can be named is a [`Place`]; a name leads to one of them, or to the reason why it
//! does not. Whatever a place was called by, it is shown and kept under one name: that of the network,
//! else that of the interface. So a rule holds for the network that has the name, whichever
//! bridge that has at the moment.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use crate::failure::{Failure, Result};
use crate::host::docker::Network;
use crate::host::netlink::{Link, Snapshot};
use crate::meant::suggestion;

/// Digits of a network's id below which it is taken for no id: a short word may look like one.
const SHORTEST_ID: usize = 4;

/// Something that can be named: a network of Docker's, a bridge, mostly both.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Place {
    /// The name that it is known by, which leads to it and to nothing else.
    pub name: String,
    /// Its bridge, where there is one here: ifindex and name.
    pub bridge: Option<(u32, String)>,
    /// Its network, where it is one of Docker's.
    pub network: Option<Network>,
    /// Why it cannot be an end, and what to do; `None` where it can.
    pub unusable: Option<String>,
}

/// All places of the host at one time.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Names {
    places: Vec<Place>,
    index: Index,
}

impl Names {
    /// Of the interfaces and networks as they are. Networks come first, then bridges that are none of
    /// Docker's, each in order of their names.
    #[must_use]
    pub fn new(snapshot: &Snapshot, networks: &[Network]) -> Self {
        let mut named: HashMap<&str, usize> = HashMap::new();
        for network in networks {
            *named.entry(&network.name).or_default() += 1;
        }
        let alone = |network: &Network| named.get(&*network.name) == Some(&1);
        let mut places: Vec<_> =
            networks.iter().map(|network| place_of(network, alone(network), snapshot)).collect();
        let of_docker: BTreeSet<u32> = places.iter().filter_map(Place::ifindex).collect();
        let mut plain: Vec<_> = snapshot
            .all()
            .filter(|link| link.is_bridge)
            .filter(|link| !of_docker.contains(&link.ifindex))
            .map(|link| Place {
                name: link.name.clone(),
                bridge: Some((link.ifindex, link.name.clone())),
                network: None,
                unusable: without_address(link),
            })
            .collect();
        plain.sort_by(|a, b| a.name.cmp(&b.name));
        places.append(&mut plain);
        Self { index: Index::of(&places), places }
    }

    /// All of them.
    #[must_use]
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// Those that are managed where nobody names any: Docker's networks that can be ends, or, where
    /// there is no Docker, bridges that can.
    pub fn all_ends(&self) -> impl Iterator<Item = &Place> {
        let docker = self.places.iter().any(|place| place.network.is_some());
        self.places
            .iter()
            .filter(move |place| place.unusable.is_none() && place.network.is_some() == docker)
    }

    /// The place whose bridge is that interface.
    #[must_use]
    pub fn of_interface(&self, ifindex: u32) -> Option<&Place> {
        self.places.get(*self.index.by_ifindex.get(&ifindex)?)
    }

    /// The place that is known by that name as an end.
    #[must_use]
    pub fn known_as(&self, end: &str) -> Option<&Place> {
        self.places.get(*self.index.by_end_name.get(end)?)
    }

    /// The place with the bridge of that name.
    fn with_interface(&self, name: &str) -> Option<&Place> {
        self.places.get(*self.index.by_interface.get(name)?)
    }

    /// Docker's networks of that name.
    fn networks(&self, name: &str) -> impl Iterator<Item = &Place> {
        let places = self.index.by_network.get(name).into_iter().flatten();
        places.filter_map(|&place| self.places.get(place))
    }

    /// The place that `name` stands for: the name of a bridge's interface, of a network, or the
    /// beginning of a network's id, in this order.
    ///
    /// # Errors
    ///
    /// Where it stands for none, for several, or for one that cannot be an end: what it is, and what to
    /// do instead.
    pub fn resolve(&self, name: &str) -> Result<&Place> {
        if let Some(place) = self.with_interface(name) {
            return Ok(place);
        }
        let mut found: Vec<_> = self.networks(name).collect();
        if found.is_empty() {
            found = self.places.iter().filter(|place| place.has_id(name)).collect();
        }
        match *found {
            [] => {
                let usable = self.places.iter().filter(|place| place.unusable.is_none());
                let suggestion = suggestion(name, usable.map(|place| &*place.name));
                Err(Failure::usage(format!(
                    "there is no bridge or network {name}; {}{suggestion}",
                    self.listed()
                )))
            }
            [place] => match &place.unusable {
                Some(why) => Err(Failure::usage(why.clone())),
                None => Ok(place),
            },
            _ => {
                let ids: Vec<_> = found
                    .iter()
                    .filter_map(|place| place.network.as_ref().map(Network::short_id))
                    .collect();
                Err(Failure::usage(format!(
                    "{name} is the name of {} networks: say which by its id, {}",
                    found.len(),
                    ids.join(" or ")
                )))
            }
        }
    }

    /// Is there anything of that name, whether it can be an end or not?
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        self.with_interface(name).is_some()
            || self.networks(name).next().is_some()
            || self.places.iter().any(|place| place.has_id(name))
    }

    /// Under which name the thing is known now that `before` knew as `name`; `None` where it is gone,
    /// or still known by that.
    #[must_use]
    pub fn renamed(&self, before: &Self, name: &str) -> Option<&str> {
        let was = before.known_as(name)?;
        let same_network = |id: &String| self.places.get(*self.index.by_id.get(id)?);
        let same_bridge = || {
            // Docker was not known of yet, or is forgotten.
            let is = self.of_interface(was.ifindex()?)?;
            let either = was.network.is_none() || is.network.is_none();
            (either && was.bridge == is.bridge).then_some(is)
        };
        let network = was.network.as_ref().and_then(|network| same_network(&network.id));
        let is = network.or_else(same_bridge)?;
        (is.end_name() != name).then(|| is.end_name())
    }

    /// What was behind bridges `before`, and is not there now: the bridge's ifindex and the address. A
    /// container that was started anew meanwhile is not the same one.
    #[must_use]
    pub fn left(&self, before: &Self) -> BTreeSet<(u32, IpAddr)> {
        let there: BTreeSet<_> = self.endpoints().collect();
        let gone = before.endpoints().filter(|endpoint| !there.contains(endpoint));
        gone.map(|(ifindex, _, address)| (ifindex, address)).collect()
    }

    /// Each address of a container, with the ifindex of its bridge and the id of its endpoint.
    fn endpoints(&self) -> impl Iterator<Item = (u32, &str, IpAddr)> {
        self.places.iter().flat_map(|place| {
            let bridge = place.bridge.as_ref().map(|(ifindex, _)| *ifindex);
            let endpoints = place.network.iter().flat_map(|network| &network.endpoints);
            endpoints.flat_map(move |endpoint| {
                let addresses = endpoint.addresses.iter();
                addresses.filter_map(move |&address| Some((bridge?, &*endpoint.id, address)))
            })
        })
    }

    /// The names of all ends that there can be, in words.
    fn listed(&self) -> String {
        let names: Vec<_> = self
            .places
            .iter()
            .filter(|place| place.unusable.is_none())
            .map(|place| &*place.name)
            .collect();
        if names.is_empty() {
            "there is none that could be an end".into()
        } else {
            format!("there are: {}", names.join(", "))
        }
    }
}

impl Place {
    /// The name under which it is an end: that of its interface, where its network cannot be one.
    #[must_use]
    pub fn end_name(&self) -> &str {
        match (&self.unusable, &self.bridge) {
            (Some(_), Some((_, interface))) => interface,
            _ => &self.name,
        }
    }

    fn ifindex(&self) -> Option<u32> {
        self.bridge.as_ref().map(|(ifindex, _)| *ifindex)
    }

    /// Is that the beginning of its network's id?
    fn has_id(&self, name: &str) -> bool {
        is_id(name) && self.network.as_ref().is_some_and(|network| network.id.starts_with(name))
    }
}

/// Where places are, by what they are looked for by; the first one, where there are several.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Index {
    by_ifindex: HashMap<u32, usize>,
    by_interface: HashMap<String, usize>,
    by_end_name: HashMap<String, usize>,
    by_id: HashMap<String, usize>,
    /// All of them.
    by_network: HashMap<String, Vec<usize>>,
}

impl Index {
    fn of(places: &[Place]) -> Self {
        let mut index = Self::default();
        for (at, place) in places.iter().enumerate() {
            if let Some((ifindex, interface)) = &place.bridge {
                index.by_ifindex.entry(*ifindex).or_insert(at);
                index.by_interface.entry(interface.clone()).or_insert(at);
            }
            index.by_end_name.entry(place.end_name().to_owned()).or_insert(at);
            if let Some(network) = &place.network {
                index.by_id.entry(network.id.clone()).or_insert(at);
                index.by_network.entry(network.name.clone()).or_default().push(at);
            }
        }
        index
    }
}

fn place_of(network: &Network, alone: bool, snapshot: &Snapshot) -> Place {
    let bridge = (network.driver == "bridge").then(|| bridge_of(network, snapshot)).flatten();
    // A bridge of that name goes before the network, unless it is the network's own.
    let other_bridge = snapshot
        .by_name(&network.name)
        .is_some_and(|link| link.is_bridge && bridge.is_none_or(|own| own.ifindex != link.ifindex));
    let name = if alone && !other_bridge { &network.name } else { network.short_id() };
    Place {
        name: name.into(),
        bridge: bridge.map(|link| (link.ifindex, link.name.clone())),
        unusable: unusable(network, bridge),
        network: Some(network.clone()),
    }
}

/// The bridge of a network: by its name, or, where somebody has renamed it, the only one that has an
/// address which is the network's gateway.
fn bridge_of<'a>(network: &Network, snapshot: &'a Snapshot) -> Option<&'a Link> {
    if let Some(link) = snapshot.by_name(&network.bridge) {
        return link.is_bridge.then_some(link);
    }
    let mut candidates = snapshot.all().filter(|link| {
        let mut addresses = link.addresses.iter().chain(&link.addresses_v6);
        link.is_bridge && addresses.any(|own| network.gateways.contains(&own.address))
    });
    candidates.next().filter(|_| candidates.next().is_none())
}

/// Why a network cannot be an end, and what to do instead.
fn unusable(network: &Network, bridge: Option<&Link>) -> Option<String> {
    let Network { name, driver, parent, .. } = network;
    let instead = "connect the containers to a network of the driver bridge, and name that \
                   (docker network create, docker network connect)";
    let what = match &**driver {
        "host" => {
            return Some(format!(
                "the network {name} cannot be an end: its containers have no network of their own, but \
                 the interfaces of the host, whose traffic is the kernel's; {instead}"
            ));
        }
        "null" | "none" => "its containers have no network at all".to_owned(),
        "macvlan" | "ipvlan" => format!(
            "its driver is {driver}, which puts containers on {} directly, past every bridge of this host",
            parent.as_deref().unwrap_or("an interface")
        ),
        "overlay" => {
            "its driver is overlay, whose packets travel between hosts in VXLAN, past every \
                      bridge of this network namespace"
                .to_owned()
        }
        "bridge" if network.internal => {
            "it is internal: Docker gives its containers no way out".to_owned()
        }
        "bridge" => match bridge {
            None => {
                return Some(format!(
                    "the network {name} cannot be an end at the moment: its bridge {} is not in this \
                     network namespace",
                    network.bridge
                ));
            }
            Some(link) => return without_address(link),
        },
        other => format!("its driver is {other}, which makes no bridge that is known of"),
    };
    Some(format!("the network {name} cannot be an end: {what}; {instead}"))
}

/// Link-local addresses do not count: nothing is routed by them.
fn without_address(link: &Link) -> Option<String> {
    (link.addresses.is_empty() && link.addresses_v6.is_empty()).then(|| {
        format!(
            "the bridge {0} has neither an IPv4 nor an IPv6 address, so nothing is routed to it: add \
             one first (ip address add ADDRESS/PREFIX dev {0})",
            link.name
        )
    })
}

fn is_id(name: &str) -> bool {
    name.len() >= SHORTEST_ID && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests;
