//! `bridgefwd inspect`: a container, a namespace or a process, looked at from inside and from the host.

use std::path::{Path, PathBuf};

use tokio::runtime::Builder;

use super::{ask_daemon, engine, enter_netns, labels, open_pins_or_note, output, snapshot};
use crate::cli::InspectOptions;
use crate::failure::{Failure, Result};
use crate::host::docker::usual_socket;
use crate::inspect::subject::Subject;
use crate::inspect::{Ends, inspect};
use crate::instance::Instance;
use crate::policy::DockerChoice;
use crate::views;

pub(super) fn run(options: &InspectOptions, instance: &Instance) -> Result<()> {
    enter_netns(instance)?;
    let (ends, followed) = ends(instance)?;
    let subject = find(&options.who, socket(followed, instance).as_deref())?;
    output::answer(&inspect(&subject, &ends)?, options.output, |report, width| {
        views::inspect::text(report, width)
    })
}

/// Where the engine listens that knows containers: the one that the daemon follows, else the usual one.
pub(super) fn socket(followed: Option<PathBuf>, instance: &Instance) -> Option<PathBuf> {
    followed.or_else(|| match engine(instance) {
        DockerChoice::Auto => Some(usual_socket()),
        DockerChoice::No => None,
        DockerChoice::Socket(path) => Some(path),
    })
}

pub(super) fn find(who: &str, socket: Option<&Path>) -> Result<Subject> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    runtime.block_on(Subject::find(who, socket))
}

/// What the daemon says of the host, else what is pinned; and the engine that the daemon follows.
pub(super) fn ends(instance: &Instance) -> Result<(Ends, Option<PathBuf>)> {
    let asked = ask_daemon(instance, async |client| {
        Ok((client.bridges().await?, client.pairs().await?, client.status().await?))
    });
    match asked {
        Ok((bridges, pairs, status)) => {
            let socket = status.docker.map(|docker| PathBuf::from(docker.socket));
            return Ok((Ends { bridges, pairs }, socket));
        }
        Err(Failure::NoDaemon(_)) => {}
        Err(failure) => return Err(failure),
    }
    let pins = open_pins_or_note(instance);
    let (managed, mut pairs) = match &pins {
        Some(pins) => (pins.bridges()?, pins.pairs()?),
        None => (Vec::new(), Vec::new()),
    };
    let labels = labels(instance)?;
    labels.pairs(&mut pairs);
    Ok((Ends { bridges: labels.bridges(&snapshot()?, managed), pairs }, None))
}
