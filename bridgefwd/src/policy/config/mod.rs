//! The configuration file, in TOML: all that a daemon is told, with pairs and their NAT. It is
//! declarative: what it does not say is the default, and a pair that it does not list is not listed.
//!
//! `docs/bridgefwd.toml` has every key, with its default.

pub mod edit;
pub mod file;
mod mistakes;
mod pairs;
mod read;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use bridgefwd_common::contract::Unlisted;

use super::setup::Overrides;
use super::timers::TimerChanges;
use super::{DockerChoice, Ends, PairSetup};
use crate::audit::Place;
use crate::failure::Result;

/// Where `run`, `check` and others look where no file is named.
pub const DEFAULT_PATH: &str = "/etc/bridgefwd/bridgefwd.toml";

/// The environment's word for another place than [`DEFAULT_PATH`].
pub const PATH_VARIABLE: &str = "BRIDGEFWD_CONFIG";

/// A configuration file's content.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Config {
    /// Bridges to manage; none for all that there are.
    pub bridges: Vec<String>,
    /// Ordinary interfaces to manage.
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
    pub flows_per_source: Option<NonZero<u32>>,
    /// Timers to set.
    pub timers: TimerChanges,
    /// The control socket.
    pub socket: Option<PathBuf>,
    /// Where metrics are served by TCP.
    pub metrics: Option<SocketAddr>,
    /// Names by which they may be asked for there.
    pub metrics_hosts: Vec<String>,
    /// The audit log.
    pub audit: Option<Place>,
    /// Pairs to list.
    pub pairs: BTreeMap<Ends, PairSetup>,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// As [`file::read`] and [`Config::parse`].
    pub fn read(path: &Path, overrides: &Overrides) -> Result<Self> {
        Self::parse(&file::read(path)?, path, overrides)
    }

    /// Reads the text of a file. Ends of pairs have to be ends of the file, or of the `overrides`,
    /// which go before it.
    ///
    /// # Errors
    ///
    /// Names the file, and of each mistake the line and the key.
    pub fn parse(text: &str, path: &Path, overrides: &Overrides) -> Result<Self> {
        read::read(text, overrides).map_err(|mistakes| mistakes::failure(mistakes, path))
    }
}

/// The file that is meant where none is named.
#[must_use]
pub fn default_path() -> PathBuf {
    let named = std::env::var_os(PATH_VARIABLE).filter(|path| !path.is_empty());
    named.map_or_else(|| DEFAULT_PATH.into(), PathBuf::from)
}

#[cfg(test)]
mod tests;
