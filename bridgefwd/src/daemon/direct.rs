//! Which ports may have packets handed to their peers at once, past bridge and port: those where that comes
//! to the same, and nobody wants to see or hold what leaves by them.
//!
//! Of qdiscs, programs, rules for bridges and captures there is no news that we could wait for, so they are
//! looked for every second.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use bridgefwd_common::contract::{Interface, Role};

use super::state::State;
use crate::failure::{Failure, Result};
use crate::host::bpf;
use crate::host::btf::Btf;
use crate::host::capture::Captures;
use crate::host::netfilter::BridgeRules;
use crate::host::netlink::Snapshot;
use crate::host::qdisc::{self, Hook, Queueing};

/// What is known of the ports.
#[derive(Debug)]
pub struct Direct {
    /// Is it wanted?
    pub(super) wanted: bool,
    /// Does the kernel do it rightly?
    possible: bool,
    rules: BridgeRules,
    /// Ports that could be such by what they are, with their bridges.
    candidates: BTreeMap<u32, u32>,
    /// Those that are.
    ports: BTreeSet<u32>,
}

impl Direct {
    /// For the running kernel; `possible` where the data path can.
    #[must_use]
    pub fn new(possible: bool) -> Self {
        let kernel = Btf::of_kernel().ok();
        // Before, what is handed over was missing from the statistics of the interface in the container
        // (`bpf: Fix dev's rx stats for bpf_redirect_peer traffic`, Linux 6.7 and stable kernels).
        let counts = kernel
            .as_ref()
            .is_some_and(|btf| btf.offset_of("net_device", "pcpu_stat_type").is_some());
        Self {
            wanted: true,
            possible: possible && counts,
            rules: BridgeRules::new(kernel.as_ref()),
            candidates: BTreeMap::new(),
            ports: BTreeSet::new(),
        }
    }

    /// Looks at the ports anew, and says in the `wanted` entries which of them are such.
    pub fn enter(
        &mut self,
        snapshot: &Snapshot,
        managed: &BTreeMap<u32, Interface>,
        wanted: &mut BTreeMap<u32, Interface>,
    ) {
        self.candidates = candidates(snapshot, wanted);
        self.ports = self.judge(managed);
        mark(&self.ports, wanted);
    }

    /// Those of the candidates that nobody minds. Where that cannot be found out, somebody may.
    fn judge(&self, managed: &BTreeMap<u32, Interface>) -> BTreeSet<u32> {
        if !self.wanted || !self.possible || self.candidates.is_empty() {
            return BTreeSet::new();
        }
        self.look(managed).unwrap_or_else(|error| {
            tracing::debug!("cannot see who looks at what ports send: {error}");
            BTreeSet::new()
        })
    }

    fn look(&self, managed: &BTreeMap<u32, Interface>) -> io::Result<BTreeSet<u32>> {
        if self.rules.are_there()? {
            return Ok(BTreeSet::new());
        }
        let (captures, queueing) = (Captures::read()?, qdisc::all()?);
        let is_free = |ifindex: u32| {
            let queueing = queueing.get(&ifindex).copied().unwrap_or_default();
            let ours = usize::from(managed.get(&ifindex).is_some_and(has_ours_at_egress));
            !captures.at(ifindex)
                && !queueing.queues
                && programs_at_egress(ifindex, queueing).is_ok_and(|count| count <= ours)
        };
        let bridges: BTreeSet<_> = self.candidates.values().copied().collect();
        let free: BTreeSet<_> = bridges.into_iter().filter(|&bridge| is_free(bridge)).collect();
        let ports = self.candidates.iter().filter(|(_, bridge)| free.contains(bridge));
        Ok(ports.map(|(&port, _)| port).filter(|&port| is_free(port)).collect())
    }
}

/// Says whether it is wanted, and has the data path follow.
///
/// # Errors
///
/// The kernel's error.
pub fn want(state: &mut State, wanted: bool) -> Result<()> {
    state.direct.wanted = wanted;
    follow(state)
}

/// Looks again, and has the data path follow.
///
/// # Errors
///
/// The kernel's error.
pub fn follow(state: &mut State) -> Result<()> {
    let ports = state.direct.judge(state.datapath.interfaces());
    if ports == state.direct.ports {
        return Ok(());
    }
    tracing::debug!("packets are handed over at {} ports", ports.len());
    let mut entries = state.datapath.interfaces().clone();
    mark(&ports, &mut entries);
    state.direct.ports = ports;
    state.datapath.rewrite_entries(&entries).map_err(|error| {
        Failure::failed(format!("cannot say which ports packets are handed over at: {error}"))
    })
}

/// Ports that could be such by what they and their bridges are.
fn candidates(snapshot: &Snapshot, entries: &BTreeMap<u32, Interface>) -> BTreeMap<u32, u32> {
    let ports = entries.iter().filter(|(_, entry)| entry.role == Role::Port as u8);
    ports
        .filter(|(ifindex, entry)| {
            let (port, bridge) = (snapshot.get(**ifindex), snapshot.get(entry.end));
            port.is_some_and(|port| port.leads_elsewhere && port.forwards)
                && bridge.is_some_and(|bridge| !bridge.vlan_aware)
        })
        .map(|(&ifindex, entry)| (ifindex, entry.end))
        .collect()
}

fn mark(ports: &BTreeSet<u32>, entries: &mut BTreeMap<u32, Interface>) {
    for (ifindex, entry) in entries {
        let flag = if ports.contains(ifindex) { Interface::TO_PEER } else { 0 };
        entry.flags = entry.flags & !Interface::TO_PEER | flag;
    }
}

/// Ours is at egress of ends.
const fn has_ours_at_egress(entry: &Interface) -> bool {
    entry.role != Role::Port as u8 && entry.attached != 0
}

/// How many programs and filters see what leaves by an interface, whoever's they are.
fn programs_at_egress(ifindex: u32, queueing: Queueing) -> io::Result<usize> {
    let by_tcx = match bpf::tcx_programs(ifindex, Hook::Egress) {
        Ok(programs) => programs.len(),
        // The kernel has no TCX.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => 0,
        Err(error) => return Err(error),
    };
    let filters =
        if queueing.has_clsact { qdisc::filters(ifindex, Hook::Egress)?.len() } else { 0 };
    Ok(by_tcx + filters)
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;

    use super::*;
    use crate::host::netlink::Link;

    #[test]
    fn only_veths_that_forward_into_other_namespaces_are_candidates() {
        let port = |ifindex, bridge, leads_elsewhere, forwards| Link {
            ifindex,
            master: Some(bridge),
            leads_elsewhere,
            forwards,
            ..Link::default()
        };
        let links = [
            Link { ifindex: 1, is_bridge: true, ..Link::default() },
            Link { ifindex: 2, is_bridge: true, vlan_aware: true, ..Link::default() },
            port(11, 1, true, true),
            port(12, 1, false, true),
            port(13, 1, true, false),
            port(14, 2, true, true),
            port(15, 1, true, true),
        ];
        let entry = |end, role: Role| Interface { end, role: role as u8, ..Interface::zeroed() };
        let entries = BTreeMap::from([
            (1, entry(1, Role::Bridge)),
            (2, entry(2, Role::Bridge)),
            (11, entry(1, Role::Port)),
            (12, entry(1, Role::Port)),
            (13, entry(1, Role::Port)),
            (14, entry(2, Role::Port)),
            (99, entry(1, Role::Port)),
        ]);
        let found = candidates(&Snapshot::of(links), &entries);
        assert_eq!(found, BTreeMap::from([(11, 1)]));
    }

    #[test]
    fn what_is_not_free_any_more_is_unmarked() {
        let mut entries = BTreeMap::from([(1, Interface::zeroed()), (2, Interface::zeroed())]);
        mark(&BTreeSet::from([1]), &mut entries);
        assert_eq!(entries.values().map(|entry| entry.flags).collect::<Vec<_>>(), [1, 0]);
        mark(&BTreeSet::from([2]), &mut entries);
        assert_eq!(entries.values().map(|entry| entry.flags).collect::<Vec<_>>(), [0, 1]);
    }
}
