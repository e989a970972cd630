//! The configuration file: what `run --config FILE` reads, in TOML.
//!
//! ```toml
//! bridges = ["shop_front", "shop_db"]
//! uplinks = ["eth0"]
//! unlisted = "deny"            # or "kernel"
//! ports = true                 # or false: attach to the bridges, and not to their ports
//! flows_per_source = 4096      # how many flows one source can have
//!
//! [timers]                     # seconds, or as "2h4m"; what is absent stays as it is
//! established = "2h4m"
//! icmp = 60
//!
//! [[pair]]
//! from = "shop_front"
//! to = "shop_db"
//! state = "allowed"            # or "denied"; where absent, "allowed"
//! nat = "masquerade"           # of IPv4; or "none", or addresses of `to`: "10.0.0.1,10.0.0.8-10.0.0.11"
//! nat6 = "none"                # of IPv6, likewise
//! mapping = "per-destination"  # or "endpoint-independent"
//! ```

use std::fs;
use std::num::NonZero;
use std::path::Path;

use bridgefwd_common::contract::{Family, Unlisted};
use serde::Deserialize;

use super::timers::TimerChanges;
use super::{Mapping, Nat, PairNat};
use crate::api::types::PairState;
use crate::failure::{Failure, Result};

/// A configuration file's content.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Bridges to manage.
    #[serde(default)]
    pub bridges: Vec<String>,
    /// Ordinary interfaces to manage.
    #[serde(default)]
    pub uplinks: Vec<String>,
    /// What happens to pairs that are not listed.
    #[serde(default, deserialize_with = "unlisted")]
    pub unlisted: Option<Unlisted>,
    /// Are the bridges' ports attached to as well?
    #[serde(default)]
    pub ports: Option<bool>,
    /// How many flows one source can have.
    #[serde(default)]
    pub flows_per_source: Option<NonZero<u32>>,
    /// Timers to set.
    #[serde(default)]
    pub timers: TimerChanges,
    /// Pairs to list.
    #[serde(default, rename = "pair")]
    pub pairs: Vec<ConfigPair>,
}

/// One `[[pair]]`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ConfigPair {
    /// The end that opens flows.
    pub from: String,
    /// The end that answers.
    pub to: String,
    /// Its state.
    #[serde(default = "allowed")]
    pub state: PairState,
    /// Its NAT of IPv4.
    #[serde(default, deserialize_with = "nat")]
    nat: Nat,
    /// Its NAT of IPv6.
    #[serde(default = "untranslated", deserialize_with = "nat6")]
    nat6: Nat,
    /// How its ports are mapped.
    #[serde(default, deserialize_with = "mapping")]
    mapping: Mapping,
}

impl ConfigPair {
    /// Its NAT.
    #[must_use]
    pub fn nat(&self) -> PairNat {
        PairNat { v4: self.nat.clone(), v6: self.nat6.clone(), mapping: self.mapping }
    }
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// Names the file, the line and the key.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|error| {
            Failure::usage(format!("cannot read the configuration {}: {error}", path.display()))
        })?;
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self> {
        let wrong = |line: Option<usize>, what: &str| {
            let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
            Failure::usage(format!("configuration {}{line}: {what}", path.display()))
        };
        let config: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| line_of(text, span.start));
            let source = line.and_then(|line| text.lines().nth(line.saturating_sub(1)));
            let source = source.map(|source| format!(" (`{}`)", source.trim())).unwrap_or_default();
            wrong(line, &format!("{}{source}", error.message().trim_end()))
        })?;
        for (index, pair) in config.pairs.iter().enumerate() {
            let earlier = config.pairs.iter().take(index);
            if earlier.clone().any(|other| (&other.from, &other.to) == (&pair.from, &pair.to)) {
                return Err(wrong(
                    None,
                    &format!("the pair {} -> {} is listed twice", pair.from, pair.to),
                ));
            }
        }
        Ok(config)
    }
}

fn line_of(text: &str, byte: usize) -> usize {
    text.bytes().take(byte).filter(|&byte| byte == b'\n').count() + 1
}

const fn allowed() -> PairState {
    PairState::Allowed
}

const fn untranslated() -> Nat {
    Nat::None
}

fn nat<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Nat, D::Error> {
    Nat::parse(&String::deserialize(deserializer)?, Family::V4)
        .map_err(|error| serde::de::Error::custom(format!("nat: {error}")))
}

fn nat6<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Nat, D::Error> {
    Nat::parse(&String::deserialize(deserializer)?, Family::V6)
        .map_err(|error| serde::de::Error::custom(format!("nat6: {error}")))
}

fn mapping<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Mapping, D::Error> {
    String::deserialize(deserializer)?
        .parse()
        .map_err(|error: Failure| serde::de::Error::custom(format!("mapping: {error}")))
}

fn unlisted<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Unlisted>, D::Error> {
    match &*String::deserialize(deserializer)? {
        "kernel" => Ok(Some(Unlisted::Kernel)),
        "deny" => Ok(Some(Unlisted::Deny)),
        other => Err(serde::de::Error::custom(format!(
            "unlisted: {other:?} is neither \"kernel\" nor \"deny\""
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config> {
        Config::parse(text, Path::new("/etc/bridgefwd.toml"))
    }

    #[track_caller]
    fn refused(text: &str, parts: &[&str]) {
        let Err(Failure::Usage(why)) = parse(text) else { panic!("{text:?} was not refused") };
        for part in parts.iter().chain(&["/etc/bridgefwd.toml"]) {
            assert!(why.contains(part), "{why:?} does not say {part:?}");
        }
    }

    #[test]
    fn everything() {
        let config = parse(
            "bridges = ['a', 'b']\nuplinks = ['u']\nunlisted = 'deny'\n\
             ports = false\nflows_per_source = 9\n\
             [timers]\nicmp = 61\nestablished = '3h'\n[[pair]]\nfrom = 'a'\nto = 'b'\n\
             [[pair]]\nfrom = 'b'\nto = 'a'\nstate = 'denied'\nnat = '10.0.0.1-10.0.0.3'\n\
             nat6 = 'masquerade'\nmapping = 'endpoint-independent'\n",
        )
        .unwrap();
        assert_eq!(config.bridges, ["a", "b"]);
        assert_eq!(config.uplinks, ["u"]);
        assert_eq!(config.unlisted, Some(Unlisted::Deny));
        assert_eq!((config.ports, config.flows_per_source), (Some(false), NonZero::new(9)));
        let mut expected = TimerChanges::default();
        expected.add("icmp=61").unwrap();
        expected.add("established=10800").unwrap();
        assert_eq!(config.timers, expected);
        assert_eq!(config.pairs[0].state, PairState::Allowed);
        assert_eq!(config.pairs[0].nat(), PairNat::default());
        assert_eq!(config.pairs[1].state, PairState::Denied);
        let nat = config.pairs[1].nat();
        assert_eq!(nat.v4.to_string(), "10.0.0.1-10.0.0.3");
        assert_eq!((nat.v6, nat.mapping), (Nat::Masquerade, Mapping::EndpointIndependent));
        assert_eq!(parse("").unwrap(), Config::default());
    }

    #[test]
    fn errors_name_line_and_key() {
        refused("bridges = ['a']\nbridge = 'b'\n", &["line 2", "`bridge`"]);
        refused("ports = 'no'\n", &["line 1", "boolean"]);
        refused("bridges = []\nflows_per_source = 0\n", &["line 2", "0"]);
        refused("unlisted = 'drop'\n", &["line 1", "unlisted", "drop"]);
        refused("[[pair]]\nfrom = 'a'\nto = 'b'\nnat = 'x'\n", &["line 4", "nat", "\"x\""]);
        let pair = |line: &str| format!("[[pair]]\nfrom = 'a'\nto = 'b'\n{line}\n");
        refused(&pair("nat = '::1'"), &["line 4", "nat: ::1", "nat6"]);
        refused(&pair("nat6 = '10.0.0.1'"), &["line 4", "nat6: 10.0.0.1"]);
        refused(&pair("mapping = 'cone'"), &["line 4", "mapping", "\"cone\""]);
        refused("[[pair]]\nfrom = 'a'\n", &["line 1", "`to`"]);
        refused("[[pair]]\nfrom = 'a'\nto = 'b'\nstate = 'on'\n", &["line 4", "state"]);
        refused("[timers]\nicmp = 0\n", &["icmp", "\"0\""]);
        refused("[timers]\nidle = 9\n", &["idle", "udp_one_way"]);
        refused("[timers]\nicmp = 1.5\n", &["icmp", "1.5"]);
        refused("bridges = [\n", &["line"]);
        refused("[[pair]]\nfrom='a'\nto='b'\n[[pair]]\nfrom='a'\nto='b'\n", &["a -> b", "twice"]);
    }
}
