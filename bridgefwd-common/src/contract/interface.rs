//! Interfaces: the bridges we manage and their ports.

use bytemuck::{Pod, Zeroable};

use super::address::{Address, Family};

/// How many addresses of each family are kept of an end: what masquerading can choose from.
pub const MAX_ADDRESSES: usize = 8;
/// `IFNAMSIZ`, with the closing zero.
pub const NAME_LEN: usize = 16;

/// What an interface is to us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Role {
    /// A bridge device: an end of pairs.
    Bridge = 1,
    /// A port of a managed bridge: frames are taken here before the bridge sees them.
    Port = 2,
    /// An ordinary interface that is an end of pairs.
    Uplink = 3,
}

/// By what means the program is attached to an interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum AttachKind {
    /// A TCX link (Linux 6.6 and later).
    Tcx = 1,
    /// A filter on a clsact qdisc that was there before.
    Clsact = 2,
    /// A filter on a clsact qdisc that we added, and remove when nobody else uses it.
    OwnClsact = 3,
}

/// One address of an end.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod, Zeroable)]
pub struct InterfaceAddress {
    /// The address.
    pub address: Address,
    /// Length of its subnet's prefix in bits: 0 to 32, or to 128.
    pub prefix_len: u8,
    /// [`InterfaceAddress::DEPRECATED`].
    pub flags: u8,
    /// Always zero.
    pub _zero: [u8; 2],
}

impl InterfaceAddress {
    /// In `flags`, of IPv6: not to be used for what is new, as long as there is another.
    pub const DEPRECATED: u8 = 1;
}

/// One managed interface: the value of `INTERFACES`, by ifindex.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq, Pod, Zeroable)]
pub struct Interface {
    /// ifindex of the end that its packets come from: the bridge itself, or the bridge of a port.
    pub end: u32,
    /// A [`Role`].
    pub role: u8,
    /// An [`AttachKind`], or 0 where the program is not attached.
    pub attached: u8,
    /// The router's MAC address on that end: frames to other addresses are switched, not routed.
    pub router_mac: [u8; 6],
    /// MTU in bytes, without the Ethernet header.
    pub mtu: u32,
    /// The smallest MTU that an IPv4 route by this end has of its own, in bytes, where that is smaller
    /// than `mtu`; else 0, as it is for ports.
    pub route_mtu: u32,
    /// The same of IPv6 routes.
    pub route_mtu_v6: u32,
    /// How many of `addresses` are set.
    pub address_count: u32,
    /// How many of `addresses_v6` are set.
    pub address_count_v6: u32,
    /// [`Interface::TO_PEER`].
    pub flags: u32,
    /// The end's IPv4 addresses, primary first; empty for ports.
    pub addresses: [InterfaceAddress; MAX_ADDRESSES],
    /// The end's IPv6 addresses that reach beyond the link and are ready for use, those that are not
    /// deprecated first; empty for ports.
    pub addresses_v6: [InterfaceAddress; MAX_ADDRESSES],
    /// The interface's name, closed by zeros.
    pub name: [u8; NAME_LEN],
}

const _: () = assert!(size_of::<InterfaceAddress>() == 20);
const _: () = assert!(size_of::<Interface>() == 372);

impl Interface {
    /// In `flags`, of a port: what leaves by it may be handed to its peer, in another network
    /// namespace, at once; nobody wants to see it on its way there.
    pub const TO_PEER: u32 = 1;

    /// The smallest MTU that a route of the family by this end has of its own, in bytes; 0 where none
    /// has one.
    #[inline(always)]
    #[must_use]
    pub const fn route_mtu_of(&self, family: Family) -> u32 {
        match family {
            Family::V4 => self.route_mtu,
            Family::V6 => self.route_mtu_v6,
        }
    }

    /// The interface's name as text; what is not UTF-8 is cut off.
    #[must_use]
    pub fn name(&self) -> &str {
        let end = self.name.iter().position(|&byte| byte == 0).unwrap_or(NAME_LEN);
        let bytes = self.name.get(..end).unwrap_or_default();
        match core::str::from_utf8(bytes) {
            Ok(name) => name,
            Err(error) => bytes
                .get(..error.valid_up_to())
                .and_then(|valid| core::str::from_utf8(valid).ok())
                .unwrap_or_default(),
        }
    }

    /// The first `NAME_LEN - 1` bytes of `name`, closed by zeros.
    #[must_use]
    pub fn name_bytes(name: &str) -> [u8; NAME_LEN] {
        let mut bytes = [0; NAME_LEN];
        for (to, from) in bytes.iter_mut().take(NAME_LEN - 1).zip(name.bytes()) {
            *to = from;
        }
        bytes
    }

    /// The address that packets leaving by this interface are masqueraded to, as the kernel chooses
    /// it. IPv4: the first in whose subnet the next hop is, else the primary one
    /// (`inet_select_addr`). IPv6: one that is not deprecated (RFC 6724, section 5, rule 3), of these
    /// that which has most of its prefix in common with the destination (rule 8), else the first.
    #[inline(always)]
    #[must_use]
    pub fn masquerade_address(&self, next_hop: &Address, destination: &Address) -> Option<Address> {
        match destination.family() {
            Family::V4 => self.masquerade_address_v4(next_hop),
            Family::V6 => self.masquerade_address_v6(destination),
        }
    }

    /// Counted by hand, from the back so that the first match wins: no exit depends on data.
    #[inline(always)]
    fn masquerade_address_v4(&self, next_hop: &Address) -> Option<Address> {
        let mut chosen = self.addresses[0].address;
        let mut at = MAX_ADDRESSES;
        while at > 0 {
            at -= 1;
            let entry = &self.addresses[at];
            if (at as u32) < self.address_count
                && entry.address.subnet_contains(entry.prefix_len, next_hop)
            {
                chosen = entry.address;
            }
        }
        if self.address_count > 0 { Some(chosen) } else { None }
    }

    #[inline(always)]
    fn masquerade_address_v6(&self, destination: &Address) -> Option<Address> {
        let mut chosen = Address::UNSPECIFIED;
        let mut longest = 0;
        let mut at = 0;
        while at < MAX_ADDRESSES {
            let entry = &self.addresses_v6[at];
            let mut common = entry.address.common_prefix(destination);
            // What comes after the prefix says nothing of where it is.
            if common > entry.prefix_len as u32 {
                common = entry.prefix_len as u32;
            }
            // One more: the first of equals wins, and any beats none.
            common += 1;
            if entry.flags & InterfaceAddress::DEPRECATED == 0 {
                common += 129;
            }
            if (at as u32) < self.address_count_v6 && common > longest {
                longest = common;
                chosen = entry.address;
            }
            at += 1;
        }
        if self.address_count_v6 > 0 { Some(chosen) } else { None }
    }
}
