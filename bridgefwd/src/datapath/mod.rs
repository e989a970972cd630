//! The data path from userspace: the pinned maps, the programs, and where they are attached. There
//! is one writer, [`Datapath`], by a lock on the pin folder; readers need nobody's leave.

pub mod attach;
mod change;
mod counters;
pub mod events;
mod filter;
mod flows;
pub mod helpers;
mod interfaces;
pub mod kept;
mod layout;
mod load;
mod manage;
pub mod measure;
mod memory;
mod object;
pub mod offline;
mod pairs;
mod pins;
mod pools;
mod port_use;
pub mod removal;
pub mod sources;
mod sweep;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use aya::Ebpf;
use bridgefwd_common::contract::{
    Address, Flow, Interface, MAP_FLOWS, MAP_PAIRS, PairRule, Settings, TIMEOUTS, Unlisted,
};

pub use attach::AttachChoice;
pub use filter::states;
pub use flows::{nat as nat_name, now_exact_ns, protocol_name, tuple};
pub use interfaces::{addresses, is_end, wanted as wanted_interfaces};
pub use load::{Wanted, check_permission, load_programs, map_sizes, rehearse};
pub use object::{DROPS_OBJECT, OBJECT};
pub use pairs::Pairs;

use self::attach::Attacher;
use self::interfaces::Interfaces;
use self::kept::Epoch;
use self::layout::Found;
use self::memory::Memory;
use self::removal::Folder;
use crate::failure::{Failure, Result};
use crate::host::bpffs::{self, WriterLock};

/// What a start would find, looked at without changing anything.
#[derive(Debug)]
pub struct Plan {
    pin_dir: PathBuf,
    found: Found,
    max_flows: u32,
}

impl Plan {
    /// Looks whether the data path can be started in `pin_dir`: with `must` flows where that is said,
    /// else with as many as it was made for, else with `otherwise`.
    ///
    /// # Errors
    ///
    /// Says what is in the way and what to do.
    pub fn make(pin_dir: &Path, must: Option<u32>, otherwise: Option<u32>) -> Result<Self> {
        check_permission()?;
        let found = layout::inspect(pin_dir)?;
        if matches!(found, Found::Ours(_)) {
            layout::check_reasons(pin_dir)?;
        }
        let max_flows = layout::check_max_flows(pin_dir, found, must, otherwise)?;
        Ok(Self { pin_dir: pin_dir.into(), found, max_flows })
    }

    /// How many flows there will be room for.
    #[must_use]
    pub const fn max_flows(&self) -> u32 {
        self.max_flows
    }

    /// The plan without what an interruption has left, which is removed: there may be programs attached
    /// that nothing leads to any more. Called by whoever holds the lock.
    fn cleared(&self) -> Result<Self> {
        if self.found == Found::Interrupted {
            tracing::warn!(
                "removing what a start or a `down` that was interrupted has left in {}",
                self.pin_dir.display()
            );
            removal::remove_held(&self.pin_dir, Folder::Stays)?;
        }
        let found = match self.found {
            Found::Interrupted => Found::Nothing,
            found => found,
        };
        Ok(Self { pin_dir: self.pin_dir.clone(), found, max_flows: self.max_flows })
    }
}

/// What a pin folder holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pinned {
    /// Nothing.
    Nothing,
    /// What a start, or a `down`, that was interrupted has left; the next one clears it.
    Rest,
    /// State of this version.
    Whole,
}

/// Looks what is pinned there, and changes nothing.
///
/// # Errors
///
/// Where something is pinned that is not ours, not whole, or of another version.
pub fn inspect_pins(pin_dir: &Path) -> Result<Pinned> {
    match layout::inspect(pin_dir)? {
        Found::Nothing => Ok(Pinned::Nothing),
        Found::Interrupted => Ok(Pinned::Rest),
        Found::Ours(_) => layout::check_reasons(pin_dir).map(|()| Pinned::Whole),
    }
}

/// The data path, by its one writer.
pub struct Datapath {
    pin_dir: PathBuf,
    ebpf: Ebpf,
    settings: Settings,
    attacher: Attacher,
    interfaces: Interfaces,
    pairs: Pairs,
    flows: Memory<Flow>,
    rules: Memory<PairRule>,
    epoch: Epoch,
    adopted: bool,
    can_hand_over: bool,
    cold_paths: u32,
    _lock: WriterLock,
}

impl Datapath {
    /// Loads the programs, with the maps of an earlier daemon where there are any. Nothing is
    /// attached yet, and what an earlier daemon attached goes on as it was.
    ///
    /// # Errors
    ///
    /// Where something fails; what was made is removed again.
    pub fn start(plan: &Plan, wanted: Wanted, attach: AttachChoice) -> Result<Self> {
        let pin_dir = &plan.pin_dir;
        bpffs::ensure(pin_dir)?;
        fs::create_dir_all(pin_dir).map_err(|error| {
            Failure::failed(format!("cannot make the pin folder {}: {error}", pin_dir.display()))
        })?;
        let Some(lock) = WriterLock::take(pin_dir)? else {
            return Err(Failure::failed(format!(
                "another daemon is at work with the pin folder {}: stop it, or choose another \
                 --pin-dir",
                pin_dir.display()
            )));
        };
        // Now that nobody else changes it: is it still what it was?
        let started = match layout::inspect(pin_dir) {
            Ok(found) if found == plan.found => {
                plan.cleared().and_then(|plan| Self::load(&plan, wanted, attach, lock))
            }
            Ok(_) => Err(Failure::failed(format!(
                "the pin folder {} changed just now: try again",
                pin_dir.display()
            ))),
            Err(error) => Err(error),
        };
        if started.is_err() && !matches!(plan.found, Found::Ours(_)) {
            // Best effort: it is an error already, and the folder is empty.
            let _ = fs::remove_dir(pin_dir);
        }
        started
    }

    fn load(plan: &Plan, wanted: Wanted, attach: AttachChoice, lock: WriterLock) -> Result<Self> {
        let pin_dir = &plan.pin_dir;
        let mut loaded = load::load(OBJECT, pin_dir, plan.found, plan.max_flows, wanted)?;
        let open = || -> Result<_> {
            Ok((
                Interfaces::open(pin_dir)?,
                Pairs::open(pin_dir)?,
                Memory::map(&wire::open_data(pin_dir, MAP_FLOWS)?, MAP_FLOWS, false)?,
                Memory::map(&wire::open_data(pin_dir, MAP_PAIRS)?, MAP_PAIRS, false)?,
                Epoch::open(pin_dir)?,
            ))
        };
        let adopted = plan.found != Found::Nothing;
        let (interfaces, pairs, flows, rules, epoch) = open().inspect_err(|_| {
            if !adopted && let Err(error) = load::remove_contents(pin_dir) {
                tracing::warn!("cannot remove what was begun: {error}");
            }
        })?;
        kept::start(&mut loaded.ebpf, pin_dir);
        Ok(Self {
            pin_dir: pin_dir.clone(),
            ebpf: loaded.ebpf,
            settings: loaded.settings,
            attacher: Attacher::new(pin_dir, attach),
            interfaces,
            pairs,
            flows,
            rules,
            epoch,
            adopted,
            can_hand_over: helpers::can_hand_over(),
            cold_paths: loaded.cold_paths,
            _lock: lock,
        })
    }

    /// Can the program hand packets to the peers of ports?
    #[must_use]
    pub const fn can_hand_over(&self) -> bool {
        self.can_hand_over
    }

    /// What flows keep of the kernel's routing holds no longer.
    pub fn routes_changed(&self) {
        self.epoch.next();
    }

    /// Were there maps of an earlier daemon?
    #[must_use]
    pub const fn is_adopted(&self) -> bool {
        self.adopted
    }

    /// The loaded object, for its log.
    pub const fn ebpf_mut(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// The maps by which the program tells what happens. Once.
    ///
    /// # Errors
    ///
    /// Where they were taken already.
    pub fn take_events(&mut self) -> Result<(events::Ring, events::Control, events::Counts)> {
        events::take(&mut self.ebpf)
    }

    /// Every managed interface, by ifindex.
    #[must_use]
    pub const fn interfaces(&self) -> &BTreeMap<u32, Interface> {
        self.interfaces.entries()
    }

    /// The settings in force; of the generation of pairs only [`Pairs`] knows the latest.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The pairs.
    #[must_use]
    pub const fn pairs(&self) -> &Pairs {
        &self.pairs
    }

    /// The pairs, to change them.
    pub const fn pairs_mut(&mut self) -> &mut Pairs {
        &mut self.pairs
    }

    /// Writes those entries of managed interfaces that have changed.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn rewrite_entries(&mut self, entries: &BTreeMap<u32, Interface>) -> Result<()> {
        for (&ifindex, &entry) in entries {
            if self.interfaces().get(&ifindex).is_some_and(|before| *before != entry) {
                self.interfaces.set(ifindex, entry)?;
            }
        }
        self.epoch.next();
        Ok(())
    }

    /// Says in the settings which MTU is the smallest of all routes by the ends, as their entries have
    /// it.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn note_smallest_route_mtu(&mut self) -> Result<()> {
        let smallest = interfaces::smallest_route_mtu(self.interfaces());
        if smallest == self.settings.smallest_route_mtu {
            return Ok(());
        }
        let change = |settings: &mut Settings| settings.smallest_route_mtu = smallest;
        load::change_settings(&self.pin_dir, &mut self.settings, change)?;
        self.epoch.next();
        Ok(())
    }

    /// Sets what can be set while it runs.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn set(
        &mut self,
        unlisted: Unlisted,
        flows_per_source: u32,
        timeouts_s: [u32; TIMEOUTS],
    ) -> Result<()> {
        load::change_settings(&self.pin_dir, &mut self.settings, |settings| {
            settings.unlisted = unlisted as u32;
            settings.max_flows_per_source = flows_per_source;
            settings.timeouts_s = timeouts_s;
        })?;
        self.epoch.next();
        Ok(())
    }

    /// What has to be done every second: follows the host's own port range, frees flows that are over, and forgets cleared pairs
    /// without flows.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn tick(&mut self) -> Result<()> {
        if load::follow_port_range(&self.pin_dir, &mut self.settings)? {
            let Settings { local_port_first, local_port_last, .. } = self.settings;
            tracing::info!("the host's own ports are now {local_port_first}-{local_port_last}");
        }
        sweep::part(&mut self.ebpf, self.settings.max_flows)?;
        if self.pairs.is_draining() {
            let mut alive = BTreeSet::new();
            let now_ns = flows::now_ns();
            flows::for_each_live(&self.flows, &self.rules, &self.settings, now_ns, |flow, _| {
                alive.insert(flow.pair);
            });
            self.pairs.end_draining(&alive)?;
        }
        self.pairs.end_pools()
    }

    /// Ends every flow from or to an address behind the end with that ifindex: who had it is gone.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn end_flows_of(&mut self, end: u32, address: Address) -> Result<()> {
        sweep::address(&mut self.ebpf, end, address, self.settings.max_flows)
    }

    /// Takes everything off: links, filters, pins.
    ///
    /// # Errors
    ///
    /// The first thing that could not be removed; the rest is removed all the same.
    pub fn remove(self) -> Result<()> {
        let Self { pin_dir, ebpf, _lock, .. } = self;
        // Our own references first: what is removed shall be gone then.
        drop(ebpf);
        removal::remove_held(&pin_dir, Folder::Goes).map(drop)
    }

    /// [`Datapath::remove`], while others still hold it.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn remove_pins(&self) -> Result<()> {
        removal::remove_held(&self.pin_dir, Folder::Goes).map(drop)
    }
}
