//! `SOURCES`: which sources have most of the flow table, and which were refused flows.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;

use bridgefwd_common::contract::{Interface, MAP_SOURCES, Settings, SourceKey, SourceUse};

use super::wire::{self, WireHashMap};
use crate::api::types::Source;
use crate::failure::Result;

/// How many are shown.
const SHOWN: usize = 10;

/// Those that were refused flows, then those with the most.
///
/// # Errors
///
/// The kernel's error.
pub fn most(
    map: &WireHashMap<SourceKey, SourceUse>,
    interfaces: &BTreeMap<u32, Interface>,
    settings: &Settings,
) -> Result<Vec<Source>> {
    Ok(shown(wire::entries(map, MAP_SOURCES)?, interfaces, settings))
}

/// How many sources there are, and how many of them have what they can have.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SourcesUse {
    /// Those that have flows.
    pub with_flows: u64,
    /// Those that have as many flows as one source can have.
    pub at_limit: u64,
    /// Those that were refused flows since they had any.
    pub refused: u64,
}

/// How the flow table is shared out.
///
/// # Errors
///
/// The kernel's error.
pub fn usage(map: &WireHashMap<SourceKey, SourceUse>, settings: &Settings) -> Result<SourcesUse> {
    Ok(counted(&wire::entries(map, MAP_SOURCES)?, settings))
}

fn counted(entries: &[(SourceKey, SourceUse)], settings: &Settings) -> SourcesUse {
    let limit = u64::from(settings.max_flows_per_source);
    let count = |is: &dyn Fn(&SourceUse) -> bool| {
        entries.iter().filter(|(_, usage)| is(usage)).count() as u64
    };
    SourcesUse {
        with_flows: count(&|usage| usage.flows > 0),
        at_limit: count(&|usage| usage.flows >= limit),
        refused: count(&|usage| usage.refused > 0),
    }
}

fn shown(
    mut entries: Vec<(SourceKey, SourceUse)>,
    interfaces: &BTreeMap<u32, Interface>,
    settings: &Settings,
) -> Vec<Source> {
    entries.retain(|(_, usage)| usage.flows > 0 || usage.refused > 0);
    entries.sort_by_key(|(source, usage)| {
        let refused = usage.refused;
        (Reverse(refused > 0), Reverse(usage.flows), Reverse(refused), source.port, source.address)
    });
    entries
        .into_iter()
        .take(SHOWN)
        .map(|(key, usage)| {
            let port = interfaces.get(&key.port);
            let bridge = port.and_then(|port| interfaces.get(&port.end));
            let source = match (key.port, port) {
                (0, _) => IpAddr::from(key.address).to_string(),
                (_, Some(port)) => port.name().to_owned(),
                // Gone, or not managed any more.
                (ifindex, None) => format!("#{ifindex}"),
            };
            Source {
                source,
                bridge: bridge.map(|bridge| bridge.name().to_owned()),
                flows: usage.flows,
                limit: settings.max_flows_per_source.into(),
                refused: usage.refused,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use bridgefwd_common::contract::Address;
    use bytemuck::Zeroable as _;

    use super::*;

    #[test]
    fn the_refused_come_first_then_the_largest() {
        let interface = |end, name: &str| Interface {
            end,
            name: Interface::name_bytes(name),
            ..Interface::zeroed()
        };
        let interfaces = BTreeMap::from([(5, interface(5, "front")), (6, interface(5, "veth1"))]);
        let settings = Settings { max_flows_per_source: 4, ..Settings::zeroed() };
        let usage = |flows, refused| SourceUse { flows, refused, ..SourceUse::zeroed() };
        let address = Address::v4([192, 0, 2, 7]);
        let mut entries = vec![
            (SourceKey::new(address, 0), usage(3, 0)),
            (SourceKey::new(address, 6), usage(2, 1)),
            (SourceKey::new(address, 9), usage(4, 0)),
            (SourceKey::new(Address::v4([192, 0, 2, 8]), 0), usage(0, 0)),
        ];
        let sources = shown(entries.clone(), &interfaces, &settings);
        let names: Vec<_> = sources.iter().map(|source| &*source.source).collect();
        assert_eq!(names, ["veth1", "#9", "192.0.2.7"]);
        assert_eq!(sources[0].bridge.as_deref(), Some("front"));
        assert_eq!((sources[0].flows, sources[0].limit, sources[0].refused), (2, 4, 1));
        assert_eq!((&sources[1].bridge, &sources[2].bridge), (&None, &None));
        let expected = SourcesUse { with_flows: 3, at_limit: 1, refused: 1 };
        assert_eq!(counted(&entries, &settings), expected);
        for last in 0..20 {
            entries.push((SourceKey::new(Address::v4([10, 0, 0, last]), 0), usage(1, 0)));
        }
        let sources = shown(entries, &interfaces, &settings);
        assert_eq!((sources.len(), &*sources[2].source), (SHOWN, "192.0.2.7"));
    }
}
