//! Which source a flow leaves with.

use crate::Reason;
use crate::contract::{Address, Interface, NatMode, Pool, Settings, Tuple};
use crate::packet::transport::Transport;

/// First port above the well-known ones: those below map to below (RFC 4787, REQ-3).
const FIRST_UNPRIVILEGED: u16 = 1024;

/// The source address of a new flow from `inner` to `destination` by way of `next_hop`.
///
/// # Errors
/// [`Reason::NoNatAddress`] where the target, or the pool, has no address of that family.
#[inline(always)]
pub fn source_address(
    mode: NatMode,
    pool: Option<&Pool>,
    inner: &Address,
    target: &Interface,
    next_hop: &Address,
    destination: &Address,
) -> Result<Address, Reason> {
    let address = match mode {
        NatMode::None => Some(*inner),
        NatMode::Address => match pool {
            Some(pool) => pool.address_for(inner),
            None => None,
        },
        NatMode::Masquerade => target.masquerade_address(next_hop, destination),
    };
    address.ok_or(Reason::NoNatAddress)
}

/// The ports that a flow may be translated to: a range with a hole, the host's own ports, in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PortChoice {
    /// What the client sent from, host order.
    inner: u16,
    /// First port of the range.
    first: u16,
    /// First port of the hole.
    hole_first: u16,
    /// How many ports the hole has.
    hole_len: u16,
    /// How many ports there are to choose from; 0 where the port must stay.
    count: u32,
    /// Where among them the search begins; below `count`.
    start: u32,
}

impl PortChoice {
    /// For one new flow. `random` decides where the search begins.
    ///
    /// `translates` is whether the source address changes: a flow that keeps its address keeps its
    /// port.
    #[inline(always)]
    #[must_use]
    pub fn new(
        transport: Transport,
        inner: u16,
        translates: bool,
        settings: &Settings,
        random: u32,
    ) -> Self {
        let (first, last) = match transport {
            // An ICMP identifier is 16 bits without classes.
            Transport::Query
            | Transport::QueryV6
            | Transport::Sctp
            | Transport::Other
            | Transport::Fragment => (0, u16::MAX),
            _ if inner < FIRST_UNPRIVILEGED => (1, FIRST_UNPRIVILEGED - 1),
            Transport::Tcp | Transport::Udp | Transport::UdpLike => (FIRST_UNPRIVILEGED, u16::MAX),
        };
        let hole_first = settings.local_port_first;
        let hole_last = settings.local_port_last;
        let is_hole = first == FIRST_UNPRIVILEGED
            && hole_first >= first
            && hole_last >= hole_first
            // A host that claims every port gets no hole: sharing them is better than none.
            && u32::from(hole_last - hole_first) < u32::from(last - first);
        let hole_len = if is_hole { (hole_last - hole_first).wrapping_add(1) } else { 0 };
        let count = u32::from(last - first) + 1 - u32::from(hole_len);
        let stays = matches!(transport, Transport::Sctp | Transport::Other);
        let count = if translates && !stays { count } else { 0 };
        let start = ((u64::from(random) * u64::from(count)) >> 32) as u32;
        Self { inner, first, hole_first, hole_len, count, start }
    }

    /// The one port, host order: where the flow has no choice.
    #[inline(always)]
    #[must_use]
    pub const fn only(port: u16) -> Self {
        Self { inner: port, first: port, hole_first: 0, hole_len: 0, count: 0, start: 0 }
    }

    /// How many attempts there are: every candidate has had its turn after them.
    #[inline(always)]
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.count + 1
    }

    /// Is `port`, host order, one of those that are searched?
    #[must_use]
    pub const fn covers(&self, port: u16) -> bool {
        let from_hole = (port as u32).wrapping_sub(self.hole_first as u32);
        let behind = self.hole_len != 0 && port >= self.hole_first;
        if behind && from_hole < self.hole_len as u32 {
            return false;
        }
        let skipped = if behind { self.hole_len as u32 } else { 0 };
        port >= self.first && port as u32 - self.first as u32 - skipped < self.count
    }

    /// The first port of the range, host order: names the class of ports that is searched.
    #[inline(always)]
    #[must_use]
    pub const fn class(&self) -> u16 {
        self.first
    }

    /// The candidate to try at `attempt`, host order: first the client's own port, then each port
    /// of the range in turn, from a random one on. `None` where this attempt has none.
    ///
    /// The client's own port is kept where it can be, as by the kernel, even where the host takes its
    /// own ports from: a socket of the host that has it is asked for first, and one that gets it later
    /// gives way at egress.
    #[inline(always)]
    #[must_use]
    pub fn candidate(&self, attempt: u32) -> Option<u16> {
        if attempt == 0 {
            return Some(self.inner);
        }
        if attempt > self.count {
            return None;
        }
        let mut index = self.start + (attempt - 1);
        if index >= self.count {
            index -= self.count;
        }
        let port = self.first.wrapping_add(index as u16);
        let behind_hole = self.hole_len != 0 && port >= self.hole_first;
        Some(if behind_hole { port.wrapping_add(self.hole_len) } else { port })
    }
}

/// The tuple that the flow's packets leave with.
#[inline(always)]
#[must_use]
pub const fn translated(arriving: Tuple, source: Address, port: u16) -> Tuple {
    Tuple { src: source, src_port: port.to_be_bytes(), ..arriving }
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use bytemuck::Zeroable as _;
    use proptest::prelude::*;

    use super::*;
    use crate::contract::{InterfaceAddress, MAX_ADDRESSES, Role, TIMEOUTS};

    const SETTINGS: Settings = Settings {
        abi: 0,
        unlisted: 0,
        timeouts_s: [0; TIMEOUTS],
        max_flows: 0,
        local_port_first: 32_768,
        local_port_last: 60_999,
        pair_generation: 0,
        last_pool: 0,
        max_flows_per_source: 0,
        smallest_route_mtu: 0,
    };

    fn choice(transport: Transport, inner: u16, translates: bool, random: u32) -> PortChoice {
        PortChoice::new(transport, inner, translates, &SETTINGS, random)
    }

    #[test]
    fn the_port_is_kept_where_it_can_be() {
        assert_eq!(choice(Transport::Tcp, 5_000, true, 0).candidate(0), Some(5_000));
        assert_eq!(choice(Transport::Tcp, 40_000, true, 0).candidate(0), Some(40_000));
        assert_eq!(choice(Transport::Tcp, 40_000, false, 0).candidate(0), Some(40_000));
        assert_eq!(choice(Transport::Tcp, 40_000, false, 0).candidate(1), None);
        assert_eq!(choice(Transport::Query, 40_000, true, 0).candidate(0), Some(40_000));
        assert_eq!(choice(Transport::Sctp, 40_000, true, 0).candidate(0), Some(40_000));
        assert_eq!(choice(Transport::Sctp, 40_000, true, 0).candidate(1), None);
    }

    #[test]
    fn a_port_without_a_choice() {
        let only = PortChoice::only(40_000);
        assert_eq!(only.attempts(), 1);
        assert_eq!((only.candidate(0), only.candidate(1)), (Some(40_000), None));
    }

    proptest! {
        #[test]
        fn candidates_keep_their_class_and_leave_the_hosts_ports(
            inner in 1_u16.., random: u32, attempt in 0_u32..70_000,
        ) {
            if let Some(port) = choice(Transport::Udp, inner, true, random).candidate(attempt + 1) {
                prop_assert!(port != 0);
                prop_assert_eq!(port < 1024, inner < 1024);
                prop_assert!(inner < 1024 || !(32_768..=60_999).contains(&port));
            }
        }

        #[test]
        fn every_port_gets_its_turn(inner in 1_u16.., random: u32) {
            let choice = choice(Transport::Tcp, inner, true, random);
            let mut seen = vec![false; 65_536];
            for port in (1..choice.attempts()).filter_map(|attempt| choice.candidate(attempt)) {
                seen[usize::from(port)] = true;
            }
            let expected = |port: usize| {
                if inner < 1024 { (1..1024).contains(&port) }
                else { port >= 1024 && !(32_768..=60_999).contains(&port) }
            };
            for (port, seen) in seen.into_iter().enumerate() {
                prop_assert_eq!(seen, expected(port), "{}", port);
                prop_assert_eq!(seen, choice.covers(port as u16), "{}", port);
            }
        }
    }

    fn address(text: &str) -> Address {
        text.parse::<core::net::IpAddr>().unwrap().into()
    }

    fn interface(addresses: &[(&str, u8)]) -> Interface {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for &(text, prefix_len) in addresses {
            let address = address(text);
            let list = if text.contains(':') { &mut v6 } else { &mut v4 };
            list.push(InterfaceAddress { address, prefix_len, ..InterfaceAddress::default() });
        }
        let counts = [v4.len() as u32, v6.len() as u32];
        v4.resize(MAX_ADDRESSES, InterfaceAddress::default());
        v6.resize(MAX_ADDRESSES, InterfaceAddress::default());
        Interface {
            end: 1,
            role: Role::Bridge as u8,
            mtu: 1500,
            address_count: counts[0],
            address_count_v6: counts[1],
            addresses: v4.try_into().unwrap(),
            addresses_v6: v6.try_into().unwrap(),
            ..Interface::zeroed()
        }
    }

    fn source(mode: NatMode, target: &Interface, next_hop: &str) -> Result<Address, Reason> {
        let inner = address(if next_hop.contains(':') { "fd00:1::2" } else { "1.1.1.1" });
        let hop = address(next_hop);
        source_address(mode, None, &inner, target, &hop, &hop)
    }

    #[test]
    fn masquerading_takes_the_address_of_the_next_hops_subnet() {
        let target = interface(&[("10.0.0.1", 24), ("172.19.0.1", 16), ("172.19.0.9", 16)]);
        let source = |next_hop| source(NatMode::Masquerade, &target, next_hop);
        assert_eq!(source("172.19.3.3"), Ok(address("172.19.0.1")));
        assert_eq!(source("10.0.0.7"), Ok(address("10.0.0.1")));
        assert_eq!(source("8.8.8.8"), Ok(address("10.0.0.1")));
        assert_eq!(source("fd00::1"), Err(Reason::NoNatAddress));
    }

    #[test]
    fn masquerading_ipv6_takes_the_address_nearest_to_the_destination() {
        let target = interface(&[("fd00:2::1", 64), ("2001:db8::1", 64), ("2001:db8::9", 64)]);
        let source = |destination| source(NatMode::Masquerade, &target, destination);
        assert_eq!(source("fd00:2::77"), Ok(address("fd00:2::1")));
        assert_eq!(source("2001:db8::77"), Ok(address("2001:db8::1")));
        assert_eq!(source("10.0.0.7"), Err(Reason::NoNatAddress));
        // Of two in one subnet the first, as the kernel has it, however near the other is.
        assert_eq!(source("2001:db8::8"), Ok(address("2001:db8::1")));
    }

    #[test]
    fn masquerading_ipv6_avoids_deprecated_addresses() {
        let mut target = interface(&[("fd00:2::1", 64), ("2001:db8::1", 64)]);
        target.addresses_v6[1].flags = InterfaceAddress::DEPRECATED;
        let of = |target: &Interface| source(NatMode::Masquerade, target, "2001:db8::77");
        assert_eq!(of(&target), Ok(address("fd00:2::1")));
        target.addresses_v6[0].flags = InterfaceAddress::DEPRECATED;
        assert_eq!(of(&target), Ok(address("2001:db8::1")), "better than none");
    }

    #[test]
    fn without_translation_the_source_stays() {
        let target = interface(&[("10.0.0.1", 24)]);
        assert_eq!(source(NatMode::None, &target, "10.0.0.7"), Ok(address("1.1.1.1")));
        assert_eq!(source(NatMode::Address, &target, "10.0.0.7"), Err(Reason::NoNatAddress));
    }

    proptest! {
        #[test]
        fn a_pool_gives_each_host_one_of_its_addresses(
            hosts: [u32; 64], count in 1_u32..=16, family_v6: bool,
        ) {
            let mut pool = Pool { count, count_v6: count, ..Pool::default() };
            for place in 0..count as u8 {
                pool.addresses[usize::from(place)] = Address::v4([10, 0, 0, place]);
                pool.addresses_v6[usize::from(place)] = Address::v6([0xfd, place, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
            }
            let used = if family_v6 { &pool.addresses_v6 } else { &pool.addresses };
            for host in hosts {
                let inner = if family_v6 {
                    Address::from_words([0xfd, 0, host, 1])
                } else {
                    Address::v4_word(host)
                };
                let address = pool.address_for(&inner).unwrap();
                prop_assert_eq!(pool.address_for(&inner), Some(address));
                prop_assert!(used[..count as usize].contains(&address));
            }
        }
    }
}
