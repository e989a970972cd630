//! The lab's lesson about a container, with a real one: as it stands in `docs/lab.md`, and taken away.

use std::path::Path;

use bridgefwd_tests::bridgefwd::{binary, output_in};
use bridgefwd_tests::docker::{Engine, EngineOptions};
use bridgefwd_tests::needs_docker;
use serde_json::Value;

#[test]
fn a_container_is_followed_from_its_process_to_its_bridge() {
    needs_docker!();
    let engine = Engine::start(EngineOptions::default());
    let lab = |args: &[&str]| {
        let mut command = engine.on_its_host(&binary());
        let output = output_in(&engine.ns, command.args(["lab", "container"]).args(args));
        assert_eq!(output.status, 0, "{args:?}: {output:?}");
        output.stdout
    };
    let before = (engine.docker(&["ps", "-aq"]), engine.docker(&["network", "ls", "-q"]));
    // What docs/lab.md is made of.
    println!("{}", lab(&["walk"]));
    let steps: Vec<Value> = serde_json::from_str(&lab(&["walk", "--json"])).expect("JSON");
    assert!(steps.len() > 6);
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/lab.md");
    let document = std::fs::read_to_string(document).expect("docs/lab.md");
    let section = document.split("\n## `lab container`\n").nth(1).expect("its section");
    let mut lines = section.split("\n## ").next().expect("the section").lines();
    let mut says = |what: String| {
        assert!(lines.any(|line| line.trim() == what), "docs/lab.md: not there: {what}");
    };
    for step in &steps {
        assert_eq!(step["holds"], true, "{step:#}");
        for ran in step["ran"].as_array().expect("an array") {
            says(format!("$ {}", ran["command"].as_str().expect("text").trim()));
        }
        match step["means"].as_str().expect("text") {
            "" => {}
            means => says(format!("\u{2713} {means}")),
        }
    }
    assert!(engine.docker(&["ps"]).contains("lab-container-web"), "it stays");
    assert!(lab(&["up"]).contains("already"));
    lab(&["down"]);
    let after = (engine.docker(&["ps", "-aq"]), engine.docker(&["network", "ls", "-q"]));
    assert_eq!(before, after);
    assert_eq!(engine.docker(&["image", "ls", "-q", "lab-container"]), "");
    lab(&["down"]);
}
