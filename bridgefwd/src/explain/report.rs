//! The documents that `bridgefwd explain` answers with, as JSON and for the views.
//!
//! People script against them: fields are added, never renamed or removed.

use schemars::JsonSchema;
use serde::Serialize;

/// Who may reach whom.
#[derive(Clone, Debug, Default, JsonSchema, PartialEq, Serialize)]
pub struct Report {
    /// The generations of Docker whose rules are there, in words.
    pub docker: Vec<String>,
    /// `net.bridge.bridge-nf-call-iptables`; `null` where it is not known.
    pub bridge_nf: Option<bool>,
    /// The ends: networks, then `outside`, then `host`.
    pub ends: Vec<EndDoc>,
    /// Every end with every other, and networks with themselves.
    pub cells: Vec<CellDoc>,
    /// Lines that people added to let bridges reach each other.
    pub recipes: Vec<RecipeDoc>,
    /// What else is worth knowing, in words.
    pub notes: Vec<String>,
}

/// One end.
#[derive(Clone, Debug, Default, Eq, JsonSchema, PartialEq, Serialize)]
pub struct EndDoc {
    /// What it is called in cells.
    pub name: String,
    /// Its interface, where it has one that is known.
    pub interface: Option<String>,
    /// Its subnet, of a network.
    pub subnet: Option<String>,
}

/// One end with another.
#[derive(Clone, Debug, Default, JsonSchema, PartialEq, Serialize)]
pub struct CellDoc {
    /// Who opens conversations.
    pub from: String,
    /// Who answers.
    pub to: String,
    /// `yes`, `no`, `some` or `unknown`, with bridgefwd where it runs.
    pub answer: String,
    /// What bridgefwd does with the pair before any of the rules is asked; `null` where it leaves it
    /// to them.
    pub bridgefwd: Option<String>,
    /// What the rules do, in parts, the largest first.
    pub parts: Vec<PartDoc>,
}

/// Packets of a cell that fare alike.
#[derive(Clone, Debug, Default, JsonSchema, PartialEq, Serialize)]
pub struct PartDoc {
    /// `yes`, `no` or `unknown`.
    pub answer: String,
    /// Which packets, in words: `tcp/80 to 172.18.0.2`.
    pub packets: Vec<String>,
    /// Why, in words.
    pub why: String,
    /// The rule or policy that decides, if one does.
    pub rule: Option<RuleDoc>,
    /// Is it the answer that does not arrive?
    pub answers_lost: bool,
    /// The rules that it depends on, where it is unknown.
    pub unknown: Vec<RuleDoc>,
    /// Source NAT.
    pub snat: Option<NatDoc>,
    /// Destination NAT.
    pub dnat: Option<NatDoc>,
}

/// A translation.
#[derive(Clone, Debug, Default, Eq, JsonSchema, PartialEq, Serialize)]
pub struct NatDoc {
    /// To what, in words: `172.18.0.1`, `172.18.0.2:80`, `an address of the host`.
    pub to: String,
    /// The rule.
    pub rule: RuleDoc,
}

/// A rule, or a chain's policy.
#[derive(Clone, Debug, Default, Eq, JsonSchema, PartialEq, Serialize)]
pub struct RuleDoc {
    /// The table: `filter`, `ip docker-bridges`, `legacy filter`.
    pub table: String,
    /// The chain.
    pub chain: String,
    /// Which rule of it, from 1 on; `null` for the policy.
    pub number: Option<usize>,
    /// As it was listed; of a policy `policy DROP` or `policy ACCEPT`.
    pub text: String,
}

/// A line that somebody added.
#[derive(Clone, Debug, Default, Eq, JsonSchema, PartialEq, Serialize)]
pub struct RecipeDoc {
    /// The line.
    pub rule: RuleDoc,
    /// Who may.
    pub from: String,
    /// Whom it may reach.
    pub to: String,
    /// The same with bridgefwd.
    pub command: String,
    /// Does the line ask for more than the two bridges, so that the pair allows more?
    pub narrower: bool,
    /// With which Docker the line does what it is for.
    pub works: Vec<String>,
    /// Its NAT as bridgefwd would have it: `masquerade` or `none`.
    pub nat: String,
}

/// One conversation, through every rule.
#[derive(Clone, Debug, Default, JsonSchema, PartialEq, Serialize)]
pub struct WalkDoc {
    /// Who opens it.
    pub from: String,
    /// Who answers.
    pub to: String,
    /// What is sent, in words.
    pub packets: String,
    /// What bridgefwd does with the pair before any of the rules is asked.
    pub bridgefwd: Option<String>,
    /// `yes`, `no`, `some` or `unknown`.
    pub answer: String,
    /// What happens, in order.
    pub steps: Vec<StepDoc>,
    /// How the packets end.
    pub parts: Vec<PartDoc>,
    /// What else is worth knowing, in words.
    pub notes: Vec<String>,
}

/// One step of the way.
#[derive(Clone, Debug, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum StepDoc {
    /// A hook of the kernel.
    Hook {
        /// Which one.
        hook: String,
        /// Where packets come in, where that counts.
        input: Option<String>,
        /// Where they go out.
        output: Option<String>,
    },
    /// A chain is asked.
    Chain {
        /// From how many others it was called.
        depth: usize,
        /// Its table.
        table: String,
        /// Its name.
        chain: String,
    },
    /// A rule is.
    Rule {
        /// As of its chain.
        depth: usize,
        /// The rule.
        rule: RuleDoc,
        /// `yes`, `no`, `depends` or `unknown`.
        matches: String,
    },
    /// No rule decides; the policy does.
    Policy {
        /// The policy.
        rule: RuleDoc,
    },
    /// An address is translated.
    Nat {
        /// `source` or `destination`.
        of: String,
        /// To what, and by which rule.
        nat: NatDoc,
    },
    /// The way is found anew: to there.
    Routed {
        /// The end.
        to: String,
    },
    /// The answer sets out.
    Answer,
}
