//! Interfaces, their masters and their addresses by rtnetlink, and the news that they changed.
//!
//! A change is only ever a reason to look again: [`Snapshot::take`] asks for everything, so lost
//! messages cost nothing but a look. What a snapshot cannot tell, that an interface went away and
//! another got its number, is what [`Changes`] keeps.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::link::{
    BridgePortState, InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData, LinkAttribute,
    LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::addresses::{self, Address};

/// Multicast group of interfaces (`RTNLGRP_LINK`).
const GROUP_LINK: u32 = 1;
/// Multicast group of IPv4 addresses (`RTNLGRP_IPV4_IFADDR`).
const GROUP_IPV4_ADDRESS: u32 = 5;
/// Multicast group of IPv6 addresses (`RTNLGRP_IPV6_IFADDR`).
const GROUP_IPV6_ADDRESS: u32 = 9;
/// Larger than any datagram the kernel builds for a dump (32 KiB).
const RECEIVE_BYTES: usize = 128 * 1024;
/// How often a dump that was overtaken by changes is repeated.
const DUMP_ATTEMPTS: usize = 16;

/// One network interface.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Link {
    /// Its number.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// Is it a bridge?
    pub is_bridge: bool,
    /// Is it a bridge that keeps VLANs apart (`vlan_filtering`)?
    pub vlan_aware: bool,
    /// Is it one end of a veth pair whose other end is in another network namespace?
    pub leads_elsewhere: bool,
    /// ifindex of the interface that it is paired with or put on, wherever that is.
    pub paired_with: Option<u32>,
    /// What this namespace calls the one where that is; `None` where it is in this one.
    pub paired_in: Option<i32>,
    /// Is it switched on?
    pub up: bool,
    /// Is it a bridge port that forwards (`BR_STATE_FORWARDING`)?
    pub forwards: bool,
    /// ifindex of the interface that it is a port of.
    pub master: Option<u32>,
    /// Its MAC address; zero for interfaces without one.
    pub mac: [u8; 6],
    /// MTU in bytes.
    pub mtu: u32,
    /// Its IPv4 addresses: primary ones first, each kind in the kernel's order.
    pub addresses: Vec<Address>,
    /// Its IPv6 addresses that reach beyond the link and are ready for use: deprecated ones last, each
    /// kind in the kernel's order.
    pub addresses_v6: Vec<Address>,
}

/// All interfaces of this network namespace at one time.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    links: BTreeMap<u32, Link>,
    /// Numbers by name, and of the ports of each master: there may be thousands.
    names: HashMap<String, u32>,
    ports: HashMap<u32, Vec<u32>>,
}

impl Snapshot {
    /// Asks the kernel.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses or does not answer.
    pub fn take() -> io::Result<Self> {
        let mut links = BTreeMap::new();
        for message in dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))? {
            if let RouteNetlinkMessage::NewLink(message) = message {
                let link = link(message);
                links.insert(link.ifindex, link);
            }
        }
        for (ifindex, address) in addresses::v4()? {
            if let Some(link) = links.get_mut(&ifindex) {
                link.addresses.push(address);
            }
        }
        for (ifindex, address) in addresses::v6()? {
            if let Some(link) = links.get_mut(&ifindex) {
                link.addresses_v6.push(address);
            }
        }
        Ok(Self::of(links.into_values()))
    }

    /// Of these interfaces.
    #[must_use]
    pub fn of(links: impl IntoIterator<Item = Link>) -> Self {
        let mut snapshot = Self::default();
        for link in links {
            snapshot.names.insert(link.name.clone(), link.ifindex);
            if let Some(master) = link.master {
                snapshot.ports.entry(master).or_default().push(link.ifindex);
            }
            snapshot.links.insert(link.ifindex, link);
        }
        snapshot
    }

    /// All of them, by number.
    pub fn all(&self) -> impl Iterator<Item = &Link> {
        self.links.values()
    }

    /// The interface of that number.
    #[must_use]
    pub fn get(&self, ifindex: u32) -> Option<&Link> {
        self.links.get(&ifindex)
    }

    /// The interface of that name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Link> {
        self.get(*self.names.get(name)?)
    }

    /// Names of all bridges, in order.
    #[must_use]
    pub fn bridge_names(&self) -> Vec<&str> {
        let mut names: Vec<_> =
            self.links.values().filter(|link| link.is_bridge).map(|link| &*link.name).collect();
        names.sort_unstable();
        names
    }

    /// The ports of the bridge with that ifindex.
    pub fn ports(&self, bridge: u32) -> impl Iterator<Item = &Link> {
        let ports = self.ports.get(&bridge).into_iter().flatten();
        ports.filter_map(|&ifindex| self.get(ifindex))
    }
}

/// What happened since the last look, beyond what a snapshot shows.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Interfaces that were deleted; their numbers may belong to others by now.
    pub deleted: BTreeSet<u32>,
    /// Messages were lost: anything may have happened.
    pub lost: bool,
}

/// The kernel's news about interfaces and addresses.
#[derive(Debug)]
pub struct Events {
    news: News,
}

impl Events {
    /// Listens from now on.
    ///
    /// # Errors
    ///
    /// Where the kernel gives no socket.
    pub fn listen() -> io::Result<Self> {
        News::listen(&[GROUP_LINK, GROUP_IPV4_ADDRESS, GROUP_IPV6_ADDRESS])
            .map(|news| Self { news })
    }

    /// Waits for news, and takes all there are.
    ///
    /// # Errors
    ///
    /// Where the socket is broken; listen anew.
    pub async fn next(&mut self) -> io::Result<Changes> {
        let mut changes = Changes::default();
        self.news
            .take(|datagram| match datagram {
                Some(datagram) => note(datagram, &mut changes),
                None => changes.lost = true,
            })
            .await?;
        Ok(changes)
    }
}

/// A socket that hears what the kernel tells everybody.
#[derive(Debug)]
pub(super) struct News {
    socket: AsyncFd<Socket>,
    buffer: Vec<u8>,
}

impl News {
    /// Hears of these multicast groups from now on.
    ///
    /// # Errors
    ///
    /// Where the kernel gives no socket.
    pub(super) fn listen(groups: &[u32]) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        socket.set_non_blocking(true)?;
        for &group in groups {
            socket.add_membership(group)?;
        }
        // SAFETY: the socket owns its file descriptor, never gives it away, and closes it only when
        // it is dropped, after its registration.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }
            .map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Self { socket, buffer: Vec::with_capacity(RECEIVE_BYTES) })
    }

    /// Waits for datagrams, and gives `each` all there are; `None` where some were lost.
    ///
    /// # Errors
    ///
    /// Where the socket is broken; listen anew.
    pub(super) async fn take(&mut self, mut each: impl FnMut(Option<&[u8]>)) -> io::Result<()> {
        let mut any = false;
        loop {
            let mut ready = self.socket.readable().await?;
            loop {
                self.buffer.clear();
                match ready.get_inner().recv(&mut self.buffer, 0) {
                    Ok(_) => {
                        any = true;
                        each(Some(&self.buffer));
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    // The kernel had more to say than the socket could hold.
                    Err(error)
                        if error.raw_os_error()
                            == Some(rustix::io::Errno::NOBUFS.raw_os_error()) =>
                    {
                        any = true;
                        each(None);
                    }
                    Err(error) => return Err(error),
                }
            }
            ready.clear_ready();
            if any {
                return Ok(());
            }
        }
    }
}

/// Sends one request that changes something, and waits for the kernel's word.
///
/// # Errors
///
/// The kernel's error.
pub(crate) fn change(message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
    let mut outcome = Err(io::ErrorKind::UnexpectedEof.into());
    exchange(message, NLM_F_REQUEST | NLM_F_ACK | flags, &mut |answer| {
        if let NetlinkPayload::Error(error) = answer.payload {
            outcome = error.code.map_or(Ok(()), |_| Err(error.to_io()));
            return true;
        }
        false
    })?;
    outcome
}

/// Everything that answers a request for a list, from a moment without changes.
///
/// # Errors
///
/// The kernel's error, or that changes never paused.
pub(crate) fn dump(message: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
    for _ in 0..DUMP_ATTEMPTS {
        let mut answers = Vec::new();
        let mut interrupted = false;
        let mut failure = None;
        exchange(message.clone(), NLM_F_REQUEST | NLM_F_DUMP, &mut |answer| {
            interrupted |= answer.header.flags & NLM_F_DUMP_INTR != 0;
            match answer.payload {
                NetlinkPayload::InnerMessage(inner) => answers.push(inner),
                NetlinkPayload::Done(_) => return true,
                NetlinkPayload::Error(error) => {
                    failure = error.code.map(|_| error.to_io());
                    return true;
                }
                _ => {}
            }
            false
        })?;
        match failure {
            Some(error) => return Err(error),
            None if interrupted => {}
            None => return Ok(answers),
        }
    }
    Err(io::Error::other("interfaces change faster than they can be listed"))
}

/// One request and its answers, until `each` says that it has seen the last.
pub(super) fn exchange(
    message: RouteNetlinkMessage,
    flags: u16,
    each: &mut dyn FnMut(NetlinkMessage<RouteNetlinkMessage>) -> bool,
) -> io::Result<()> {
    exchange_raw(message, flags, &mut |bytes| match NetlinkMessage::deserialize(bytes) {
        Ok(answer) => each(answer),
        // An attribute that the library does not know must not hide all the others.
        Err(error) => {
            tracing::debug!("a netlink message that cannot be read: {error}");
            false
        }
    })
}

/// The same, with the answers as they come.
pub(super) fn exchange_raw(
    message: RouteNetlinkMessage,
    flags: u16,
    each: &mut dyn FnMut(&[u8]) -> bool,
) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = 1;
    let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;

    let mut buffer = Vec::with_capacity(RECEIVE_BYTES);
    loop {
        buffer.clear();
        socket.recv(&mut buffer, 0)?;
        for bytes in messages(&buffer) {
            if each(bytes) {
                return Ok(());
            }
        }
    }
}

/// The messages in one datagram.
pub(super) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = NetlinkBuffer::new_checked(datagram).ok()?.length() as usize;
        let message = datagram.get(..length).filter(|message| !message.is_empty())?;
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

fn note(datagram: &[u8], changes: &mut Changes) {
    for bytes in messages(datagram) {
        let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes) else {
            continue;
        };
        // The bridge family says that a port left its bridge; the interface itself lives on.
        if let NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link)) = message.payload
            && link.header.interface_family == AddressFamily::Unspec
        {
            changes.deleted.insert(link.header.index);
        }
    }
}

fn link(message: LinkMessage) -> Link {
    let up = message.header.flags.contains(LinkFlags::Up);
    let mut link = Link { ifindex: message.header.index, up, ..Link::default() };
    let mut is_veth = false;
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Controller(master) => link.master = (master != 0).then_some(master),
            LinkAttribute::Link(other) => link.paired_with = (other != 0).then_some(other),
            LinkAttribute::LinkNetNsId(id) => link.paired_in = Some(id),
            LinkAttribute::Address(mac) => {
                link.mac = mac.try_into().unwrap_or_default();
            }
            LinkAttribute::LinkInfo(infos) => {
                link.is_bridge = infos.contains(&LinkInfo::Kind(InfoKind::Bridge));
                is_veth = infos.contains(&LinkInfo::Kind(InfoKind::Veth));
                link.vlan_aware = infos.iter().any(|info| {
                    let LinkInfo::Data(InfoData::Bridge(settings)) = info else { return false };
                    settings.contains(&InfoBridge::VlanFiltering(true))
                });
                link.forwards = infos.iter().any(|info| {
                    let LinkInfo::PortData(InfoPortData::BridgePort(settings)) = info else {
                        return false;
                    };
                    settings.contains(&InfoBridgePort::State(BridgePortState::Forwarding))
                });
            }
            _ => {}
        }
    }
    link.leads_elsewhere = is_veth && link.paired_in.is_some();
    link
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_there() {
        let snapshot = Snapshot::take().unwrap();
        let loopback = snapshot.by_name("lo").unwrap();
        assert!(!loopback.is_bridge);
        assert_eq!(loopback.master, None);
        assert_eq!(snapshot.get(loopback.ifindex), Some(loopback));
    }

    #[test]
    fn a_short_datagram_has_no_messages() {
        assert_eq!(messages(&[1, 2, 3]).count(), 0);
        assert_eq!(messages(&[0; 16]).count(), 0);
    }
}
