//! Every test that docs/rfc.md names is there. (That it ran, `cargo xtask test` checks.)

use std::collections::BTreeSet;

use super::{root, sources, text};

const DOCUMENT: &str = "docs/rfc.md";
const LAYERS: [&str; 7] = ["unit", "docs", "bytecode", "netns", "oracle", "cli", "watch"];

/// The names of tests in a document: in backquotes, a layer first.
fn named(document: &str) -> BTreeSet<&str> {
    let quoted = document.split('`').skip(1).step_by(2);
    quoted
        .filter(|name| name.split_once("::").is_some_and(|(layer, _)| LAYERS.contains(&layer)))
        .collect()
}

/// The macros of `tests/src/site.rs` that make tests of functions, and what they call them.
const MACROS: [(&str, &[&str]); 2] = [
    ("for_both!(", &["kernel", "bridgefwd"]),
    ("for_both_families!(", &["kernel", "bridgefwd", "kernel_ipv6", "bridgefwd_ipv6"]),
];

/// Does a macro make this test in a module `module` of its own, of a function that is called so?
fn is_made(source: &str, module: &str, test: &str) -> bool {
    let is_given = |opening: &str| {
        let calls = source.split(opening).skip(1).filter_map(|rest| rest.split(')').next());
        calls.flat_map(|names| names.split(',')).any(|name| name.trim() == module)
    };
    let of_site = MACROS.iter().any(|(opening, tests)| tests.contains(&test) && is_given(opening));
    // The oracle's modes: a row each, and the tests of a row once, in the macro.
    let rows = source.split("\nmodes! {").nth(1).and_then(|rest| rest.split('}').next());
    let is_row = |line: &str| line.trim().starts_with(&format!("{module}:"));
    of_site
        || rows.is_some_and(|rows| rows.lines().any(is_row))
            && source.contains(&format!("#[test]\n                fn {test}("))
}

/// Is there a test of that name, made by a macro? `netns::mapping::the_source_port_is_kept::kernel`.
fn exists_by_macro(name: &str, sources: &[String]) -> bool {
    let parts: Vec<&str> = name.split("::").collect();
    let [layer, file, module, test] = parts[..] else { return false };
    let file = format!("tests/tests/{layer}/{file}.rs");
    sources.contains(&file) && is_made(&text(&file), module, test)
}

/// Is this function defined there, with `#[test]` among what stands above it?
fn is_test(source: &str, definition: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    lines.iter().enumerate().any(|(at, line)| {
        let above = lines[..at].iter().rev();
        line.starts_with(definition)
            && above
                .take_while(|line| line.starts_with("#[") || line.starts_with("//"))
                .any(|line| *line == "#[test]")
    })
}

/// The file of a module that has another name: `#[path = "..."]`, then `mod NAME;`, in its parent.
fn file_by_path(parts: &[&str]) -> Option<String> {
    let (module, parent) = parts.split_last()?;
    let (_, folder) = parent.split_last()?;
    let parent = std::fs::read_to_string(root().join(format!("{}.rs", parent.join("/")))).ok()?;
    let (before, _) = parent.split_once(&format!("\"]\nmod {module};"))?;
    Some(format!("{}/{}", folder.join("/"), before.rsplit_once('"')?.1))
}

/// Is there a test of that name? `unit::decide::tcp::tests::handshake` may be in any crate.
fn exists(name: &str, sources: &[String]) -> bool {
    if exists_by_macro(name, sources) {
        return true;
    }
    let mut parts: Vec<&str> = name.split("::").collect();
    let (layer, function) = (parts.remove(0), parts.pop().expect("a name"));
    if let Some(tests) = parts.iter().position(|part| *part == "tests") {
        parts.truncate(tests);
    }
    let module = parts.join("/");
    let places: Vec<String> = if layer == "unit" {
        let crates = ["bridgefwd-common", "bridgefwd", "tests/checks", "xtask"];
        crates.map(|name| format!("{name}/src/{module}")).into()
    } else {
        vec![format!("tests/tests/{layer}/{module}")]
    };
    let definition = format!("fn {function}(");
    let endings = ["", "/mod", "_tests", "/tests"];
    let plain = places.iter().flat_map(|place| endings.map(|ending| format!("{place}{ending}.rs")));
    let by_path = places.iter().filter_map(|it| file_by_path(&it.split('/').collect::<Vec<_>>()));
    plain.chain(by_path).any(|file| sources.contains(&file) && is_test(&text(&file), &definition))
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
    assert!(exists(
        "unit::decide::tcp_window::honest::conversations_get_through_and_end",
        &sources
    ));
    assert!(!exists("unit::decide::tcp_window::honest::nobody_wrote_this", &sources));
    // Those that macros make.
    assert!(exists("netns::mapping::the_source_port_is_kept::bridgefwd_ipv6", &sources));
    assert!(exists("netns::mapping::ports_below_1024_stay_there::kernel", &sources));
    assert!(exists("oracle::modes::with_offloads::every_ipv6_case", &sources));
    assert!(!exists("netns::mapping::ports_below_1024_stay_there::kernel_ipv6", &sources));
    assert!(!exists("netns::mapping::ports_below_1024_stay_there::nobody", &sources));
    assert!(!exists("netns::mapping::nobody_wrote_this::kernel", &sources));
    assert!(!exists("netns::mapping::the_source_port_is_kept", &sources));
    assert!(!exists("oracle::modes::with_offloads::nobody_wrote_this", &sources));
    assert!(!exists("oracle::modes::nobody_wrote_this::every_ipv6_case", &sources));
}
