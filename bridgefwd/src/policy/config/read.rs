//! From the file's text to values, by way of its tables with their places; every mistake is told, not
//! the first alone.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::ops::{Range, RangeInclusive};

use bridgefwd_common::contract::Unlisted;
use toml_edit::{Document, Item, Key, TableLike};

use super::Config;
use super::mistakes::{Mistake, line_of, shown};
use crate::audit::{DEFAULT_SIZE_MB, Place, SIZES_MB};
use crate::meant::meant;
use crate::policy::setup::{MAX_FLOWS, Overrides};
use crate::policy::timers::{self, TimerChanges};
use crate::policy::{DockerChoice, listen};

/// Keys of the file.
const KEYS: [&str; 12] = [
    "bridges",
    "uplinks",
    "docker",
    "unlisted",
    "ports",
    "direct",
    "max_flows",
    "flows_per_source",
    "timers",
    "api",
    "audit",
    "pair",
];
/// Keys of `[api]`.
const API_KEYS: [&str; 3] = ["socket", "metrics", "metrics_hosts"];
/// Keys of `[audit]`.
const AUDIT_KEYS: [&str; 2] = ["path", "size_mb"];

/// A name, with where it is.
pub(super) struct Named {
    pub name: String,
    pub line: usize,
}

pub(super) struct Reader {
    /// Where lines end: a file has thousands of places whose line is asked for.
    line_ends: Vec<usize>,
    pub mistakes: Vec<Mistake>,
}

/// Reads the text of a file.
///
/// # Errors
///
/// Every mistake.
pub fn read(text: &str, overrides: &Overrides) -> Result<Config, Vec<Mistake>> {
    let document = Document::parse(text).map_err(|error| {
        let line = line_of(text, error.span().map_or(0, |span| span.start));
        vec![Mistake { line, key: String::new(), what: syntax(error.message()) }]
    })?;
    let line_ends = text.match_indices('\n').map(|(at, _)| at).collect();
    let mut reader = Reader { line_ends, mistakes: Vec::new() };
    let config = reader.config(document.as_table(), overrides);
    if reader.mistakes.is_empty() { Ok(config) } else { Err(reader.mistakes) }
}

/// The library's words, in a line.
fn syntax(message: &str) -> String {
    let lines: Vec<_> = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    format!("this is no TOML: {}", lines.join(", "))
}

impl Reader {
    fn config(&mut self, table: &dyn TableLike, overrides: &Overrides) -> Config {
        self.known_keys(table, "", &KEYS);
        let bridges = self.names(table, "bridges", "bridges");
        let uplinks = self.names(table, "uplinks", "uplinks");
        for uplink in &uplinks {
            if bridges.iter().any(|bridge| bridge.name == uplink.name) {
                let what = format!("{} is in bridges already", uplink.name);
                self.wrong(uplink.line, "uplinks", what);
            }
        }
        // Of a list that is wrong nobody knows who is in it.
        let ends_known = self.mistakes.is_empty();
        let names = |ends: &[Named]| ends.iter().map(|end| end.name.clone()).collect::<Vec<_>>();
        let (bridges, uplinks) = (names(&bridges), names(&uplinks));
        let mut config = Config {
            docker: self.docker(table),
            unlisted: self.value(table, "unlisted", "unlisted", |item| match item.as_str() {
                Some("kernel") => Ok(Unlisted::Kernel),
                Some("deny") => Ok(Unlisted::Deny),
                _ => Err("\"kernel\" or \"deny\""),
            }),
            ports: self.boolean(table, "ports", "ports"),
            direct: self.boolean(table, "direct", "direct"),
            max_flows: self.number(table, "max_flows", MAX_FLOWS),
            flows_per_source: self
                .number(table, "flows_per_source", 1..=u32::MAX)
                .and_then(NonZero::new),
            timers: self.timers(table),
            socket: None,
            metrics: None,
            metrics_hosts: Vec::new(),
            audit: self.audit(table),
            pairs: BTreeMap::new(),
            bridges,
            uplinks,
        };
        self.api(table, &mut config);
        let known = |named: &[String], of_file: &[String]| {
            if named.is_empty() { of_file.to_vec() } else { named.to_vec() }
        };
        let ends = [
            known(&overrides.bridges, &config.bridges),
            known(&overrides.uplinks, &config.uplinks),
        ]
        .concat();
        // Where no bridge is named all are ends that there are, which only the host knows.
        let named = !(overrides.bridges.is_empty() && config.bridges.is_empty());
        self.pairs(table, (ends_known && named).then_some(&ends), &mut config);
        config
    }

    fn docker(&mut self, table: &dyn TableLike) -> Option<DockerChoice> {
        self.value(table, "docker", "docker", |item| {
            let text = match item.as_bool() {
                Some(true) => Some("auto"),
                Some(false) => Some("no"),
                None => item.as_str(),
            };
            match text.map(str::parse) {
                Some(Ok(DockerChoice::Socket(path))) if path.is_relative() => None,
                Some(Ok(choice)) => Some(choice),
                _ => None,
            }
            .ok_or("\"auto\", \"no\", or the absolute path of a socket in quotes")
        })
    }

    fn api(&mut self, table: &dyn TableLike, config: &mut Config) {
        let Some(api) = self.table(table, "api") else { return };
        self.known_keys(api, "api.", &API_KEYS);
        config.socket = self.value(api, "socket", "api.socket", |item| match item.as_str() {
            Some(path) if path.starts_with('/') && !has_odd(path, ' ') => Ok(path.into()),
            _ => Err("an absolute path in quotes"),
        });
        config.metrics = self.value(api, "metrics", "api.metrics", |item| {
            let port = item.as_integer().map(|port| port.to_string());
            let at = port.as_deref().or(item.as_str()).and_then(|text| listen::parse(text).ok());
            at.ok_or("a port, or \"ADDRESS:PORT\"")
        });
        let hosts = self.names(api, "metrics_hosts", "api.metrics_hosts");
        config.metrics_hosts = hosts.into_iter().map(|host| host.name).collect();
    }

    /// The audit log: none where there is no such table.
    fn audit(&mut self, table: &dyn TableLike) -> Option<Place> {
        let audit = self.table(table, "audit")?;
        self.known_keys(audit, "audit.", &AUDIT_KEYS);
        let path = self.value(audit, "path", "audit.path", |item| match item.as_str() {
            Some(path) if path.starts_with('/') && !has_odd(path, ' ') => Ok(path.into()),
            _ => Err("an absolute path in quotes"),
        });
        let size_mb = self.value(audit, "size_mb", "audit.size_mb", |item| {
            let size = item.as_integer().and_then(|size| u32::try_from(size).ok());
            size.filter(|size| SIZES_MB.contains(size)).ok_or("a number of MiB, from 1 to 1048576")
        });
        if path.is_none() && audit.get("path").is_none() {
            let line = self.line(table.get_key_value("audit").and_then(|(at, _)| Key::span(at)));
            self.wrong(line, "audit.path", "is missing: say `path = \"/FILE\"`".into());
        }
        Some(Place::new(path?, size_mb.unwrap_or(DEFAULT_SIZE_MB)))
    }

    /// A list of names, each once.
    fn names(&mut self, table: &dyn TableLike, key: &str, path: &str) -> Vec<Named> {
        let Some((at, item)) = table.get_key_value(key) else { return Vec::new() };
        let line = self.line(at.span());
        let Some(list) = item.as_array() else {
            self.not(line, path, item, "a list as [\"shop_front\", \"shop_db\"]");
            return Vec::new();
        };
        let mut ends: Vec<Named> = Vec::new();
        for value in list {
            let line = self.line(value.span());
            let Some(name) = value.as_str() else {
                self.wrong(line, path, format!("write names in quotes, not {}", shown(value)));
                continue;
            };
            if let Some(why) = bad_name(name) {
                self.wrong(line, path, why);
            } else if let Some(earlier) = ends.iter().find(|end| end.name == name) {
                self.wrong(
                    line,
                    path,
                    format!("{name} is named twice, first in line {}", earlier.line),
                );
            } else {
                ends.push(Named { name: name.into(), line });
            }
        }
        ends
    }

    fn timers(&mut self, table: &dyn TableLike) -> TimerChanges {
        let mut changes = TimerChanges::default();
        let Some(table) = self.table(table, "timers") else { return changes };
        let names: Vec<_> = timers::names().collect();
        self.known_keys(table, "timers.", &names);
        for name in names {
            let Some((at, item)) = table.get_key_value(name) else { continue };
            let line = self.line(at.span());
            let key = format!("timers.{name}");
            let text = item.as_integer().map(|seconds| seconds.to_string());
            match text.as_deref().or(item.as_str()).map(timers::seconds) {
                // Its name is one: it comes from the list of them.
                Some(Ok(seconds)) => changes.set(name, seconds).unwrap_or_default(),
                Some(Err(why)) => self.wrong(line, &key, why),
                None => self.not(line, &key, item, "seconds, or a duration as \"2h4m\""),
            }
        }
        changes
    }

    pub(super) fn boolean(&mut self, table: &dyn TableLike, key: &str, path: &str) -> Option<bool> {
        self.value(table, key, path, |item| item.as_bool().ok_or("true or false"))
    }

    fn number(
        &mut self,
        table: &dyn TableLike,
        key: &str,
        range: RangeInclusive<u32>,
    ) -> Option<u32> {
        let number = self.value(table, key, key, |item| item.as_integer().ok_or("a number"))?;
        let fits = u32::try_from(number).ok().filter(|number| range.contains(number));
        if fits.is_none()
            && let Some((at, _)) = table.get_key_value(key)
        {
            let (line, (first, last)) = (self.line(at.span()), range.into_inner());
            self.wrong(line, key, format!("{number} is out of range: from {first} to {last}"));
        }
        fits
    }

    fn table<'a>(&mut self, table: &'a dyn TableLike, key: &str) -> Option<&'a dyn TableLike> {
        let (at, item) = table.get_key_value(key)?;
        let found = item.as_table_like();
        if found.is_none() {
            let line = self.line(at.span());
            self.not(line, key, item, &format!("a table: [{key}]"));
        }
        found
    }

    /// A key's value, or the mistake that it should have been `Err`.
    pub(super) fn value<T>(
        &mut self,
        table: &dyn TableLike,
        key: &str,
        path: &str,
        take: impl FnOnce(&Item) -> Result<T, &'static str>,
    ) -> Option<T> {
        let (at, item) = table.get_key_value(key)?;
        take(item)
            .map_err(|instead| {
                let line = self.line(at.span());
                self.not(line, path, item, instead);
            })
            .ok()
    }

    pub(super) fn known_keys(&mut self, table: &dyn TableLike, prefix: &str, known: &[&str]) {
        for (name, _) in table.iter().filter(|(name, _)| !known.contains(name)) {
            let line = self.line(table.get_key_value(name).and_then(|(at, _)| Key::span(at)));
            let instead = match meant(name, known.iter().copied()) {
                Some(key) => format!("did you mean `{key}`?"),
                None => format!("there are: {}", known.join(", ")),
            };
            self.wrong(
                line,
                &format!("{prefix}{name}"),
                format!("there is no such key; {instead}"),
            );
        }
    }

    pub(super) fn not(&mut self, line: usize, key: &str, item: &Item, instead: &str) {
        let found = item.as_value().map_or_else(|| "a table".into(), shown);
        self.wrong(line, key, format!("write {instead}, not {found}"));
    }

    pub(super) fn wrong(&mut self, line: usize, key: &str, what: String) {
        // What was not shown as it is must not come to the terminal by the name of a key.
        let key = key.escape_debug().to_string();
        self.mistakes.push(Mistake { line, key, what });
    }

    pub(super) fn line(&self, span: Option<Range<usize>>) -> usize {
        let byte = span.map_or(0, |span| span.start);
        self.line_ends.partition_point(|&end| end < byte) + 1
    }
}

/// Why this cannot be the name of an end.
pub(super) fn bad_name(name: &str) -> Option<String> {
    (name.is_empty() || has_odd(name, '/')).then(|| format!("{name:?} is no name"))
}

/// Does it have characters that are never in names, or `other`?
fn has_odd(text: &str, other: char) -> bool {
    text.chars().any(|letter| letter == other || letter.is_whitespace() || letter.is_control())
}
