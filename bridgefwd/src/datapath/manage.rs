//! Which interfaces are managed: their entries written, the programs attached and taken off.
//!
//! What leaves by an end may have to be mended at its egress, so nothing is taken in anywhere before
//! egress is attached everywhere, and the other way round when interfaces are left.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use bridgefwd_common::contract::{Address, AttachKind, Interface};

use super::{Datapath, attach, interfaces, load, pins, sweep};
use crate::failure::{Failure, Result};
use crate::host::netlink::Changes;
use crate::host::qdisc::Hook;

/// From so many interfaces on it takes seconds to attach to all of them, and somebody may wonder.
const MANY: usize = 100;

/// What failed, by ifindex.
type Failures = BTreeMap<u32, Failure>;

impl Datapath {
    /// Manages exactly the interfaces in `wanted`. Attaches to all of them anew where `renew`, else
    /// to those that need it. What fails for one interface does not keep the others from being
    /// managed; it is returned by ifindex.
    pub fn manage(
        &mut self,
        mut wanted: BTreeMap<u32, Interface>,
        changes: &Changes,
        renew: bool,
    ) -> BTreeMap<u32, Failure> {
        let mut failures = Failures::new();
        let lost_address = loses_address(self.interfaces(), &wanted);
        self.leave(&wanted, changes, &mut failures);
        if renew {
            self.leave_strays(&wanted, &mut failures);
        }
        // All entries before the first attachment: a packet may come in by one and leave by another.
        let mut changed_role = BTreeSet::new();
        for (ifindex, interface) in &mut wanted {
            let before = self.interfaces().get(ifindex).copied();
            interface.attached = before.map_or(0, |before| before.attached);
            if before
                .is_some_and(|before| interfaces::is_end(&before) != interfaces::is_end(interface))
            {
                changed_role.insert(*ifindex);
            }
            if before != Some(*interface)
                && let Err(error) = self.interfaces.set(*ifindex, *interface)
            {
                failures.insert(*ifindex, error);
            }
        }
        wanted.retain(|ifindex, interface| {
            (interface.attached == 0 || renew || changed_role.contains(ifindex))
                && !failures.contains_key(ifindex)
        });
        self.attach_all(wanted, &changed_role, &mut failures);
        self.epoch.next();
        // Where one still runs an earlier daemon's program, that program's cold paths stay.
        if renew
            && failures.is_empty()
            && let Err(error) = attach::wait_for_programs()
                .and_then(|()| pins::retire_cold_paths(&self.pin_dir, self.cold_paths))
        {
            tracing::warn!("cannot remove the pins of an earlier daemon's programs: {error}");
        }
        if lost_address {
            let begin = Instant::now();
            match sweep::all(&mut self.ebpf, self.settings.max_flows) {
                Ok(()) => tracing::debug!("ended flows of an address in {:?}", begin.elapsed()),
                Err(error) => {
                    tracing::warn!("flows of an address that is gone end later: {error}");
                }
            }
        }
        failures
    }

    /// Takes the programs and entries off what is not wanted any more.
    fn leave(
        &mut self,
        wanted: &BTreeMap<u32, Interface>,
        changes: &Changes,
        failures: &mut Failures,
    ) {
        let gone: Vec<_> = self
            .interfaces()
            .iter()
            .filter(|(ifindex, _)| {
                !wanted.contains_key(ifindex) || changes.deleted.contains(ifindex)
            })
            .map(|(&ifindex, interface)| (ifindex, *interface))
            .collect();
        for hook in [Hook::Ingress, Hook::Egress] {
            for (ifindex, interface) in &gone {
                let recorded = interfaces::attached(interface);
                let off = attach::detach(&self.pin_dir, hook, *ifindex, interface.name(), recorded);
                if let Err(error) = off {
                    failures.insert(*ifindex, error);
                }
            }
        }
        for (ifindex, _) in gone {
            if !failures.contains_key(&ifindex)
                && let Err(error) = self.interfaces.remove(ifindex)
            {
                failures.insert(ifindex, error);
            }
        }
    }

    /// Pins without an entry: an earlier daemon was killed between the one and the other.
    fn leave_strays(&self, wanted: &BTreeMap<u32, Interface>, failures: &mut Failures) {
        let linked = pins::linked_interfaces(&self.pin_dir).unwrap_or_default();
        let strays: Vec<_> =
            linked.into_iter().filter(|ifindex| !wanted.contains_key(ifindex)).collect();
        for hook in [Hook::Ingress, Hook::Egress] {
            for &ifindex in &strays {
                if let Err(error) = attach::detach(&self.pin_dir, hook, ifindex, "?", None) {
                    failures.insert(ifindex, error);
                }
            }
        }
    }

    /// Attaches to all of these: first at egress, to ends alone.
    fn attach_all(
        &mut self,
        wanted: BTreeMap<u32, Interface>,
        changed_role: &BTreeSet<u32>,
        failures: &mut Failures,
    ) {
        if wanted.len() >= MANY {
            tracing::info!("attaching to {} interfaces, one after the other", wanted.len());
        }
        let mut at_egress = BTreeMap::new();
        for (&ifindex, interface) in &wanted {
            if interfaces::is_end(interface) {
                match self.ensure(Hook::Egress, ifindex, interface) {
                    Ok(kind) => drop(at_egress.insert(ifindex, kind)),
                    Err(error) => {
                        self.put_back(ifindex, interface);
                        failures.insert(ifindex, error);
                    }
                }
            }
        }
        for (ifindex, interface) in wanted {
            if failures.contains_key(&ifindex) {
                continue;
            }
            let egress = at_egress.get(&ifindex).copied();
            let recorded = interfaces::attached(&interface);
            let attached = self.attach(ifindex, interface, egress).and_then(|()| {
                // An end that has become a port has nothing at egress.
                if egress.is_none() && changed_role.contains(&ifindex) {
                    self.detach_egress(ifindex, &interface, recorded)?;
                }
                Ok(())
            });
            if let Err(error) = attached {
                // Back to where it was: attached at neither hook.
                if recorded.is_none() {
                    if let Err(more) = self.detach_egress(ifindex, &interface, egress) {
                        tracing::warn!("{more}");
                    }
                    self.put_back(ifindex, &interface);
                }
                failures.insert(ifindex, error);
            }
        }
    }

    /// Attaches at ingress, and says in the entry by what means.
    fn attach(
        &mut self,
        ifindex: u32,
        mut interface: Interface,
        egress: Option<AttachKind>,
    ) -> Result<()> {
        let kind = self.ensure(Hook::Ingress, ifindex, &interface)?;
        // The qdisc is ours where either found none.
        let kind = if egress == Some(AttachKind::OwnClsact) && kind == AttachKind::Clsact {
            AttachKind::OwnClsact
        } else {
            kind
        };
        if interfaces::attached(&interface) != Some(kind) {
            interface.attached = kind as u8;
            self.interfaces.set(ifindex, interface)?;
        }
        Ok(())
    }

    fn ensure(&mut self, hook: Hook, ifindex: u32, interface: &Interface) -> Result<AttachKind> {
        let recorded = interfaces::attached(interface);
        let program = load::program(&mut self.ebpf, attach::program_at(hook))?;
        let entries = &mut self.interfaces;
        let owning = || {
            let attached = AttachKind::OwnClsact as u8;
            entries.set(ifindex, Interface { attached, ..*interface })
        };
        self.attacher.ensure(program, hook, ifindex, interface.name(), recorded, owning)
    }

    /// An attachment that came to nothing: its entry says again what it said before.
    fn put_back(&mut self, ifindex: u32, interface: &Interface) {
        if self.interfaces().get(&ifindex) != Some(interface)
            && let Err(error) = self.interfaces.set(ifindex, *interface)
        {
            tracing::warn!("{error}");
        }
    }

    fn detach_egress(
        &self,
        ifindex: u32,
        interface: &Interface,
        recorded: Option<AttachKind>,
    ) -> Result<()> {
        let name = interface.name();
        attach::detach(&self.pin_dir, Hook::Egress, ifindex, name, recorded)
    }
}

/// The bare addresses of an end.
fn own(end: &Interface) -> impl Iterator<Item = Address> {
    interfaces::addresses(end).map(|entry| entry.address)
}

/// Does an end have an address `before` that it has not `after`?
fn loses_address(before: &BTreeMap<u32, Interface>, after: &BTreeMap<u32, Interface>) -> bool {
    before.iter().any(|(ifindex, before)| {
        let kept: Vec<_> = after.get(ifindex).map_or_else(Vec::new, |after| own(after).collect());
        own(before).any(|address| !kept.contains(&address))
    })
}

#[cfg(test)]
mod tests {
    use bridgefwd_common::contract::{InterfaceAddress, Role};
    use bytemuck::Zeroable as _;

    use super::*;

    #[test]
    fn an_address_that_goes_is_noticed() {
        let v4 = |last| Address::v4([10, 0, 0, last]);
        let v6 = |last| Address::from_words([0xfd, 0, 0, last]);
        let end = |addresses: &[Address], addresses_v6: &[Address]| {
            let mut end = Interface { role: Role::Bridge as u8, ..Interface::zeroed() };
            for (to, &address) in end.addresses.iter_mut().zip(addresses) {
                *to = InterfaceAddress { address, ..InterfaceAddress::default() };
                end.address_count += 1;
            }
            for (to, &address) in end.addresses_v6.iter_mut().zip(addresses_v6) {
                *to = InterfaceAddress { address, ..InterfaceAddress::default() };
                end.address_count_v6 += 1;
            }
            BTreeMap::from([(7, end)])
        };
        let before = end(&[v4(1), v4(2)], &[v6(1)]);
        assert!(!loses_address(&before, &before));
        assert!(!loses_address(&before, &end(&[v4(2), v4(1), v4(3)], &[v6(1)])));
        let mut deprecated = before.clone();
        deprecated.values_mut().for_each(|end| end.addresses_v6[0].flags = 1);
        assert!(!loses_address(&before, &deprecated));
        assert!(loses_address(&before, &end(&[v4(1)], &[v6(1)])));
        assert!(loses_address(&before, &end(&[v4(1), v4(2)], &[])));
        assert!(loses_address(&before, &BTreeMap::new()));
        assert!(!loses_address(&BTreeMap::new(), &before));
    }
}
