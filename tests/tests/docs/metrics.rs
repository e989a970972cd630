//! docs/metrics.md lists the metrics as they are, and the dashboard asks for none that is not there.

use std::collections::BTreeSet;

use bridgefwd::metrics::{FAMILIES, Family, Kind, PREFIX};

use super::text;

/// The row of a metric.
fn row(family: &Family) -> String {
    let kind = match family.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Info => "info",
    };
    let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
    format!("| `{}` | {kind} | {} | {} |", family.full_name(), labels.join(", "), family.help)
}

#[test]
fn are_listed_as_they_are() {
    let document = text("docs/metrics.md");
    let prefix = format!("| `{PREFIX}_");
    let listed: Vec<&str> = document.lines().filter(|line| line.starts_with(&prefix)).collect();
    let expected: Vec<String> = FAMILIES.iter().map(row).collect();
    assert_eq!(listed, expected, "the table should be:\n{}", expected.join("\n"));
}

/// Every name of a metric in a text.
fn named(text: &str) -> BTreeSet<String> {
    let prefix = format!("{PREFIX}_");
    let rest = text.split(&prefix).skip(1);
    rest.map(|rest| {
        let end = rest.find(|it: char| !(it.is_ascii_lowercase() || it == '_'));
        format!("{prefix}{}", &rest[..end.unwrap_or(rest.len())])
    })
    .collect()
}

#[test]
fn are_there_where_documents_and_the_dashboard_name_them() {
    let names: BTreeSet<String> = FAMILIES.iter().map(Family::full_name).collect();
    let mut asked = BTreeSet::new();
    for path in ["docs/metrics.md", "docs/grafana/bridgefwd.json"] {
        asked.extend(named(&text(path)));
    }
    let unknown: Vec<_> = asked.difference(&names).collect();
    assert!(unknown.is_empty(), "there are no such metrics: {unknown:?}");
    let dashboard = named(&text("docs/grafana/bridgefwd.json"));
    assert!(dashboard.len() > 12, "{dashboard:?}");
}

#[test]
fn a_name_ends_where_it_ends() {
    let found = named("sum(bridgefwd_a_total{x=\"bridgefwd_b\"}) bridgefwd_c");
    assert_eq!(found, ["bridgefwd_a_total", "bridgefwd_b", "bridgefwd_c"].map(String::from).into());
}
