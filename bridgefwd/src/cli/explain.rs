//! What `bridgefwd explain` can be asked.

use std::path::PathBuf;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use clap_complete::ArgValueCompleter;

use super::Output;
use crate::commands::complete;

/// `bridgefwd explain`
#[derive(Args, Debug)]
#[command(after_help = "\
Without FROM and TO the matrix of all networks, the outside and the host; with
them one conversation, through every rule. PACKET is tcp/80, udp/53, icmp, or a
protocol's number. Rules, bridges and addresses are the host's own, unless
--rules gives others; what a rule asks that is not known makes what depends on
it unknown. IPv4 only.

Examples:
  bridgefwd explain
  bridgefwd explain docker0 172.19.0.2 tcp/80
  iptables-save | bridgefwd explain --rules -
  docker network inspect $(docker network ls -q) > networks.json
  bridgefwd explain --rules nft.txt --networks networks.json --bridge-nf 1 --json
  bridgefwd explain --import > bridgefwd.toml")]
pub struct ExplainOptions {
    /// Who opens the conversation: a network, bridge, container or address, outside or host
    #[arg(requires = "to", add = ArgValueCompleter::new(complete::talkers))]
    pub from: Option<String>,
    /// Who answers, likewise
    #[arg(add = ArgValueCompleter::new(complete::talkers))]
    pub to: Option<String>,
    /// What is sent [default: anything]
    pub packet: Option<String>,
    /// Rules from what iptables-save, nft list ruleset or nft -j list ruleset printed, - for
    /// standard input; may be repeated [default: the host's]
    #[arg(long, value_name = "FILE")]
    pub rules: Vec<PathBuf>,
    /// Networks from what docker network inspect printed [default: the host's bridges]
    #[arg(long, value_name = "FILE")]
    pub networks: Option<PathBuf>,
    /// The interface to the outside [default: that of the default route]
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub outside: Option<String>,
    /// net.bridge.bridge-nf-call-iptables [default: the host's]
    #[arg(long, value_name = "0|1", value_parser = ["0", "1"], hide_possible_values = true)]
    pub bridge_nf: Option<String>,
    /// Print a configuration with a pair for each line that somebody added to get around Docker's
    /// isolation
    #[arg(long, conflicts_with_all = ["from", "json"])]
    pub import: bool,
    /// How to show it.
    #[command(flatten)]
    pub output: Output,
}
