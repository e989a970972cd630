//! Every test that docs/rfc.md names is there. (That it ran, `cargo xtask test` checks.)

use std::collections::BTreeSet;

use super::{root, sources, text};

const DOCUMENT: &str = "docs/rfc.md";
const LAYERS: [&str; 6] = ["unit", "docs", "bytecode", "netns", "oracle", "cli"];

/// The names of tests in a document: in backquotes, a layer first.
fn named(document: &str) -> BTreeSet<&str> {
    let quoted = document.split('`').skip(1).step_by(2);
    quoted
        .filter(|name| name.split_once("::").is_some_and(|(layer, _)| LAYERS.contains(&layer)))
        .collect()
}

/// Is there a test of that name? `unit::decide::tcp::tests::handshake` may be in any crate.
fn exists(name: &str, sources: &[String]) -> bool {
    let mut parts: Vec<&str> = name.split("::").collect();
    let (layer, function) = (parts.remove(0), parts.pop().expect("a name"));
    if let Some(tests) = parts.iter().position(|part| *part == "tests") {
        parts.truncate(tests);
    }
    let module = parts.join("/");
    let places: Vec<String> = if layer == "unit" {
        let crates = ["bridgefwd-common", "bridgefwd", "checks", "xtask"];
        crates.map(|name| format!("{name}/src/{module}")).into()
    } else {
        vec![format!("tests/tests/{layer}/{module}")]
    };
    let definition = format!("fn {function}(");
    ["", "/mod", "_tests", "/tests"].iter().any(|ending| {
        places.iter().map(|place| format!("{place}{ending}.rs")).any(|file| {
            sources.contains(&file)
                && std::fs::read_to_string(root().join(&file)).unwrap().contains(&definition)
        })
    })
}

#[test]
fn every_named_test_exists() {
    let (document, sources) = (text(DOCUMENT), sources());
    let names = named(&document);
    assert!(names.len() > 20, "the scorecard names its tests, and not only {}", names.len());
    let gone: Vec<_> = names.into_iter().filter(|name| !exists(name, &sources)).collect();
    assert!(gone.is_empty(), "{DOCUMENT} names tests that are not there: {gone:#?}");
}

#[test]
fn every_requirement_that_is_met_names_a_test() {
    let document = text(DOCUMENT);
    let rows = document.lines().filter(|line| line.contains("| met |"));
    let bare: Vec<_> = rows.filter(|row| named(row).is_empty()).collect();
    assert!(bare.is_empty(), "met, but by which test? {bare:#?}");
}

#[test]
fn a_name_that_is_not_there_is_found_out() {
    let sources = sources();
    assert!(exists("docs::scorecard::every_named_test_exists", &sources));
    assert!(exists("unit::decide::tcp::tests::handshake", &sources));
    assert!(!exists("docs::scorecard::nobody_wrote_this", &sources));
    assert!(!exists("netns::scorecard::every_named_test_exists", &sources));
}
