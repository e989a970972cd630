//! From the file's text to values, by way of its tables with their places; every mistake is told, not
//! the first alone.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::num::NonZero;
use std::ops::{Range, RangeInclusive};

use bridgefwd_common::contract::{Family, Unlisted};
use toml_edit::{Document, Item, Key, TableLike};

use super::Config;
use super::mistakes::{Mistake, line_of, meant, shown};
use crate::policy::listen;
use crate::policy::setup::{MAX_FLOWS, Overrides};
use crate::policy::timers::{self, TimerChanges};
use crate::policy::{Nat, PairNat, PairSetup};

/// Keys of the file.
const KEYS: [&str; 9] = [
    "bridges",
    "uplinks",
    "unlisted",
    "ports",
    "max_flows",
    "flows_per_source",
    "timers",
    "api",
    "pair",
];
/// Keys of `[api]`.
const API_KEYS: [&str; 3] = ["socket", "metrics", "metrics_hosts"];
/// Keys of a `[[pair]]`.
const PAIR_KEYS: [&str; 7] = ["from", "to", "state", "nat", "nat6", "mapping", "drain"];

/// A pair in the file, with where it is.
struct Listed {
    from: Named,
    to: Named,
    setup: PairSetup,
    line: usize,
}

/// A name, with where it is.
struct Named {
    name: String,
    line: usize,
}

struct Reader<'a> {
    text: &'a str,
    mistakes: Vec<Mistake>,
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
    let mut reader = Reader { text, mistakes: Vec::new() };
    let config = reader.config(document.as_table(), overrides);
    if reader.mistakes.is_empty() { Ok(config) } else { Err(reader.mistakes) }
}

/// The library's words, in a line.
fn syntax(message: &str) -> String {
    let lines: Vec<_> = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    format!("this is no TOML: {}", lines.join(", "))
}

impl Reader<'_> {
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
            unlisted: self.value(table, "unlisted", "unlisted", |item| match item.as_str() {
                Some("kernel") => Ok(Unlisted::Kernel),
                Some("deny") => Ok(Unlisted::Deny),
                _ => Err("\"kernel\" or \"deny\""),
            }),
            ports: self.boolean(table, "ports", "ports"),
            max_flows: self.number(table, "max_flows", MAX_FLOWS),
            flows_per_source: self
                .number(table, "flows_per_source", 1..=u32::MAX)
                .and_then(NonZero::new),
            timers: self.timers(table),
            socket: None,
            metrics: None,
            metrics_hosts: Vec::new(),
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
        self.pairs(table, ends_known.then_some(&ends), &mut config);
        config
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

    fn pairs(&mut self, table: &dyn TableLike, ends: Option<&Vec<String>>, config: &mut Config) {
        let Some((at, item)) = table.get_key_value("pair") else { return };
        let mut tables: Vec<(&dyn TableLike, Option<Range<usize>>)> = Vec::new();
        if let Some(list) = item.as_array_of_tables() {
            tables.extend(list.iter().map(|table| (table as &dyn TableLike, table.span())));
        } else if let Some(list) = item.as_array()
            && list.iter().all(toml_edit::Value::is_inline_table)
        {
            let inline = list.iter().filter_map(|value| value.as_inline_table());
            tables.extend(inline.map(|table| (table as &dyn TableLike, table.span())));
        } else {
            let line = self.line(at.span());
            self.wrong(line, "pair", "begin each pair with [[pair]]".into());
            return;
        }
        let mut lines = BTreeMap::new();
        for (table, span) in tables {
            let line = self.line(span);
            let Some(pair) = self.pair(table, line) else { continue };
            for (key, end) in [("pair.from", &pair.from), ("pair.to", &pair.to)] {
                if let Some(ends) = ends.filter(|ends| !ends.contains(&end.name)) {
                    let what = unknown_end(&end.name, ends);
                    self.wrong(end.line, key, what);
                }
            }
            let Listed { from, to, setup, line } = pair;
            if from.name == to.name {
                let what =
                    format!("{0} -> {0} is no pair: a pair leads from one end to another", to.name);
                self.wrong(to.line, "pair.to", what);
            }
            let ends = (from.name, to.name);
            match lines.insert(ends.clone(), (line, setup.allow)) {
                Some((earlier, allow)) => {
                    let what = listed_twice(&ends, earlier, allow, setup.allow);
                    self.wrong(line, "pair", what);
                }
                None => drop(config.pairs.insert(ends, setup)),
            }
        }
    }

    /// One pair; `None` where it does not say between whom, or says something wrong.
    fn pair(&mut self, table: &dyn TableLike, line: usize) -> Option<Listed> {
        let before = self.mistakes.len();
        self.known_keys(table, "pair.", &PAIR_KEYS);
        let (from, to) = (self.end(table, "from", line), self.end(table, "to", line));
        let allow = self.value(table, "state", "pair.state", |item| match item.as_str() {
            Some("allowed") => Ok(true),
            Some("denied") => Ok(false),
            _ => Err("\"allowed\" or \"denied\""),
        });
        let default = PairNat::default();
        let nat = PairNat {
            v4: self
                .parsed(table, "nat", |text| Nat::parse(text, Family::V4))
                .unwrap_or(default.v4),
            v6: self
                .parsed(table, "nat6", |text| Nat::parse(text, Family::V6))
                .unwrap_or(default.v6),
            mapping: self.parsed(table, "mapping", str::parse).unwrap_or(default.mapping),
        };
        let drain = self.boolean(table, "drain", "pair.drain").unwrap_or(false);
        let setup = PairSetup { allow: allow.unwrap_or(true), nat, drain };
        let listed = Listed { from: from?, to: to?, setup, line };
        (self.mistakes.len() == before).then_some(listed)
    }

    fn end(&mut self, table: &dyn TableLike, key: &str, line: usize) -> Option<Named> {
        let path = format!("pair.{key}");
        let Some((at, item)) = table.get_key_value(key) else {
            self.wrong(line, &path, format!("is missing: say `{key} = \"NAME\"`"));
            return None;
        };
        let line = self.line(at.span());
        match item.as_str() {
            Some(name) => match bad_name(name) {
                Some(why) => self.wrong(line, &path, why),
                None => return Some(Named { name: name.into(), line }),
            },
            None => self.not(line, &path, item, "a name in quotes"),
        }
        None
    }

    /// What a pair's key says in words of its own.
    fn parsed<T, E: Display>(
        &mut self,
        table: &dyn TableLike,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let (at, item) = table.get_key_value(key)?;
        let (line, path) = (self.line(at.span()), format!("pair.{key}"));
        match item.as_str().map(parse) {
            Some(Ok(value)) => return Some(value),
            Some(Err(why)) => self.wrong(line, &path, why.to_string()),
            None => self.not(line, &path, item, "text in quotes"),
        }
        None
    }

    fn boolean(&mut self, table: &dyn TableLike, key: &str, path: &str) -> Option<bool> {
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
    fn value<T>(
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

    fn known_keys(&mut self, table: &dyn TableLike, prefix: &str, known: &[&str]) {
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

    fn not(&mut self, line: usize, key: &str, item: &Item, instead: &str) {
        let found = item.as_value().map_or_else(|| "a table".into(), shown);
        self.wrong(line, key, format!("write {instead}, not {found}"));
    }

    fn wrong(&mut self, line: usize, key: &str, what: String) {
        // What was not shown as it is must not come to the terminal by the name of a key.
        let key = key.escape_debug().to_string();
        self.mistakes.push(Mistake { line, key, what });
    }

    fn line(&self, span: Option<Range<usize>>) -> usize {
        line_of(self.text, span.map_or(0, |span| span.start))
    }
}

/// Why this cannot be the name of an end.
fn bad_name(name: &str) -> Option<String> {
    (name.is_empty() || has_odd(name, '/')).then(|| format!("{name:?} is no name"))
}

/// Does it have characters that are never in names, or `other`?
fn has_odd(text: &str, other: char) -> bool {
    text.chars().any(|letter| letter == other || letter.is_whitespace() || letter.is_control())
}

fn unknown_end(name: &str, ends: &[String]) -> String {
    let instead = match meant(name, ends.iter().map(String::as_str)) {
        Some(end) => format!("did you mean {end}?"),
        None if ends.is_empty() => "list it there".into(),
        None => format!("there are: {}", ends.join(", ")),
    };
    format!("{name} is neither in bridges nor in uplinks; {instead}")
}

fn listed_twice((from, to): &(String, String), earlier: usize, was: bool, is: bool) -> String {
    let state = |allow| if allow { "allowed" } else { "denied" };
    if was == is {
        format!("{from} -> {to} is listed twice, first in line {earlier}")
    } else {
        format!("{from} -> {to} is {} here and {} in line {earlier}", state(is), state(was))
    }
}
