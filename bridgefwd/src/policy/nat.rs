//! NAT as users write and read it: of each family, and whether ports are mapped for one destination
//! or for all.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use bridgefwd_common::contract::{Address, Family, MAX_POOL, NatMode, PairPolicy, Pool};

use crate::failure::{Failure, Result};

/// What happens to the source of a pair's packets of one family.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Nat {
    /// It becomes an address of the target, the one that the kernel would choose.
    #[default]
    Masquerade,
    /// It stays.
    None,
    /// It becomes one of these addresses of the target; at most [`MAX_POOL`], each once.
    Addresses(Vec<IpAddr>),
}

/// For which destinations a client's port is mapped to the same one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Mapping {
    /// Each has a mapping of its own.
    #[default]
    PerDestination,
    /// All have the same (RFC 4787, REQ-1).
    EndpointIndependent,
}

/// All that is said about a pair's translation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PairNat {
    /// Of IPv4.
    pub v4: Nat,
    /// Of IPv6.
    pub v6: Nat,
    /// Of both.
    pub mapping: Mapping,
}

impl Default for PairNat {
    fn default() -> Self {
        Self { v4: Nat::Masquerade, v6: Nat::None, mapping: Mapping::default() }
    }
}

impl Nat {
    /// Reads `masquerade`, `none`, or addresses of `family` and ranges FIRST-LAST of them, with
    /// commas between.
    ///
    /// # Errors
    ///
    /// Names the word that is wrong, and says what can be written.
    pub fn parse(text: &str, family: Family) -> Result<Self> {
        match text {
            "masquerade" => Ok(Self::Masquerade),
            "none" => Ok(Self::None),
            _ => addresses(text, family).map(Self::Addresses),
        }
    }

    /// The mode, as the map has it.
    #[must_use]
    pub const fn mode(&self) -> NatMode {
        match self {
            Self::Masquerade => NatMode::Masquerade,
            Self::None => NatMode::None,
            Self::Addresses(_) => NatMode::Address,
        }
    }

    /// The addresses to choose from; none where they are not named one by one.
    #[must_use]
    pub fn addresses(&self) -> &[IpAddr] {
        match self {
            Self::Addresses(addresses) => addresses,
            Self::Masquerade | Self::None => &[],
        }
    }
}

impl PairNat {
    /// As the maps have it; a pool that should be there and is not counts as empty.
    #[must_use]
    pub fn of_policy(policy: PairPolicy, pool: Option<&Pool>) -> Self {
        let nat = |family| match policy.nat_of(family) {
            NatMode::Masquerade => Nat::Masquerade,
            NatMode::None => Nat::None,
            NatMode::Address => Nat::Addresses(pool.map_or_else(Vec::new, |pool| {
                let (count, addresses) = match family {
                    Family::V4 => (pool.count, &pool.addresses),
                    Family::V6 => (pool.count_v6, &pool.addresses_v6),
                };
                addresses.iter().take(count as usize).map(|&address| address.into()).collect()
            })),
        };
        Self {
            v4: nat(Family::V4),
            v6: nat(Family::V6),
            mapping: if policy.flags & PairPolicy::ENDPOINT_INDEPENDENT == 0 {
                Mapping::PerDestination
            } else {
                Mapping::EndpointIndependent
            },
        }
    }

    /// The pool that it needs, if it needs one.
    #[must_use]
    pub fn pool(&self) -> Option<Pool> {
        let fill = |nat: &Nat, to: &mut [Address; MAX_POOL]| {
            let mut count = 0;
            for (to, &from) in to.iter_mut().zip(nat.addresses()) {
                *to = from.into();
                count += 1;
            }
            count
        };
        let needed = [&self.v4, &self.v6].into_iter().any(|nat| nat.mode() == NatMode::Address);
        let mut pool = Pool::default();
        pool.count = fill(&self.v4, &mut pool.addresses);
        pool.count_v6 = fill(&self.v6, &mut pool.addresses_v6);
        needed.then_some(pool)
    }

    /// Both families' NAT, with the family's name.
    pub fn by_family(&self) -> impl Iterator<Item = (Family, &'static str, &Nat)> {
        [(Family::V4, "IPv4", &self.v4), (Family::V6, "IPv6", &self.v6)].into_iter()
    }
}

impl FromStr for Mapping {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "per-destination" => Ok(Self::PerDestination),
            "endpoint-independent" => Ok(Self::EndpointIndependent),
            _ => Err(Failure::usage(format!(
                "{text:?} is no mapping: use per-destination or endpoint-independent"
            ))),
        }
    }
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PerDestination => "per-destination",
            Self::EndpointIndependent => "endpoint-independent",
        })
    }
}

impl fmt::Display for Nat {
    /// Neighbouring addresses are written as a range, so that it can be read back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = match self {
            Self::Masquerade => return f.write_str("masquerade"),
            Self::None => return f.write_str("none"),
            Self::Addresses(addresses) if addresses.is_empty() => {
                return f.write_str("no address");
            }
            Self::Addresses(addresses) => &addresses[..],
        };
        let mut comma = "";
        while let Some(&first) = rest.first() {
            let next = |&(a, b): &(&IpAddr, &IpAddr)| number(*a).checked_add(1) == Some(number(*b));
            let more = rest.iter().zip(rest.iter().skip(1)).take_while(next).count();
            let (range, others) = rest.split_at(more + 1);
            match range.last() {
                Some(last) if more > 0 => write!(f, "{comma}{first}-{last}")?,
                _ => write!(f, "{comma}{first}")?,
            }
            comma = ",";
            rest = others;
        }
        Ok(())
    }
}

/// Addresses and ranges with commas between.
fn addresses(text: &str, family: Family) -> Result<Vec<IpAddr>> {
    let name = family_name(family);
    let wrong = |word: &str| {
        Failure::usage(format!(
            "{word:?} is no kind of NAT: use masquerade, none, or {name} addresses of the target \
             and ranges FIRST-LAST of them, with commas between"
        ))
    };
    let address = |text: &str, word: &str| -> Result<IpAddr> {
        let address: IpAddr = text.parse().map_err(|_| wrong(word))?;
        if Address::from(address).family() == family && address.is_ipv4() == (family == Family::V4)
        {
            return Ok(address);
        }
        let (other, option) = match family {
            Family::V4 => ("IPv6", "--nat6, or nat6 in the configuration"),
            Family::V6 => ("IPv4", "--nat, or nat in the configuration"),
        };
        Err(Failure::usage(format!(
            "{address} is no {name} address; what {other} is translated to is said with {option}"
        )))
    };
    let mut all = Vec::new();
    for word in text.split(',').map(str::trim) {
        let (first, last) = match word.split_once('-') {
            Some((first, last)) => (address(first.trim(), word)?, address(last.trim(), word)?),
            None => (address(word, word)?, address(word, word)?),
        };
        let (from, to) = (number(first), number(last));
        if to < from {
            return Err(Failure::usage(format!("the range {word} ends before it begins")));
        }
        // Before it is written out: a range can have more addresses than there is memory.
        if to - from >= MAX_POOL as u128 || all.len() as u128 + (to - from) >= MAX_POOL as u128 {
            return Err(Failure::usage(format!(
                "{text} are too many addresses: a pair has at most {MAX_POOL} of {name}"
            )));
        }
        for number in from..=to {
            let address = match family {
                Family::V4 => IpAddr::V4(Ipv4Addr::from_bits(number as u32)),
                Family::V6 => IpAddr::V6(Ipv6Addr::from_bits(number)),
            };
            if all.contains(&address) {
                return Err(Failure::usage(format!("{address} is named twice in {text}")));
            }
            all.push(address);
        }
    }
    Ok(all)
}

const fn family_name(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        for text in ["masquerade", "none", "172.19.0.1", "10.0.0.1-10.0.0.3,10.0.0.9", "10.0.0.2"] {
            assert_eq!(Nat::parse(text, Family::V4).unwrap().to_string(), text);
        }
        for text in ["masquerade", "none", "fd00::1", "fd00::1-fd00::10", "fd00::5,fd00::1"] {
            assert_eq!(Nat::parse(text, Family::V6).unwrap().to_string(), text);
        }
        for text in ["per-destination", "endpoint-independent"] {
            assert_eq!(text.parse::<Mapping>().unwrap().to_string(), text);
        }
        let spaced = Nat::parse("10.0.0.1, 10.0.0.2", Family::V4).unwrap();
        assert_eq!(spaced.to_string(), "10.0.0.1-10.0.0.2");
    }

    #[test]
    fn bad_text_is_named() {
        for text in ["", "snat", "172.19.0", "172.19.0.1/16", "Masquerade", "10.0.0.1-x"] {
            let error = Nat::parse(text, Family::V4).unwrap_err();
            assert!(matches!(&error, Failure::Usage(why) if why.contains(&format!("{text:?}"))));
        }
        let why = |text: &str, family| Nat::parse(text, family).unwrap_err().to_string();
        assert!(why("10.0.0.1,", Family::V4).contains("\"\""));
        assert!(why("::1", Family::V4).contains("::1 is no IPv4 address"));
        assert!(why("::1", Family::V4).contains("--nat6"));
        assert!(why("10.0.0.1", Family::V6).contains("10.0.0.1 is no IPv6 address"));
        assert!(why("::ffff:10.0.0.1", Family::V6).contains("no IPv6 address"));
        assert!(why("10.0.0.2-10.0.0.1", Family::V4).contains("ends before it begins"));
        assert!(why("10.0.0.1,10.0.0.1", Family::V4).contains("named twice"));
        assert!(why("10.0.0.0-10.0.0.16", Family::V4).contains("at most 16"));
        assert!(why("10.0.1.1,10.0.0.0-10.0.0.15", Family::V4).contains("at most 16"));
        assert!(why("::2-ffff::", Family::V6).contains("at most 16"));
        let mapping = "symmetric".parse::<Mapping>().unwrap_err().to_string();
        assert!(mapping.contains("symmetric") && mapping.contains("endpoint-independent"));
    }

    #[test]
    fn policy_and_pool_round_trip() {
        let nat = |v4: &str, v6: &str, mapping| PairNat {
            v4: Nat::parse(v4, Family::V4).unwrap(),
            v6: Nat::parse(v6, Family::V6).unwrap(),
            mapping,
        };
        for wanted in [
            PairNat::default(),
            nat("none", "masquerade", Mapping::EndpointIndependent),
            nat("10.0.0.1-10.0.0.16", "none", Mapping::PerDestination),
            nat("masquerade", "fd00::1,fd00::7", Mapping::PerDestination),
            nat("10.0.0.9", "fd00::1-fd00::10", Mapping::EndpointIndependent),
        ] {
            let flags = match wanted.mapping {
                Mapping::PerDestination => PairPolicy::DRAIN_LATER,
                Mapping::EndpointIndependent => PairPolicy::ENDPOINT_INDEPENDENT,
            };
            let policy = PairPolicy {
                nat: wanted.v4.mode() as u8,
                nat_v6: wanted.v6.mode() as u8,
                flags,
                ..PairPolicy::default()
            };
            assert_eq!(PairNat::of_policy(policy, wanted.pool().as_ref()), wanted);
        }
        assert_eq!(PairNat::default().pool(), None);
    }
}
