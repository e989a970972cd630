//! Containers that go away and come back: same address, but another cable and another MAC.

use crate::namespaces::{Namespace, unique_name};
use crate::site::{Family, Site, until_running};
use crate::topology::{Host, PREFIX_LEN, PREFIX6_LEN, enable_ipv6, link, mac_text};

/// Takes away the host at this place, with its cable, and puts another one there with the same
/// addresses. It has said nothing yet.
#[track_caller]
pub fn replace(site: &mut Site, place: usize, mac: [u8; 6]) {
    let old = &site.router.hosts[place];
    let bridge = old.bridge;
    site.router.ns.ip(&format!("link del {}\n", old.port));
    // Names of interfaces have 15 characters; the number makes it another one than before.
    let label = unique_name("");
    let port = format!("p{}", label.split('-').nth(2).expect("the number"));
    let ns = Namespace::new(&port);
    enable_ipv6(&ns, false);
    site.router.ns.ip(&format!(
        "link add {port} type veth peer name eth0 address {} netns {}\n\
         link set {port} addrgenmode none\n\
         link set {port} master {bridge}\n\
         link set {port} up\n",
        mac_text(mac),
        ns.name()
    ));
    let number = old.address.octets()[1];
    ns.ip(&format!(
        "addr add {}/{PREFIX_LEN} dev eth0\n\
         addr add {}/{PREFIX6_LEN} dev eth0 nodad\n\
         link set eth0 up\n\
         route add default via {}\n\
         route add default via {}\n",
        old.address,
        old.address6,
        Family::V4.router(number),
        Family::V6.router(number),
    ));
    for ns in [&*site.router.ns, &ns] {
        until_running(ns);
    }
    let port_index = link(&site.router.ns, &port).0;
    let (address, address6) = (old.address, old.address6);
    site.router.hosts[place] = Host { ns, bridge, address, address6, mac, port, port_index };
}
