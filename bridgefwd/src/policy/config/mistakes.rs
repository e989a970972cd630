//! What is wrong with a configuration file, by line and key.

use std::path::Path;

use crate::failure::Failure;

/// One mistake.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mistake {
    /// Where it is, from 1.
    pub line: usize,
    /// The key as one would search for it, `pair.nat`; empty where there is none.
    pub key: String,
    /// What is wrong, and what to write instead.
    pub what: String,
}

impl Mistake {
    fn text(&self) -> String {
        let Self { line, key, what } = self;
        if key.is_empty() {
            format!("line {line}: {what}")
        } else {
            format!("line {line}: {key}: {what}")
        }
    }
}

/// All mistakes of a file, in its order.
#[must_use]
pub fn failure(mut mistakes: Vec<Mistake>, path: &Path) -> Failure {
    mistakes.sort_by_key(|mistake| mistake.line);
    let path = path.display();
    Failure::usage(match &mistakes[..] {
        [only] => format!("{path}, {}", only.text()),
        many => {
            let lines: Vec<_> = many.iter().map(Mistake::text).collect();
            format!("{path} has {} mistakes:\n  {}", many.len(), lines.join("\n  "))
        }
    })
}

/// The line of a byte, from 1.
#[must_use]
pub fn line_of(text: &str, byte: usize) -> usize {
    text.bytes().take(byte).filter(|&byte| byte == b'\n').count() + 1
}

/// A value as the file has it, cut short.
#[must_use]
pub fn shown(value: &toml_edit::Value) -> String {
    const LONGEST: usize = 40;
    let mut value = value.clone();
    value.decor_mut().clear();
    let text: String = value
        .to_string()
        .chars()
        .flat_map(|letter| match letter {
            '\n' | '\r' | '\t' => vec![' '],
            _ if letter.is_control() => letter.escape_default().collect(),
            _ => vec![letter],
        })
        .collect();
    if text.chars().count() > LONGEST {
        text.chars().take(LONGEST).chain("...".chars()).collect()
    } else {
        text
    }
}
