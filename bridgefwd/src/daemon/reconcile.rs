//! Keeping up with the host: bridges, ports and addresses as they are now, into the data path.

use bridgefwd_common::contract::MAX_ADDRESSES;

use super::route_mtus;
use super::state::State;
use crate::datapath::wanted_interfaces;
use crate::failure::{Failure, Result};
use crate::host::names::Names;
use crate::host::netlink::{Changes, Link, Snapshot};

/// Makes the data path follow the interfaces as they are now. Attaches everywhere anew where
/// `renew`.
///
/// # Errors
///
/// Where interfaces cannot be listed or pairs not be written. What fails for one interface is in
/// the state's warnings.
pub fn reconcile(state: &mut State, changes: &Changes, renew: bool) -> Result<()> {
    let snapshot = snapshot()?;
    let before = state.ends_now();
    let managed = state.known_interfaces();
    state.take_in_names(Names::new(&snapshot, state.docker.networks()));
    let bridges = state.interfaces_of_bridges();
    let mut wanted = wanted_interfaces(&snapshot, &bridges, &state.uplinks, state.ports);
    route_mtus::enter(&state.route_mtus, &mut wanted);
    state.direct.enter(&snapshot, state.datapath.interfaces(), &mut wanted);
    let renew = renew || changes.lost;
    let mut failures = state.datapath.manage(wanted, changes, renew);
    state.datapath.note_smallest_route_mtu()?;
    if !failures.is_empty() {
        // What went away in the meantime is nobody's problem; its removal is the next event.
        let now = self::snapshot()?;
        failures.retain(|ifindex, _| now.get(*ifindex).is_some());
    }
    for (ifindex, failure) in &failures {
        if state.failures.get(ifindex).map(ToString::to_string) != Some(failure.to_string()) {
            tracing::warn!("{failure}");
        }
    }
    state.failures = failures;
    let after = state.ends_now();
    let is_crowded = |ifindex: &u32| {
        let counts = |end: &Link| end.addresses.len().max(end.addresses_v6.len());
        snapshot.get(*ifindex).is_some_and(|end| counts(end) > MAX_ADDRESSES)
    };
    let crowded = after.iter().filter(|(ifindex, _)| is_crowded(ifindex));
    state.crowded = crowded.map(|(_, name)| name.clone()).collect();
    if before != after || renew {
        for (ifindex, name) in &before {
            match after.get(ifindex) {
                None => tracing::warn!("the {} {name} is gone", state.kind(name)),
                Some(now) if now != name => tracing::info!("{name} is now known as {now}"),
                Some(_) => {}
            }
        }
        for (_, name) in after.iter().filter(|(ifindex, _)| !before.contains_key(ifindex)) {
            tracing::info!("managing the {} {name}", state.kind(name));
        }
        state.rekey_pairs()?;
    }
    state.tell_interfaces(&managed);
    Ok(())
}

/// The interfaces as they are.
///
/// # Errors
///
/// The kernel's error.
pub(super) fn snapshot() -> Result<Snapshot> {
    Snapshot::take()
        .map_err(|error| Failure::failed(format!("cannot list network interfaces: {error}")))
}
