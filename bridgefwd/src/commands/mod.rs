//! The commands, one a file, and what they share: asking the daemon, reading from the pins where
//! there is none, and printing.

mod bridges;
pub mod complete;
mod completions;
mod config;
mod doctor;
mod down;
mod events;
mod explain;
mod flows;
mod inspect;
pub mod lab;
mod man;
mod metrics;
mod output;
mod pair;
mod run;
pub mod schema;
mod stats;
mod status;
mod top;
mod trace;
mod watch;
mod whois;

use std::path::Path;

use tokio::runtime::Builder;

use crate::api::client::Client;
use crate::api::labels::Labels;
use crate::cli::{Cli, Command, GlobalOptions};
use crate::daemon::docker;
use crate::datapath::offline::Reader;
use crate::failure::{Failure, Result};
use crate::host::netlink::Snapshot;
use crate::host::netns;
use crate::instance::{Instance, NETNS_DIR};
use crate::meant::suggestion;
use crate::policy::DockerChoice;
use crate::policy::config::{Config, default_path};
use crate::policy::setup::Overrides;
use output::Page;

/// Exit status of `plan` where something would change.
pub const CHANGES: u8 = 4;

/// Runs the command. Returns its exit status.
///
/// Enters the instance's network namespace where the command needs it, and starts runtimes of its
/// own: call it from the only thread of the process, outside of any runtime.
///
/// # Errors
/// As the command says.
pub fn run(cli: Cli) -> Result<u8> {
    let done = match cli.command {
        // These talk to nobody, or decide themselves where to listen.
        Command::Check(options) => config::check(options.file),
        Command::Lab(command) => lab::run(&command),
        Command::Completions { shell } => completions::run(shell),
        Command::Schema { document } => schema::run(document),
        Command::Man { folder } => man::run(&folder),
        Command::Run(options) => {
            run::run(options, cli.global.socket.clone(), cli.global.instance())
        }
        command => return ask_something(command, &with_default_socket(cli.global)),
    };
    done.map(|()| 0)
}

/// The bridgefwd that is meant; where nothing is said of that, the default file says where its socket is.
fn with_default_socket(global: GlobalOptions) -> Instance {
    let unsaid = global.socket.is_none() && global.netns.is_none();
    let mut instance = global.instance();
    if let Some(socket) = unsaid.then(default_file).flatten().and_then(|file| file.socket) {
        instance.socket = socket;
    }
    instance
}

fn ask_something(command: Command, instance: &Instance) -> Result<u8> {
    let done = match command {
        Command::Pair(command) => pair::run(&command, instance),
        Command::Inspect(options) => inspect::run(&options, instance),
        Command::Flows(options) => flows::run(options, instance),
        Command::Events(options) => events::run(&options, instance),
        Command::Stats(options) => stats::run(&options, instance),
        Command::Top(options) => top::run(&options, instance),
        Command::Metrics(options) => metrics::run(&options, instance),
        Command::Status(options) => status::run(&options, instance),
        Command::Bridges(options) => bridges::run(&options, instance),
        Command::Apply(options) => config::apply(options.file.as_deref(), options.output, instance),
        Command::Reload(options) => config::apply(None, options.output, instance),
        Command::Save(options) => config::save(options.file, instance),
        Command::Trace(options) => return trace::run(&options, instance),
        Command::Whois(options) => return whois::run(options, instance),
        Command::Plan(options) => {
            return config::plan(options.file.as_deref(), options.output, instance);
        }
        Command::Doctor(options) => return doctor::run(&options, instance),
        Command::Explain(options) => explain::run(&options, instance),
        Command::Down(_) => down::run(instance),
        Command::Run(_)
        | Command::Check(_)
        | Command::Lab(_)
        | Command::Completions { .. }
        | Command::Schema { .. }
        | Command::Man { .. } => Ok(()),
    };
    done.map(|()| 0)
}

/// What the default configuration file says. Nobody asked for that file, so what is wrong with it is
/// not told.
fn default_file() -> Option<Config> {
    Config::read(&default_path(), &Overrides::default()).ok()
}

/// Asks the daemon. Where there is none, a wrong `--netns` is the likelier mistake: it is named.
fn ask<T>(instance: &Instance, question: impl AsyncFnOnce(Client) -> Result<T>) -> Result<T> {
    let answer = ask_daemon(instance, question);
    if let Err(Failure::NoDaemon(_)) = answer {
        check_netns(instance)?;
    }
    answer
}

/// Asks the daemon, on a runtime that has no other thread.
fn ask_daemon<T>(
    instance: &Instance,
    question: impl AsyncFnOnce(Client) -> Result<T>,
) -> Result<T> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    runtime.block_on(question(Client::new(&instance.socket)))
}

/// Asks the daemon; where there is none, reads from what it left pinned and says so on the page.
fn ask_or_read<T>(
    page: &mut Page,
    instance: &Instance,
    question: impl AsyncFnOnce(Client) -> Result<T>,
    read: impl FnOnce(&Reader) -> Result<T>,
) -> Result<T> {
    let (answer, from_pins) = ask_or_read_quietly(instance, question, read)?;
    if from_pins {
        page.note(&read_from_pins(instance));
    }
    Ok(answer)
}

/// The same, without a word: was it read from the pins?
fn ask_or_read_quietly<T>(
    instance: &Instance,
    question: impl AsyncFnOnce(Client) -> Result<T>,
    read: impl FnOnce(&Reader) -> Result<T>,
) -> Result<(T, bool)> {
    match ask(instance, question) {
        Err(absent @ Failure::NoDaemon(_)) => {
            let reader = open_pins(instance)?.ok_or(absent)?;
            Ok((read(&reader)?, true))
        }
        answer => Ok((answer?, false)),
    }
}

fn read_from_pins(instance: &Instance) -> String {
    format!("the daemon is not running; read from the pins in {}", instance.pin_dir.display())
}

/// What is pinned, seen from inside the instance's namespace; `None` where nothing is.
fn open_pins(instance: &Instance) -> Result<Option<Reader>> {
    enter_netns(instance)?;
    Reader::open(&instance.pin_dir)
}

/// The same for what can be seen without, by somebody who may not read pins, or where there is no bpffs:
/// that they cannot be opened is said, and then nothing is pinned.
fn open_pins_or_note(instance: &Instance) -> Option<Reader> {
    open_pins(instance).unwrap_or_else(|failure| {
        output::note(&format!("what is pinned is not taken into account: {failure}"));
        None
    })
}

/// The names of things as they are on the host, for what is read without a daemon. To be called inside
/// the instance's namespace.
fn labels(instance: &Instance) -> Result<Labels> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    runtime.block_on(docker::names(&engine(instance))).map(Labels::new)
}

/// Which Docker engine knows the names in the instance's namespace.
fn engine(instance: &Instance) -> DockerChoice {
    // The file is about the namespace that is meant where none is named.
    let file = if instance.netns.is_none() { default_file() } else { None };
    file.and_then(|file| file.docker).unwrap_or_default()
}

fn snapshot() -> Result<Snapshot> {
    Snapshot::take()
        .map_err(|error| Failure::failed(format!("cannot list network interfaces: {error}")))
}

/// Moves into the instance's network namespace.
fn enter_netns(instance: &Instance) -> Result<()> {
    check_netns(instance)?;
    instance.netns_path().map_or(Ok(()), |path| netns::enter(&path))
}

/// Names a network namespace that does not exist, and those that do.
fn check_netns(instance: &Instance) -> Result<()> {
    let (Some(netns), Some(path)) = (&instance.netns, instance.netns_path()) else {
        return Ok(());
    };
    match path.try_exists() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::failed(format!(
            "there is no network namespace {netns} ({}); {}{}",
            path.display(),
            netns_names(Path::new(NETNS_DIR)),
            suggestion(netns, namespaces(Path::new(NETNS_DIR)).iter().map(|name| &**name))
        ))),
        Err(error) => Err(Failure::failed(format!(
            "cannot look for the network namespace {netns} ({}): {error}",
            path.display()
        ))),
    }
}

/// The named network namespaces.
fn namespaces(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// The same, in words.
fn netns_names(dir: &Path) -> String {
    let names = namespaces(dir);
    if names.is_empty() {
        "none has a name here".into()
    } else {
        format!("there are {}", names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_that_is_not_there_is_named() {
        let missing = Instance::new(Some("bridgefwd-no-such".into()), None, None);
        let failure = check_netns(&missing).unwrap_err();
        assert_eq!(failure.exit_status(), 1);
        assert!(failure.to_string().contains("no network namespace bridgefwd-no-such"));
        let own = Instance::new(Some("/proc/self/ns/net".into()), None, None);
        check_netns(&own).unwrap();
    }

    #[test]
    fn namespaces_are_listed_in_order() {
        let dir = std::env::temp_dir().join(format!("bridgefwd-netns-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let none = netns_names(&dir);
        std::fs::write(dir.join("b"), "").unwrap();
        std::fs::write(dir.join("a"), "").unwrap();
        let two = netns_names(&dir);
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(none, "none has a name here");
        assert_eq!(two, "there are a, b");
    }
}
