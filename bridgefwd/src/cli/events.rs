//! What `bridgefwd events` can be asked.

use clap::{Args, ValueEnum};

/// `bridgefwd events`
#[derive(Args, Debug)]
#[command(after_help = "\
Tells what happens from now on, until Ctrl-C, or until the daemon ends. Refusals
are summed up: each source and reason once a second with the number of packets,
at most a hundred lines a second, and a number for the rest. A flow is closed
when it is forgotten: a TCP connection some minutes after its end (`closing`).

Examples:
  bridgefwd events
  bridgefwd events --only refused,pair
  bridgefwd events --json | jq 'select(.event == \"closed\") | .bytes'")]
pub struct EventsOptions {
    /// Only events of these kinds
    #[arg(long, value_name = "KIND,...", value_delimiter = ',')]
    pub only: Vec<EventKind>,
    /// End after so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Print JSON, a line each, as the daemon tells it
    #[arg(long)]
    pub json: bool,
}

/// A kind of events.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum EventKind {
    /// Flows opened
    #[value(help = None)]
    Opened,
    /// Flows closed
    #[value(help = None)]
    Closed,
    /// Packets refused
    #[value(help = None)]
    Refused,
    /// Pairs changed
    #[value(help = None)]
    Pair,
    /// Interfaces that came or went
    #[value(help = None)]
    Interface,
    /// Settings changed
    #[value(help = None)]
    Setting,
}

impl EventKind {
    /// As it is called in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Closed => "closed",
            Self::Refused => "refused",
            Self::Pair => "pair",
            Self::Interface => "interface",
            Self::Setting => "setting",
        }
    }
}
