//! Pairs in the maps: the one place that changes them.
//!
//! A pair has an index in `PAIRS`; `PAIR_INDEX` leads there by the ends. What packets may do is in
//! one word of the element, the policy, which changes at once; whose flows it governs is the
//! generation. A new generation cuts all flows of the old one. Generations are never used again, so
//! an index may be.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem::offset_of;
use std::path::Path;
use std::sync::atomic::Ordering;

use bridgefwd_common::contract::{
    MAP_PAIR_COUNTERS, MAP_PAIR_INDEX, MAP_PAIRS, MAP_SETTINGS, PairCounters, PairKey, PairPolicy,
    PairRule, PairState, Settings,
};
use bytemuck::Zeroable as _;

use super::change::{changed, drains, translation};
use super::counters;
use super::memory::Memory;
use super::pools::Pools;
use super::wire::{self, Wire, WireArray, WireHashMap, WirePerCpuArray};
use crate::failure::{Failure, Result};
use crate::policy::{PairNat, PairSetup};

/// All pairs.
pub struct Pairs {
    index: WireHashMap<PairKey, u32>,
    rules: Memory<PairRule>,
    counters: WirePerCpuArray<PairCounters>,
    settings: WireArray<Settings>,
    pools: Pools,
    /// A policy that named a pool names it no more.
    pools_left: bool,
    listed: BTreeMap<PairKey, u32>,
    /// Indices of pairs that were cleared and whose flows go on until they are over.
    draining: BTreeSet<u32>,
    /// The rest; longest unused first.
    free: VecDeque<u32>,
}

impl Pairs {
    /// Opens the pinned maps, and goes on with the pairs that are in them.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn open(pin_dir: &Path) -> Result<Self> {
        let mut pairs = Self {
            index: wire::open(pin_dir, MAP_PAIR_INDEX)?,
            rules: Memory::map(&wire::open_data(pin_dir, MAP_PAIRS)?, MAP_PAIRS, true)?,
            counters: wire::open(pin_dir, MAP_PAIR_COUNTERS)?,
            settings: wire::open(pin_dir, MAP_SETTINGS)?,
            pools: Pools::open(pin_dir)?,
            pools_left: false,
            listed: BTreeMap::new(),
            draining: BTreeSet::new(),
            free: VecDeque::new(),
        };
        let mut used = BTreeSet::new();
        for (key, index) in read_index(&pairs.index)? {
            let known = pairs.rules.read(index).is_some_and(|rule| rule.key == key);
            if known && used.insert(index) {
                pairs.listed.insert(key, index);
            } else {
                pairs.remove_index(key)?;
            }
        }
        for index in (0..pairs.rules.len()).filter(|index| !used.contains(index)) {
            let policy = pairs.rules.read(index).unwrap_or_else(PairRule::zeroed).policy;
            if policy.flags & PairPolicy::DRAINING != 0 {
                pairs.draining.insert(index);
            } else {
                // Not led to, so of no effect on new flows; old ones shall be cut.
                if policy != PairPolicy::zeroed() {
                    pairs.write_policy(index, PairPolicy::zeroed())?;
                }
                pairs.free.push_back(index);
            }
        }
        pairs.collect_pools()?;
        Ok(pairs)
    }

    /// The listed pairs.
    pub fn keys(&self) -> impl Iterator<Item = PairKey> {
        self.listed.keys().copied()
    }

    /// The policy of a listed pair.
    #[must_use]
    pub fn get(&self, key: PairKey) -> Option<PairPolicy> {
        self.listed.get(&key).and_then(|&index| self.rules.read(index)).map(|rule| rule.policy)
    }

    /// How many more can be listed.
    #[must_use]
    pub fn room(&self) -> usize {
        self.free.len()
    }

    /// Lists a pair, or changes it. Takes effect on the next packet.
    ///
    /// # Errors
    ///
    /// Where there are too many pairs, or the kernel refuses.
    pub fn set(&mut self, key: PairKey, change: PairSetup) -> Result<PairPolicy> {
        let Some(&index) = self.listed.get(&key) else { return self.add(key, &change) };
        let old = self.rules.read(index).unwrap_or_else(PairRule::zeroed).policy;
        let new = changed(old, &change, self.pool_for(&change.nat, old.pool)?);
        if new == old {
            return Ok(new);
        }
        // The policy first: no packet may open a flow of the new generation by the old policy.
        self.write_policy(index, new)?;
        let keeps_flows = change.drain || old.flags & PairPolicy::DRAIN_LATER != 0;
        self.pools_left |= old.pool != new.pool;
        if translation(old) != translation(new) && !keeps_flows {
            self.renew_generation(index)?;
        }
        Ok(new)
    }

    /// Takes a pair off the list. `false` where it was not on it.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn clear(&mut self, key: PairKey, drain: bool) -> Result<bool> {
        let draining = self.get(key).is_some_and(|old| drains(old, drain));
        self.take_off(key, draining)
    }

    /// Takes a pair off the list and cuts its flows, whatever it was set to: one of its ends is gone.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn cut(&mut self, key: PairKey) -> Result<bool> {
        self.take_off(key, false)
    }

    fn take_off(&mut self, key: PairKey, draining: bool) -> Result<bool> {
        let Some(&index) = self.listed.get(&key) else { return Ok(false) };
        let old = self.rules.read(index).unwrap_or_else(PairRule::zeroed).policy;
        let state = PairState::NotListed as u8;
        if draining {
            // NAT stays: the flows that go on go on with it.
            self.write_policy(
                index,
                PairPolicy { state, flags: old.flags | PairPolicy::DRAINING, ..old },
            )?;
        } else {
            self.write_policy(index, PairPolicy::zeroed())?;
            self.renew_generation(index)?;
            self.pools_left |= old.pool != 0;
        }
        self.remove_index(key)?;
        self.listed.remove(&key);
        if draining {
            self.draining.insert(index);
        } else {
            self.free.push_back(index);
        }
        Ok(true)
    }

    /// Are there cleared pairs whose flows go on?
    #[must_use]
    pub fn is_draining(&self) -> bool {
        !self.draining.is_empty()
    }

    /// Ends the draining of cleared pairs without flows; `alive` are those that have some.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn end_draining(&mut self, alive: &BTreeSet<u32>) -> Result<()> {
        let over: Vec<_> = self.draining.difference(alive).copied().collect();
        for index in over {
            self.write_policy(index, PairPolicy::zeroed())?;
            self.renew_generation(index)?;
            self.draining.remove(&index);
            self.free.push_back(index);
            self.pools_left = true;
        }
        Ok(())
    }

    /// How a policy translates.
    #[must_use]
    pub fn nat(&self, policy: PairPolicy) -> PairNat {
        PairNat::of_policy(policy, self.pools.get(policy.pool))
    }

    /// Removes the pools that no policy names any more. Not at once with the change: a packet that is
    /// under way by the old policy still finds its pool.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn end_pools(&mut self) -> Result<()> {
        if self.pools_left { self.collect_pools() } else { Ok(()) }
    }

    fn collect_pools(&mut self) -> Result<()> {
        let policies = (0..self.rules.len()).filter_map(|index| self.rules.read(index));
        self.pools.keep(&policies.map(|rule| rule.policy.pool).collect())?;
        self.pools_left = false;
        Ok(())
    }

    /// The key of the pool that `nat` needs: `present` where it is the same, 0 where it needs none.
    fn pool_for(&mut self, nat: &PairNat, present: u32) -> Result<u32> {
        let Some(pool) = nat.pool() else { return Ok(0) };
        if self.pools.get(present) == Some(&pool) {
            return Ok(present);
        }
        let key = self.next(|settings| &mut settings.last_pool)?;
        // Should the policy not come to name it after all, it goes with the next that goes.
        self.pools.add(key, pool)?;
        self.pools_left = true;
        Ok(key)
    }

    fn add(&mut self, key: PairKey, change: &PairSetup) -> Result<PairPolicy> {
        let Some(&index) = self.free.front() else {
            return Err(Failure::failed(format!(
                "there are {} pairs already, and no more can be listed: clear some",
                self.rules.len()
            )));
        };
        let policy = changed(PairPolicy::zeroed(), change, self.pool_for(&change.nat, 0)?);
        counters::reset_pair(&mut self.counters, index)?;
        let generation = self.next(|settings| &mut settings.pair_generation)?;
        let rule = PairRule { policy, generation, key, _zero: 0 };
        let words: [u64; size_of::<PairRule>() / 8] = bytemuck::cast(rule);
        // The policy, word 0, is written last, and only then does anything lead here.
        for (number, word) in words.iter().enumerate().rev() {
            self.rules.word(index, number).ok_or_else(no_such)?.store(*word, Ordering::Release);
        }
        self.index
            .insert(Wire(key), Wire(index), 0)
            .map_err(|error| wire::failed(MAP_PAIR_INDEX, "write", &error))?;
        self.free.pop_front();
        self.listed.insert(key, index);
        Ok(policy)
    }

    fn write_policy(&self, index: u32, policy: PairPolicy) -> Result<()> {
        let word = self.rules.word(index, 0).ok_or_else(no_such)?;
        word.store(bytemuck::cast(policy), Ordering::Release);
        Ok(())
    }

    fn renew_generation(&mut self, index: u32) -> Result<()> {
        let generation = self.next(|settings| &mut settings.pair_generation)?;
        let offset = offset_of!(PairRule, generation);
        let half = self.rules.half_word(index, offset).ok_or_else(no_such)?;
        half.store(generation, Ordering::Release);
        Ok(())
    }

    /// A generation, or key of a pool, that was never used; the last is kept in the settings, for
    /// daemons to come.
    fn next(&mut self, last: impl Fn(&mut Settings) -> &mut u32) -> Result<u32> {
        let Wire(mut settings) =
            self.settings.get(&0, 0).map_err(|error| wire::failed(MAP_SETTINGS, "read", &error))?;
        let number = last(&mut settings);
        *number = number.checked_add(1).ok_or_else(|| {
            Failure::failed(
                "pairs were changed more often than can be told apart: `bridgefwd down`, and run \
                 it again",
            )
        })?;
        self.settings
            .set(0, Wire(settings), 0)
            .map_err(|error| wire::failed(MAP_SETTINGS, "write", &error))?;
        Ok(*last(&mut settings))
    }

    fn remove_index(&mut self, key: PairKey) -> Result<()> {
        self.index.remove(&Wire(key)).map_err(|error| wire::failed(MAP_PAIR_INDEX, "write", &error))
    }
}

/// All entries of `PAIR_INDEX`.
///
/// # Errors
///
/// The kernel's error.
pub fn read_index(map: &WireHashMap<PairKey, u32>) -> Result<BTreeMap<PairKey, u32>> {
    Ok(wire::entries(map, MAP_PAIR_INDEX)?.into_iter().collect())
}

fn no_such() -> Failure {
    Failure::failed(format!("{MAP_PAIRS} is smaller than it was"))
}
