//! A network namespace from inside, beyond its interfaces: its routes, the settings that decide what it
//! forwards and accepts, and what another namespace calls it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use netlink_packet_core::{NLM_F_REQUEST, NetlinkPayload};
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::netlink::{Snapshot, dump, exchange};

/// A route of the main table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    /// Where it leads: an address and the prefix' length; `None` for anywhere.
    pub to: Option<(IpAddr, u8)>,
    /// Is it one of IPv6?
    pub is_v6: bool,
    /// The next router.
    pub via: Option<IpAddr>,
    /// ifindex of the interface that it leaves by; `None` where it has several, or none.
    pub by: Option<u32>,
    /// The source that is chosen for it.
    pub source: Option<IpAddr>,
    /// Among several to the same place the smallest is taken.
    pub metric: u32,
}

/// The routes of the calling thread's namespace, IPv4 first, in the kernel's order.
///
/// # Errors
///
/// The kernel's error.
pub fn routes() -> io::Result<Vec<Route>> {
    let mut routes = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut request = RouteMessage::default();
        request.header.address_family = family;
        for answer in dump(RouteNetlinkMessage::GetRoute(request))? {
            let RouteNetlinkMessage::NewRoute(message) = answer else { continue };
            routes.extend(route(message));
        }
    }
    Ok(routes)
}

/// What a message says, if it is about the main table.
fn route(message: RouteMessage) -> Option<Route> {
    let header = &message.header;
    if header.table != RouteHeader::RT_TABLE_MAIN {
        return None;
    }
    let is_v6 = header.address_family == AddressFamily::Inet6;
    let mut route = Route { to: None, is_v6, via: None, by: None, source: None, metric: 0 };
    for attribute in message.attributes {
        match attribute {
            RouteAttribute::Destination(to) => {
                route.to = address(&to).map(|to| (to, header.destination_prefix_length));
            }
            RouteAttribute::Gateway(via) => route.via = address(&via),
            RouteAttribute::PrefSource(source) => route.source = address(&source),
            RouteAttribute::Oif(by) => route.by = Some(by),
            RouteAttribute::Priority(metric) => route.metric = metric,
            _ => {}
        }
    }
    Some(route)
}

fn address(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some((*v4).into()),
        RouteAddress::Inet6(v6) => Some((*v6).into()),
        _ => None,
    }
}

/// The settings of the calling thread's namespace that decide what it forwards and what it accepts, by
/// their names; those that cannot be read are left out.
#[must_use]
pub fn settings(snapshot: &Snapshot) -> BTreeMap<String, String> {
    let fixed =
        ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding", "net.ipv4.conf.all.rp_filter"];
    let fixed = fixed.map(|name| (name.to_owned(), name.replace('.', "/")));
    // A name of an interface may have dots, which are slashes where sysctl(8) prints them.
    let each = snapshot.all().map(|link| {
        let path = format!("net/ipv4/conf/{}/rp_filter", link.name);
        (format!("net.ipv4.conf.{}.rp_filter", link.name.replace('.', "/")), path)
    });
    let read = |(name, path): (String, String)| {
        let value = fs::read_to_string(Path::new("/proc/sys").join(path)).ok()?;
        Some((name, value.trim().to_owned()))
    };
    fixed.into_iter().chain(each).filter_map(read).collect()
}

/// What the calling thread's namespace calls another one; `None` where it has never had to.
///
/// # Errors
///
/// There is no such namespace, or the kernel refuses.
pub fn called(namespace: &Path) -> io::Result<Option<i32>> {
    let file = File::open(namespace)?;
    let fd = u32::try_from(file.as_raw_fd()).map_err(io::Error::other)?;
    let mut request = NsidMessage::default();
    request.attributes.push(NsidAttribute::Fd(fd));
    let (mut id, mut failure) = (None, None);
    exchange(RouteNetlinkMessage::GetNsId(request), NLM_F_REQUEST, &mut |answer| {
        match answer.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNsId(message)) => {
                id = message.attributes.iter().find_map(|attribute| match attribute {
                    // -1: it has no number here.
                    NsidAttribute::Id(id) if *id >= 0 => Some(*id),
                    _ => None,
                });
                true
            }
            NetlinkPayload::Error(error) => {
                failure = error.code.map(|_| error.to_io());
                true
            }
            _ => false,
        }
    })?;
    failure.map_or(Ok(id), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_a_stranger_to_nobody() {
        assert!(called(Path::new("/proc/thread-self/ns/net")).is_ok());
        assert!(called(Path::new("/proc/self/status")).is_err());
        assert!(called(Path::new("/run/netns/bridgefwd-no-such-namespace")).is_err());
    }

    #[test]
    fn settings_have_their_names() {
        let settings = settings(&Snapshot::take().unwrap());
        assert!(settings.contains_key("net.ipv4.ip_forward"), "{settings:?}");
        assert!(settings.contains_key("net.ipv4.conf.lo.rp_filter"), "{settings:?}");
        assert!(routes().is_ok());
    }
}
