//! Endpoint-independent mappings (RFC 4787, section 4.1): one outer port for an inner one, whatever
//! the destination.

use bytemuck::{Pod, Zeroable};

use super::address::Address;

/// An address with a port, on one side of an end: the key of `MAPPINGS` and of `MAPPED`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Pod, Zeroable)]
pub struct Endpoint {
    /// The address.
    pub address: Address,
    /// The port, or the identifier of an ICMP query; wire order.
    pub port: [u8; 2],
    /// IP protocol number.
    pub protocol: u8,
    /// Of an ICMP query the type of its request, else zero.
    pub query: u8,
    /// ifindex of the end that the mapping is towards.
    pub to: u32,
}

/// Value of `MAPPINGS`, by the inner endpoint: what it is mapped to. `MAPPED`, by the outer endpoint,
/// has the inner one in the same shape.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Pod, Zeroable)]
pub struct Mapping {
    /// The other endpoint's address.
    pub address: Address,
    /// Its port, wire order.
    pub port: [u8; 2],
    /// Always zero.
    pub _zero: [u8; 2],
    /// ifindex of the end that the inner endpoint is at.
    pub from: u32,
    /// How many flows use it; kept in `MAPPINGS` alone.
    pub flows: u64,
}

const _: () = assert!(size_of::<Endpoint>() == 24);
const _: () = assert!(size_of::<Mapping>() == 32);
