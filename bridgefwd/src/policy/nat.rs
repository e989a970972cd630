//! NAT as users write and read it.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use bridgefwd_common::contract::{NatMode, PairPolicy};

use crate::failure::Failure;

/// What happens to the source of packets of a pair.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Nat {
    /// It becomes an address of the target bridge, the one that the kernel would choose.
    #[default]
    Masquerade,
    /// It stays.
    None,
    /// It becomes this address.
    Address(Ipv4Addr),
}

impl Nat {
    /// As the map has it.
    #[must_use]
    pub fn of_policy(policy: &PairPolicy) -> Self {
        match NatMode::from_byte(policy.nat) {
            NatMode::Masquerade => Self::Masquerade,
            NatMode::None => Self::None,
            NatMode::Address => Self::Address(policy.address.into()),
        }
    }

    /// Mode and address for the map.
    #[must_use]
    pub const fn to_policy(self) -> (NatMode, [u8; 4]) {
        match self {
            Self::Masquerade => (NatMode::Masquerade, [0; 4]),
            Self::None => (NatMode::None, [0; 4]),
            Self::Address(address) => (NatMode::Address, address.octets()),
        }
    }
}

impl FromStr for Nat {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        match text {
            "masquerade" => Ok(Self::Masquerade),
            "none" => Ok(Self::None),
            _ => text.parse().map(Self::Address).map_err(|_| {
                Failure::usage(format!(
                    "{text:?} is no kind of NAT: use masquerade, none, or an IPv4 address of the \
                     target bridge"
                ))
            }),
        }
    }
}

impl fmt::Display for Nat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Masquerade => f.write_str("masquerade"),
            Self::None => f.write_str("none"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;

    use super::*;

    #[test]
    fn text_round_trips() {
        for text in ["masquerade", "none", "172.19.0.1"] {
            assert_eq!(text.parse::<Nat>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn bad_text_is_named() {
        for text in ["", "snat", "172.19.0", "172.19.0.1/16", "Masquerade", "::1"] {
            let error = text.parse::<Nat>().unwrap_err();
            assert!(matches!(&error, Failure::Usage(why) if why.contains(&format!("{text:?}"))));
        }
    }

    #[test]
    fn policy_round_trips() {
        for nat in [Nat::Masquerade, Nat::None, Nat::Address(Ipv4Addr::new(10, 0, 0, 1))] {
            let (mode, address) = nat.to_policy();
            let policy = PairPolicy { nat: mode as u8, address, ..PairPolicy::zeroed() };
            assert_eq!(Nat::of_policy(&policy), nat);
        }
    }
}
