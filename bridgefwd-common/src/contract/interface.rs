//! Interfaces: the bridges we manage and their ports.

use bytemuck::{Pod, Zeroable};

/// How many IPv4 addresses of a bridge are kept: what masquerading can choose from.
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

/// One IPv4 address of a bridge.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod, Zeroable)]
pub struct InterfaceAddress {
    /// The address, wire order.
    pub address: [u8; 4],
    /// Length of its subnet's prefix in bits, 0 to 32.
    pub prefix_len: u8,
    /// Always zero.
    pub _zero: [u8; 3],
}

impl InterfaceAddress {
    /// Is `other` in this address's subnet?
    #[inline(always)]
    #[must_use]
    pub fn subnet_contains(&self, other: [u8; 4]) -> bool {
        let differing = u32::from_be_bytes(self.address) ^ u32::from_be_bytes(other);
        // A shift by 32 is no shift at all: prefix 0 contains every address.
        self.prefix_len == 0 || differing >> (32 - u32::from(self.prefix_len.min(32))) == 0
    }
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
    /// How many of `addresses` are set.
    pub address_count: u32,
    /// The end's IPv4 addresses, primary first; empty for ports.
    pub addresses: [InterfaceAddress; MAX_ADDRESSES],
    /// The interface's name, closed by zeros.
    pub name: [u8; NAME_LEN],
}

const _: () = assert!(size_of::<InterfaceAddress>() == 8);
const _: () = assert!(size_of::<Interface>() == 100);

impl Interface {
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

    /// The address that packets leaving by this interface to `next_hop` are masqueraded to: the
    /// first in whose subnet the next hop is, else the primary one, as the kernel's
    /// `inet_select_addr` chooses. `None` where the interface has no address.
    #[inline(always)]
    #[must_use]
    pub fn masquerade_address(&self, next_hop: [u8; 4]) -> Option<[u8; 4]> {
        // A plain value, not an Option: the verifier would see its unset payload being copied. And
        // counted by hand, from the back so that the first match wins: no exit depends on data.
        let mut chosen = self.addresses[0].address;
        let mut at = MAX_ADDRESSES;
        while at > 0 {
            at -= 1;
            let address = &self.addresses[at];
            if (at as u32) < self.address_count && address.subnet_contains(next_hop) {
                chosen = address.address;
            }
        }
        if self.address_count > 0 { Some(chosen) } else { None }
    }
}
