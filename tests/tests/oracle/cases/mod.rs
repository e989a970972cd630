//! The cases, by subject. A new one is a new entry in one of these files.

mod fragments;
mod hostile;
mod icmp;
mod tcp;
mod within;

use crate::case::Case;

/// All of them.
#[must_use]
pub fn all() -> Vec<Case> {
    [tcp::cases(), within::cases(), icmp::cases(), fragments::cases(), hostile::cases()]
        .into_iter()
        .flatten()
        .collect()
}
