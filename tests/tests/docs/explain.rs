//! What docs/explain.md shows of `bridgefwd explain` is what it prints.

use std::process::Command;

use bridgefwd_tests::bridgefwd::binary;

use super::{root, text};

/// Where the document's files are.
const FILES: &str = "bridgefwd/src/explain/testdata";

/// The commands of a document with what it shows of each: indented by four blanks, the command
/// after `$ `.
fn shown(document: &str) -> Vec<(String, String)> {
    let mut shown: Vec<(String, String)> = Vec::new();
    let mut inside = false;
    for line in document.lines() {
        match line.strip_prefix("    ") {
            Some(code) => match (code.strip_prefix("$ "), shown.last_mut()) {
                (Some(command), _) => {
                    shown.push((command.into(), String::new()));
                    inside = true;
                }
                (None, Some((_, output))) if inside => {
                    output.push_str(code);
                    output.push('\n');
                }
                _ => {}
            },
            // Within what is printed there can be empty lines.
            None if line.is_empty() && inside => {
                if let Some((_, output)) = shown.last_mut() {
                    output.push('\n');
                }
            }
            None => inside = false,
        }
    }
    shown.into_iter().map(|(command, output)| (command, output.trim_end().to_owned())).collect()
}

#[test]
fn shows_what_is_printed() {
    let shown = shown(&text("docs/explain.md"));
    assert!(shown.len() >= 4, "only {} commands are shown", shown.len());
    for (command, expected) in shown {
        let words: Vec<&str> = command.split(' ').collect();
        let ["bridgefwd", args @ ..] = &words[..] else { panic!("{command}") };
        let output = Command::new(binary())
            .args(args)
            .current_dir(root().join(FILES))
            .output()
            .expect("started");
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(printed.trim_end(), expected, "$ {command}");
    }
}

#[test]
fn commands_are_told_from_what_they_print() {
    let document = "text\n\n    $ bridgefwd a\n    one\n\n    two\n\ntext\n\n    not shown\n\n    $ bridgefwd b\n";
    let expected = [("bridgefwd a", "one\n\ntwo"), ("bridgefwd b", "")];
    let expected = expected.map(|(command, output)| (command.to_owned(), output.to_owned()));
    assert_eq!(shown(document), expected);
}
