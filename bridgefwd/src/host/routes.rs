//! Routes with an MTU of their own, by rtnetlink, and the news that there may be others.
//!
//! Tables can be very large, and most routes have no such MTU: of those nothing is kept, and their
//! messages are read no further than to see that.

use std::collections::BTreeMap;
use std::io;

use bridgefwd_common::contract::Family;
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REPLACE, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR};
use netlink_packet_core::{NetlinkBuffer, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::route::RouteMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::netlink::{News, exchange_raw, messages};

/// Multicast group of IPv4 routes (`RTNLGRP_IPV4_ROUTE`).
const GROUP_IPV4_ROUTE: u32 = 7;
/// Multicast group of IPv6 routes (`RTNLGRP_IPV6_ROUTE`).
const GROUP_IPV6_ROUTE: u32 = 11;

const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
/// Length of `struct rtmsg`, and where its flags are.
const ROUTE_HEADER_LEN: usize = 12;
const FLAGS_AT: usize = 8;
/// What was found out on a route, rather than said of it (`RTM_F_CLONED`).
const CLONED: u32 = 0x200;
const RTA_OIF: u16 = 4;
const RTA_METRICS: u16 = 8;
const RTA_MULTIPATH: u16 = 9;
const RTAX_MTU: u16 = 2;
/// The bits of an attribute's type that say what it is.
const TYPE_MASK: u16 = 0x3fff;
/// Length of `struct rtnexthop`, and where its ifindex is.
const NEXT_HOP_LEN: usize = 8;
const NEXT_HOP_IFINDEX_AT: usize = 4;
/// In place of an ifindex: the kernel does not say by which interface.
const ANY: u32 = 0;

/// The smallest MTU of a route by each interface, where routes have one of their own.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RouteMtus {
    /// By ifindex, or [`ANY`].
    v4: BTreeMap<u32, u32>,
    /// The same.
    v6: BTreeMap<u32, u32>,
}

impl RouteMtus {
    /// Asks the kernel for all routes of both families.
    ///
    /// A list that changes overtook is taken as it is: they are news, and a reason to ask again.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn read() -> io::Result<Self> {
        let mut mtus = Self::default();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut request = RouteMessage::default();
            request.header.address_family = family;
            let mut failure = None;
            let request = RouteNetlinkMessage::GetRoute(request);
            exchange_raw(request, NLM_F_REQUEST | NLM_F_DUMP, &mut |bytes| match kind(bytes) {
                NLMSG_DONE => true,
                NLMSG_ERROR => {
                    failure = error(bytes);
                    true
                }
                _ => {
                    mtus.add(bytes);
                    false
                }
            })?;
            if let Some(failure) = failure {
                return Err(failure);
            }
        }
        Ok(mtus)
    }

    /// Has no route an MTU of its own?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// The smallest MTU that a route of the family by that interface has, in bytes.
    #[must_use]
    pub fn smallest(&self, family: Family, ifindex: u32) -> Option<u32> {
        let of_family = match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        };
        [ifindex, ANY].iter().filter_map(|ifindex| of_family.get(ifindex).copied()).min()
    }

    /// Takes in what `others` has besides.
    pub fn merge(&mut self, others: &Self) {
        for (own, others) in [(&mut self.v4, &others.v4), (&mut self.v6, &others.v6)] {
            for (&ifindex, &mtu) in others {
                let smallest = own.entry(ifindex).or_insert(mtu);
                *smallest = mtu.min(*smallest);
            }
        }
    }

    /// Takes the route of one message in, if it has an MTU.
    fn add(&mut self, message: &[u8]) {
        let Some(route) = route(message) else { return };
        let Some(mtu) = mtu(route) else { return };
        let flags = route.get(FLAGS_AT..).and_then(word).unwrap_or_default();
        if flags & CLONED != 0 {
            return;
        }
        let of_family = match route.first().map(|&family| AddressFamily::from(family)) {
            Some(AddressFamily::Inet) => &mut self.v4,
            Some(AddressFamily::Inet6) => &mut self.v6,
            _ => return,
        };
        for ifindex in ways(route) {
            let smallest = of_family.entry(ifindex).or_insert(mtu);
            *smallest = mtu.min(*smallest);
        }
    }
}

/// The kernel's news about routes with an MTU of their own.
#[derive(Debug)]
pub struct RouteEvents {
    news: News,
}

impl RouteEvents {
    /// Listens from now on.
    ///
    /// # Errors
    ///
    /// Where the kernel gives no socket.
    pub fn listen() -> io::Result<Self> {
        News::listen(&[GROUP_IPV4_ROUTE, GROUP_IPV6_ROUTE]).map(|news| Self { news })
    }

    /// Waits until the MTUs of routes may be others than those `known`, and takes routes that are new
    /// in at once. What may be gone, or was lost, only [`RouteMtus::read`] tells.
    ///
    /// # Errors
    ///
    /// Where the socket is broken; listen anew.
    pub async fn changed(&mut self, known: &mut RouteMtus) -> io::Result<()> {
        let mut changed = false;
        while !changed {
            self.news
                .take(|datagram| {
                    let Some(datagram) = datagram else {
                        changed = true;
                        return;
                    };
                    for message in messages(datagram) {
                        if matters(message, !known.is_empty()) {
                            changed = true;
                            if kind(message) == RTM_NEWROUTE {
                                known.add(message);
                            }
                        }
                    }
                })
                .await?;
        }
        Ok(())
    }
}

/// Is this news of a route with an MTU, or, where there are `any`, of one that may have taken the place
/// of such a route?
fn matters(message: &[u8], any: bool) -> bool {
    let replaces = || {
        NetlinkBuffer::new_checked(message)
            .is_ok_and(|message| message.flags() & NLM_F_REPLACE != 0)
    };
    route(message).is_some_and(|route| mtu(route).is_some() || any && replaces())
}

fn kind(message: &[u8]) -> u16 {
    NetlinkBuffer::new_checked(message).map_or(0, |message| message.message_type())
}

/// The error in a message, if it is one.
fn error(message: &[u8]) -> Option<io::Error> {
    let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(message);
    match message.map(|message| message.payload) {
        Ok(NetlinkPayload::Error(error)) => error.code.map(|_| error.to_io()),
        Ok(_) => None,
        Err(error) => Some(io::Error::other(error.to_string())),
    }
}

/// What a message says about a route, if it is about one: its header, and the attributes behind it.
fn route(message: &[u8]) -> Option<&[u8]> {
    let message = NetlinkBuffer::new_checked(message).ok()?;
    matches!(message.message_type(), RTM_NEWROUTE | RTM_DELROUTE).then(|| message.payload())
}

/// The MTU that a route has of its own, in bytes.
fn mtu(route: &[u8]) -> Option<u32> {
    let metrics = attributes(route.get(ROUTE_HEADER_LEN..)?)
        .find_map(|(kind, value)| (kind == RTA_METRICS).then_some(value))?;
    let mtu = attributes(metrics).find_map(|(kind, value)| (kind == RTAX_MTU).then_some(value))?;
    word(mtu).filter(|&mtu| mtu != 0)
}

/// The interfaces that packets leave by; [`ANY`] where there are none: a next hop that is an object of
/// its own is not always shown.
fn ways(route: &[u8]) -> Vec<u32> {
    let mut ways = Vec::new();
    for (kind, value) in attributes(route.get(ROUTE_HEADER_LEN..).unwrap_or_default()) {
        match kind {
            RTA_OIF => ways.extend(word(value)),
            RTA_MULTIPATH => {
                let hops = split(value, NEXT_HOP_LEN);
                ways.extend(hops.filter_map(|hop| word(hop.get(NEXT_HOP_IFINDEX_AT..)?)));
            }
            _ => {}
        }
    }
    if ways.is_empty() {
        ways.push(ANY);
    }
    ways
}

/// Types and values of attributes that stand one behind the other.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    split(bytes, 4).filter_map(|attribute| match attribute {
        [_, _, a, b, value @ ..] => Some((u16::from_ne_bytes([*a, *b]) & TYPE_MASK, value)),
        _ => None,
    })
}

/// Parts that begin with their length, of two bytes, which is `least` or more; aligned to four bytes.
fn split(mut bytes: &[u8], least: usize) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let &[a, b, ..] = bytes else { return None };
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let part = bytes.get(..length).filter(|part| part.len() >= least)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(part)
    })
}

fn word(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|&bytes| u32::from_ne_bytes(bytes))
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
