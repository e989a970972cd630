//! Who may reach whom, by which way, and why not: rule sets of iptables and nftables, read and
//! followed as the kernel follows them.
//!
//! Everything here is values in and values out. A [`space::Packets`] is a set of packets: rules
//! split it exactly ([`evaluate`]), on its way through the kernel's hooks ([`path`]) from one
//! [`ends::End`] to another. What we do not know of a rule makes what depends on it unknown.

pub mod matrix;
pub mod model;
pub mod nft_json;
pub mod parse_iptables;
pub mod parse_nft;
pub mod space;
pub mod walk;

pub mod conditions;
pub mod describe;
pub mod docker;
pub mod ends;
pub mod evaluate;
pub mod hooks;
pub mod networks;
pub mod part;
pub mod path;
pub mod report;
pub mod running;

mod iptables_rule;
mod nft_rule;
mod nft_tokens;
mod nft_values;
mod words;

use std::fmt;

/// What cannot be a rule set, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ParseError {
    /// The line, from 1 on.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for ParseError {}

/// Reads a rule set of any kind: `iptables-save`, `nft list ruleset`, or the latter as JSON.
///
/// # Errors
///
/// It is none of these, or is cut off.
pub fn parse(text: &str) -> Result<Vec<model::Table>, ParseError> {
    let content = |line: &&str| {
        let line = line.trim_start();
        !line.is_empty() && !line.starts_with('#')
    };
    match text.lines().find(content).map(str::trim_start) {
        Some(line) if line.starts_with('{') => nft_json::parse(text),
        Some(line) if line.starts_with('*') => parse_iptables::parse(text, model::Origin::Iptables),
        Some(line) if line.starts_with("table") => parse_nft::parse(text),
        None => Ok(Vec::new()),
        Some(line) => Err(ParseError {
            line: text.lines().position(|this| this.trim_start() == line).map_or(1, |at| at + 1),
            what: format!(
                "{line:?} begins nothing that iptables-save, nft list ruleset or nft -j list ruleset prints"
            ),
        }),
    }
}

/// Puts rule sets together. What iptables made by nf_tables stands in nft's listing too, with less
/// said of it: it is taken from iptables alone.
#[must_use]
pub fn together(tables: Vec<model::Table>) -> Vec<model::Table> {
    let by_iptables: Vec<String> = tables
        .iter()
        .filter(|table| table.origin == model::Origin::Iptables)
        .map(|table| format!("ip {}", table.name))
        .collect();
    let twice = |table: &model::Table| {
        table.origin == model::Origin::Nft && by_iptables.contains(&table.name)
    };
    tables.into_iter().filter(|table| !twice(table)).collect()
}

#[cfg(test)]
mod tests;
