//! The news that a neighbour has another MAC address, by rtnetlink.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage};

use super::netlink::{News, messages};

/// Multicast group of neighbours (`RTNLGRP_NEIGH`).
const GROUP_NEIGHBOUR: u32 = 3;
/// How many neighbours are remembered: more than the kernel keeps by default
/// (`net.ipv4.neigh.default.gc_thresh3`). Beyond that all are forgotten.
const MOST: usize = 65_536;

/// A neighbour, by the interface and its address.
type Neighbour = (u32, IpAddr);
type Mac = Vec<u8>;
type Known = HashMap<Neighbour, Mac>;

/// The kernel's news about neighbours.
#[derive(Debug)]
pub struct NeighbourEvents {
    news: News,
    known: Known,
}

impl NeighbourEvents {
    /// Listens from now on.
    ///
    /// # Errors
    ///
    /// Where the kernel gives no socket.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { news: News::listen(&[GROUP_NEIGHBOUR])?, known: Known::new() })
    }

    /// Waits until a neighbour may have another MAC address than it had: one of which nothing was known
    /// is among them, since we were not told before.
    ///
    /// # Errors
    ///
    /// Where the socket is broken; listen anew.
    pub async fn changed(&mut self) -> io::Result<()> {
        let mut changed = false;
        while !changed {
            let known = &mut self.known;
            self.news
                .take(|datagram| match datagram {
                    Some(datagram) => changed |= note(datagram, known),
                    None => {
                        known.clear();
                        changed = true;
                    }
                })
                .await?;
        }
        Ok(())
    }
}

/// Takes the messages in; do they say anything new?
fn note(datagram: &[u8], known: &mut Known) -> bool {
    let mut changed = false;
    for bytes in messages(datagram) {
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes);
        let Ok(NetlinkMessage { payload: NetlinkPayload::InnerMessage(message), .. }) = message
        else {
            continue;
        };
        match message {
            RouteNetlinkMessage::NewNeighbour(message) => {
                let Some((neighbour, Some(mac))) = read(message) else { continue };
                if known.len() >= MOST {
                    known.clear();
                }
                changed |= known.insert(neighbour, mac.clone()) != Some(mac);
            }
            RouteNetlinkMessage::DelNeighbour(message) => {
                if let Some((neighbour, _)) = read(message) {
                    known.remove(&neighbour);
                }
            }
            _ => {}
        }
    }
    changed
}

/// Which neighbour, and where it is, if that is known. Entries of bridges' forwarding tables are none.
fn read(message: NeighbourMessage) -> Option<(Neighbour, Option<Mac>)> {
    let (mut address, mut mac) = (None, None);
    for attribute in message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => {
                address = Some(v4.into());
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => {
                address = Some(v6.into());
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = Some(bytes),
            _ => {}
        }
    }
    Some(((message.header.ifindex, address?), mac))
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::NetlinkHeader;

    use super::*;

    fn datagram(last: u8, mac: Option<[u8; 6]>, gone: bool) -> Vec<u8> {
        let mut message = NeighbourMessage::default();
        message.header.ifindex = 7;
        message.header.family = netlink_packet_route::AddressFamily::Inet;
        let address = NeighbourAddress::Inet([10, 0, 0, last].into());
        message.attributes.push(NeighbourAttribute::Destination(address));
        message.attributes.extend(mac.map(|mac| NeighbourAttribute::LinkLayerAddress(mac.into())));
        let message = if gone {
            RouteNetlinkMessage::DelNeighbour(message)
        } else {
            RouteNetlinkMessage::NewNeighbour(message)
        };
        let mut message =
            NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::from(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        bytes
    }

    #[test]
    fn another_mac_address_is_news_and_another_state_is_not() {
        let mut known = Known::new();
        let (one, two) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        for (last, mac, gone, news) in [
            (1, Some(one), false, true),
            (1, Some(one), false, false),
            (2, Some(one), false, true),
            (1, Some(two), false, true),
            (1, None, false, false),
            (1, Some(two), false, false),
            (1, Some(two), true, false),
            (1, Some(two), false, true),
            (9, None, true, false),
        ] {
            assert_eq!(note(&datagram(last, mac, gone), &mut known), news, "{last} {mac:?} {gone}");
        }
        assert!(!note(&[1, 2, 3], &mut known));
    }
}
