//! What several checks ask about: the interfaces, the daemon or what it left, and the configuration.

use std::path::{Path, PathBuf};

use tokio::runtime::Builder;

use crate::api::client::Client;
use crate::api::types::{Pair, Status};
use crate::datapath::offline::Reader;
use crate::failure::{Failure, Result};
use crate::host::netlink::{Link, Snapshot};
use crate::instance::Instance;
use crate::policy::config::{Config, default_path};
use crate::policy::setup::Overrides;

/// The daemon, as far as it is there.
pub enum Daemon {
    /// It answers.
    Running(Status, Vec<Pair>),
    /// It does not, and this is pinned.
    Left(Status, Vec<Pair>),
    /// It does not, and nothing is pinned.
    Absent,
    /// It does not answer as it should, or what is pinned cannot be read.
    Unknown(Failure),
}

/// A file, and what is in it.
pub struct File {
    /// Where it is.
    pub path: PathBuf,
    /// What it says.
    pub content: Result<Config>,
}

/// All of it.
pub struct Surroundings {
    /// Which bridgefwd.
    pub instance: Instance,
    /// The interfaces of this network namespace.
    pub interfaces: Result<Snapshot, String>,
    /// The daemon.
    pub daemon: Daemon,
    /// The configuration that was named, or the usual one where it is there.
    pub config: Option<File>,
}

impl Surroundings {
    /// Looks, and changes nothing.
    pub fn look(instance: &Instance, config: Option<&Path>) -> Self {
        let named = config.map(Path::to_path_buf);
        let usual = || instance.netns.is_none().then(default_path);
        let path = named.or_else(|| usual().filter(|path| path.exists()));
        Self {
            instance: instance.clone(),
            interfaces: Snapshot::take().map_err(|error| error.to_string()),
            daemon: ask(instance),
            config: path
                .map(|path| File { content: Config::read(&path, &Overrides::default()), path }),
        }
    }

    /// The daemon's word, or that of the pins.
    pub fn status(&self) -> Option<&Status> {
        match &self.daemon {
            Daemon::Running(status, _) | Daemon::Left(status, _) => Some(status),
            Daemon::Absent | Daemon::Unknown(_) => None,
        }
    }

    fn wanted(&self) -> Option<&Config> {
        self.config.as_ref().and_then(|file| file.content.as_ref().ok())
    }

    /// Names of the bridges and uplinks that are managed or in a pair, or shall be by the
    /// configuration, and who says so.
    pub fn names(&self) -> Option<(Vec<&str>, &'static str)> {
        let (bridges, uplinks, who) = if let Some(status) = self.status() {
            (&status.bridges, &status.uplinks, "managed")
        } else {
            let config = self.wanted()?;
            (&config.bridges, &config.uplinks, "in the configuration")
        };
        let mut names: Vec<_> = bridges.iter().chain(uplinks).map(String::as_str).collect();
        // One that is away is known by its pairs.
        for name in self.pairs().into_iter().flat_map(|(from, to, _)| [from, to]) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Some((names, who))
    }

    /// The ends that exist. Where nobody says which they are, every bridge that has an address.
    pub fn ends(&self) -> Vec<&Link> {
        let Ok(interfaces) = &self.interfaces else { return Vec::new() };
        let has_address =
            |link: &&Link| !link.addresses.is_empty() || !link.addresses_v6.is_empty();
        match self.names() {
            Some((names, _)) if !names.is_empty() => {
                names.iter().filter_map(|name| interfaces.by_name(name)).collect()
            }
            _ => interfaces.all().filter(|link| link.is_bridge).filter(has_address).collect(),
        }
    }

    /// The ends, and the ports of those that are bridges.
    pub fn ends_and_ports(&self) -> Vec<&Link> {
        let mut all = self.ends();
        if let Ok(interfaces) = &self.interfaces {
            let ports: Vec<_> = all.iter().flat_map(|end| interfaces.ports(end.ifindex)).collect();
            all.extend(ports);
        }
        all
    }

    /// Why nothing can be said of the ends, where that is so: there is none.
    pub fn no_ends(&self) -> Option<&'static str> {
        self.ends().is_empty().then_some("there is no bridge or uplink to look at")
    }

    /// The listed pairs by name, and whether both ends are there.
    pub fn pairs(&self) -> Vec<(&str, &str, bool)> {
        match &self.daemon {
            Daemon::Running(_, pairs) | Daemon::Left(_, pairs) => {
                pairs.iter().map(|pair| (&*pair.from, &*pair.to, pair.present)).collect()
            }
            Daemon::Absent | Daemon::Unknown(_) => {
                let there = |name: &str| {
                    self.interfaces.as_ref().is_ok_and(|all| all.by_name(name).is_some())
                };
                let pairs = self.wanted().into_iter().flat_map(|config| config.pairs.keys());
                let listed = pairs.map(|(from, to)| (&**from, &**to));
                listed.map(|(from, to)| (from, to, there(from) && there(to))).collect()
            }
        }
    }
}

/// The daemon, else the pins.
fn ask(instance: &Instance) -> Daemon {
    let question = async || {
        let client = Client::new(&instance.socket);
        Ok((client.status().await?, client.pairs().await?))
    };
    let answer = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))
        .and_then(|runtime| runtime.block_on(question()));
    match answer {
        Ok((status, pairs)) => Daemon::Running(status, pairs),
        Err(Failure::NoDaemon(_)) => match left(instance) {
            Ok(Some((status, pairs))) => Daemon::Left(status, pairs),
            Ok(None) => Daemon::Absent,
            Err(failure) => Daemon::Unknown(failure),
        },
        Err(failure) => Daemon::Unknown(failure),
    }
}

fn left(instance: &Instance) -> Result<Option<(Status, Vec<Pair>)>> {
    let Some(pins) = Reader::open(&instance.pin_dir)? else { return Ok(None) };
    Ok(Some((pins.status(instance)?, pins.pairs()?)))
}
