//! Addresses of interfaces by rtnetlink: those that packets can be translated to, in the order in
//! which the kernel prefers them.

use std::io;
use std::net::IpAddr;

use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::netlink::dump;

/// One address of an interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// Length of its subnet's prefix in bits.
    pub prefix_len: u8,
    /// Of IPv6: not to be used for what is new.
    pub deprecated: bool,
}

/// Do two addresses of one family agree in their first `length` bits?
#[must_use]
pub fn same_prefix(one: IpAddr, other: IpAddr, length: u8) -> bool {
    let agree = match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        _ => return false,
    };
    agree >= u32::from(length)
}

/// The IPv4 addresses of all interfaces, with their ifindex: primary ones first, each kind in the
/// kernel's order.
///
/// # Errors
///
/// Where the kernel refuses or does not answer.
pub fn v4() -> io::Result<Vec<(u32, Address)>> {
    let placed = placed(AddressFamily::Inet, usable_v4)?;
    Ok(placed.into_iter().map(|(_, ifindex, address)| (ifindex, address)).collect())
}

/// The IPv6 addresses of all interfaces that reach beyond the link and are ready for use, likewise:
/// deprecated ones last.
///
/// # Errors
///
/// Where the kernel refuses or does not answer.
pub fn v6() -> io::Result<Vec<(u32, Address)>> {
    let placed = placed(AddressFamily::Inet6, usable_v6)?;
    let flagged = |(place, ifindex, address)| {
        (ifindex, Address { deprecated: place == Place::Last, ..address })
    };
    Ok(placed.into_iter().map(flagged).collect())
}

/// In which place of a list an address comes.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Place {
    First,
    Last,
}

/// All addresses of a family with their interfaces, those first that `usable` places first.
fn placed(
    family: AddressFamily,
    usable: fn(&AddressMessage) -> Option<Place>,
) -> io::Result<Vec<(Place, u32, Address)>> {
    let mut request = AddressMessage::default();
    request.header.family = family;
    let mut placed = Vec::new();
    for message in dump(RouteNetlinkMessage::GetAddress(request))? {
        let RouteNetlinkMessage::NewAddress(message) = message else { continue };
        if let (Some(place), Some(address)) = (usable(&message), address(&message)) {
            placed.push((place, message.header.index, address));
        }
    }
    // Stable: each kind stays in the kernel's order.
    placed.sort_by_key(|&(place, ..)| place);
    Ok(placed)
}

/// All of them, the secondary ones last.
fn usable_v4(message: &AddressMessage) -> Option<Place> {
    let secondary = message.header.flags.contains(AddressHeaderFlags::Secondary);
    Some(if secondary { Place::Last } else { Place::First })
}

/// Those that reach beyond the link and are ready for use, the deprecated ones last.
fn usable_v6(message: &AddressMessage) -> Option<Place> {
    if message.header.scope != AddressScope::Universe {
        return None;
    }
    let flags = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Flags(flags) => Some(*flags),
        _ => None,
    });
    // The header has room for eight of them only.
    let flags = flags.unwrap_or(AddressFlags::from_bits_retain(message.header.flags.bits().into()));
    if flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed) {
        return None;
    }
    let deprecated = flags.contains(AddressFlags::Deprecated);
    Some(if deprecated { Place::Last } else { Place::First })
}

/// The interface's own address; on point-to-point links `IFA_ADDRESS` is the peer's.
fn address(message: &AddressMessage) -> Option<Address> {
    let mut own = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => own = Some(*address),
            AddressAttribute::Address(address) => own = own.or(Some(*address)),
            _ => {}
        }
    }
    own.map(|address| Address { address, prefix_len: message.header.prefix_len, deprecated: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(scope: AddressScope, flags: AddressFlags) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header.scope = scope;
        message.header.prefix_len = 64;
        message.attributes.push(AddressAttribute::Flags(flags));
        message.attributes.push(AddressAttribute::Address([0xfd00, 0, 0, 0, 0, 0, 0, 1].into()));
        message
    }

    #[test]
    fn prefixes_are_compared_bit_by_bit() {
        let same = |one: &str, other: &str, length| {
            same_prefix(one.parse().unwrap(), other.parse().unwrap(), length)
        };
        assert!(same("172.18.0.1", "172.18.255.254", 16) && !same("172.18.0.1", "172.19.0.1", 16));
        assert!(same("10.0.0.1", "10.0.0.129", 24) && !same("10.0.0.1", "10.0.0.129", 25));
        assert!(same("10.0.0.1", "10.0.0.1", 32) && same("10.0.0.1", "192.0.2.1", 0));
        assert!(same("fd00:1::1", "fd00:1::2", 64) && !same("fd00:1::1", "fd00:2::1", 64));
        assert!(!same("10.0.0.1", "fd00::1", 0));
    }

    #[test]
    fn prefixes_hold_their_addresses() {
        let within = |address: &str, to: &str, length| {
            same_prefix(address.parse().unwrap(), to.parse().unwrap(), length)
        };
        assert!(within("172.18.0.2", "172.18.0.0", 16) && within("1.2.3.4", "0.0.0.0", 0));
        assert!(!within("172.19.0.2", "172.18.0.0", 16) && !within("fd00::1", "0.0.0.0", 0));
        assert!(within("fd00::1", "fd00::", 64) && !within("fd01::1", "fd00::", 64));
        assert!(within("10.0.0.1", "10.0.0.1", 32) && !within("10.0.0.2", "10.0.0.1", 32));
    }

    #[test]
    fn ipv6_addresses_are_of_global_scope_and_ready() {
        let place = |scope, flags| usable_v6(&message(scope, flags));
        let (global, none) = (AddressScope::Universe, AddressFlags::empty());
        assert_eq!(place(global, none), Some(Place::First));
        assert_eq!(place(global, AddressFlags::Permanent), Some(Place::First));
        assert_eq!(place(global, AddressFlags::Deprecated), Some(Place::Last));
        assert_eq!(place(global, AddressFlags::Tentative), None);
        assert_eq!(place(global, AddressFlags::Dadfailed), None);
        assert_eq!(place(AddressScope::Link, none), None);
        assert_eq!(place(AddressScope::Site, none), None);
    }

    #[test]
    fn the_own_address_is_the_local_one() {
        let mut message = message(AddressScope::Universe, AddressFlags::empty());
        let read = |message: &AddressMessage| address(message).unwrap().address.to_string();
        assert_eq!(read(&message), "fd00::1");
        message.attributes.push(AddressAttribute::Local([0xfd00, 0, 0, 0, 0, 0, 0, 2].into()));
        assert_eq!(read(&message), "fd00::2");
    }
}
