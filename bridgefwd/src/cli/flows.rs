//! What `bridgefwd flows` can be asked.

use std::net::IpAddr;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use clap_complete::ArgValueCompleter;

use super::{Exact, Listing};
use crate::commands::complete;
use crate::datapath;

/// `bridgefwd flows`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  bridgefwd flows
  bridgefwd flows --from shop_front --proto tcp
  bridgefwd flows --address 172.19.0.2 --port 80 --state established
  bridgefwd flows --watch --to shop_db
  bridgefwd flows --json --watch 10 >> flows.jsonl")]
pub struct FlowsOptions {
    /// Only flows opened from this bridge or uplink
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    #[arg(add = ArgValueCompleter::new(complete::ends))]
    pub from: Option<String>,
    /// Only flows opened to this bridge or uplink
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    #[arg(add = ArgValueCompleter::new(complete::ends))]
    pub to: Option<String>,
    /// Only flows of this protocol
    #[arg(long, value_name = "PROTO", value_parser = ["tcp", "udp", "icmp", "icmpv6", "sctp"])]
    pub proto: Option<String>,
    /// Only flows in this state, as the list shows it
    #[arg(long, value_name = "STATE", value_parser = datapath::states())]
    #[arg(hide_possible_values = true)]
    pub state: Option<String>,
    /// Only flows with this address on either side, translated or not
    #[arg(long, value_name = "IP")]
    pub address: Option<IpAddr>,
    /// Only flows with this port on either side, likewise
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// At most so many [default: 1000; with --json all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// With which numbers.
    #[command(flatten)]
    pub exact: Exact,
    /// How to show them.
    #[command(flatten)]
    pub listing: Listing,
}
