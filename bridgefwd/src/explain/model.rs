//! Rule sets as the kernel has them: tables, chains, rules, and what a rule asks of a packet.
//!
//! What a parser does not know becomes [`Match::Unknown`] or [`Action::Unknown`] with the words
//! that it did not know: never a guess.

use std::fmt;
use std::net::Ipv4Addr;

use super::space::{Field, Span};

/// Where a table was read from.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Origin {
    /// `iptables-save`, by nf_tables or without saying so.
    Iptables,
    /// `iptables-legacy-save`.
    Legacy,
    /// `nft list ruleset`.
    Nft,
}

/// Which packets a table sees.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Family {
    /// IPv4.
    Ip,
    /// IPv4 and IPv6.
    Inet,
    /// Frames within bridges.
    Bridge,
    /// Others, none of which sees IPv4 packets on their way between networks.
    Other,
}

/// A table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Table {
    /// Where it was read from.
    pub origin: Origin,
    /// Which packets it sees.
    pub family: Family,
    /// Its name, for nft with the family: `filter`, `ip docker-bridges`.
    pub name: String,
    /// Its chains, in the order in which they were listed.
    pub chains: Vec<Chain>,
}

impl Table {
    /// Its chain of that name.
    #[must_use]
    pub fn chain(&self, name: &str) -> Option<usize> {
        self.chains.iter().position(|chain| chain.name == name)
    }
}

/// A chain.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// Where it is called from the kernel, if it is.
    pub base: Option<Base>,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
}

/// Where the kernel calls a chain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Base {
    /// At which hook.
    pub hook: Hook,
    /// In which order: lower ones first.
    pub priority: i32,
    /// Is it for NAT? Then only the first packet of a conversation gets here.
    pub nat: bool,
    /// Are packets dropped that no rule decides about?
    pub drops: bool,
}

/// Places in the kernel where chains are called.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Hook {
    /// Packets that have come in.
    Prerouting,
    /// Packets for the host itself.
    Input,
    /// Packets for others.
    Forward,
    /// Packets of the host itself.
    Output,
    /// Packets that go out.
    Postrouting,
    /// Elsewhere (`ingress`, `egress`).
    Elsewhere,
}

impl Hook {
    /// The hook that the kernel's documents call so.
    #[must_use]
    pub fn named(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "prerouting" => Self::Prerouting,
            "input" => Self::Input,
            "forward" => Self::Forward,
            "output" => Self::Output,
            "postrouting" => Self::Postrouting,
            _ => Self::Elsewhere,
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prerouting => "prerouting",
            Self::Input => "input",
            Self::Forward => "forward",
            Self::Output => "output",
            Self::Postrouting => "postrouting",
            Self::Elsewhere => "elsewhere",
        })
    }
}

/// A rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rule {
    /// As it was listed, without the chain.
    pub text: String,
    /// What all must hold for its action.
    pub matches: Vec<Match>,
    /// What it does.
    pub action: Action,
}

/// Names of interfaces: one, or all that begin so.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Name {
    /// This one.
    Is(String),
    /// All that begin so.
    Begins(String),
}

impl Name {
    /// As a rule has it, `wild` at the end for all that begin so.
    #[must_use]
    pub fn read(text: &str, wild: char) -> Self {
        text.strip_suffix(wild)
            .map_or_else(|| Self::Is(text.into()), |start| Self::Begins(start.into()))
    }

    /// Is it that interface?
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        match self {
            Self::Is(this) => this == name,
            Self::Begins(start) => name.starts_with(start.as_str()),
        }
    }
}

/// State of the packet's conversation, as `--ctstate` has it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum State {
    /// It opens one.
    New,
    /// It belongs to one that has been answered.
    Established,
    /// Any other: related, invalid, untracked.
    Other,
}

/// One condition of a rule.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Match {
    /// The field is in one of the spans.
    In(Field, Vec<Span>),
    /// It came in by one of these, or by none of them.
    From(Vec<Name>, Wanted),
    /// It goes out by one of these, or by none of them.
    To(Vec<Name>, Wanted),
    /// The conversation is in one of these states, or in none of them.
    State(Vec<State>, Wanted),
    /// The conversation's destination was translated, or was not.
    Dnat(Wanted),
    /// The address is the host's own, or is not.
    Local(Field, Wanted),
    /// The mark under the mask has that value, or has not.
    Mark {
        /// What it is compared with.
        value: u32,
        /// The bits that count.
        mask: u32,
        /// Equal or not.
        wanted: Wanted,
    },
    /// Of the TCP flags in the mask exactly these are set, or not.
    TcpFlags {
        /// The flags that count.
        mask: u8,
        /// Those that are set.
        set: u8,
        /// So or not so.
        wanted: Wanted,
    },
    /// It is switched within a bridge, or is not.
    Bridged(Wanted),
    /// No packet of IPv4.
    Never,
    /// Something that we do not know: these words.
    Unknown(String),
}

/// Whether a condition was written plainly or with `!`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Wanted {
    /// It must be so.
    Yes,
    /// It must not be so.
    No,
}

impl Wanted {
    /// `!` was there, or was not.
    #[must_use]
    pub const fn unless(negated: bool) -> Self {
        if negated { Self::No } else { Self::Yes }
    }

    /// Does the condition hold, when what it asks for is so or not?
    #[must_use]
    pub const fn holds(self, is_so: bool) -> bool {
        matches!(self, Self::Yes) == is_so
    }
}

/// What a rule does with a packet that it matches.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Action {
    /// Lets it go on.
    Accept,
    /// Drops it without a word.
    Drop,
    /// Drops it and tells the sender.
    Reject,
    /// Goes back to where the chain was called, or to the policy.
    Return,
    /// Nothing that matters here: counts, logs.
    Continue,
    /// Calls a chain.
    Jump(String),
    /// Goes on in a chain, for good.
    Goto(String),
    /// Source NAT, to that address; without one, to that of the interface that it goes out by.
    Snat(Option<Ipv4Addr>),
    /// Destination NAT, to that address, or to the host itself, and maybe to that port.
    Dnat(Option<Ipv4Addr>, Option<u16>),
    /// Sets the mark's bits under the mask.
    Mark {
        /// To what.
        value: u32,
        /// Which bits.
        mask: u32,
    },
    /// One of several, by what else holds (nft's verdict maps); the first that fits.
    Map(Vec<(Match, Action)>),
    /// Something that we do not know: these words.
    Unknown(String),
}
