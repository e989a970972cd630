//! What completes a command line while it is typed: commands and options, and the names that there are
//! on the host at that moment.
//!
//! A shell asks by running the program with [`VARIABLE`] set and the line behind `--`. Whatever is
//! missing, a daemon, Docker or permission, there are fewer names then, and no word about it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::time::Duration;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};
use clap_complete::engine::CompletionCandidate;
use clap_complete::{CompleteEnv, env};
use tokio::runtime::Builder;
use tokio::time::timeout;

use super::{engine, enter_netns, namespaces, snapshot, with_default_socket};
use crate::api::bridges::Bridge;
use crate::api::client::Client;
use crate::api::labels::Labels;
use crate::cli::{Cli, CompletionShell, GlobalOptions};
use crate::daemon::docker;
use crate::failure::{Failure, Result};
use crate::instance::{Instance, NETNS_DIR};
use crate::policy::DockerChoice;

/// The variable by which a shell asks.
const VARIABLE: &str = "BRIDGEFWD_COMPLETE";
/// How long somebody who waits for names waits, at most twice.
const PATIENCE: Duration = Duration::from_millis(500);

/// Answers where a shell asks. `None` where none does, else the exit status. To be called before
/// anything is printed, and before there are threads.
#[must_use]
pub fn answer() -> Option<u8> {
    let complete = CompleteEnv::with_factory(Cli::command).var(VARIABLE);
    let asked = complete.try_complete(std::env::args_os(), std::env::current_dir().ok().as_deref());
    match asked {
        Ok(false) => None,
        Ok(true) => Some(0),
        // What the shell would print in the middle of the line.
        Err(_) => Some(1),
    }
}

/// What a shell needs to ask.
pub fn script(shell: CompletionShell) -> Result<String> {
    let completer: &dyn env::EnvCompleter = match shell {
        CompletionShell::Bash => &env::Bash,
        CompletionShell::Zsh => &env::Zsh,
        CompletionShell::Fish => &env::Fish,
    };
    let mut script = Vec::new();
    let written =
        completer.write_registration(VARIABLE, "bridgefwd", "bridgefwd", "bridgefwd", &mut script);
    written.map_err(|error: io::Error| Failure::failed(format!("cannot write it: {error}")))?;
    let mut script = String::from_utf8_lossy(&script).into_owned();
    if shell == CompletionShell::Zsh {
        // Zsh runs the file itself when it first needs it, and wants an answer then, too.
        script.push_str(
            "\nif [[ \"$funcstack[1]\" = _bridgefwd ]]; then\n    \
             _clap_dynamic_completer_bridgefwd \"$@\"\nfi\n",
        );
    }
    Ok(script)
}

/// Names of managed ends; where no daemon runs, of what could be one.
pub fn ends(current: &OsStr) -> Vec<CompletionCandidate> {
    let host = Line::typed().host();
    let managed = host.iter().any(|bridge| bridge.managed);
    let ends = host.iter().filter(|bridge| bridge.managed || !managed && bridge.problem.is_none());
    candidates(current, ends.map(described))
}

/// Names of all bridges and networks that can be ends.
pub fn bridges(current: &OsStr) -> Vec<CompletionCandidate> {
    let host = Line::typed().host();
    let usable = host.iter().filter(|bridge| bridge.problem.is_none() && bridge.kind != "uplink");
    candidates(current, usable.map(described))
}

/// Names of interfaces that could be uplinks.
pub fn uplinks(current: &OsStr) -> Vec<CompletionCandidate> {
    let line = Line::typed();
    let taken = enter_netns(&line.instance).and_then(|()| snapshot());
    let Ok(snapshot) = taken else { return Vec::new() };
    let links = snapshot.all().filter(|link| {
        let plain = !link.is_bridge && link.master.is_none() && link.mac != [0; 6];
        plain && !(link.addresses.is_empty() && link.addresses_v6.is_empty())
    });
    candidates(current, links.map(|link| (link.name.clone(), String::new())))
}

/// Who may open flows, of the pair that is typed.
pub fn from(current: &OsStr) -> Vec<CompletionCandidate> {
    let line = Line::typed();
    if !line.clears() {
        return ends(current);
    }
    let pairs = line.pairs();
    candidates(current, pairs.into_iter().map(|(from, _)| (from, String::new())))
}

/// Who answers, of the pair that is typed.
pub fn to(current: &OsStr) -> Vec<CompletionCandidate> {
    let line = Line::typed();
    let from = line.from();
    if line.clears() {
        let pairs = line.pairs().into_iter().filter(|(other, _)| from.as_ref() == Some(other));
        return candidates(current, pairs.map(|(_, to)| (to, String::new())));
    }
    let mut ends = ends(current);
    ends.retain(|end| from.as_ref().is_none_or(|from| end.get_value() != OsStr::new(from)));
    ends
}

/// Containers and network namespaces.
pub fn subjects(current: &OsStr) -> Vec<CompletionCandidate> {
    let host = Line::typed().host();
    let containers = host.iter().flat_map(|bridge| &bridge.containers);
    let containers = containers.map(|container| (container.name.clone(), "container".to_owned()));
    let namespaces = namespaces(Path::new(NETNS_DIR)).into_iter();
    let namespaces = namespaces.map(|name| (name, "network namespace".to_owned()));
    candidates(current, containers.chain(namespaces))
}

/// Ends and containers, the outside and the host.
pub fn talkers(current: &OsStr) -> Vec<CompletionCandidate> {
    let host = Line::typed().host();
    let ends = host.iter().filter(|bridge| bridge.interface.is_some()).map(described);
    let containers = host.iter().flat_map(|bridge| &bridge.containers);
    let containers = containers.map(|container| (container.name.clone(), "container".to_owned()));
    let others = ["outside", "host"].map(|word| (word.to_owned(), String::new()));
    candidates(current, ends.chain(containers).chain(others))
}

/// Network namespaces with a name.
pub fn netns(current: &OsStr) -> Vec<CompletionCandidate> {
    let names = namespaces(Path::new(NETNS_DIR)).into_iter();
    candidates(current, names.map(|name| (name, String::new())))
}

/// Those that begin as what is there already, each once, with what they are.
fn candidates(
    current: &OsStr,
    names: impl IntoIterator<Item = (String, String)>,
) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    // A shell would take letters like these for something else.
    let plain = |name: &str| !name.chars().any(|letter| letter.is_control() || letter == ' ');
    let mut seen: Vec<CompletionCandidate> = Vec::new();
    for (name, what) in names {
        let known = seen.iter().any(|other| other.get_value() == OsStr::new(&name));
        if name.starts_with(&*current) && plain(&name) && !known {
            let help = (!what.is_empty()).then(|| what.into());
            seen.push(CompletionCandidate::new(name).help(help));
        }
    }
    seen
}

/// A bridge's name, and what it is.
fn described(bridge: &Bridge) -> (String, String) {
    let kind = match &bridge.driver {
        Some(_) => "network",
        None => &bridge.kind,
    };
    let subnets = if bridge.subnets.is_empty() { &bridge.addresses } else { &bridge.subnets };
    (bridge.name.clone(), [&[kind.to_owned()], &subnets[..]].concat().join(" "))
}

/// What is typed already.
struct Line {
    matches: ArgMatches,
    instance: Instance,
}

impl Line {
    fn typed() -> Self {
        let words: Vec<OsString> = std::env::args_os().skip_while(|word| word != "--").collect();
        // Fish gives no number: the last word is the one that is being typed.
        let index = std::env::var("_CLAP_COMPLETE_INDEX").ok();
        let index = index.and_then(|index| index.parse().ok());
        let index = index.unwrap_or(words.len().saturating_sub(2));
        Self::of(words.into_iter().skip(1).take(index))
    }

    fn of(words: impl Iterator<Item = OsString>) -> Self {
        let command = Cli::command().ignore_errors(true);
        let matches = command.try_get_matches_from(words).unwrap_or_default();
        let global = GlobalOptions::from_arg_matches(&matches);
        let global = global.unwrap_or(GlobalOptions { netns: None, socket: None, pin_dir: None });
        Self { instance: with_default_socket(global), matches }
    }

    /// Options and names of the command of `pair` that is typed, and which one that is.
    fn pair(&self) -> Option<(&str, &ArgMatches)> {
        self.matches.subcommand_matches("pair")?.subcommand()
    }

    fn clears(&self) -> bool {
        self.pair().is_some_and(|(command, _)| command == "clear")
    }

    fn from(&self) -> Option<String> {
        let (_, names) = self.pair()?;
        names.try_get_one::<String>("from").ok()?.cloned()
    }

    /// The listed pairs.
    fn pairs(&self) -> Vec<(String, String)> {
        let pairs = self.ask(async |client| client.pairs().await).unwrap_or_default();
        pairs.into_iter().map(|pair| (pair.from, pair.to)).collect()
    }

    /// What there is on the host, as the daemon says it, else as it is seen from here.
    fn host(&self) -> Vec<Bridge> {
        let asked = self.ask(async |client| client.bridges().await);
        asked.or_else(|| self.seen().ok()).unwrap_or_default()
    }

    fn seen(&self) -> Result<Vec<Bridge>> {
        enter_netns(&self.instance)?;
        let engine = engine(&self.instance);
        let named = wait(docker::names(&engine));
        // An engine that takes its time is none.
        let names = named.or_else(|| wait(docker::names(&DockerChoice::No)));
        let names = names.unwrap_or_else(|| Err(Failure::failed("nobody answers")))?;
        Ok(Labels::new(names).bridges(&snapshot()?, Vec::new()))
    }

    fn ask<T>(&self, question: impl AsyncFnOnce(Client) -> Result<T>) -> Option<T> {
        wait(question(Client::new(&self.instance.socket)))?.ok()
    }
}

/// What comes of it, where it does not take too long.
fn wait<T>(answer: impl Future<Output = T>) -> Option<T> {
    let runtime = Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async { timeout(PATIENCE, answer).await.ok() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        Line::of(text.split_whitespace().map(OsString::from))
    }

    #[test]
    fn a_line_that_is_not_complete_is_understood() {
        let typed = line("bridgefwd --netns lab pair clear shop_front");
        assert_eq!(typed.instance.netns.as_deref(), Some("lab"));
        assert!(typed.clears());
        assert_eq!(typed.from().as_deref(), Some("shop_front"));
        let typed = line("bridgefwd pair allow --socket /s a");
        assert_eq!(typed.instance.socket, Path::new("/s"));
        assert!(!typed.clears());
        assert_eq!(typed.from().as_deref(), Some("a"));
        for odd in ["", "bridgefwd", "bridgefwd --help", "bridgefwd nonsense", "bridgefwd pair"] {
            assert_eq!(line(odd).from(), None, "{odd}");
        }
    }

    #[test]
    fn names_are_offered_once_and_as_shells_can_take_them() {
        let names = ["shop_db", "shop_front", "shop_db", "a b", "\u{1b}x", "shop\n"];
        let names = names.map(|name| (name.to_owned(), "bridge".to_owned()));
        let offered = candidates(OsStr::new("sh"), names.clone());
        let offered: Vec<_> = offered.iter().map(|one| one.get_value().to_owned()).collect();
        assert_eq!(offered, ["shop_db", "shop_front"]);
        assert_eq!(candidates(OsStr::new(""), names).len(), 2);
    }
}
