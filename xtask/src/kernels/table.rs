//! What came of each kernel, as the tables of docs/kernels.md.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What came of one kernel.
#[derive(Debug, Default)]
pub struct Row {
    release: String,
    attach: String,
    /// Instructions that the verifier looked at, by program.
    programs: BTreeMap<String, String>,
    /// What came of each layer.
    layers: Vec<(String, String)>,
}

impl Row {
    /// A kernel of which nothing is known yet.
    pub fn new(release: &str) -> Self {
        Self { release: release.to_owned(), ..Self::default() }
    }

    /// A line of the loader: `program NAME INSTRUCTIONS`, or `attach KIND`.
    pub fn line(&mut self, line: &str) {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            ["program", name, instructions] => {
                self.programs.insert(name.to_owned(), instructions.to_owned());
            }
            ["attach", kind] => kind.clone_into(&mut self.attach),
            _ => {}
        }
    }

    /// What came of a layer.
    pub fn layer(&mut self, name: &str, counts: &str) {
        self.layers.push((name.to_owned(), counts.to_owned()));
    }
}

/// All kernels.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Row>,
}

impl Table {
    /// One more.
    pub fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Two tables in Markdown: the kernels with their layers, and the programs with their instructions.
    pub fn text(&self) -> String {
        let mut text = String::from(
            "| kernel | attached by | bytecode | netns |\n| --- | --- | --- | --- |\n",
        );
        for row in &self.rows {
            let layer = |name: &str| {
                let found = row.layers.iter().find(|(layer, _)| layer == name);
                found.map_or("did not run", |(_, counts)| counts)
            };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} |",
                row.release,
                row.attach,
                layer("bytecode"),
                layer("netns")
            );
        }
        let kernels: Vec<_> = self.rows.iter().map(|row| &*row.release).collect();
        let _ = writeln!(text, "\n| program | {} |", kernels.join(" | "));
        let _ = writeln!(text, "| --- |{}", " ---: |".repeat(kernels.len()));
        let names: std::collections::BTreeSet<_> =
            self.rows.iter().flat_map(|row| row.programs.keys()).collect();
        for name in names {
            let counts =
                self.rows.iter().map(|row| row.programs.get(name).map_or("-", |count| count));
            let counts: Vec<_> = counts.collect();
            let _ = writeln!(text, "| `{name}` | {} |", counts.join(" | "));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_a_row_and_a_program_too() {
        let mut row = Row::new("5.10.0");
        row.line("attach clsact");
        row.line("program bridgefwd 301411");
        row.line("something else that a kernel says");
        row.layer("bytecode", "3 passed, 0 failed, 1 skipped");
        let mut table = Table::default();
        table.add(row);
        let text = table.text();
        assert!(
            text.contains("| 5.10.0 | clsact | 3 passed, 0 failed, 1 skipped | did not run |"),
            "{text}"
        );
        assert!(text.contains("| `bridgefwd` | 301411 |"), "{text}");
    }
}
