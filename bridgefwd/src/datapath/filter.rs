//! Which flows somebody wants to see, in the terms of the table: told before anything is made of a flow
//! that people can read.

use std::collections::BTreeMap;

use bridgefwd_common::contract::{Address, Flow, FlowState, Interface};

use super::flows::protocol_name;
use super::interfaces::is_end;
use crate::api::types::FlowFilter;
use crate::failure::{Failure, Result};

/// Protocols that can be asked for by name.
const PROTOCOLS: [u8; 5] = [1, 6, 17, 58, 132];
/// How many flows an answer has where nothing is said.
const LIMIT: u32 = 1000;
/// And how many at most: more are asked for again, so that no answer is huge.
const MAX_LIMIT: u32 = 10_000;

/// What is wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    from: Option<u32>,
    to: Option<u32>,
    protocol: Option<u8>,
    state: Option<String>,
    address: Option<Address>,
    port: Option<[u8; 2]>,
    /// At most so many.
    pub limit: usize,
    /// From this slot on.
    pub first: u32,
}

impl Wanted {
    /// What `filter` says.
    ///
    /// # Errors
    ///
    /// Where it names an end that is not managed, or a protocol or state that does not exist.
    pub fn by(filter: &FlowFilter, interfaces: &BTreeMap<u32, Interface>) -> Result<Self> {
        let end = |name: &Option<String>| {
            name.as_ref().map(|name| end_by_name(interfaces, name)).transpose()
        };
        if let Some(state) = &filter.state {
            check_state(state)?;
        }
        Ok(Self {
            from: end(&filter.from)?,
            to: end(&filter.to)?,
            protocol: filter.proto.as_deref().map(protocol).transpose()?,
            state: filter.state.clone(),
            address: filter.address.map(Address::from),
            port: filter.port.map(u16::to_be_bytes),
            limit: filter.limit.unwrap_or(LIMIT).clamp(1, MAX_LIMIT) as usize,
            first: filter.after.map_or(0, |after| after.saturating_add(1)),
        })
    }

    /// Is this one of them?
    #[must_use]
    pub fn matches(&self, flow: &Flow) -> bool {
        let tuples = [flow.original(), flow.translated()];
        let has_address =
            |address| tuples.iter().any(|tuple| tuple.src == address || tuple.dst == address);
        let has_port =
            |port| tuples.iter().any(|tuple| tuple.src_port == port || tuple.dst_port == port);
        self.from.is_none_or(|from| from == flow.from)
            && self.to.is_none_or(|to| to == flow.to)
            && self.protocol.is_none_or(|protocol| protocol == flow.protocol)
            && self.address.is_none_or(has_address)
            && self.port.is_none_or(has_port)
            && self
                .state
                .as_ref()
                .is_none_or(|state| state == FlowState::from_byte(flow.state).name())
    }
}

/// The ifindex of the managed end whose interface has that name.
fn end_by_name(interfaces: &BTreeMap<u32, Interface>, name: &str) -> Result<u32> {
    let mut ends = interfaces.iter().filter(|(_, interface)| is_end(interface));
    let found = ends.find(|(_, interface)| interface.name() == name);
    let away = || Failure::usage(format!("{name} is not a managed bridge or uplink any more"));
    found.map(|(&ifindex, _)| ifindex).ok_or_else(away)
}

/// The number of a protocol, by name or number.
fn protocol(text: &str) -> Result<u8> {
    let by_name = PROTOCOLS.into_iter().find(|&number| protocol_name(number) == text);
    by_name.or_else(|| text.parse().ok()).ok_or_else(|| {
        Failure::usage(format!(
            "unknown protocol {text:?}: use {}, or a number up to 255",
            PROTOCOLS.map(protocol_name).join(", ")
        ))
    })
}

/// Names of the states that a flow can be in, each once.
#[must_use]
pub fn states() -> Vec<&'static str> {
    let mut names: Vec<_> = FlowState::ALL.into_iter().skip(1).map(FlowState::name).collect();
    // The two kinds of `half_closed` are neighbours.
    names.dedup();
    names
}

fn check_state(text: &str) -> Result<()> {
    if states().contains(&text) {
        return Ok(());
    }
    Err(Failure::usage(format!("unknown state {text:?}: use one of {}", states().join(", "))))
}

#[cfg(test)]
mod tests {
    use bridgefwd_common::contract::{Role, Tuple};
    use bytemuck::Zeroable as _;

    use super::*;

    fn interfaces() -> BTreeMap<u32, Interface> {
        let end = |name: &str| Interface {
            role: Role::Bridge as u8,
            name: Interface::name_bytes(name),
            ..Interface::zeroed()
        };
        BTreeMap::from([(5, end("front")), (7, end("db"))])
    }

    fn flow() -> Flow {
        let original = Tuple {
            src: Address::v4([172, 18, 0, 2]),
            dst: Address::v4([172, 19, 0, 2]),
            src_port: 40_000_u16.to_be_bytes(),
            dst_port: 80_u16.to_be_bytes(),
            protocol: 6,
            ..Tuple::default()
        };
        let translated = Tuple {
            src: Address::v4([172, 19, 0, 1]),
            src_port: 50_000_u16.to_be_bytes(),
            ..original
        };
        let state = FlowState::TcpFinReply as u8;
        Flow { from: 5, to: 7, state, ..Flow::zeroed() }.between(&original, &translated)
    }

    #[track_caller]
    fn matches(filter: &FlowFilter) -> bool {
        Wanted::by(filter, &interfaces()).unwrap().matches(&flow())
    }

    #[test]
    fn each_part_of_a_filter_counts() {
        let text = |text: &str| Some(text.to_owned());
        assert!(matches(&FlowFilter::default()));
        for (from, to, is) in [("front", "db", true), ("db", "front", false)] {
            let filter = FlowFilter { from: text(from), to: text(to), ..FlowFilter::default() };
            assert_eq!(matches(&filter), is);
        }
        for (proto, is) in [("tcp", true), ("6", true), ("udp", false), ("47", false)] {
            let filter = FlowFilter { proto: text(proto), ..FlowFilter::default() };
            assert_eq!(matches(&filter), is, "{proto}");
        }
        for (state, is) in [("half_closed", true), ("established", false)] {
            let filter = FlowFilter { state: text(state), ..FlowFilter::default() };
            assert_eq!(matches(&filter), is, "{state}");
        }
        // The client, the server, and the client as the server sees it.
        for (address, is) in [
            ("172.18.0.2", true),
            ("172.19.0.2", true),
            ("172.19.0.1", true),
            ("172.18.0.1", false),
            ("::ffff:172.18.0.1", false),
        ] {
            let address = Some(address.parse().unwrap());
            assert_eq!(matches(&FlowFilter { address, ..FlowFilter::default() }), is);
        }
        for (port, is) in [(40_000, true), (80, true), (50_000, true), (443, false)] {
            assert_eq!(matches(&FlowFilter { port: Some(port), ..FlowFilter::default() }), is);
        }
    }

    #[test]
    fn what_does_not_exist_is_named() {
        let wrong =
            |filter: FlowFilter| Wanted::by(&filter, &interfaces()).unwrap_err().to_string();
        let text = |text: &str| Some(text.to_owned());
        let why = wrong(FlowFilter { from: text("shop"), ..FlowFilter::default() });
        assert!(why.contains("shop is not"), "{why}");
        let why = wrong(FlowFilter { proto: text("quic"), ..FlowFilter::default() });
        assert!(why.contains("quic") && why.contains("tcp, udp, icmpv6, sctp"), "{why}");
        let why = wrong(FlowFilter { state: text("open"), ..FlowFilter::default() });
        assert!(why.contains("open") && why.contains("answered, established"), "{why}");
        assert_eq!(states().iter().filter(|name| **name == "half_closed").count(), 1);
    }

    #[test]
    fn no_answer_is_huge() {
        let by = |limit, after| {
            let filter = FlowFilter { limit, after, ..FlowFilter::default() };
            let wanted = Wanted::by(&filter, &interfaces()).unwrap();
            (wanted.limit, wanted.first)
        };
        assert_eq!(by(None, None), (1000, 0));
        assert_eq!(by(Some(7), Some(41)), (7, 42));
        assert_eq!(by(Some(u32::MAX), Some(u32::MAX)), (10_000, u32::MAX));
        assert_eq!(by(Some(0), None).0, 1);
    }
}
