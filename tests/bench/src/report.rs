//! What is said of a measurement: tables for people, JSON for programs, and where both are kept.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, ContentArrangement};
use serde::Serialize;
use serde_json::{Value, json};

use crate::Options;
use crate::chart::Chart;
use crate::machine::Machine;

/// A table in Markdown, with figures to the right.
#[derive(Debug)]
pub struct Table(comfy_table::Table);

impl Table {
    /// With these headings.
    pub fn new(header: Vec<String>) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
        let columns = header.len();
        table.set_header(header);
        for column in 1..columns {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        Self(table)
    }

    /// One more row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.0.add_row(cells);
    }
}

/// Of one measurement.
#[derive(Debug)]
pub struct Report {
    name: &'static str,
    commit: String,
    machine: Machine,
    text: String,
    json: Value,
    charts: Vec<Chart>,
}

impl Report {
    /// Of these results.
    pub fn new(name: &'static str, options: &Options, results: &impl Serialize) -> Self {
        let machine = options.machine.clone();
        let json = json!({
            "bench": name,
            "commit": options.commit,
            "quick": options.quick,
            "seed": options.seed,
            "machine": machine,
            "results": results,
        });
        Self {
            name,
            commit: options.commit.clone(),
            machine,
            text: String::new(),
            json,
            charts: Vec::new(),
        }
    }

    /// A paragraph.
    pub fn text(&mut self, text: &str) {
        self.text += &format!("{text}\n\n");
    }

    /// A table.
    pub fn table(&mut self, table: Table) {
        self.text += &format!("{}\n\n", table.0.trim_fmt());
    }

    /// A chart, drawn when the report is kept.
    pub fn chart(&mut self, chart: Chart) {
        self.charts.push(chart);
    }

    /// Prints it, and keeps it in `folder`: `NAME.json`, `NAME.md` and the charts.
    ///
    /// # Errors
    ///
    /// Where a file cannot be written.
    pub fn keep(&self, folder: &std::path::Path) -> anyhow::Result<()> {
        let made = format!("Commit {}. {}.", self.commit, self.machine.line());
        println!("\n{made}\n\n{}", self.text.trim_end());
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let file = |ending: &str| -> PathBuf { folder.join(format!("{}.{ending}", self.name)) };
        let write = |path: PathBuf, text: String| {
            fs::write(&path, text).with_context(|| path.display().to_string())
        };
        write(file("json"), serde_json::to_string_pretty(&self.json)? + "\n")?;
        write(file("md"), format!("{made}\n\n{}\n", self.text.trim_end()))?;
        for chart in &self.charts {
            let path = folder.join(format!("{}.svg", chart.name));
            write(path, chart.svg(&self.commit)?)?;
        }
        eprintln!("kept in {}: {1}.json, {1}.md", folder.display(), self.name);
        Ok(())
    }
}
