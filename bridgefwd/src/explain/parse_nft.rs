//! What `nft list ruleset` prints: tables with their sets, maps and chains, and rules of which
//! [`super::nft_rule`] makes conditions.

use std::collections::BTreeMap;

use super::ParseError;
use super::model::{Base, Chain, Family, Hook, Origin, Rule, Table};
use super::nft_rule;
use super::nft_tokens::{Kind, Token, split, tokens};

/// What stands between the braces of sets and maps, by name: an element a slice.
pub(super) type Sets<'a> = BTreeMap<&'a str, Vec<&'a [Token]>>;

/// Reads the tables.
///
/// # Errors
///
/// What is no table, or braces that do not fit. A rule with something in it that we do not know is
/// no error: what we do not know stands in it as such.
pub fn parse(text: &str) -> Result<Vec<Table>, ParseError> {
    let tokens = tokens(text)?;
    let mut tables = Vec::new();
    let mut rest = &tokens[..];
    while let Some(first) = rest.iter().position(|token| !is_end(token)) {
        rest = &rest[first..];
        let wrong = |what: &str| ParseError { line: rest[0].line, what: what.into() };
        let [table, family, name, brace, ..] = rest else {
            return Err(wrong("a table is cut off"));
        };
        let (Some(family), Some(name)) = (family.text(), name.text()) else {
            return Err(wrong("this is no \"table FAMILY NAME {\""));
        };
        if !table.is_word("table") || !brace.is_sign('{') {
            return Err(wrong("this is no \"table FAMILY NAME {\""));
        }
        let body = block(&rest[3..]).ok_or_else(|| wrong("the table's braces are not closed"))?;
        tables.push(read_table(text, family, name, body)?);
        rest = &rest[3 + body.len() + 2..];
    }
    Ok(tables)
}

fn is_end(token: &Token) -> bool {
    token.kind == Kind::End || token.is_sign(';')
}

/// What is between the braces that the tokens begin with.
fn block(tokens: &[Token]) -> Option<&[Token]> {
    let mut depth = 0usize;
    for (index, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Sign('{') => depth += 1,
            Kind::Sign('}') => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return tokens.get(1..index);
                }
            }
            _ => {}
        }
    }
    None
}

/// An item of a table: its words up to the block, and the block.
type Item<'a> = (&'a [Token], &'a [Token]);

/// What a table holds.
fn items(body: &[Token]) -> Result<Vec<Item<'_>>, ParseError> {
    let mut items = Vec::new();
    let mut rest = body;
    while let Some(first) = rest.iter().position(|token| !is_end(token)) {
        rest = &rest[first..];
        let stop = rest.iter().position(|token| is_end(token) || token.is_sign('{'));
        let stop = stop.unwrap_or(rest.len());
        let (head, after) = rest.split_at(stop);
        rest = after;
        if rest.first().is_some_and(|token| token.is_sign('{')) {
            let wrong = || ParseError { line: rest[0].line, what: "braces do not fit".into() };
            let inside = block(rest).ok_or_else(wrong)?;
            items.push((head, inside));
            rest = &rest[inside.len() + 2..];
        } else {
            items.push((head, &[]));
        }
    }
    Ok(items)
}

fn read_table(source: &str, family: &str, name: &str, body: &[Token]) -> Result<Table, ParseError> {
    let items = items(body)?;
    let mut sets = Sets::new();
    for (head, inside) in &items {
        if let [kind, name] = head
            && (kind.is_word("set") || kind.is_word("map"))
        {
            sets.insert(name.text().unwrap_or_default(), elements(inside));
        }
    }
    // A dormant table is there, and asked nothing.
    let dormant = items.iter().any(|(head, _)| {
        head.first().is_some_and(|word| word.is_word("flags"))
            && head.iter().any(|word| word.is_word("dormant"))
    });
    let mut chains = Vec::new();
    for (head, inside) in &items {
        if let [kind, name] = head
            && kind.is_word("chain")
        {
            let mut chain =
                read_chain(source, family, name.text().unwrap_or_default(), inside, &sets);
            chain.base = chain.base.filter(|_| !dormant);
            chains.push(chain);
        }
    }
    let table = match family {
        "ip" => Family::Ip,
        "inet" => Family::Inet,
        "bridge" => Family::Bridge,
        _ => Family::Other,
    };
    Ok(Table { origin: Origin::Nft, family: table, name: format!("{family} {name}"), chains })
}

/// `elements = { ... }` in the block of a set or map.
fn elements(inside: &[Token]) -> Vec<&[Token]> {
    let Some(start) = inside.iter().position(|token| token.is_word("elements")) else {
        return Vec::new();
    };
    let braces = inside.get(start + 2..).and_then(block).unwrap_or_default();
    split(braces, ',').into_iter().filter(|part| part.iter().any(|t| !is_end(t))).collect()
}

fn read_chain(source: &str, family: &str, name: &str, body: &[Token], sets: &Sets) -> Chain {
    let mut chain = Chain { name: name.into(), base: None, rules: Vec::new() };
    for line in lines(body) {
        match line {
            [kind, rest @ ..] if kind.is_word("type") => chain.base = read_base(family, rest),
            // With the declaration on a line of its own (`policy drop;`).
            [policy, word, ..] if policy.is_word("policy") => {
                if let Some(base) = &mut chain.base {
                    base.drops = word.is_word("drop");
                }
            }
            [comment, _] if comment.is_word("comment") => {}
            [] => {}
            line => {
                let (matches, action) = nft_rule::read(line, sets);
                chain.rules.push(Rule { text: text_of(source, line), matches, action });
            }
        }
    }
    chain
}

/// Lines of a chain; what is in braces may go on over several.
fn lines(body: &[Token]) -> Vec<&[Token]> {
    let mut depth = 0usize;
    let mut lines = Vec::new();
    let mut start = 0;
    for (index, token) in body.iter().enumerate() {
        match token.kind {
            Kind::Sign('{') => depth += 1,
            Kind::Sign('}') => depth = depth.saturating_sub(1),
            Kind::End if depth == 0 => {
                lines.push(&body[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    lines.push(&body[start..]);
    lines
}

/// `filter hook forward priority filter; policy accept;`
fn read_base(family: &str, words: &[Token]) -> Option<Base> {
    let after = |word: &str| {
        let at = words.iter().position(|token| token.is_word(word))?;
        words.get(at + 1..)
    };
    let hook = Hook::named(after("hook")?.first()?.text()?);
    let nat = words.first()?.is_word("nat");
    let priority = priority(family, after("priority")?)?;
    let drops =
        after("policy").and_then(<[Token]>::first).is_some_and(|policy| policy.is_word("drop"));
    Some(Base { hook, priority, nat, drops })
}

/// `-150`, `filter`, `filter - 10`, `dstnat + 5`
fn priority(family: &str, words: &[Token]) -> Option<i32> {
    let bridge = family == "bridge";
    let first = words.first()?.text()?;
    let base: i32 = match first {
        "raw" => -300,
        "mangle" => -150,
        "dstnat" if bridge => -300,
        "dstnat" => -100,
        "filter" if bridge => -200,
        "filter" => 0,
        "out" => 100,
        "security" => 50,
        "srcnat" if bridge => 300,
        "srcnat" => 100,
        number => return number.parse().ok(),
    };
    let number = || words.get(2).and_then(Token::text).and_then(|text| text.parse::<i32>().ok());
    match words.get(1).and_then(Token::text) {
        Some("+") => base.checked_add(number()?),
        Some("-") => base.checked_sub(number()?),
        _ => Some(base),
    }
}

/// A rule as it was listed, on one line and without the numbers of its counter.
fn text_of(source: &str, line: &[Token]) -> String {
    let mut text = String::new();
    let mut skip = 0;
    for (index, token) in line.iter().enumerate() {
        if skip > 0 {
            skip -= 1;
            continue;
        }
        if token.is_word("counter") && line.get(index + 1).is_some_and(|t| t.is_word("packets")) {
            skip = 4;
        }
        let word = source.get(token.bytes.0..token.bytes.1).unwrap_or_default();
        if word.trim().is_empty() {
            continue;
        }
        if !text.is_empty() && !token.is_sign(',') && !token.is_sign(';') {
            text.push(' ');
        }
        text.push_str(word);
    }
    // `established,related` is one word to read, three to parse.
    text.replace("established, related", "established,related")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::explain::model::{Action, Match, Name, State, Wanted};
    use crate::explain::space::{Field, Span};

    const DOCKER: &str = "\
table ip docker-bridges {
	map filter-forward-in-jumps {
		type ifname : verdict
		elements = { \"docker0\" : jump filter-forward-in__docker0,
			     \"br-x\" : jump filter-forward-in__br-x }
	}

	chain filter-FORWARD {
		type filter hook forward priority filter; policy accept;
		oifname vmap @filter-forward-in-jumps
	}

	chain filter-forward-in__docker0 { # handle 3
		ct state established,related counter packets 4 bytes 300 accept
		iifname != \"docker0\" ip daddr 172.17.0.2 tcp dport { 80, 443 } counter packets 0 bytes 0 accept comment \"x y\"
	}
}
table inet t {
	flags dormant
	set blocked {
		type ipv4_addr
		flags interval
		elements = { 10.0.0.0/8, 192.168.0.1-192.168.0.9 }
	}
	chain c {
		type filter hook input priority filter - 10; policy drop;
		ip saddr @blocked limit rate 3/second drop
	}
}
";

    #[test]
    fn tables_maps_chains_and_rules() {
        let tables = parse(DOCKER).unwrap();
        let [docker, other] = &tables[..] else { panic!("{tables:?}") };
        assert_eq!((docker.family, docker.name.as_str()), (Family::Ip, "ip docker-bridges"));
        let [forward, inner] = &docker.chains[..] else { panic!("{docker:?}") };
        let base = Base { hook: Hook::Forward, priority: 0, nat: false, drops: false };
        assert_eq!(forward.base, Some(base));
        let entry = |name: &str| {
            let to = Match::To(vec![Name::Is(name.into())], Wanted::Yes);
            (to, Action::Jump(format!("filter-forward-in__{name}")))
        };
        let map = Action::Map(vec![entry("docker0"), entry("br-x")]);
        assert_eq!(forward.rules[0].action, map);
        assert_eq!(inner.rules[0].text, "ct state established,related counter accept");
        let states = vec![State::Established, State::Other];
        assert_eq!(inner.rules[0].matches, [Match::State(states, Wanted::Yes)]);
        let second = [
            Match::From(vec![Name::Is("docker0".into())], Wanted::No),
            Match::In(Field::Dst, vec![Span::one(0xac11_0002)]),
            Match::In(Field::Proto, vec![Span::one(6)]),
            Match::In(Field::Dport, vec![Span::one(80), Span::one(443)]),
        ];
        assert_eq!(inner.rules[1].matches, second);
        assert_eq!(inner.rules[1].action, Action::Accept);
        let chain = &other.chains[0];
        assert_eq!(chain.base, None, "dormant");
        assert_eq!(chain.rules[0].matches[1], Match::Unknown("limit rate 3/second".into()));
        assert_eq!(chain.rules[0].action, Action::Drop);
    }

    #[test]
    fn priorities_by_name_and_number() {
        let read = |text: &str| priority("ip", &tokens(text).unwrap());
        assert_eq!(read("filter - 10"), Some(-10));
        assert_eq!(read("-150"), Some(-150));
        assert_eq!(read("srcnat + 1"), Some(101));
        assert_eq!(read("nonsense"), None);
    }

    #[test]
    fn what_is_no_rule_set_is_named_with_its_line() {
        for (text, line) in [("\nhello world x {}", 2), ("table ip x {\n", 1), ("table", 1)] {
            assert_eq!(parse(text).unwrap_err().line, line, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn any_words_of_a_rule_are_read(words in proptest::collection::vec(prop_oneof![
            "[a-z]{1,9}", "[0-9./-]{1,9}", "\"[a-z]{0,5}\"",
            proptest::sample::select(vec!["meta", "mark", "iifname", "vmap", "{ 1 : accept }", "@s",
                "tcp", "dport", "flags", "!=", "==", "&", "ct", "state", "ip", "daddr", "fib", "type",
                "jump", "dnat", "to", "counter", "packets", "log", "prefix", "set", "{", "}", ",", ":",
                "map", "limit", "redirect", "masquerade", "with", "reject", ". ."]).prop_map(Into::into),
        ], 0..14)) {
            let text = format!("table ip x {{\nchain c {{\n{}\n}}\n}}\n", words.join(" "));
            let _ = parse(&text);
        }
    }
}
