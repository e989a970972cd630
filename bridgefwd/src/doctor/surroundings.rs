//! What several checks ask about: the interfaces, the Docker engine, the daemon or what it left, and the
//! configuration.

use std::path::{Path, PathBuf};

use tokio::runtime::{Builder, Runtime};

use crate::api::client::Client;
use crate::api::types::{Pair, Status};
use crate::datapath::offline::Reader;
use crate::failure::{Failure, Result};
use crate::host::docker::{About, Engine, Network, Unreachable, usual_socket};
use crate::host::names::Names;
use crate::host::netlink::{Link, Snapshot};
use crate::instance::Instance;
use crate::policy::DockerChoice;
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

/// A Docker engine that is asked, and its answer.
pub struct Docker {
    /// Its socket.
    pub socket: PathBuf,
    /// Does somebody name it, the configuration or the daemon that follows it?
    pub named: bool,
    /// What it says, or why it does not.
    pub told: Result<Told, Unreachable>,
}

/// What an engine says.
pub struct Told {
    /// Of itself.
    pub about: About,
    /// Its networks.
    pub networks: Vec<Network>,
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
    /// The Docker engine; `None` where none shall be asked.
    pub docker: Option<Docker>,
    /// What ends are called.
    names: Names,
}

impl Surroundings {
    /// Looks, and changes nothing.
    pub fn look(instance: &Instance, config: Option<&Path>) -> Self {
        let named = config.map(Path::to_path_buf);
        let usual = || instance.netns.is_none().then(default_path);
        let path = named.or_else(|| usual().filter(|path| path.exists()));
        let config =
            path.map(|path| File { content: Config::read(&path, &Overrides::default()), path });
        let interfaces = Snapshot::take().map_err(|error| error.to_string());
        let daemon = ask(instance);
        let docker = ask_docker(&daemon, config.as_ref());
        let networks = docker.as_ref().and_then(|docker| docker.told.as_ref().ok());
        let networks = networks.map_or(&[][..], |told| &told.networks);
        let names = interfaces.as_ref().map(|all| Names::new(all, networks)).unwrap_or_default();
        Self { instance: instance.clone(), interfaces, daemon, config, docker, names }
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

    /// The interface of that end: of the bridge, of the network's bridge, or of the uplink.
    pub fn link(&self, end: &str) -> Option<&Link> {
        let interfaces = self.interfaces.as_ref().ok()?;
        let place = self.names.resolve(end).ok().and_then(|place| place.bridge.as_ref());
        place.map_or_else(|| interfaces.by_name(end), |(ifindex, _)| interfaces.get(*ifindex))
    }

    /// What people call that interface: its network's name, where it is the bridge of one.
    pub fn called<'a>(&'a self, link: &'a Link) -> &'a str {
        self.names.of_interface(link.ifindex).map_or(&*link.name, |place| place.end_name())
    }

    /// Why what has that name cannot be an end; `None` where it can, or where nothing has it.
    pub fn cannot_be_end(&self, name: &str) -> Option<String> {
        let refused = || self.names.resolve(name).err().map(|failure| failure.to_string());
        self.names.knows(name).then(refused).flatten()
    }

    /// Names of all that can be ends: what is managed where nobody names any.
    pub fn possible(&self) -> Vec<&str> {
        self.names.all_ends().map(|place| &*place.name).collect()
    }

    /// The ends that exist. Where nobody says which they are, all that can be.
    pub fn ends(&self) -> Vec<&Link> {
        let named = self.names().map(|(names, _)| names).filter(|names| !names.is_empty());
        let names = named.unwrap_or_else(|| self.possible());
        names.iter().filter_map(|name| self.link(name)).collect()
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
                let there = |name: &str| self.link(name).is_some();
                let pairs = self.wanted().into_iter().flat_map(|config| config.pairs.keys());
                let listed = pairs.map(|(from, to)| (&**from, &**to));
                listed.map(|(from, to)| (from, to, there(from) && there(to))).collect()
            }
        }
    }
}

/// The engine that the daemon follows, else the one that the configuration names, else that of this
/// network namespace.
fn ask_docker(daemon: &Daemon, config: Option<&File>) -> Option<Docker> {
    let followed = match daemon {
        Daemon::Running(status, _) => status.docker.as_ref().map(|docker| docker.socket.clone()),
        Daemon::Left(..) | Daemon::Absent | Daemon::Unknown(_) => None,
    };
    let config = config.and_then(|file| file.content.as_ref().ok());
    let (socket, named) = match (followed, config.and_then(|config| config.docker.clone())) {
        (Some(socket), _) => (socket.into(), true),
        (None, Some(DockerChoice::Socket(socket))) => (socket, true),
        (None, Some(DockerChoice::No)) => return None,
        (None, Some(DockerChoice::Auto) | None) => (usual_socket(), false),
    };
    let told = match runtime() {
        Ok(runtime) => runtime.block_on(hear(&socket)),
        Err(failure) => Err(Unreachable::Silent(failure.to_string())),
    };
    Some(Docker { socket, named, told })
}

async fn hear(socket: &Path) -> Result<Told, Unreachable> {
    let engine = Engine::connect(socket).await?;
    let about = engine.about().await.map_err(Unreachable::Silent)?;
    let networks = engine.networks().await.map_err(Unreachable::Silent)?;
    Ok(Told { about, networks })
}

fn runtime() -> Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))
}

/// The daemon, else the pins.
fn ask(instance: &Instance) -> Daemon {
    let question = async || {
        let client = Client::new(&instance.socket);
        Ok((client.status().await?, client.pairs().await?))
    };
    match runtime().and_then(|runtime| runtime.block_on(question())) {
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
