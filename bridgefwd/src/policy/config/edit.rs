//! Into the file's text: what runs is put where it belongs, and everything else, comments, order and
//! spelling, stays as somebody wrote it.

use std::path::Path;

use bridgefwd_common::contract::{DEFAULT_MAX_FLOWS, Family, Unlisted};
use toml_edit::{
    Array, ArrayOfTables, DocumentMut, InlineTable, Item, RawString, Table, TableLike, Value, value,
};

use super::Config;
use super::mistakes::{Mistake, failure, line_of};
use crate::audit::DEFAULT_SIZE_MB;
use crate::failure::{Failure, Result};
use crate::policy::difference::{differences, same, unlisted};
use crate::policy::listen;
use crate::policy::setup::{Overrides, Setup, default_flows_per_source};
use crate::policy::timers;
use crate::policy::{DockerChoice, Ends, Mapping, Nat, PairNat, PairSetup};

/// The text of a file, changed so that it says what `setup` is; a key that it has not and whose value
/// is the default stays away. Which control
/// socket there is belongs to who runs it, and stays.
///
/// # Errors
///
/// Where the text is not that of a configuration file, by line and key.
pub fn put(setup: &Setup, text: &str, path: &Path) -> Result<String> {
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
        let line = line_of(text, error.span().map_or(0, |span| span.start));
        let what = format!("this is no TOML: {}", error.message().trim());
        failure(vec![Mistake { line, key: String::new(), what }], path)
    })?;
    let bare = document.is_empty();
    settings(document.as_table_mut(), setup);
    let orphaned = pairs(&mut document, setup)?;
    if bare && !document.is_empty() {
        comments_first(&mut document);
    }
    if !orphaned.is_empty() {
        let trailing = document.trailing().as_str().unwrap_or_default().to_owned();
        document.set_trailing(format!("{orphaned}{trailing}"));
    }
    let mut text = document.to_string();
    if bare {
        // A table comes after a blank line, also where nothing is before it.
        text = text.trim_start_matches('\n').to_owned();
    }
    // Whatever else is in the file: what is written must be what runs.
    let none = Overrides::default();
    let written = Setup::of(&Config::parse(&text, path, &none)?, &none, DEFAULT_MAX_FLOWS);
    let written = Setup { socket: setup.socket.clone(), ..written };
    match differences(setup, &written).first() {
        None => Ok(text),
        Some(change) => Err(Failure::failed(format!(
            "{} cannot be made to say what runs ({}): name another file",
            path.display(),
            change.name
        ))),
    }
}

fn settings(table: &mut Table, setup: &Setup) {
    let default = Setup::default();
    names(table, "bridges", &setup.bridges);
    names(table, "uplinks", &setup.uplinks);
    let unlisted_of = |item: &Item| match item.as_str() {
        Some("kernel") => Some(Unlisted::Kernel),
        Some("deny") => Some(Unlisted::Deny),
        _ => None,
    };
    let docker = |item: &Item| match item.as_bool() {
        Some(true) => Some(DockerChoice::Auto),
        Some(false) => Some(DockerChoice::No),
        None => item.as_str()?.parse().ok(),
    };
    let of_docker = |docker: &DockerChoice| docker.to_string().into();
    put_value(table, "docker", &setup.docker, &default.docker, docker, of_docker);
    put_value(table, "unlisted", &setup.unlisted, &default.unlisted, unlisted_of, |&own| {
        unlisted(own).into()
    });
    put_value(table, "ports", &setup.ports, &default.ports, Item::as_bool, |&ports| ports.into());
    put_value(table, "direct", &setup.direct, &default.direct, Item::as_bool, |&on| on.into());
    let number = |item: &Item| item.as_integer().and_then(|number| u32::try_from(number).ok());
    let of_number = |&number: &u32| i64::from(number).into();
    put_value(table, "max_flows", &setup.max_flows, &default.max_flows, number, of_number);
    let share = default_flows_per_source(setup.max_flows);
    put_value(table, "flows_per_source", &setup.flows_per_source, &share, number, of_number);
    metrics(table, setup);
    audit(table, setup);
    let (own, default) =
        (timers::in_force(&setup.timeouts_s), timers::in_force(&default.timeouts_s));
    for ((name, own), (_, default)) in timers::by_name(&own).zip(timers::by_name(&default)) {
        if own == default && table.get("timers").is_none_or(|timers| timers.get(name).is_none()) {
            continue;
        }
        let timers = table.entry("timers").or_insert_with(|| Item::Table(Table::new()));
        let Some(timers) = timers.as_table_like_mut() else { continue };
        let seconds = |item: &Item| {
            let text = item.as_integer().map(|seconds| seconds.to_string());
            timers::seconds(text.as_deref().or(item.as_str())?).ok().map(u64::from)
        };
        let of_seconds = |&seconds: &u64| i64::try_from(seconds).unwrap_or(i64::MAX).into();
        put_value(timers, name, &own, &default, seconds, of_seconds);
    }
}

fn metrics(table: &mut Table, setup: &Setup) {
    let Setup { metrics, metrics_hosts, .. } = setup;
    if metrics.is_none() && metrics_hosts.is_empty() && !table.contains_key("api") {
        return;
    }
    let api = table.entry("api").or_insert_with(|| Item::Table(Table::new()));
    let Some(api) = api.as_table_like_mut() else { return };
    match metrics {
        Some(at) => {
            let read = |item: &Item| {
                let port = item.as_integer().map(|port| port.to_string());
                listen::parse(port.as_deref().or(item.as_str())?).ok().map(Some)
            };
            put_value(api, "metrics", metrics, &None, read, |_| at.to_string().into());
        }
        None => drop(api.remove("metrics")),
    }
    names(api, "metrics_hosts", metrics_hosts);
}

fn audit(table: &mut Table, setup: &Setup) {
    let Some(place) = &setup.audit else {
        table.remove("audit");
        return;
    };
    let audit = table.entry("audit").or_insert_with(|| Item::Table(Table::new()));
    let Some(audit) = audit.as_table_like_mut() else { return };
    let path = place.path.display().to_string();
    let read = |item: &Item| item.as_str().map(str::to_owned);
    put_value(audit, "path", &path, &String::new(), read, |path| path.clone().into());
    let size = |item: &Item| item.as_integer().and_then(|size| u64::try_from(size).ok());
    let of_size = |&size: &u64| i64::try_from(size).unwrap_or(i64::MAX).into();
    put_value(audit, "size_mb", &place.size_mb(), &u64::from(DEFAULT_SIZE_MB), size, of_size);
}

/// Sets a key where it says something else, or where it is not there and the default is not meant.
fn put_value<T: PartialEq>(
    table: &mut dyn TableLike,
    key: &str,
    wanted: &T,
    default: &T,
    read: impl FnOnce(&Item) -> Option<T>,
    write: impl FnOnce(&T) -> Value,
) {
    match table.get_mut(key) {
        Some(item) if read(item).as_ref() == Some(wanted) => {}
        Some(item) => {
            let mut new = write(wanted);
            if let Some(old) = item.as_value() {
                *new.decor_mut() = old.decor().clone();
            }
            *item = Item::Value(new);
        }
        None if wanted == default => {}
        None => drop(table.insert(key, value(write(wanted)))),
    }
}

/// A list of names: those that are not meant any more go, those that are missing come last.
fn names(table: &mut dyn TableLike, key: &str, wanted: &[String]) {
    if wanted.is_empty() && !table.contains_key(key) {
        return;
    }
    let item = table.entry(key).or_insert_with(|| value(Array::new()));
    if item.as_array().is_none() {
        *item = value(Array::new());
    }
    let Some(list) = item.as_array_mut() else { return };
    let now: Vec<_> = list.iter().map(Value::as_str).collect();
    if now.len() == wanted.len() && wanted.iter().all(|name| now.contains(&Some(name))) {
        return;
    }
    let decor = list.decor().clone();
    *list = List::taken(list).with(wanted);
    *list.decor_mut() = decor;
}

/// One of a list, with what stands around it.
struct Element {
    value: Value,
    /// From the line that it begins, or from the comma before it.
    before: String,
    /// A comment at the end of its line. The library has it before the next element.
    after: String,
}

/// A list in the pieces that somebody would edit.
struct List {
    opening: String,
    elements: Vec<Element>,
    closing: String,
    comma: bool,
}

impl List {
    fn taken(list: &Array) -> Self {
        let comma = list.trailing_comma();
        let mut this =
            Self { opening: String::new(), elements: Vec::new(), closing: String::new(), comma };
        for value in list {
            let decor = value.decor();
            let (end, before) = ended(decor.prefix().and_then(RawString::as_str));
            this.end_line(end);
            let (after, _) = ended(decor.suffix().and_then(RawString::as_str));
            let (value, before, after) = (value.clone(), before.to_owned(), after.to_owned());
            this.elements.push(Element { value, before, after });
        }
        let (end, closing) = ended(list.trailing().as_str());
        this.end_line(end);
        this.closing = closing.into();
        this
    }

    fn end_line(&mut self, comment: &str) {
        self.elements
            .last_mut()
            .map_or(&mut self.opening, |last| &mut last.after)
            .push_str(comment);
    }

    /// Of these alone: what is missing comes last, in the same manner.
    fn with(mut self, wanted: &[String]) -> Array {
        let first = self.elements.first().map(|first| first.before.clone()).unwrap_or_default();
        let of = |element: &Element, name: &String| element.value.as_str() == Some(name);
        self.elements.retain(|element| wanted.iter().any(|name| of(element, name)));
        let one_a_line = first.contains('\n');
        let before = if one_a_line { first.clone() } else { " ".into() };
        for name in wanted {
            if !self.elements.iter().any(|element| of(element, name)) {
                let (value, before) = (name.as_str().into(), before.clone());
                self.elements.push(Element { value, before, after: String::new() });
            }
        }
        if let Some(now) = self.elements.first_mut().filter(|_| !one_a_line) {
            now.before = first;
        }
        let mut list = Array::new();
        let mut end = self.opening;
        for Element { mut value, before, after } in self.elements {
            value.decor_mut().set_prefix(format!("{end}{before}"));
            value.decor_mut().set_suffix("");
            list.push_formatted(value);
            end = after;
        }
        // What is behind a comment is the comment's.
        let closing = if end.contains('#') && !self.closing.contains('\n') { "\n" } else { "" };
        list.set_trailing(format!("{end}{}{closing}", self.closing));
        list.set_trailing_comma(!list.is_empty() && (self.comma || one_a_line));
        list
    }
}

/// What still belongs to the line before, and the rest.
fn ended(text: Option<&str>) -> (&str, &str) {
    let text = text.unwrap_or_default();
    text.find('\n').map_or(("", text), |at| text.split_at(at))
}

/// Makes the list of pairs what it shall be. Returns comments that stood before pairs that have gone,
/// and were not about them, where no pair comes after.
fn pairs(document: &mut DocumentMut, setup: &Setup) -> Result<String> {
    if setup.pairs.is_empty() && !document.contains_key("pair") {
        return Ok(String::new());
    }
    let item = document.entry("pair").or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    // An empty list can only be written as a value.
    if item.as_array().is_some_and(Array::is_empty) && !setup.pairs.is_empty() {
        *item = Item::ArrayOfTables(ArrayOfTables::new());
    }
    let mut missing = setup.pairs.clone();
    let mut orphaned = String::new();
    if let Some(tables) = item.as_array_of_tables_mut() {
        let mut at = 0;
        while let Some(table) = tables.get_mut(at) {
            if let Some(pair) = missing.remove(&ends(table)) {
                if !orphaned.is_empty() {
                    prepend(table, &std::mem::take(&mut orphaned));
                }
                edit(table, &pair);
                at += 1;
            } else {
                let before =
                    table.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default();
                // What a blank line parts from the pair is not about it alone.
                if let Some((kept, _)) =
                    before.rsplit_once("\n\n").filter(|(kept, _)| kept.contains('#'))
                {
                    orphaned.push_str(kept);
                    orphaned.push('\n');
                }
                tables.remove(at);
            }
        }
        for (ends, pair) in missing {
            let mut table = Table::new();
            fill(&mut table, &ends, &pair);
            if !orphaned.is_empty() {
                prepend(&mut table, &std::mem::take(&mut orphaned));
            }
            tables.push(table);
        }
    } else if let Some(list) = item.as_array_mut() {
        list.retain(|value| {
            value.as_inline_table().is_some_and(|table| setup.pairs.contains_key(&ends(table)))
        });
        for table in list.iter_mut().filter_map(Value::as_inline_table_mut) {
            if let Some(pair) = missing.remove(&ends(table)) {
                edit(table, &pair);
            }
        }
        for (ends, pair) in missing {
            let mut table = InlineTable::new();
            fill(&mut table, &ends, &pair);
            list.push(table);
        }
    }
    Ok(orphaned)
}

fn ends(table: &dyn TableLike) -> Ends {
    let name = |key| table.get(key).and_then(Item::as_str).unwrap_or_default().to_owned();
    (name("from"), name("to"))
}

fn fill(table: &mut dyn TableLike, (from, to): &Ends, pair: &PairSetup) {
    table.insert("from", value(from));
    table.insert("to", value(to));
    edit(table, pair);
}

/// Has a pair's table say what it is set to.
fn edit(table: &mut dyn TableLike, pair: &PairSetup) {
    let default = PairNat::default();
    let PairSetup { allow, nat, drain } = pair;
    let state = |item: &Item| match item.as_str() {
        Some("allowed") => Some(true),
        Some("denied") => Some(false),
        _ => None,
    };
    put_value(table, "state", allow, &true, state, |&allow| {
        if allow { "allowed".into() } else { "denied".into() }
    });
    let kind = |family| move |item: &Item| Nat::parse(item.as_str()?, family).ok();
    let of_kind = |nat: &Nat| nat.to_string().into();
    put_value(table, "nat", &nat.v4, &default.v4, kind(Family::V4), of_kind);
    put_value(table, "nat6", &nat.v6, &default.v6, kind(Family::V6), of_kind);
    let mapping = |item: &Item| item.as_str()?.parse().ok();
    put_value(table, "mapping", &nat.mapping, &Mapping::default(), mapping, |mapping| {
        mapping.to_string().into()
    });
    // Whether a denied pair drained is over when it is read again.
    let now = table.get("drain").and_then(Item::as_bool).unwrap_or(false);
    if !same(pair, &PairSetup { drain: now, ..pair.clone() }) {
        put_value(table, "drain", drain, &false, Item::as_bool, |&drain| drain.into());
    }
}

fn prepend(table: &mut Table, comments: &str) {
    let own = table.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or("\n").to_owned();
    table.decor_mut().set_prefix(format!("{comments}{own}"));
}

/// In a file that had comments alone they stay on top.
fn comments_first(document: &mut DocumentMut) {
    let comments = document.trailing().as_str().unwrap_or_default().to_owned();
    document.set_trailing("");
    let table = document.as_table_mut();
    let key = table.iter().find(|(_, item)| item.is_value()).map(|(key, _)| key.to_owned());
    if let Some(mut key) = key.and_then(|key| table.key_mut(&key).map(|_| key)) {
        if let Some(mut key) = table.key_mut(std::mem::take(&mut key).as_str()) {
            key.leaf_decor_mut().set_prefix(comments);
        }
        return;
    }
    for (_, item) in table.iter_mut() {
        let first = match item {
            Item::Table(table) => Some(table),
            Item::ArrayOfTables(tables) => tables.get_mut(0),
            _ => None,
        };
        if let Some(first) = first {
            prepend(first, &comments);
            return;
        }
    }
}

#[cfg(test)]
#[path = "edit_tests.rs"]
mod tests;
