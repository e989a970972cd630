//! The lab's lessons, walked through as they stand in `docs/lab.md`, and taken away.

use std::path::Path;
use std::process::Command;

use bridgefwd_tests::bridgefwd::binary;
use bridgefwd_tests::needs_root;

use crate::schemas::check;

/// Runs `bridgefwd lab LESSON ARGS`, and returns its output.
fn lab(lesson: &str, args: &[&str]) -> String {
    let output = Command::new(binary()).args(["lab", lesson]).args(args).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{lesson} {args:?}: {errors}\n{text}");
    text
}

/// Namespaces of that lesson that are there.
fn left(lesson: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/run/netns") else { return Vec::new() };
    let names =
        entries.map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(&format!("lab-{lesson}-"))).collect()
}

/// Takes the lesson away, however the test ends.
struct Gone(&'static str);

impl Drop for Gone {
    fn drop(&mut self) {
        // A failure here would hide the one that matters.
        let _ = Command::new(binary()).args(["lab", self.0, "down"]).output();
    }
}

/// Walks through it; what it types and what it says must be in the document, in that order.
fn walk(lesson: &'static str) {
    let _gone = Gone(lesson);
    let steps = lab(lesson, &["walk", "--json"]);
    let steps: serde_json::Value = serde_json::from_str(&steps).expect("JSON");
    check("lab-walk", &steps);
    let steps = steps.as_array().expect("an array");
    assert!(steps.len() > 8);
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/lab.md");
    let document = std::fs::read_to_string(document).expect("docs/lab.md");
    let title = format!("\n## `lab {lesson}`\n");
    let section = document.split(&title).nth(1).expect("its section");
    let mut lines = section.split("\n## ").next().expect("the section").lines();
    let mut says = |what: String| {
        assert!(lines.any(|line| line.trim() == what), "docs/lab.md, {lesson}: not there: {what}");
    };
    for step in steps {
        assert_eq!(step["holds"], true, "{step:#}");
        for ran in step["ran"].as_array().expect("an array") {
            let command = ran["command"].as_str().expect("text").trim();
            says(format!("$ {}", command.lines().next().expect("a line")));
        }
        match step["means"].as_str().expect("text") {
            "" => {}
            means => says(format!("\u{2713} {means}")),
        }
    }
    assert!(!left(lesson).is_empty(), "it stays");
    lab(lesson, &["down"]);
    assert_eq!(left(lesson), [""; 0]);
    // What `up` makes alone is whole.
    let up = lab(lesson, &["up"]);
    assert!(up.contains("It is up") && !up.contains('\u{2713}'), "{up}");
    assert!(lab(lesson, &["up"]).contains("already"));
    lab(lesson, &["down"]);
    assert_eq!(left(lesson), [""; 0]);
}

macro_rules! lessons {
    ($($name:ident),*) => {
        $(
            #[test]
            fn $name() {
                needs_root!();
                walk(stringify!($name));
            }
        )*
    };
}

lessons!(namespaces, bridge, modes, isolation, nat);
