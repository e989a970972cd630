//! Where packets of two addresses come by: the interfaces of their containers, the ports and bridges that
//! these are plugged into, and the interface that the host has its route to others by.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Result};
use crate::host::addresses::same_prefix;
use crate::host::inside::{self, Route};
use crate::host::netlink::{Link, Snapshot};
use crate::host::netns;
use crate::inspect::host_end;
use crate::instance::NETNS_DIR;

/// What a station is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// An interface inside a container.
    Container,
    /// A bridge port on the host.
    Port,
    /// A bridge.
    Bridge,
    /// Another interface of the host.
    Interface,
}

/// An interface where packets are watched.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Station {
    /// What it is.
    pub kind: Kind,
    /// The interface's name.
    pub interface: String,
    /// Its number, in its namespace.
    pub ifindex: u32,
    /// The namespace that it is in, and what that is called; `None` for the host's own.
    pub inside: Option<(PathBuf, String)>,
}

impl Station {
    /// How far on its way a packet is that it has received or sent.
    #[must_use]
    pub const fn rank(&self, out: bool) -> u8 {
        match (self.kind, out) {
            (Kind::Container, true) => 0,
            (Kind::Port | Kind::Interface, false) => 1,
            (Kind::Bridge, false) => 2,
            (Kind::Bridge, true) => 3,
            (Kind::Port | Kind::Interface, true) => 4,
            (Kind::Container, false) => 5,
        }
    }

    /// Is it the host's interface of that number?
    #[must_use]
    pub fn is_here(&self, ifindex: u32) -> bool {
        self.inside.is_none() && self.ifindex == ifindex
    }
}

/// Where an address is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// In a network namespace that is plugged into this one.
    Inside {
        /// The file that stands for it.
        path: PathBuf,
        /// What it is called.
        name: String,
        /// Its inode number.
        inode: u64,
    },
    /// It is the host's own.
    Host,
    /// Elsewhere.
    Beyond,
}

/// One of the two.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Party {
    /// As it was asked for.
    pub said: String,
    /// Its address.
    pub address: IpAddr,
    /// Where that is.
    pub place: Place,
}

impl Party {
    /// What it is called: the container, else as it was asked for.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.place {
            Place::Inside { name, .. } => name,
            Place::Host | Place::Beyond => &self.said,
        }
    }

    /// Is it in the network namespace of that inode number?
    #[must_use]
    pub fn is_in(&self, namespace: u64) -> bool {
        matches!(&self.place, Place::Inside { inode, .. } if *inode == namespace)
    }
}

/// A namespace that is plugged into the host's.
#[derive(Clone, Debug)]
struct Inside {
    path: PathBuf,
    name: String,
    inode: u64,
    links: Snapshot,
    /// What the host's namespace calls it.
    called: Option<i32>,
}

/// The host's interfaces, and the namespaces that are plugged into it.
pub struct Surroundings {
    host: Snapshot,
    insides: Vec<Inside>,
    routes: Vec<Route>,
}

impl Surroundings {
    /// Looks, from the host's namespace. `names` are those of containers, by their addresses.
    ///
    /// # Errors
    ///
    /// The kernel does not answer. Namespaces that cannot be looked into are left out.
    pub fn look(names: &BTreeMap<IpAddr, String>) -> Result<Self> {
        let failed =
            |error: io::Error| Failure::failed(format!("cannot look at the network: {error}"));
        let host = Snapshot::take().map_err(failed)?;
        let routes = inside::routes().map_err(failed)?;
        let own = netns::inode(Path::new("/proc/thread-self/ns/net"))?;
        let plugged: BTreeSet<i32> = host.all().filter_map(|link| link.paired_in).collect();
        let mut known = BTreeSet::from([own]);
        let mut insides = Vec::new();
        for (path, name) in namespaces() {
            let Ok(inode) = netns::inode(&path) else { continue };
            if !known.insert(inode) {
                continue;
            }
            let called = inside::called(&path).ok().flatten();
            if !called.is_some_and(|called| plugged.contains(&called)) {
                continue;
            }
            let Ok(Ok(links)) = netns::run_in(&path, Snapshot::take) else { continue };
            let of_docker = links
                .all()
                .find_map(|link| addresses(link).find_map(|address| names.get(&address).cloned()));
            let name = of_docker.unwrap_or(name);
            insides.push(Inside { path, name, inode, links, called });
        }
        Ok(Self { host, insides, routes })
    }

    /// The one that has that address, as it was asked for.
    #[must_use]
    pub fn party(&self, said: &str, address: IpAddr) -> Party {
        let place = if self.host.all().any(|link| addresses(link).any(|own| own == address)) {
            Place::Host
        } else if let Some((inside, _)) = self.holder(address) {
            let Inside { path, name, inode, .. } = inside;
            Place::Inside { path: path.clone(), name: name.clone(), inode: *inode }
        } else {
            Place::Beyond
        };
        Party { said: said.into(), address, place }
    }

    /// The addresses of the namespace that `path` stands for, IPv4 first; of those interfaces alone that
    /// are plugged into the host, where there are such.
    ///
    /// # Errors
    ///
    /// It is not plugged into the host's.
    pub fn addresses_of(&self, said: &str, path: &Path) -> Result<Vec<IpAddr>> {
        let inode = netns::inode(path)?;
        let inside = self.insides.iter().find(|inside| inside.inode == inode);
        let links = match inside {
            Some(inside) => &inside.links,
            None if netns::inode(Path::new("/proc/thread-self/ns/net"))? == inode => &self.host,
            None => {
                return Err(Failure::failed(format!(
                    "{said} is not plugged into this network namespace: none of its interfaces has \
                     its other end here"
                )));
            }
        };
        let mut all: Vec<IpAddr> = links
            .all()
            .filter(|link| inside.is_none_or(|inside| self.port(inside, link).is_some()))
            .flat_map(addresses)
            .collect();
        all.sort_by_key(IpAddr::is_ipv6);
        Ok(all)
    }

    /// The interfaces where packets between the two come by, in the order in which those of the first
    /// one do.
    #[must_use]
    pub fn stations(&self, from: &Party, to: &Party) -> Vec<Station> {
        let mut all = self.at(from);
        let mut far = self.at(to);
        far.reverse();
        for station in far {
            if !all.contains(&station) {
                all.push(station);
            }
        }
        all
    }

    /// From its own interface on.
    fn at(&self, party: &Party) -> Vec<Station> {
        let mut stations = Vec::new();
        let here = |kind, link: &Link| Station {
            kind,
            interface: link.name.clone(),
            ifindex: link.ifindex,
            inside: None,
        };
        let found = self.holder(party.address);
        if let (Place::Inside { .. }, Some((inside, link))) = (&party.place, found) {
            stations.push(Station {
                kind: Kind::Container,
                interface: link.name.clone(),
                ifindex: link.ifindex,
                inside: Some((inside.path.clone(), inside.name.clone())),
            });
            if let Some(port) = self.port(inside, link) {
                let master = port.master.and_then(|master| self.host.get(master));
                let kind = if master.is_some() { Kind::Port } else { Kind::Interface };
                stations.push(here(kind, port));
                stations.extend(master.map(|bridge| here(Kind::Bridge, bridge)));
            }
            return stations;
        }
        if party.place == Place::Host {
            // The bridge that has it, if one has; packets for it come in there.
            let holder = self.host.all().find(|link| addresses(link).any(|it| it == party.address));
            stations.extend(holder.filter(|link| link.is_bridge).map(|it| here(Kind::Bridge, it)));
            return stations;
        }
        let Some(way) = self.way_to(party.address) else { return stations };
        if way.is_bridge {
            stations.extend(self.host.ports(way.ifindex).map(|port| here(Kind::Port, port)));
            stations.push(here(Kind::Bridge, way));
        } else {
            stations.push(here(Kind::Interface, way));
        }
        stations
    }

    /// The namespace whose interface has that address and is plugged into the host, and the interface.
    fn holder(&self, address: IpAddr) -> Option<(&Inside, &Link)> {
        self.insides.iter().find_map(|inside| {
            let has = |link: &&Link| {
                addresses(link).any(|own| own == address) && self.port(inside, link).is_some()
            };
            inside.links.all().find(has).map(|link| (inside, link))
        })
    }

    /// The host's end of an interface.
    fn port(&self, inside: &Inside, link: &Link) -> Option<&Link> {
        host_end(link, &self.host, inside.called)
    }

    /// The interface of the host's longest route to an address.
    fn way_to(&self, address: IpAddr) -> Option<&Link> {
        let fits = self.routes.iter().filter(|route| route.is_v6 == address.is_ipv6());
        let fits = fits.filter_map(|route| {
            let length = route.to.map_or(Some(0), |(to, length)| {
                same_prefix(address, to, length).then_some(length)
            })?;
            Some(((length, u32::MAX - route.metric), route.by?))
        });
        let (_, by) = fits.max_by_key(|(rank, _)| *rank)?;
        self.host.get(by)
    }
}

/// The source that the calling thread's namespace takes for packets to `address`; nothing is sent for
/// that.
#[must_use]
pub fn source_towards(address: IpAddr) -> Option<IpAddr> {
    let any: SocketAddr =
        if address.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).ok()?;
    // Port 9, that of discard: the kernel looks for a route, no more.
    socket.connect((address, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

fn addresses(link: &Link) -> impl Iterator<Item = IpAddr> {
    link.addresses.iter().chain(&link.addresses_v6).map(|own| own.address)
}

/// All network namespaces that can be found, those that have names first.
fn namespaces() -> Vec<(PathBuf, String)> {
    let names = |dir: &Path| -> Vec<String> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let mut names: Vec<_> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    };
    let named = names(Path::new(NETNS_DIR)).into_iter().map(|name| (netns::path_of(&name), name));
    let processes = names(Path::new("/proc"));
    let processes = processes.into_iter().filter(|name| name.bytes().all(|it| it.is_ascii_digit()));
    let processes = processes.map(|pid| {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        (PathBuf::from(format!("/proc/{pid}/ns/net")), format!("{} ({pid})", comm.trim()))
    });
    named.chain(processes).collect()
}
