//! The pairs of the file: between ends that it has, each once.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::Range;

use bridgefwd_common::contract::Family;
use toml_edit::TableLike;

use super::Config;
use super::read::{Named, Reader, bad_name};
use crate::meant::meant;
use crate::policy::{Nat, PairNat, PairSetup};

/// Keys of a `[[pair]]`.
const PAIR_KEYS: [&str; 7] = ["from", "to", "state", "nat", "nat6", "mapping", "drain"];

/// A pair in the file, with where it is.
struct Listed {
    from: Named,
    to: Named,
    setup: PairSetup,
    line: usize,
}

impl Reader {
    /// Takes the pairs in. Their ends must be among `ends`, where these are known.
    pub(super) fn pairs(
        &mut self,
        table: &dyn TableLike,
        ends: Option<&Vec<String>>,
        config: &mut Config,
    ) {
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
}

fn unknown_end(name: &str, ends: &[String]) -> String {
    let instead = match meant(name, ends.iter().map(String::as_str)) {
        Some(end) => format!("did you mean {end}?"),
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
