//! Who is meant: a process by its number, a network namespace by its name, a container by its name or id.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Result};
use crate::host::docker::{Container, Engine};
use crate::host::netns;
use crate::instance::NETNS_DIR;

/// Who is meant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Subject {
    /// A process.
    Process {
        /// Its number.
        pid: u32,
        /// What it calls itself.
        name: String,
    },
    /// A namespace that has a name.
    Namespace(String),
    /// A container that runs.
    Container {
        /// It.
        container: Container,
        /// The process that it was started with, as the engine counts them.
        pid: u32,
        /// Its network namespace.
        namespace: PathBuf,
    },
}

impl Subject {
    /// The one that `name` stands for: a number that is a process, else the name of a network namespace,
    /// else a container of the engine that listens at `socket`.
    ///
    /// # Errors
    ///
    /// It is none of them, or the container does not run.
    pub async fn find(name: &str, socket: Option<&Path>) -> Result<Self> {
        if let Some(found) = process(name) {
            return Ok(found);
        }
        if netns::exists(name) {
            return Ok(Self::Namespace(name.to_owned()));
        }
        let none = |engine: &str| {
            Failure::failed(format!(
                "{name} is no process, no network namespace in {NETNS_DIR} (see `ip netns list`), and \
                 no container: {engine}"
            ))
        };
        let Some(socket) = socket else { return Err(none("no Docker engine is asked")) };
        let asked = async {
            let engine = Engine::connect(socket).await?;
            let found = engine.container(name).await?;
            let namespace =
                found.as_ref().and_then(|it| it.pid).map(|pid| engine.namespace_of(pid));
            Ok::<_, String>(found.map(|container| (container, namespace)))
        };
        match asked.await {
            Ok(Some((container @ Container { pid: Some(pid), .. }, Some(namespace)))) => {
                Ok(Self::Container { container, pid, namespace })
            }
            Ok(Some((container, _))) => Err(Failure::failed(format!(
                "the container {} does not run, so it has no network: see `docker start {}`",
                container.name, container.name
            ))),
            Ok(None) => {
                Err(none(&format!("the engine at {} knows none of that name", socket.display())))
            }
            Err(problem) => Err(none(&format!("the engine at {}: {problem}", socket.display()))),
        }
    }

    /// The file that stands for its network namespace.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        match self {
            Self::Process { pid, .. } => format!("/proc/{pid}/ns/net").into(),
            Self::Container { namespace, .. } => namespace.clone(),
            Self::Namespace(name) => netns::path_of(name),
        }
    }

    /// Its process.
    #[must_use]
    pub const fn pid(&self) -> Option<u32> {
        match self {
            Self::Process { pid, .. } | Self::Container { pid, .. } => Some(*pid),
            Self::Namespace(_) => None,
        }
    }
}

/// The process of that number.
fn process(number: &str) -> Option<Subject> {
    let pid: u32 = number.parse().ok().filter(|pid| *pid > 0)?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(Subject::Process { pid, name: name.trim().to_owned() })
}

/// The processes in the network namespace with that inode number, as far as they can be seen.
#[must_use]
pub fn processes(namespace: u64) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let inside = |pid: &u32| {
        netns::inode(Path::new(&format!("/proc/{pid}/ns/net")))
            .is_ok_and(|inode| inode == namespace)
    };
    let mut pids: Vec<u32> = pids.filter(inside).collect();
    pids.sort_unstable();
    pids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_by_its_number() {
        let own = std::process::id();
        let found = Subject::find(&own.to_string(), None).await.unwrap();
        assert_eq!(found.pid(), Some(own));
        let inode = netns::inode(&found.path()).unwrap();
        assert!(processes(inode).contains(&own));
    }

    #[tokio::test]
    async fn what_is_nothing_is_told() {
        for name in ["no-such-thing", "0", "4294967295"] {
            let failure = Subject::find(name, None).await.unwrap_err().to_string();
            assert!(failure.contains(&format!("{name} is no process")), "{failure}");
        }
        let missing = Path::new("/nonexistent/docker.sock");
        let failure = Subject::find("web", Some(missing)).await.unwrap_err().to_string();
        assert!(failure.contains("/nonexistent/docker.sock"), "{failure}");
    }
}
