//! What can be asked on the command line. People script against it: names and exit statuses stay.

mod config;
mod events;
mod explain;
mod flows;
mod listing;
mod pair;
mod reading;
mod trace;
mod whois;

use std::net::SocketAddr;
use std::path::PathBuf;

use bridgefwd_common::contract::Unlisted;
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::ArgValueCompleter;

pub use self::config::{ApplyOptions, CheckOptions, PlanOptions, ReloadOptions, SaveOptions};
pub use self::events::{EventKind, EventsOptions};
pub use self::explain::ExplainOptions;
pub use self::flows::FlowsOptions;
pub use self::listing::{At, Clock, Exact, Listing, Output};
pub use self::pair::{PairCommand, PairNames};
pub use self::reading::{
    BridgesOptions, DoctorOptions, InspectOptions, MetricsOptions, StatsOptions, StatusOptions,
    TopOptions,
};
pub use self::trace::TraceOptions;
pub use self::whois::WhoisOptions;
use crate::commands::complete;
use crate::commands::lab::LabCommand;
use crate::commands::schema::Document;
use crate::daemon::AttachChoice;
use crate::instance::Instance;
use crate::policy::DockerChoice;
use crate::policy::timers::TimerChanges;

/// A fast path between Linux bridges, for the pairs that you allow.
#[derive(Debug, Parser)]
#[command(
    name = "bridgefwd",
    version,
    max_term_width = 100,
    after_help = "\
Every namespace has its own /run/bridgefwd/bridgefwd[-NETNS].sock and
/sys/fs/bpf/bridgefwd[-NETNS]. The configuration is in
/etc/bridgefwd/bridgefwd.toml. The environment can give BRIDGEFWD_NETNS,
BRIDGEFWD_SOCKET, BRIDGEFWD_PIN_DIR and BRIDGEFWD_CONFIG.
Exit status: 0 done, 1 it could not be done, 2 asked wrongly, 3 no daemon,
4 `plan` has found changes; `doctor` has more.

Examples:
  bridgefwd bridges
  bridgefwd run
  bridgefwd pair allow shop_front shop_db"
)]
pub struct Cli {
    /// Which bridgefwd.
    #[command(flatten)]
    pub global: GlobalOptions,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command, before it or after it.
#[derive(Args, Debug)]
#[command(next_help_heading = "Which bridgefwd")]
pub struct GlobalOptions {
    /// Network namespace to work in
    #[arg(long, global = true, env = "BRIDGEFWD_NETNS", hide_env = true)]
    #[arg(value_name = "NAME|PATH", value_parser = NonEmptyStringValueParser::new())]
    #[arg(add = ArgValueCompleter::new(complete::netns))]
    pub netns: Option<String>,
    /// Control socket
    #[arg(long, global = true, env = "BRIDGEFWD_SOCKET", hide_env = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Folder of the pinned maps and links
    #[arg(long, global = true, env = "BRIDGEFWD_PIN_DIR", hide_env = true, value_name = "DIR")]
    pub pin_dir: Option<PathBuf>,
}

impl GlobalOptions {
    /// The bridgefwd that is meant.
    #[must_use]
    pub fn instance(self) -> Instance {
        Instance::new(self.netns, self.socket, self.pin_dir)
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Attach to bridges, their ports and uplinks, and serve the other commands
    Run(RunOptions),
    /// Say who may open flows to whom
    #[command(subcommand)]
    Pair(PairCommand),
    /// Show the live flows
    Flows(FlowsOptions),
    /// Tell what happens: flows opened and closed, refusals, changes
    Events(EventsOptions),
    /// Tell who was behind a translated address and port, now or then
    Whois(WhoisOptions),
    /// Show where packets between two addresses go, and why they do not arrive
    Trace(TraceOptions),
    /// Show the counters
    Stats(StatsOptions),
    /// Watch pairs, flows and reasons live, and turn pairs on and off
    Top(TopOptions),
    /// Print the counters as metrics for Prometheus
    Metrics(MetricsOptions),
    /// Show how the daemon is
    Status(StatusOptions),
    /// Look for what is in the way, on this host and in its network
    Doctor(DoctorOptions),
    /// Show the bridges and Docker networks of the host, and which are managed
    Bridges(BridgesOptions),
    /// Show a container as the network has it: namespace, cables, bridge, routes, pairs
    Inspect(InspectOptions),
    /// Show who may reach whom by the host's firewall rules, and which rule decides
    Explain(ExplainOptions),
    /// Check a configuration file
    Check(CheckOptions),
    /// Show what a configuration file would change
    Plan(PlanOptions),
    /// Have what runs be as a configuration file says
    Apply(ApplyOptions),
    /// Have the daemon read its configuration file again
    Reload(ReloadOptions),
    /// Have a configuration file say what runs
    Save(SaveOptions),
    /// End the daemon and remove all that it attached and pinned
    Down(DownOptions),
    /// A network to try bridgefwd in: a router, three bridges, five hosts
    #[command(subcommand)]
    #[command(after_help = "\
The lab lives in network namespaces of its own, away from the host's network.

Examples:
  bridgefwd lab up
  bridgefwd lab list
  bridgefwd lab down")]
    Lab(LabCommand),
    /// Print what a shell needs to complete bridgefwd's command lines
    #[command(after_help = "\
The package and the tarball bring them along. Names of bridges, networks, pairs,
containers and namespaces are those that are there while you type: the program
is asked for them, which needs neither root nor a daemon, though there may be
fewer of them then.

Examples:
  bridgefwd completions bash > /etc/bash_completion.d/bridgefwd
  bridgefwd completions zsh > /usr/local/share/zsh/site-functions/_bridgefwd
  bridgefwd completions fish > /etc/fish/completions/bridgefwd.fish")]
    Completions {
        /// The shell
        shell: CompletionShell,
    },
    /// Print what the --json of a command is, as JSON Schema
    #[command(after_help = "\
Fields are added to documents, never renamed or removed.

Examples:
  bridgefwd schema flows
  bridgefwd schema | jq 'keys'")]
    Schema {
        /// The document [default: all of them, in one object]
        #[arg(hide_possible_values = true)]
        document: Option<Document>,
    },
    /// Write the manual pages to a folder
    #[command(hide = true)]
    #[command(after_help = "\
Example:
  bridgefwd man /usr/local/share/man/man8")]
    Man {
        /// Folder that exists
        folder: PathBuf,
    },
}

/// `bridgefwd completions`
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum CompletionShell {
    /// GNU bash
    #[value(help = None)]
    Bash,
    /// zsh
    #[value(help = None)]
    Zsh,
    /// fish
    #[value(help = None)]
    Fish,
}

/// `bridgefwd run`
#[derive(Args, Debug)]
#[command(after_help = "\
Stays in the foreground; prints a line that starts with \"ready\" once traffic
would be forwarded. After Ctrl-C or SIGTERM the kernel goes on forwarding by
what is pinned; `bridgefwd down` takes that away too. BRIDGEFWD_LOG=debug logs
more.

Where neither a bridge nor an uplink is named, /etc/bridgefwd/bridgefwd.toml is
read if it is there, or the file that BRIDGEFWD_CONFIG names. Where the file
names no bridge either, or there is none, all networks of Docker's are managed
that can be ends, also those to come; without Docker, all bridges.

An option goes before the key of the file that says the same (--bridge before
`bridges`, each --timer before its own), also when the file is read again, on
SIGHUP or `bridgefwd reload`; a key goes before the default. With a file, pairs
are those that it lists; without one, they are those of the daemon before.

Examples:
  bridgefwd run
  bridgefwd run --bridge shop_front shop_db backoffice --unlisted deny
  bridgefwd run --bridge shop_front --uplink eth0 --timer established=4h
  bridgefwd run --bridge shop_front shop_db --ports no --flows-per-source 2000
  bridgefwd run --bridge shop_front shop_db --metrics 9477
  bridgefwd --netns lab run --config ./lab.toml")]
pub struct RunOptions {
    /// Bridge to manage, by its name or that of its Docker network; several after one --bridge, or one
    /// after each [default: what the file says, else all that there are]
    #[arg(long = "bridge", value_name = "NAME", num_args = 1..)]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    #[arg(add = ArgValueCompleter::new(complete::bridges))]
    pub bridges: Vec<String>,
    /// Ordinary interface to manage, as an end of pairs; several as with --bridge
    #[arg(long = "uplink", value_name = "NAME", num_args = 1..)]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    #[arg(add = ArgValueCompleter::new(complete::uplinks))]
    pub uplinks: Vec<String>,
    /// Docker engine that knows networks and containers by name: its socket, or none; auto is the one of
    /// this network namespace, by DOCKER_HOST or /var/run/docker.sock [default: auto]
    #[arg(long, value_name = "SOCKET|auto|no", value_parser = clap::value_parser!(DockerChoice))]
    pub docker: Option<DockerChoice>,
    /// Traffic that is in no pair: the kernel's, or dropped [default: kernel]
    #[arg(long, value_name = "kernel|deny", hide_possible_values = true)]
    pub unlisted: Option<UnlistedChoice>,
    /// Bridges, uplinks, pairs and settings in TOML; options go before it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How to attach; TCX needs Linux 6.6
    #[arg(long, value_name = "auto|tcx|clsact", default_value = "auto")]
    #[arg(hide_possible_values = true)]
    pub attach: AttachOption,
    /// Seconds without a packet after which a flow is over, or as 2h4m; NAME is opening,
    /// established, closing, udp_one_way, udp_two_way or icmp; may be repeated
    #[arg(long = "timer", value_name = "NAME=SECONDS", value_parser = timer)]
    pub timers: Vec<String>,
    /// Attach to the bridges' ports too, so that packets are taken before the bridge's own filters
    /// see them; or to the bridges alone [default: yes]
    #[arg(long, value_name = "yes|no", hide_possible_values = true)]
    pub ports: Option<YesNo>,
    /// Hand packets to containers at once, past bridge and port, where nobody would miss them there;
    /// or send all of them by the bridge [default: yes]
    #[arg(long, value_name = "yes|no", hide_possible_values = true)]
    pub direct: Option<YesNo>,
    /// How many flows there can be at one time [default: 65536]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_flows: Option<u32>,
    /// How many of them one source can have, a bridge port or else an address [default: one in four]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub flows_per_source: Option<u32>,
    /// Group whose members may use the control socket, by name or number [default: the daemon's own]
    #[arg(long, value_name = "GROUP", value_parser = NonEmptyStringValueParser::new())]
    pub socket_group: Option<String>,
    /// Serve a page to look at, http://ADDRESS:PORT/, and metrics for Prometheus, /metrics; a port
    /// alone is on 127.0.0.1. Who reaches it can read all there is, and change nothing
    #[arg(long, value_name = "[ADDRESS:]PORT", value_parser = listen)]
    pub metrics: Option<SocketAddr>,
    /// Name by which it may be asked there, besides addresses, localhost and the host's own name
    #[arg(long = "metrics-host", value_name = "NAME", requires = "metrics")]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub metrics_hosts: Vec<String>,
}

/// Of options that are switched on or off.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum YesNo {
    /// On
    #[value(help = None)]
    Yes,
    /// Off
    #[value(help = None)]
    No,
}

/// `--unlisted`
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum UnlistedChoice {
    /// Left to the kernel and its firewall, as without bridgefwd
    #[value(help = None)]
    Kernel,
    /// Dropped
    #[value(help = None)]
    Deny,
}

impl From<UnlistedChoice> for Unlisted {
    fn from(choice: UnlistedChoice) -> Self {
        match choice {
            UnlistedChoice::Kernel => Self::Kernel,
            UnlistedChoice::Deny => Self::Deny,
        }
    }
}

/// `--attach`
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum AttachOption {
    /// By TCX where the kernel has it, else by clsact
    #[value(help = None)]
    Auto,
    /// By a TCX link (Linux 6.6 and later)
    #[value(help = None)]
    Tcx,
    /// By a filter on a clsact qdisc
    #[value(help = None)]
    Clsact,
}

impl From<AttachOption> for AttachChoice {
    fn from(option: AttachOption) -> Self {
        match option {
            AttachOption::Auto => Self::Auto,
            AttachOption::Tcx => Self::Tcx,
            AttachOption::Clsact => Self::Clsact,
        }
    }
}

/// `bridgefwd down`
#[derive(Args, Debug)]
#[command(after_help = "\
Cuts every flow. Done when the daemon is gone; also clears up after one that was killed.

Examples:
  bridgefwd down
  bridgefwd --netns lab down")]
pub struct DownOptions {}

/// An address to listen at.
fn listen(text: &str) -> Result<SocketAddr, String> {
    crate::policy::listen::parse(text).map_err(|error| error.to_string())
}

/// A timer as it was given, once it is known to be one.
fn timer(text: &str) -> Result<String, String> {
    let checked = TimerChanges::default().add(text);
    checked.map(|()| text.into()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
