//! How much of the range of source ports is used, where it is used most.
//!
//! A port is used up once for each server: the tuple of the answers tells flows apart. One of an
//! endpoint-independent mapping is used up for all servers.

use std::collections::{BTreeMap, HashMap, HashSet};

use bridgefwd_common::contract::{Flow, Settings, Tuple};
use bridgefwd_common::decide::nat::PortChoice;
use bridgefwd_common::packet::transport;

/// Flows whose ports are chosen from one range.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Range {
    /// The index of the pair.
    pair: u32,
    /// What they leave as, without the port: of a mapping also without the server.
    leaving: Tuple,
    /// The first port of the range.
    class: u16,
}

/// Counts the ports that flows have.
#[derive(Debug, Default)]
pub struct PortUse {
    /// Ports that are used, and how many there are.
    used: HashMap<Range, (u32, u32)>,
    /// Ports of mappings that are counted already.
    mapped: HashSet<(Range, [u8; 2])>,
}

impl PortUse {
    /// Takes in one flow that has a slot.
    pub fn add(&mut self, flow: &Flow, settings: &Settings) {
        let Tuple { protocol, src, .. } = flow.original();
        let transport = transport::of_protocol(src.family(), protocol);
        let inner = u16::from_be_bytes(flow.original().src_port);
        let port = flow.translated().src_port;
        let choice = PortChoice::new(transport, inner, flow.translates(), settings, 0);
        // One that was kept although it is not among those that are searched takes nobody's place.
        if !choice.covers(u16::from_be_bytes(port)) {
            return;
        }
        let mut leaving = Tuple { src_port: [0; 2], ..flow.translated() };
        let is_mapped = flow.flags & Flow::MAPPED != 0;
        if is_mapped {
            (leaving.dst, leaving.dst_port) = (leaving.src, [0; 2]);
        }
        let range = Range { pair: flow.pair, leaving, class: choice.class() };
        if is_mapped && !self.mapped.insert((range, port)) {
            return;
        }
        let (used, _) = self.used.entry(range).or_insert((0, choice.attempts() - 1));
        *used += 1;
    }

    /// By the index of the pair: the largest share of a range that is used, from 0 to 1.
    #[must_use]
    pub fn busiest(&self) -> BTreeMap<u32, f64> {
        let mut busiest = BTreeMap::new();
        for (range, &(used, count)) in &self.used {
            let share = f64::from(used) / f64::from(count.max(1));
            let most: &mut f64 = busiest.entry(range.pair).or_default();
            *most = most.max(share);
        }
        busiest
    }
}

#[cfg(test)]
mod tests {
    use bridgefwd_common::contract::Address;
    use bytemuck::Zeroable as _;

    use super::*;

    fn flow(pair: u32, server: u8, port: u16, flags: u8) -> Flow {
        let original = Tuple {
            src: Address::v4([10, 1, 0, 2]),
            dst: Address::v4([10, 2, 0, server]),
            src_port: port.to_be_bytes(),
            dst_port: 80_u16.to_be_bytes(),
            protocol: 6,
            ..Tuple::default()
        };
        let translated = Tuple { src: Address::v4([10, 2, 0, 1]), ..original };
        Flow { pair, flags, ..Flow::zeroed() }.between(&original, &translated)
    }

    fn busiest(flows: &[Flow]) -> BTreeMap<u32, f64> {
        let settings =
            Settings { local_port_first: 2048, local_port_last: 65_535, ..Settings::zeroed() };
        let mut ports = PortUse::default();
        flows.iter().for_each(|flow| ports.add(flow, &settings));
        ports.busiest()
    }

    #[test]
    fn the_busiest_server_counts() {
        let flows = [
            flow(3, 2, 1024, 0),
            flow(3, 2, 1025, 0),
            flow(3, 9, 1024, 0),
            flow(4, 2, 1026, 0),
            // The host's own port, kept: not one of those that are searched.
            flow(4, 2, 40_000, 0),
        ];
        let expected = BTreeMap::from([(3, 2.0 / 1024.0), (4, 1.0 / 1024.0)]);
        assert_eq!(busiest(&flows), expected);
    }

    #[test]
    fn a_mapping_is_one_port_for_all_servers() {
        let one = Flow::MAPPED;
        let flows = [flow(3, 2, 1024, one), flow(3, 9, 1024, one), flow(3, 9, 1025, one)];
        assert_eq!(busiest(&flows), BTreeMap::from([(3, 2.0 / 1024.0)]));
    }

    #[test]
    fn who_keeps_the_address_uses_no_port_up() {
        let inner = flow(3, 2, 1024, 0).original();
        let kept = flow(3, 2, 1024, 0).between(&inner, &inner);
        assert_eq!(busiest(&[kept]), BTreeMap::new());
    }
}
