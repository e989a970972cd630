//! What is said about a pair.

use super::PairNat;

/// Names of a pair's ends: the one that opens flows, and the one that answers.
pub type Ends = (String, String);

/// What a listed pair is set to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PairSetup {
    /// Allowed, else denied.
    pub allow: bool,
    /// Its NAT.
    pub nat: PairNat,
    /// Flows that exist outlive this change; of an allowed pair those of later changes, too.
    pub drain: bool,
}
