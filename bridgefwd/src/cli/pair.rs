//! Options of `bridgefwd pair`.

use bridgefwd_common::contract::Family;
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;

use super::Listing;
use crate::commands::complete;
use crate::policy::{Mapping, Nat};

/// `bridgefwd pair`
#[derive(Debug, Subcommand)]
#[command(after_help = "\
A pair has a direction: FROM opens flows, TO answers; answers need no pair of their own.
A change holds from the next packet on.

Examples:
  bridgefwd pair allow shop_front shop_db
  bridgefwd pair list")]
pub enum PairCommand {
    /// Let FROM open flows to TO
    #[command(after_help = "\
What is not said stays as it is; a new pair masquerades IPv4 and leaves IPv6
sources alone. ADDRESSES are TO's own, at most 16 of a family, with commas
between, ranges as FIRST-LAST; a client always gets the same one. With
--mapping endpoint-independent clients reach each other by their outer
addresses, too. A change of any of these cuts the pair's flows, unless they --drain.

Examples:
  bridgefwd pair allow shop_front shop_db
  bridgefwd pair allow shop_front shop_db --nat none
  bridgefwd pair allow shop_front shop_db --nat 172.19.0.9,172.19.0.16-172.19.0.19
  bridgefwd pair allow shop_front eth0 --nat6 masquerade
  bridgefwd pair allow shop_front eth0 --mapping endpoint-independent")]
    Allow {
        /// The pair.
        #[command(flatten)]
        pair: PairNames,
        /// IPv4 source address that TO sees: masquerade (TO's own), none (the client's), or one of
        /// ADDRESSES
        #[arg(long, value_name = "masquerade|none|ADDRESSES", value_parser = nat)]
        nat: Option<String>,
        /// IPv6 source address that TO sees, likewise
        #[arg(long, value_name = "masquerade|none|ADDRESSES", value_parser = nat6)]
        nat6: Option<String>,
        /// What a client's port is mapped to where it is translated: a port for each destination, or
        /// one for all of them
        #[arg(long, value_name = "per-destination|endpoint-independent", value_parser = mapping)]
        mapping: Option<String>,
    },
    /// Drop whatever FROM opens to TO
    #[command(after_help = "\
Example:
  bridgefwd pair deny shop_front shop_db --drain")]
    Deny {
        /// The pair.
        #[command(flatten)]
        pair: PairNames,
    },
    /// Take the pair off the list: what `run --unlisted` says holds for it again
    #[command(after_help = "\
Example:
  bridgefwd pair clear shop_front shop_db")]
    Clear {
        /// The pair.
        #[command(flatten)]
        pair: PairNames,
    },
    /// Show the listed pairs
    #[command(after_help = "\
Examples:
  bridgefwd pair list
  bridgefwd pair list --watch
  bridgefwd pair list --json")]
    List {
        /// How to show them.
        #[command(flatten)]
        listing: Listing,
    },
}

/// The names of a pair, and what happens to its flows.
#[derive(Args, Debug)]
pub struct PairNames {
    /// Docker network, bridge or uplink whose side opens flows
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    #[arg(add = ArgValueCompleter::new(complete::from))]
    pub from: String,
    /// Docker network, bridge or uplink whose side answers
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    #[arg(add = ArgValueCompleter::new(complete::to))]
    pub to: String,
    /// Let the flows that exist finish, rather than cut them
    #[arg(long)]
    pub drain: bool,
}

/// NAT of IPv4, as the daemon takes it.
fn nat(text: &str) -> Result<String, String> {
    Nat::parse(text, Family::V4).map(|nat| nat.to_string()).map_err(|error| error.to_string())
}

/// NAT of IPv6, as the daemon takes it.
fn nat6(text: &str) -> Result<String, String> {
    Nat::parse(text, Family::V6).map(|nat| nat.to_string()).map_err(|error| error.to_string())
}

/// A kind of mapping, as the daemon takes it.
fn mapping(text: &str) -> Result<String, String> {
    let mapping = text.parse::<Mapping>().map_err(|error| error.to_string())?;
    Ok(mapping.to_string())
}
