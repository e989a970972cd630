//! The map in ARCHITECTURE.md is the tree.
//!
//! The block after `## The map` has one path a line, indented by two spaces a level, a folder with
//! `/` at its end, and after `#` what it holds.

use std::collections::BTreeSet;

use super::{PARTS, sources, text};

/// The files that the block names, from the root on.
fn listed(block: &str) -> Vec<String> {
    let mut folders: Vec<&str> = Vec::new();
    let mut files = Vec::new();
    for line in block.lines().filter(|line| !line.trim().is_empty()) {
        let name = line.split("  # ").next().unwrap_or(line).trim_end();
        let level = (name.len() - name.trim_start().len()) / 2;
        let name = name.trim_start();
        assert!(level <= folders.len(), "no folder above: {line}");
        folders.truncate(level);
        if name.ends_with('/') {
            folders.push(name);
        } else {
            files.push(folders.concat() + name);
        }
    }
    files
}

#[test]
fn is_the_tree() {
    let document = text("ARCHITECTURE.md");
    let map = document.split("\n## The map\n").nth(1).expect("the map's section");
    let map = map.split("\n## ").next().expect("the section");
    let blocks: Vec<&str> = map.split("```").skip(1).step_by(2).collect();
    let [block] = blocks[..] else { panic!("one block, not {}", blocks.len()) };
    let block = block.strip_prefix("text\n").expect("a block of text");
    let all = listed(block);
    let files: BTreeSet<String> = all.iter().cloned().collect();
    assert_eq!(files.len(), all.len(), "a file is listed twice");
    let ours = |file: &String| PARTS.iter().any(|part| file.starts_with(&format!("{part}/")));
    let listed: BTreeSet<String> = files.into_iter().filter(ours).collect();
    let there: BTreeSet<String> = sources().into_iter().collect();
    let missing: Vec<_> = there.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&there).collect();
    assert!(missing.is_empty() && gone.is_empty(), "not in the map: {missing:#?}\ngone: {gone:#?}");
}

#[test]
fn paths_are_put_together_from_their_folders() {
    let block = "a/  # first\n  b.rs    # a file\n  c/\n    d.rs\ne/\n  f.rs\n";
    assert_eq!(listed(block), ["a/b.rs", "a/c/d.rs", "e/f.rs"]);
}
