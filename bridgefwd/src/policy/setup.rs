//! All that a daemon is told, complete: the configuration file with what goes before it, and defaults
//! where neither says anything.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZero;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use bridgefwd_common::contract::{
    DEFAULT_MAX_FLOWS, DEFAULT_SOURCE_SHARE, Settings, TIMEOUTS, Unlisted,
};

use super::config::Config;
use super::timers::TimerChanges;
use super::{DockerChoice, Ends, PairSetup};
use crate::audit::Place;

/// How many flows there can be: fewer make no sense, and each takes 192 bytes and two index entries.
pub const MAX_FLOWS: RangeInclusive<u32> = 16..=1 << 24;

/// What the command line of `run` says. It goes before the file, key by key, for as long as the
/// daemon runs.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Overrides {
    /// Bridges to manage, rather than those of the file.
    pub bridges: Vec<String>,
    /// Uplinks, likewise.
    pub uplinks: Vec<String>,
    /// The Docker engine that knows networks by name.
    pub docker: Option<DockerChoice>,
    /// What happens to pairs that are not listed.
    pub unlisted: Option<Unlisted>,
    /// Are the bridges' ports attached to as well?
    pub ports: Option<bool>,
    /// Are packets handed to containers past bridge and port, where that comes to the same?
    pub direct: Option<bool>,
    /// How many flows there can be.
    pub max_flows: Option<u32>,
    /// How many of them one source can have.
    pub flows_per_source: Option<u32>,
    /// Timers.
    pub timers: TimerChanges,
    /// `--socket`.
    pub socket: Option<PathBuf>,
    /// Where metrics are served by TCP.
    pub metrics: Option<SocketAddr>,
    /// Names by which they may be asked for there.
    pub metrics_hosts: Vec<String>,
}

/// All that a daemon is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Setup {
    /// Bridges to manage, in no order that matters; none for all that there are.
    pub bridges: Vec<String>,
    /// Uplinks, likewise.
    pub uplinks: Vec<String>,
    /// The Docker engine that knows networks by name.
    pub docker: DockerChoice,
    /// What happens to pairs that are not listed.
    pub unlisted: Unlisted,
    /// Are the bridges' ports attached to as well?
    pub ports: bool,
    /// Are packets handed to containers past bridge and port, where that comes to the same?
    pub direct: bool,
    /// How many flows there can be.
    pub max_flows: u32,
    /// How many of them one source can have.
    pub flows_per_source: u32,
    /// Seconds without a packet after which a flow is over, by its state.
    pub timeouts_s: [u32; TIMEOUTS],
    /// The control socket; `None` where it is the one that the namespace has by default.
    pub socket: Option<PathBuf>,
    /// Where metrics are served by TCP; nowhere where it is `None`.
    pub metrics: Option<SocketAddr>,
    /// Names by which they may be asked for there.
    pub metrics_hosts: Vec<String>,
    /// The audit log; none where it is `None`.
    pub audit: Option<Place>,
    /// The listed pairs.
    pub pairs: BTreeMap<Ends, PairSetup>,
}

impl Default for Setup {
    fn default() -> Self {
        Self::of(&Config::default(), &Overrides::default(), DEFAULT_MAX_FLOWS)
    }
}

impl Setup {
    /// What a file and the options that go before it come to. Where they do not say how many flows
    /// there can be, it is as many as the data path was `made_for`.
    #[must_use]
    pub fn of(config: &Config, overrides: &Overrides, made_for: u32) -> Self {
        let named = |first: &Vec<String>, then: &Vec<String>| {
            if first.is_empty() { then.clone() } else { first.clone() }
        };
        let max_flows = overrides.max_flows.or(config.max_flows).unwrap_or(made_for);
        let mut timeouts_s = Settings::DEFAULT_TIMEOUTS_S;
        overrides.timers.or(config.timers).apply(&mut timeouts_s);
        Self {
            bridges: named(&overrides.bridges, &config.bridges),
            uplinks: named(&overrides.uplinks, &config.uplinks),
            docker: overrides
                .docker
                .as_ref()
                .or(config.docker.as_ref())
                .cloned()
                .unwrap_or_default(),
            unlisted: overrides.unlisted.or(config.unlisted).unwrap_or(Unlisted::Kernel),
            ports: overrides.ports.or(config.ports).unwrap_or(true),
            direct: overrides.direct.or(config.direct).unwrap_or(true),
            max_flows,
            flows_per_source: overrides
                .flows_per_source
                .or(config.flows_per_source.map(NonZero::get))
                .unwrap_or_else(|| default_flows_per_source(max_flows)),
            timeouts_s,
            socket: overrides.socket.clone().or_else(|| config.socket.clone()),
            metrics: overrides.metrics.or(config.metrics),
            metrics_hosts: named(&overrides.metrics_hosts, &config.metrics_hosts),
            audit: config.audit.clone(),
            pairs: config.pairs.clone(),
        }
    }
}

impl Overrides {
    /// The options that say something else than a key of the file.
    #[must_use]
    pub fn hiding(&self, config: &Config) -> Vec<String> {
        let Self { bridges, uplinks, unlisted, ports, direct, max_flows, flows_per_source, .. } =
            self;
        let other = |named: &[String], of_file: &[String]| {
            let same =
                named.len() == of_file.len() && named.iter().all(|end| of_file.contains(end));
            !named.is_empty() && !of_file.is_empty() && !same
        };
        let hidden = [
            ("--bridge", other(bridges, &config.bridges)),
            ("--uplink", other(uplinks, &config.uplinks)),
            ("--docker", differ(self.docker.as_ref(), config.docker.as_ref())),
            ("--unlisted", differ(*unlisted, config.unlisted)),
            ("--ports", differ(*ports, config.ports)),
            ("--direct", differ(*direct, config.direct)),
            ("--max-flows", differ(*max_flows, config.max_flows)),
            (
                "--flows-per-source",
                differ(*flows_per_source, config.flows_per_source.map(NonZero::get)),
            ),
            ("--timer", self.timers.hides(config.timers)),
            ("--socket", differ(self.socket.as_ref(), config.socket.as_ref())),
            ("--metrics", differ(self.metrics, config.metrics)),
            ("--metrics-host", other(&self.metrics_hosts, &config.metrics_hosts)),
        ];
        hidden.into_iter().filter(|(_, hides)| *hides).map(|(name, _)| name.to_owned()).collect()
    }
}

/// Do both say something, and not the same?
fn differ<T: PartialEq>(first: Option<T>, then: Option<T>) -> bool {
    matches!((first, then), (Some(first), Some(then)) if first != then)
}

/// How many flows one source can have where nothing else is said.
#[must_use]
pub const fn default_flows_per_source(max_flows: u32) -> u32 {
    let share = max_flows / DEFAULT_SOURCE_SHARE;
    if share == 0 { 1 } else { share }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn options_go_before_the_file_and_the_file_before_defaults() {
        let text = "bridges = ['a', 'b']\nunlisted = 'deny'\nmax_flows = 4000\n[timers]\nicmp = 70\nopening = 300\n";
        let mut timers = TimerChanges::default();
        timers.add("icmp=80").unwrap();
        let overrides = Overrides {
            bridges: vec!["c".into()],
            unlisted: Some(Unlisted::Kernel),
            timers,
            ..Overrides::default()
        };
        let config = Config::parse(text, Path::new("f"), &overrides).unwrap();
        let setup = Setup::of(&config, &overrides, 9);
        assert_eq!((&setup.bridges[..], setup.unlisted), (&["c".into()][..], Unlisted::Kernel));
        assert_eq!((setup.max_flows, setup.flows_per_source, setup.ports), (4000, 1000, true));
        let timers = crate::policy::timers::in_force(&setup.timeouts_s);
        assert_eq!((timers.icmp, timers.opening, timers.closing), (80, 300, 240));
        assert_eq!(overrides.hiding(&config), ["--bridge", "--unlisted", "--timer"]);
        assert_eq!(Overrides::default().hiding(&config), [""; 0]);
        let alone = Setup::of(&config, &Overrides::default(), 9);
        assert_eq!((alone.bridges.len(), alone.unlisted), (2, Unlisted::Deny));
    }
}
