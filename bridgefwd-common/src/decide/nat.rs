//! Which source a flow leaves with.

use crate::Reason;
use crate::contract::{Interface, NatMode, PairPolicy, Settings, Tuple};
use crate::packet::headers::Transport;

/// First port above the well-known ones: those below map to below (RFC 4787, REQ-3).
const FIRST_UNPRIVILEGED: u16 = 1024;

/// The source address of new flows.
///
/// # Errors
/// [`Reason::NoNatAddress`] where masquerading finds no address on the target.
#[inline(always)]
pub fn source_address(
    policy: PairPolicy,
    inner: [u8; 4],
    target: &Interface,
    next_hop: [u8; 4],
) -> Result<[u8; 4], Reason> {
    match NatMode::from_byte(policy.nat) {
        NatMode::None => Ok(inner),
        NatMode::Address => Ok(policy.address),
        NatMode::Masquerade => target.masquerade_address(next_hop).ok_or(Reason::NoNatAddress),
    }
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
            Transport::Echo | Transport::Sctp | Transport::Other | Transport::Fragment => {
                (0, u16::MAX)
            }
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

    /// How many attempts there are: every candidate has had its turn after them.
    #[inline(always)]
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.count + 1
    }

    /// The first port of the range, host order: names the class of ports that is searched.
    #[inline(always)]
    #[must_use]
    pub const fn class(&self) -> u16 {
        self.first
    }

    #[inline(always)]
    const fn in_hole(&self, port: u16) -> bool {
        port.wrapping_sub(self.hole_first) < self.hole_len
    }

    /// The candidate to try at `attempt`, host order: first the client's own port, then each port
    /// of the range in turn, from a random one on. `None` where this attempt has none.
    #[inline(always)]
    #[must_use]
    pub fn candidate(&self, attempt: u32) -> Option<u16> {
        if attempt == 0 {
            let keeps = self.count == 0 || !self.in_hole(self.inner);
            return if keeps { Some(self.inner) } else { None };
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
pub const fn translated(arriving: Tuple, source: [u8; 4], port: u16) -> Tuple {
    Tuple { src: source, src_port: port.to_be_bytes(), ..arriving }
}

#[cfg(test)]
mod tests {
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
    };

    fn choice(transport: Transport, inner: u16, translates: bool, random: u32) -> PortChoice {
        PortChoice::new(transport, inner, translates, &SETTINGS, random)
    }

    #[test]
    fn the_port_is_kept_where_the_host_does_not_use_it() {
        assert_eq!(choice(Transport::Tcp, 5_000, true, 0).candidate(0), Some(5_000));
        assert_eq!(choice(Transport::Tcp, 40_000, true, 0).candidate(0), None);
        assert_eq!(choice(Transport::Tcp, 40_000, false, 0).candidate(0), Some(40_000));
        assert_eq!(choice(Transport::Tcp, 40_000, false, 0).candidate(1), None);
        assert_eq!(choice(Transport::Echo, 40_000, true, 0).candidate(0), Some(40_000));
        assert_eq!(choice(Transport::Sctp, 40_000, true, 0).candidate(0), Some(40_000));
        assert_eq!(choice(Transport::Sctp, 40_000, true, 0).candidate(1), None);
    }

    proptest! {
        #[test]
        fn candidates_keep_their_class_and_leave_the_hosts_ports(
            inner in 1_u16.., random: u32, attempt in 0_u32..70_000,
        ) {
            if let Some(port) = choice(Transport::Udp, inner, true, random).candidate(attempt) {
                prop_assert!(port != 0);
                prop_assert_eq!(port < 1024, inner < 1024);
                prop_assert!(inner < 1024 || !(32_768..=60_999).contains(&port));
            }
        }

        #[test]
        fn every_port_gets_its_turn(inner in 1_u16.., random: u32) {
            let choice = choice(Transport::Tcp, inner, true, random);
            let mut seen = vec![false; 65_536];
            for port in (0..choice.attempts()).filter_map(|attempt| choice.candidate(attempt)) {
                seen[usize::from(port)] = true;
            }
            let expected = |port: usize| {
                if inner < 1024 { (1..1024).contains(&port) }
                else { port >= 1024 && !(32_768..=60_999).contains(&port) }
            };
            for (port, seen) in seen.into_iter().enumerate() {
                prop_assert_eq!(seen, expected(port), "{}", port);
            }
        }
    }

    fn interface(addresses: &[([u8; 4], u8)]) -> Interface {
        let mut all = [InterfaceAddress::default(); MAX_ADDRESSES];
        for (to, &(address, prefix_len)) in all.iter_mut().zip(addresses) {
            *to = InterfaceAddress { address, prefix_len, _zero: [0; 3] };
        }
        Interface {
            end: 1,
            role: Role::Bridge as u8,
            attached: 0,
            router_mac: [0; 6],
            mtu: 1500,
            address_count: addresses.len() as u32,
            addresses: all,
            name: [0; 16],
        }
    }

    #[test]
    fn masquerading_takes_the_address_of_the_next_hops_subnet() {
        let target =
            interface(&[([10, 0, 0, 1], 24), ([172, 19, 0, 1], 16), ([172, 19, 0, 9], 16)]);
        let policy = PairPolicy::default();
        let source = |next_hop| source_address(policy, [1; 4], &target, next_hop);
        assert_eq!(source([172, 19, 3, 3]), Ok([172, 19, 0, 1]));
        assert_eq!(source([10, 0, 0, 7]), Ok([10, 0, 0, 1]));
        assert_eq!(source([8, 8, 8, 8]), Ok([10, 0, 0, 1]));
        let bare = interface(&[]);
        assert_eq!(source_address(policy, [1; 4], &bare, [8; 4]), Err(Reason::NoNatAddress));
    }

    #[test]
    fn other_modes_ignore_the_targets_addresses() {
        let target = interface(&[([10, 0, 0, 1], 24)]);
        let mut policy = PairPolicy { nat: NatMode::None as u8, ..PairPolicy::default() };
        assert_eq!(source_address(policy, [1; 4], &target, [10, 0, 0, 7]), Ok([1; 4]));
        policy = PairPolicy { nat: NatMode::Address as u8, address: [9; 4], ..policy };
        assert_eq!(source_address(policy, [1; 4], &target, [10, 0, 0, 7]), Ok([9; 4]));
    }
}
