//! docs/json has the schema of every document, as it is, and docs/json.md tells of each.

use bridgefwd::commands::schema::Document;
use clap::ValueEnum as _;
use serde_json::Value;

use super::{root, text};

#[test]
fn are_as_the_program_prints_them() {
    let page = text("docs/json.md");
    let mut files = Vec::new();
    for document in Document::value_variants() {
        let name = document.name();
        let path = format!("docs/json/{name}.json");
        let kept: Value = serde_json::from_str(&text(&path)).expect("JSON");
        assert_eq!(kept, document.schema(), "{path}: bridgefwd schema {name} > {path}");
        assert!(page.contains(&format!("(json/{name}.json)")), "docs/json.md has no {name}");
        files.push(format!("{name}.json"));
    }
    let there = std::fs::read_dir(root().join("docs/json")).expect("a folder");
    for entry in there {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        assert!(files.contains(&name), "docs/json/{name} is of no document");
    }
}
