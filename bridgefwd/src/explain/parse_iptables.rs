//! What `iptables-save` prints, by any of its versions: tables, chains, and rules of which
//! [`super::iptables_rule`] makes conditions.

use super::ParseError;
use super::iptables_rule;
use super::model::{Action, Base, Chain, Family, Hook, Origin, Rule, Table};

/// Reads the tables.
///
/// # Errors
///
/// Lines that no `iptables-save` prints. A rule with something in it that we do not know is no
/// error: what we do not know stands in it as such.
pub fn parse(text: &str, origin: Origin) -> Result<Vec<Table>, ParseError> {
    let mut tables: Vec<Table> = Vec::new();
    let mut open = false;
    for (number, line) in (1..).zip(text.lines()) {
        let wrong = |what: String| ParseError { line: number, what };
        let line = line.trim();
        match (line.chars().next(), tables.last_mut().filter(|_| open)) {
            (None | Some('#'), _) => {}
            (Some('*'), None) => {
                let name = &line[1..];
                if priority(name, Hook::Prerouting).is_none() {
                    return Err(wrong(format!("there is no table {name:?} in iptables")));
                }
                tables.push(Table {
                    origin,
                    family: Family::Ip,
                    name: name.into(),
                    chains: Vec::new(),
                });
                open = true;
            }
            (Some('*'), Some(table)) => {
                return Err(wrong(format!("table {} has no COMMIT before it", table.name)));
            }
            (_, None) => return Err(wrong(format!("{line:?} is in no table (*filter, *nat ...)"))),
            (_, Some(table)) => match line.as_bytes() {
                b"COMMIT" => {
                    finish(table);
                    open = false;
                }
                [b':', ..] => table.chains.push(declared(table, &line[1..]).map_err(wrong)?),
                [b'-' | b'[', ..] => add_rule(table, line).map_err(wrong)?,
                _ => return Err(wrong(format!("{line:?} is nothing that iptables-save prints"))),
            },
        }
    }
    match tables.last() {
        Some(table) if open => Err(ParseError {
            line: text.lines().count(),
            what: format!("table {} has no COMMIT: the end is missing", table.name),
        }),
        _ => Ok(tables),
    }
}

/// `FORWARD DROP [0:0]`, `DOCKER - [0:0]`
fn declared(table: &Table, text: &str) -> Result<Chain, String> {
    let mut words = text.split_ascii_whitespace();
    let (Some(name), Some(policy)) = (words.next(), words.next()) else {
        return Err(format!("\":{text}\" is not a chain and its policy"));
    };
    if table.chain(name).is_some() {
        return Err(format!("chain {name} is there twice"));
    }
    let base = match policy {
        "-" => None,
        "ACCEPT" | "DROP" => {
            let hook = Hook::named(name);
            let priority = priority(&table.name, hook)
                .ok_or_else(|| format!("table {} has no built-in chain {name}", table.name))?;
            Some(Base { hook, priority, nat: table.name == "nat", drops: policy == "DROP" })
        }
        _ => return Err(format!("chain {name} has the policy {policy}, not ACCEPT or DROP")),
    };
    Ok(Chain { name: name.into(), base, rules: Vec::new() })
}

/// Where the kernel calls a table's built-in chains (`enum nf_ip_hook_priorities`).
fn priority(table: &str, hook: Hook) -> Option<i32> {
    match (table, hook) {
        (_, Hook::Elsewhere) => None,
        ("raw", _) => Some(-300),
        ("mangle", _) => Some(-150),
        ("nat", Hook::Prerouting | Hook::Output) => Some(-100),
        ("nat", _) => Some(100),
        ("filter", _) => Some(0),
        ("security", _) => Some(50),
        _ => None,
    }
}

/// `-A CHAIN ...`, maybe with counters before it (`iptables-save -c`).
fn add_rule(table: &mut Table, line: &str) -> Result<(), String> {
    let line = match line.strip_prefix('[') {
        Some(counted) => counted.split_once("] ").map_or(counted, |(_, rule)| rule),
        None => line,
    };
    let words = words(line)?;
    let [append, chain, rest @ ..] = &words[..] else {
        return Err(format!("{line:?} is not a rule of a chain (-A CHAIN ...)"));
    };
    if append != "-A" {
        return Err(format!("{append} in {line:?}: iptables-save prints -A alone"));
    }
    let index = table.chain(chain).ok_or_else(|| format!("there is no chain {chain}"))?;
    let (matches, action) = iptables_rule::read(rest);
    let start = line.find(chain.as_str()).unwrap_or(0) + chain.len();
    let text = line.get(start..).unwrap_or_default().trim().to_owned();
    table.chains[index].rules.push(Rule { text, matches, action });
    Ok(())
}

/// Words, with blanks in them where they are quoted, as iptables-save quotes.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '\\' if quoted => word.get_or_insert_default().extend(letters.next()),
            blank if blank.is_ascii_whitespace() && !quoted => words.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    if quoted {
        return Err(format!("a quote is not closed in {line:?}"));
    }
    words.extend(word);
    Ok(words)
}

/// A target that is no chain of the table is something else, which we do not know.
fn finish(table: &mut Table) {
    let names: Vec<String> = table.chains.iter().map(|chain| chain.name.clone()).collect();
    for rule in table.chains.iter_mut().flat_map(|chain| &mut chain.rules) {
        if let Action::Jump(name) | Action::Goto(name) = &rule.action
            && !names.contains(name)
        {
            rule.action = Action::Unknown(format!("-j {name}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::explain::model::{Match, Name, Wanted};
    use crate::explain::space::{Field, Span};

    fn error(text: &str) -> String {
        parse(text, Origin::Iptables).unwrap_err().to_string()
    }

    #[test]
    fn tables_chains_and_rules() {
        let text = "# Generated by iptables-save v1.8.9 (nf_tables) on Wed\n*filter\n\
            :FORWARD DROP [3:200]\n:DOCKER - [0:0]\n\
            -A FORWARD ! -i br0 -o br-+ -m comment --comment \"a \\\"b\\\" -j\" -j DOCKER\n\
            [4:99] -A DOCKER -j ACCEPT\n-A DOCKER -j NOSUCH --with 3\nCOMMIT\n# Completed\n";
        let tables = parse(text, Origin::Iptables).unwrap();
        let [filter] = &tables[..] else { panic!("{tables:?}") };
        let [forward, docker] = &filter.chains[..] else { panic!("{filter:?}") };
        let base = Base { hook: Hook::Forward, priority: 0, nat: false, drops: true };
        assert_eq!(forward.base, Some(base));
        assert_eq!(docker.base, None);
        let [rule] = &forward.rules[..] else { panic!("{forward:?}") };
        let expected = [
            Match::From(vec![Name::Is("br0".into())], Wanted::No),
            Match::To(vec![Name::Begins("br-".into())], Wanted::Yes),
        ];
        assert_eq!(rule.matches, expected);
        assert_eq!(rule.action, Action::Jump("DOCKER".into()));
        assert!(rule.text.starts_with("! -i br0 -o br-+ -m comment"), "{}", rule.text);
        assert_eq!(docker.rules[0].action, Action::Accept);
        let unknown = Action::Unknown("-j NOSUCH --with 3".into());
        assert_eq!(docker.rules[1].action, unknown);
    }

    #[test]
    fn what_is_no_rule_set_is_named_with_its_line() {
        assert_eq!(
            error("*filter\n:FORWARD ACCEPT [0:0]\nhello\n"),
            "line 3: \"hello\" is nothing that iptables-save prints"
        );
        assert!(error("-A FORWARD -j DROP\n").contains("in no table"));
        assert!(error("*filter\n:FORWARD ACCEPT [0:0]\n").contains("no COMMIT"));
        assert!(error("*shop\n").contains("\"shop\""));
        assert!(error("*filter\n-A GONE -j DROP\n").contains("no chain GONE"));
        assert!(error("*filter\n:FORWARD MAYBE [0:0]\n").contains("MAYBE"));
        assert!(error("*filter\n:F - [0:0]\n-A F --comment \"x\nCOMMIT").contains("quote"));
    }

    /// One word that needs no quotes.
    fn word() -> impl Strategy<Value = String> {
        "[a-zA-Z][a-zA-Z0-9_.-]{0,10}"
    }

    prop_compose! {
        fn condition()(kind in 0..5u8, address: u32, length in 0..=32u8, name in word(), no: bool,
                       low: u16, high: u16) -> (String, Match) {
            let bang = if no { "! " } else { "" };
            let wanted = Wanted::unless(no);
            match kind {
                0 => {
                    let address = std::net::Ipv4Addr::from_bits(address);
                    let inside = vec![Span::prefix(address, length)];
                    let spans = if no {
                        crate::explain::space::without(Field::Dst.whole(), &inside)
                    } else {
                        inside
                    };
                    (format!("{bang}-d {address}/{length}"), Match::In(Field::Dst, spans))
                }
                1 => (format!("{bang}-i {name}"), Match::From(vec![Name::Is(name)], wanted)),
                2 => (format!("{bang}-o {name}+"), Match::To(vec![Name::Begins(name)], wanted)),
                3 => {
                    let (low, high) = (low.min(high), low.max(high));
                    let span = Span::new(low.into(), high.into());
                    (format!("--dport {low}:{high}"), Match::In(Field::Dport, vec![span]))
                }
                _ => (format!("--strange {name}"), Match::Unknown(format!("--strange {name}"))),
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&String::from_utf8_lossy(&bytes), Origin::Iptables);
        }

        #[test]
        fn any_words_are_read(words in proptest::collection::vec(
            prop_oneof!["-[a-z]", "--[a-z]{2,12}", "!", "[0-9./:,]{0,9}", word(),
                Just("-j".into()), Just("--dports".into()), Just("--icmp-type".into()),
                Just("--tcp-flags".into()), Just("--mark".into()), Just("DNAT".into()),
                Just("--to-destination".into()), Just("--set-xmark".into())], 0..12)) {
            let rule = format!("*nat\n:X - [0:0]\n-A X {}\nCOMMIT\n", words.join(" "));
            prop_assert!(parse(&rule, Origin::Iptables).is_ok(), "{}", rule);
        }

        #[test]
        fn what_was_written_is_what_is_read(conditions in proptest::collection::vec(condition(), 0..6)) {
            let text: Vec<&str> = conditions.iter().map(|(text, _)| text.as_str()).collect();
            let text = format!("{} -j ACCEPT", text.join(" "));
            let set = format!("*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD {text}\nCOMMIT\n");
            let tables = parse(&set, Origin::Iptables).unwrap();
            let rule = &tables[0].chains[0].rules[0];
            let expected: Vec<Match> = conditions.into_iter().map(|(_, read)| read).collect();
            prop_assert_eq!(&rule.matches, &expected);
            prop_assert_eq!(&rule.action, &Action::Accept);
            prop_assert_eq!(&rule.text, text.trim());
        }
    }
}
