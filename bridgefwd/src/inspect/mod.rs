//! What a container is to the network: its namespace from inside, the host's end of each of its cables,
//! the bridge that this is plugged into, and what bridgefwd does there.

pub mod report;
pub mod subject;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use crate::api::bridges::Bridge;
use crate::api::types::Pair;
use crate::failure::{Failure, Result};
use crate::host::netlink::{Link, Snapshot};
use crate::host::{inside, netns};
use report::{Interface, Port, Report, Route};
use subject::Subject;

/// What bridgefwd says of the host.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    /// Every bridge there is, by its names.
    pub bridges: Vec<Bridge>,
    /// The listed pairs.
    pub pairs: Vec<Pair>,
}

/// Looks. The calling thread is in the namespace that bridgefwd works in, and stays there.
///
/// # Errors
///
/// The namespace has gone, may not be entered, or the kernel does not answer.
pub fn inspect(subject: &Subject, ends: &Ends) -> Result<Report> {
    let path = subject.path();
    let namespace = netns::inode(&path)?;
    let is_host = netns::inode(Path::new("/proc/thread-self/ns/net"))? == namespace;
    let failed = |error| Failure::failed(format!("cannot look into {}: {error}", path.display()));
    let (links, routes, sysctls) = netns::run_in(&path, || {
        let links = Snapshot::take()?;
        let sysctls = inside::settings(&links);
        Ok((links, inside::routes()?, sysctls))
    })?
    .map_err(failed)?;
    let host = Snapshot::take().map_err(failed)?;
    let called = if is_host { None } else { inside::called(&path).map_err(failed)? };
    let interface = |link: &Link| {
        let port = if is_host { None } else { host_end(link, &host, called) };
        describe(link, port.map(|port| describe_port(port, &host, &ends.bridges)))
    };
    let interfaces: Vec<Interface> = links.all().map(interface).collect();
    let ports = || interfaces.iter().filter_map(|interface| interface.port.as_ref());
    let on = |end: &String| ports().any(|port| port.bridge.as_ref() == Some(end));
    let pairs = ends.pairs.iter().filter(|pair| on(&pair.from) || on(&pair.to)).cloned().collect();
    let (kind, name, id) = match subject {
        Subject::Process { name, .. } => ("process", name, None),
        Subject::Namespace(name) => ("namespace", name, None),
        Subject::Container { container, .. } => {
            ("container", &container.name, Some(container.id.clone()))
        }
    };
    Ok(Report {
        kind: kind.into(),
        name: name.clone(),
        id,
        pid: subject.pid(),
        namespace,
        is_host,
        pids: subject::processes(namespace),
        routes: routes.iter().map(|route| describe_route(route, &links)).collect(),
        interfaces,
        sysctls,
        pairs,
    })
}

/// The host's end of the veth pair that `link` is an end of: each names the other, and the host calls
/// the namespace of `link` what its own end does.
#[must_use]
pub fn host_end<'a>(link: &Link, host: &'a Snapshot, called: Option<i32>) -> Option<&'a Link> {
    let other = host.get(link.paired_with?)?;
    let meets = other.paired_with == Some(link.ifindex)
        && other.paired_in.is_some()
        && other.paired_in == called;
    meets.then_some(other)
}

fn describe(link: &Link, port: Option<Port>) -> Interface {
    let addresses = link.addresses.iter().chain(&link.addresses_v6);
    let mac = link.mac.map(|byte| format!("{byte:02x}")).join(":");
    Interface {
        name: link.name.clone(),
        ifindex: link.ifindex,
        mac: (link.mac != [0; 6]).then_some(mac),
        mtu: link.mtu,
        up: link.up,
        addresses: addresses.map(|own| format!("{}/{}", own.address, own.prefix_len)).collect(),
        port,
    }
}

fn describe_port(port: &Link, host: &Snapshot, bridges: &[Bridge]) -> Port {
    let bridge = port.master.and_then(|master| host.get(master));
    let known = bridge.and_then(|bridge| bridges.iter().find(|it| it.ifindex == bridge.ifindex));
    let attached = |is: bool| known.filter(|_| is).map_or("no", |known| &known.attached).to_owned();
    let is_attached = known.is_some_and(|known| known.ports.contains(&port.name));
    Port {
        name: port.name.clone(),
        ifindex: port.ifindex,
        bridge: bridge.map(|bridge| known.map_or(&bridge.name, |known| &known.name).clone()),
        bridge_interface: bridge.map(|bridge| bridge.name.clone()),
        attached: attached(is_attached),
        bridge_attached: attached(true),
    }
}

fn describe_route(route: &inside::Route, links: &Snapshot) -> Route {
    let everywhere: IpAddr =
        if route.is_v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let to = match route.to {
        Some((to, length)) if (to, length) != (everywhere, 0) => format!("{to}/{length}"),
        _ => "default".into(),
    };
    let by = route.by.and_then(|by| links.get(by));
    Route {
        to,
        via: route.via.map(|via| via.to_string()),
        interface: by.map(|link| link.name.clone()),
        source: route.source.map(|source| source.to_string()),
        metric: route.metric,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(ifindex: u32, paired_with: u32, paired_in: Option<i32>) -> Link {
        Link { ifindex, paired_with: Some(paired_with), paired_in, ..Link::default() }
    }

    #[test]
    fn an_end_is_the_hosts_where_each_names_the_other() {
        let host = |other: Link| Snapshot::of([other]);
        let inside = end(2, 7, Some(0));
        let found = |other, called| host_end(&inside, &host(other), called).map(|it| it.ifindex);
        assert_eq!(found(end(7, 2, Some(3)), Some(3)), Some(7));
        // Another namespace's interface has the same number.
        assert_eq!(found(end(7, 2, Some(4)), Some(3)), None);
        // A cable of its own.
        assert_eq!(found(end(7, 2, None), None), None);
        assert_eq!(found(end(7, 9, Some(3)), Some(3)), None);
        assert_eq!(found(end(8, 2, Some(3)), Some(3)), None);
    }
}
