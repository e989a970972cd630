//! What `nft -j list ruleset` prints, written as `nft list ruleset` would: then there is one reader
//! of rules.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::ParseError;
use super::model::Table;
use super::parse_nft;

/// Reads the tables.
///
/// # Errors
///
/// What is no such document. What stands in a rule that we do not know is kept as such.
pub fn parse(text: &str) -> Result<Vec<Table>, ParseError> {
    let wrong = |line, what: String| ParseError { line, what };
    let document: Value =
        serde_json::from_str(text).map_err(|error| wrong(error.line(), error.to_string()))?;
    let Some(objects) = document.get("nftables").and_then(Value::as_array) else {
        return Err(wrong(1, "there is no \"nftables\" in it, as nft -j list ruleset has".into()));
    };
    parse_nft::parse(&listing(objects))
}

/// Family and name of what an object belongs to.
type Owner<'a> = (&'a str, &'a str);

/// A table as it will be written: what stands before its chains, and they by name.
type Written<'a> = (String, Vec<(&'a str, String)>);

fn listing(objects: &[Value]) -> String {
    let mut order: Vec<Owner> = Vec::new();
    let mut tables: BTreeMap<Owner, Written> = BTreeMap::new();
    for object in objects.iter().filter_map(Value::as_object) {
        for (kind, value) in object {
            let family = word(value, "family");
            let owner = (family, word(value, if kind == "table" { "name" } else { "table" }));
            let name = word(value, "name");
            match kind.as_str() {
                "table" => {
                    order.push(owner);
                    let flags = value.get("flags").map(plain).unwrap_or_default();
                    let head = if flags.contains("dormant") { "flags dormant\n" } else { "" };
                    tables.insert(owner, (head.into(), Vec::new()));
                }
                "set" | "map" => {
                    let elements = value.get("elem").map(plain).unwrap_or_default();
                    if let Some((head, _)) = tables.get_mut(&owner) {
                        let _ = writeln!(head, "{kind} {name} {{\nelements = {{ {elements} }}\n}}");
                    }
                }
                "chain" => {
                    if let Some((_, chains)) = tables.get_mut(&owner) {
                        chains.push((name, base(value)));
                    }
                }
                "rule" => {
                    let chain = word(value, "chain");
                    let chains = tables.get_mut(&owner).map(|(_, chains)| chains);
                    let found = chains.into_iter().flatten().find(|(name, _)| *name == chain);
                    if let Some((_, body)) = found {
                        body.push_str(&rule(value));
                        body.push('\n');
                    }
                }
                _ => {}
            }
        }
    }
    let mut text = String::new();
    for owner in order {
        let Some((head, chains)) = tables.get(&owner) else { continue };
        let _ = writeln!(text, "table {} {} {{\n{head}", owner.0, owner.1);
        for (name, body) in chains {
            let _ = writeln!(text, "chain {name} {{\n{body}}}");
        }
        text.push_str("}\n");
    }
    text
}

fn word<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn base(chain: &Value) -> String {
    let hook = word(chain, "hook");
    if hook.is_empty() {
        return String::new();
    }
    let priority = chain.get("prio").map(ToString::to_string).unwrap_or_default();
    let policy = chain.get("policy").and_then(Value::as_str).unwrap_or("accept");
    let kind = word(chain, "type");
    format!("type {kind} hook {hook} priority {priority}; policy {policy};\n")
}

fn rule(rule: &Value) -> String {
    let statements = rule.get("expr").and_then(Value::as_array).into_iter().flatten();
    let mut words: Vec<String> = statements.map(statement).collect();
    if let Some(comment) = rule.get("comment").and_then(Value::as_str) {
        words.push(format!("comment {}", quoted(comment)));
    }
    words.join(" ")
}

/// In quotes, on one line; nft has no way to write a quote in a quote.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace(['"', '\n'], "'"))
}

fn statement(statement: &Value) -> String {
    let Some((kind, value)) = statement.as_object().and_then(|object| object.iter().next()) else {
        return plain(statement);
    };
    match kind.as_str() {
        "match" => {
            let operator = word(value, "op");
            let equals = matches!(operator, "==" | "in" | "");
            let operator = if equals { String::new() } else { format!("{operator} ") };
            let side = |key| value.get(key).map(expression).unwrap_or_default();
            format!("{} {operator}{}", side("left"), side("right"))
        }
        "accept" | "drop" | "return" | "continue" | "notrack" => kind.clone(),
        "counter" => "counter".into(),
        "jump" | "goto" => format!("{kind} {}", word(value, "target")),
        "masquerade" | "redirect" | "snat" | "dnat" => {
            let address = value.get("addr").map(expression).unwrap_or_default();
            let port = value.get("port").map(|port| format!(":{}", expression(port)));
            let port = port.unwrap_or_default();
            if address.is_empty() && port.is_empty() {
                kind.clone()
            } else {
                format!("{kind} to {address}{port}")
            }
        }
        "reject" => kind.clone(),
        "log" => match value.get("prefix").and_then(Value::as_str) {
            Some(prefix) => format!("log prefix {}", quoted(prefix)),
            None => "log".into(),
        },
        "vmap" => {
            let side = |key| value.get(key).map(expression).unwrap_or_default();
            format!("{} vmap {}", side("key"), side("data"))
        }
        "mangle" => {
            let side = |key| value.get(key).map(expression).unwrap_or_default();
            format!("{} set {}", side("key"), side("value"))
        }
        // Something else: its words, which no reader of rules takes for anything.
        _ => format!("{kind} {}", quoted(&value.to_string())),
    }
}

/// An expression; one that is a set stands in braces.
fn expression(value: &Value) -> String {
    let Some((kind, inner)) = value.as_object().and_then(|object| object.iter().next()) else {
        return match value {
            Value::Array(_) => format!("{{ {} }}", plain(value)),
            _ => plain(value),
        };
    };
    match kind.as_str() {
        "meta" => format!("meta {}", word(inner, "key")),
        "ct" => format!("ct {}", word(inner, "key")),
        "payload" => format!("{} {}", word(inner, "protocol"), word(inner, "field")),
        "fib" => {
            let flags = inner.get("flags").map(|flags| plain(flags).replace(", ", " . "));
            format!("fib {} {}", flags.unwrap_or_default(), word(inner, "result"))
        }
        "set" => format!("{{ {} }}", plain(inner)),
        "prefix" => {
            let length = inner.get("len").map(ToString::to_string).unwrap_or_default();
            format!("{}/{length}", word(inner, "addr"))
        }
        "range" => {
            let ends = inner.as_array().map(|ends| ends.iter().map(expression).collect::<Vec<_>>());
            ends.unwrap_or_default().join("-")
        }
        "&" => {
            let sides = inner.as_array().map(|sides| sides.iter().map(expression).collect());
            let sides: Vec<String> = sides.unwrap_or_default();
            format!("{} ==", sides.join(" & "))
        }
        "elem" => inner.get("val").map(expression).unwrap_or_default(),
        "concat" => {
            let parts = inner.as_array().map(|parts| parts.iter().map(expression).collect());
            let parts: Vec<String> = parts.unwrap_or_default();
            parts.join(" . ")
        }
        _ => statement(value),
    }
}

/// Values with commas between; pairs of a map with a colon.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) if text.starts_with('@') => text.clone(),
        Value::String(text) if text.contains([' ', '{', '}', ',', ';', '#', '"', '\n']) => {
            quoted(text)
        }
        Value::String(text) => text.clone(),
        Value::Array(values) => {
            let entries = values.iter().map(|entry| match entry.as_array().map(Vec::as_slice) {
                Some([key, verdict]) => format!("{} : {}", expression(key), statement(verdict)),
                _ => expression(entry),
            });
            entries.collect::<Vec<_>>().join(", ")
        }
        Value::Object(_) => expression(value),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::explain::model::{Action, Match, Name, Wanted};
    use crate::explain::space::{Field, Span};

    #[test]
    fn a_rule_is_what_its_text_would_be() {
        let document = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}},
            {"table": {"family": "ip", "name": "t", "handle": 1}},
            {"map": {"family": "ip", "name": "m", "table": "t", "type": "ifname", "map": "verdict",
                     "elem": [["docker0", {"jump": {"target": "c"}}]]}},
            {"chain": {"family": "ip", "table": "t", "name": "c"}},
            {"chain": {"family": "ip", "table": "t", "name": "f", "type": "filter", "hook": "forward",
                       "prio": 0, "policy": "drop"}},
            {"rule": {"family": "ip", "table": "t", "chain": "f", "expr": [
                {"vmap": {"key": {"meta": {"key": "oifname"}}, "data": "@m"}}]}},
            {"rule": {"family": "ip", "table": "t", "chain": "c", "comment": "a b", "expr": [
                {"match": {"op": "!=", "left": {"meta": {"key": "iifname"}}, "right": "docker0"}},
                {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}},
                           "right": {"set": [80, {"range": [90, 95]}]}}},
                {"counter": {"packets": 3, "bytes": 9}}, {"accept": null}]}}]}"#;
        let tables = parse(document).unwrap();
        let [chain, forward] = &tables[0].chains[..] else { panic!("{tables:?}") };
        assert!(forward.base.unwrap().drops);
        let to = Match::To(vec![Name::Is("docker0".into())], Wanted::Yes);
        assert_eq!(forward.rules[0].action, Action::Map(vec![(to, Action::Jump("c".into()))]));
        let expected = [
            Match::From(vec![Name::Is("docker0".into())], Wanted::No),
            Match::In(Field::Proto, vec![Span::one(6)]),
            Match::In(Field::Dport, vec![Span::one(80), Span::new(90, 95)]),
        ];
        assert_eq!(chain.rules[0].matches, expected);
        assert_eq!(chain.rules[0].action, Action::Accept);
        assert_eq!(
            chain.rules[0].text,
            "meta iifname != docker0 tcp dport { 80, 90-95 } counter accept comment \"a b\""
        );
    }

    #[test]
    fn other_documents_are_refused() {
        assert!(parse("{}").is_err());
        assert_eq!(parse("{\n]").unwrap_err().line, 2);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&String::from_utf8_lossy(&bytes));
            let quoted = serde_json::to_string(&String::from_utf8_lossy(&bytes)).unwrap();
            let rule = format!(
                r#"{{"nftables": [{{"table": {{"family": "ip", "name": "t"}}}},
                {{"chain": {{"family": "ip", "table": "t", "name": "c"}}}},
                {{"rule": {{"family": "ip", "table": "t", "chain": "c", "expr": [{{{quoted}: {quoted}}}]}}}}]}}"#
            );
            let _ = parse(&rule);
        }
    }
}
