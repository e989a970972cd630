//! Endpoint-independent mappings (RFC 4787, section 4.1): one outer port for an inner one, whatever
//! the destination.

use bytemuck::{Pod, Zeroable};

use super::address::Address;
use super::tuple::Tuple;

/// An address with a port, on one side of an end: the key of `MAPPINGS`, where it is an inner one, and
/// of `MAPPED`, where it is an outer one.
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
    /// Of an inner endpoint: ifindex of the end that the mapping is towards. Zero of an outer one, whose
    /// address belongs to one end alone.
    pub to: u32,
}

impl Endpoint {
    /// The inner endpoint of a packet that arrives as `arriving` says, for a mapping towards `to`.
    #[inline(always)]
    #[must_use]
    pub const fn inner(arriving: &Tuple, to: u32) -> Self {
        Self {
            address: arriving.src,
            port: arriving.src_port,
            protocol: arriving.protocol,
            query: arriving.query,
            to,
        }
    }

    /// The outer endpoint that a packet with the tuple `leaving` has as its source.
    #[inline(always)]
    #[must_use]
    pub const fn outer(leaving: &Tuple) -> Self {
        Self::inner(leaving, 0)
    }

    /// The outer endpoint that a packet is addressed to.
    #[inline(always)]
    #[must_use]
    pub const fn addressed(arriving: &Tuple) -> Self {
        Self::inner(&arriving.reversed(), 0)
    }
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
    /// ifindex of the end that the mapping is towards.
    pub to: u32,
    /// [`PairRule::generation`](super::PairRule::generation) of that pair when it was made.
    pub generation: u32,
    /// How many flows use it; kept in `MAPPINGS` alone.
    pub flows: u64,
}

impl Mapping {
    /// The outer endpoint of what `MAPPINGS` has under `inner`.
    #[inline(always)]
    #[must_use]
    pub const fn outer(&self, inner: &Endpoint) -> Endpoint {
        Endpoint { address: self.address, port: self.port, to: 0, ..*inner }
    }

    /// The inner endpoint of what `MAPPED` has under `outer`.
    #[inline(always)]
    #[must_use]
    pub const fn inner(&self, outer: &Endpoint) -> Endpoint {
        Endpoint { address: self.address, port: self.port, to: self.to, ..*outer }
    }

    /// Does it lead to this address and port?
    #[inline(always)]
    #[must_use]
    pub fn leads_to(&self, endpoint: &Endpoint) -> bool {
        self.address == endpoint.address && self.port == endpoint.port
    }
}

const _: () = assert!(size_of::<Endpoint>() == 24);
const _: () = assert!(size_of::<Mapping>() == 40);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let arriving = Tuple {
            src: Address::v4([10, 1, 0, 2]),
            dst: Address::v4([10, 2, 0, 9]),
            src_port: 4000_u16.to_be_bytes(),
            dst_port: 53_u16.to_be_bytes(),
            protocol: 17,
            ..Tuple::default()
        };
        let leaving = Tuple { src: Address::v4([10, 2, 0, 1]), src_port: [9, 9], ..arriving };
        let (inner, outer) = (Endpoint::inner(&arriving, 7), Endpoint::outer(&leaving));
        let there =
            Mapping { address: outer.address, port: outer.port, to: 7, ..Mapping::default() };
        let back =
            Mapping { address: inner.address, port: inner.port, to: 7, ..Mapping::default() };
        assert_eq!((there.outer(&inner), back.inner(&outer)), (outer, inner));
        assert!(there.leads_to(&outer) && back.leads_to(&inner) && !there.leads_to(&inner));
        // Whoever answers addresses the outer endpoint.
        assert_eq!(Endpoint::addressed(&leaving.reversed()), outer);
        assert_ne!(Endpoint::outer(&Tuple { protocol: 6, ..leaving }), outer);
    }
}
