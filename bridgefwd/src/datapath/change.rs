//! What a change makes of a pair's policy.

use bridgefwd_common::contract::{PairPolicy, PairState};

use crate::policy::{Mapping, PairSetup};

/// The policy after a change.
#[must_use]
pub fn changed(old: PairPolicy, change: &PairSetup, pool: u32) -> PairPolicy {
    let (state, flags) = if change.allow {
        (PairState::Allowed, if change.drain { PairPolicy::DRAIN_LATER } else { 0 })
    } else {
        let draining = if drains(old, change.drain) { PairPolicy::DRAINING } else { 0 };
        (PairState::Denied, draining | old.flags & PairPolicy::DRAIN_LATER)
    };
    let mapping = match change.nat.mapping {
        Mapping::PerDestination => 0,
        Mapping::EndpointIndependent => PairPolicy::ENDPOINT_INDEPENDENT,
    };
    PairPolicy {
        state: state as u8,
        nat: change.nat.v4.mode() as u8,
        nat_v6: change.nat.v6.mode() as u8,
        flags: flags | mapping,
        pool,
    }
}

/// What of a policy flows are made by: where it changes, they are cut.
#[must_use]
pub const fn translation(policy: PairPolicy) -> (u8, u8, u32, u8) {
    let mapping = policy.flags & PairPolicy::ENDPOINT_INDEPENDENT;
    (policy.nat, policy.nat_v6, policy.pool, mapping)
}

/// Do flows outlive that the pair is turned off? Those that were cut already do not come back.
#[must_use]
pub fn drains(old: PairPolicy, drain: bool) -> bool {
    (drain || old.flags & PairPolicy::DRAIN_LATER != 0) && old.forwards_existing()
}

#[cfg(test)]
mod tests {
    use bridgefwd_common::contract::Family;
    use bytemuck::Zeroable as _;

    use super::*;
    use crate::policy::{Nat, PairNat};

    fn allow() -> PairSetup {
        PairSetup { allow: true, nat: PairNat::default(), drain: false }
    }

    fn deny() -> PairSetup {
        PairSetup { allow: false, ..allow() }
    }

    fn after(changes: &[PairSetup]) -> PairPolicy {
        changes.iter().fold(PairPolicy::zeroed(), |policy, change| changed(policy, change, 0))
    }

    #[test]
    fn denying_cuts_and_allowing_again_resumes() {
        assert!(after(&[allow()]).forwards_existing());
        assert!(!after(&[allow(), deny()]).forwards_existing());
        assert_eq!(after(&[allow(), deny(), allow()]), after(&[allow()]));
    }

    #[test]
    fn drain_may_come_with_either_change() {
        let drain = |change| PairSetup { drain: true, ..change };
        assert!(after(&[drain(allow()), deny()]).forwards_existing());
        assert!(after(&[drain(allow()), deny(), deny()]).forwards_existing());
        assert!(after(&[allow(), drain(deny())]).forwards_existing());
        assert!(!after(&[allow(), drain(deny()), deny()]).forwards_existing());
        assert!(!after(&[allow(), deny(), drain(deny())]).forwards_existing());
        assert!(!after(&[drain(deny())]).forwards_existing());
    }

    #[test]
    fn a_policy_says_how_both_families_are_translated() {
        let nat = PairNat {
            v4: Nat::parse("10.0.0.1", Family::V4).unwrap(),
            v6: Nat::Masquerade,
            mapping: Mapping::EndpointIndependent,
        };
        let change = PairSetup { nat: nat.clone(), ..allow() };
        let policy = changed(PairPolicy::zeroed(), &change, 7);
        assert_eq!((policy.state, policy.pool), (PairState::Allowed as u8, 7));
        assert_eq!(PairNat::of_policy(policy, nat.pool().as_ref()), nat);
    }

    #[test]
    fn flows_are_cut_where_their_translation_changes_and_not_else() {
        let plain = after(&[allow()]);
        assert_eq!(translation(plain), translation(after(&[allow(), deny()])));
        let drain = PairSetup { drain: true, ..allow() };
        assert_eq!(translation(plain), translation(after(&[drain])));
        for nat in [
            PairNat { v4: Nat::None, ..PairNat::default() },
            PairNat { v6: Nat::Masquerade, ..PairNat::default() },
            PairNat { mapping: Mapping::EndpointIndependent, ..PairNat::default() },
        ] {
            let other = after(&[PairSetup { nat, ..allow() }]);
            assert_ne!(translation(plain), translation(other), "{other:?}");
        }
        assert_ne!(translation(plain), translation(PairPolicy { pool: 1, ..plain }));
    }
}
