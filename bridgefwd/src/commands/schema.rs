//! `bridgefwd schema`: what `--json` prints, as JSON Schema, made of the types that are printed.

use clap::ValueEnum;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::lab::Listed;
use super::output;
use crate::api::bridges::Bridge;
use crate::api::config::ConfigPlan;
use crate::api::events::Event;
use crate::api::types::{Flow, Pair, Stats, Status};
use crate::api::whois::Whois;
use crate::failure::Result;
use crate::lab::lesson::outcome::Outcome;
use crate::{doctor, explain, inspect};

/// A document that is printed as JSON.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Document {
    /// bridgefwd status --json
    Status,
    /// bridgefwd bridges --json
    Bridges,
    /// bridgefwd pair list --json
    Pairs,
    /// bridgefwd flows --json
    Flows,
    /// bridgefwd stats --json
    Stats,
    /// bridgefwd events --json, of each line; the audit log has the same
    Events,
    /// bridgefwd whois --json
    Whois,
    /// bridgefwd doctor --json
    Doctor,
    /// bridgefwd inspect --json
    Inspect,
    /// bridgefwd explain --json
    Explain,
    /// bridgefwd explain FROM TO --json
    ExplainWay,
    /// bridgefwd plan --json, apply --json and reload --json
    Plan,
    /// bridgefwd lab list --json
    LabList,
    /// bridgefwd lab LESSON walk --json
    LabWalk,
}

impl Document {
    /// As it is called on the command line.
    #[must_use]
    pub fn name(self) -> String {
        let value = self.to_possible_value();
        value.map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Its schema: JSON Schema, draft 2020-12.
    #[must_use]
    pub fn schema(self) -> Value {
        let mut schema = match self {
            Self::Status => of::<Status>(),
            Self::Bridges => of::<Vec<Bridge>>(),
            Self::Pairs => of::<Vec<Pair>>(),
            Self::Flows => of::<Vec<Flow>>(),
            Self::Stats => of::<Stats>(),
            Self::Events => of::<Event>(),
            Self::Whois => of::<Whois>(),
            Self::Doctor => of::<doctor::Report>(),
            Self::Inspect => of::<inspect::report::Report>(),
            Self::Explain => of::<explain::report::Report>(),
            Self::ExplainWay => of::<explain::report::WalkDoc>(),
            Self::Plan => of::<ConfigPlan>(),
            Self::LabList => of::<Vec<Listed>>(),
            Self::LabWalk => of::<Vec<Outcome>>(),
        };
        let value = self.to_possible_value();
        let title = value.and_then(|value| value.get_help().map(ToString::to_string));
        if let Value::Object(schema) = &mut schema {
            schema.insert("title".into(), json!(title.unwrap_or_default()));
        }
        schema
    }
}

/// What is printed: every field is there.
fn of<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator()
        .into_root_schema_for::<T>()
        .into()
}

pub(super) fn run(document: Option<Document>) -> Result<()> {
    match document {
        Some(document) => output::json(&document.schema()),
        None => {
            let all = Document::value_variants().iter();
            let all: Map<_, _> = all.map(|document| (document.name(), document.schema())).collect();
            output::json(&all)
        }
    }
}
