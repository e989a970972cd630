//! The documents about configuration. As with [`types`](super::types), fields are added, never renamed
//! or removed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Body of `POST /v1/config/plan` and `/v1/config/apply`. Without one they are about the daemon's own
/// file.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigText {
    /// What messages call the file.
    pub file: String,
    /// Its text.
    pub text: String,
}

/// Answer of `GET /v1/config`: what runs, as a configuration file would say it.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct RunningConfig {
    /// The daemon's own file; null where it has none.
    pub file: Option<String>,
    /// TOML.
    pub text: String,
}

/// Answer of `POST /v1/config/plan`, and of `/v1/config/apply`, where it is done.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ConfigPlan {
    /// The file.
    pub file: String,
    /// What changes; nothing where what runs is as the file says.
    pub changes: Vec<PlannedChange>,
    /// Options of `run` that say something else than the file, and go before it.
    pub overridden: Vec<String>,
}

/// One difference.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct PlannedChange {
    /// What is done.
    pub action: Action,
    /// `setting`, `timer`, `bridge`, `uplink` or `pair`.
    pub what: String,
    /// Its key or name; of a pair `FROM -> TO`.
    pub name: String,
    /// What holds now; null where it is added.
    pub before: Option<String>,
    /// What holds then; null where it is removed.
    pub after: Option<String>,
    /// What becomes of flows that exist, or what else has to be known; null where there is nothing.
    pub effect: Option<String>,
    /// It takes a new start, and cannot be applied.
    pub needs_restart: bool,
}

/// What is done to something.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It was not there.
    Add,
    /// It will not be there.
    Remove,
    /// It becomes something else.
    Change,
}

/// In `status`: how what runs stands to the daemon's own file.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ConfigState {
    /// The file.
    pub file: String,
    /// How much of what runs is not as the file says it now; null where the file cannot be read.
    pub differences: Option<u64>,
    /// Why the file cannot be read, or is wrong.
    pub error: Option<String>,
}
