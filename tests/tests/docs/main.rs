//! That what the documents say of the sources is so.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod explain;
mod map;
mod metrics;
mod reasons;
mod schemas;
mod scorecard;
mod screens;

use std::path::{Path, PathBuf};

/// The root of the sources.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").to_owned()
}

/// A text file of the sources.
fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files that end in `.rs`, from the root on.
fn sources() -> Vec<String> {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("entry"))
        {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, root, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let path = path.strip_prefix(root).expect("below the root");
                found.push(path.to_str().expect("UTF-8").to_owned());
            }
        }
    }
    let mut found = Vec::new();
    for part in PARTS {
        walk(&root().join(part), &root(), &mut found);
    }
    found.sort();
    found
}

/// Where sources are. (Not what git lists: an unpacked archive has no git.)
const PARTS: [&str; 9] = [
    "bridgefwd-common/src",
    "bridgefwd-ebpf/src",
    "bridgefwd/src",
    "tests/bench",
    "tests/checks/src",
    "tests/fuzz/fuzz_targets",
    "tests/src",
    "tests/tests",
    "xtask/src",
];
