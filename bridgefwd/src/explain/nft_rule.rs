//! One rule of `nft list ruleset`, made into conditions and an action.

use super::model::{Action, Match, Wanted};
use super::nft_tokens::{Kind, Token, split};
use super::nft_values::{Key, matched, value};
use super::parse_nft::Sets;
use super::space::{Field, Span};
use super::words;

/// What the words ask for and do. Those that are not known are kept as such.
pub(super) fn read(line: &[Token], sets: &Sets) -> (Vec<Match>, Action) {
    let mut reader = Reader { tokens: line, next: 0, sets };
    let mut matches = Vec::new();
    let mut action = None;
    while reader.next < line.len() {
        let start = reader.next;
        if reader.passing() {
            continue;
        }
        if action.is_some() {
            // A second thing to do: no one action says both.
            return (matches, Action::Unknown(joined(line)));
        }
        if let Some(does) = reader.action() {
            action = Some(does);
            continue;
        }
        reader.next = start;
        match reader.condition() {
            Some(Condition::Holds(known)) => matches.extend(known),
            Some(Condition::Chooses(map)) => action = Some(Action::Map(map)),
            None => {
                reader.next = start + 1;
                reader.skip_unknown();
                matches.push(Match::Unknown(joined(&line[start..reader.next])));
            }
        }
    }
    let unknown = || matches.iter().any(|known| matches!(known, Match::Unknown(_)));
    let action = match action {
        Some(action) => action,
        // What we do not know may be what the rule does.
        None if unknown() => Action::Unknown(joined(line)),
        None => Action::Continue,
    };
    (matches, action)
}

fn joined(tokens: &[Token]) -> String {
    let words = tokens.iter().filter_map(|token| match &token.kind {
        Kind::Word(text) | Kind::Quoted(text) => Some(text.clone()),
        Kind::Sign(sign) => Some(sign.to_string()),
        Kind::End => None,
    });
    words.collect::<Vec<_>>().join(" ")
}

enum Condition {
    Holds(Vec<Match>),
    Chooses(Vec<(Match, Action)>),
}

struct Reader<'a> {
    tokens: &'a [Token],
    next: usize,
    sets: &'a Sets<'a>,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.tokens.get(self.next).and_then(Token::text)
    }

    fn word(&mut self) -> Option<&'a str> {
        let word = self.peek()?;
        self.next += 1;
        Some(word)
    }

    fn take(&mut self, word: &str) -> bool {
        let is_next = self.tokens.get(self.next).is_some_and(|token| token.is_word(word));
        self.next += usize::from(is_next);
        is_next
    }

    /// Statements that decide nothing: counters, comments, logs.
    fn passing(&mut self) -> bool {
        if self.take("counter") {
            if self.take("packets") {
                self.next = (self.next + 3).min(self.tokens.len());
            } else if self.take("name") {
                self.next = (self.next + 1).min(self.tokens.len());
            }
            return true;
        }
        if self.take("comment") {
            self.next = (self.next + 1).min(self.tokens.len());
            return true;
        }
        if self.take("log") {
            const OPTIONS: [&str; 6] =
                ["prefix", "level", "group", "snaplen", "queue-threshold", "flags"];
            while OPTIONS.iter().any(|option| self.take(option)) {
                self.next = (self.next + 1).min(self.tokens.len());
            }
            return true;
        }
        false
    }

    /// A verdict or a translation.
    fn action(&mut self) -> Option<Action> {
        Some(match self.word()? {
            "accept" => Action::Accept,
            "drop" => Action::Drop,
            "return" => Action::Return,
            "continue" => Action::Continue,
            "jump" => Action::Jump(self.word()?.into()),
            "goto" => Action::Goto(self.word()?.into()),
            "reject" => {
                if self.take("with") {
                    while self.peek().is_some_and(|word| word != "comment") {
                        self.next += 1;
                    }
                }
                Action::Reject
            }
            "masquerade" => self.nat(Some(Action::Snat(None)), |_, _| None)?,
            "redirect" => self.nat(Some(Action::Dnat(None, None)), |_, port| {
                Some(Action::Dnat(None, Some(port?)))
            })?,
            "snat" => self.nat(None, |address, _| Some(Action::Snat(Some(address?))))?,
            "dnat" => self.nat(None, |address, port| Some(Action::Dnat(Some(address?), port)))?,
            "meta" | "ct" if self.tokens.get(self.next + 1).is_some_and(|t| t.is_word("set")) => {
                let key = self.word()?;
                self.next += 1;
                let is_mark = self.tokens.get(self.next - 3).is_some_and(|t| t.is_word("meta"))
                    && key == "mark";
                let value = self.word().and_then(words::number);
                match value.filter(|_| is_mark) {
                    Some(value) => Action::Mark { value, mask: u32::MAX },
                    None => return None,
                }
            }
            _ => return None,
        })
    }

    /// What follows a translation: `[ip] to ADDRESS[:PORT]`, `to :PORT`, flags.
    fn nat(
        &mut self,
        plain: Option<Action>,
        to: impl FnOnce(Option<std::net::Ipv4Addr>, Option<u16>) -> Option<Action>,
    ) -> Option<Action> {
        self.take("ip");
        let action = if self.take("to") {
            let target = self.word()?;
            match target.strip_prefix(':') {
                Some(port) => to(None, Some(port.parse().ok()?)),
                None => {
                    let (address, port) = words::target(target)?;
                    to(Some(address), port)
                }
            }
        } else {
            plain
        };
        while ["random", "fully-random", "persistent"].iter().any(|flag| self.take(flag)) {
            self.take(",");
        }
        action
    }

    /// An expression, an operator and what it is compared with.
    fn condition(&mut self) -> Option<Condition> {
        let word = self.word()?;
        let word = if word == "meta" { self.word()? } else { word };
        match word {
            "iifname" | "iif" => self.compared(Key::In),
            "oifname" | "oif" => self.compared(Key::Out),
            "l4proto" => self.compared(Key::Field(Field::Proto)),
            "nfproto" | "protocol" => match self.word()? {
                "ipv4" | "ip" => Some(Condition::Holds(vec![])),
                "ipv6" | "ip6" => Some(Condition::Holds(vec![Match::Never])),
                _ => None,
            },
            "mark" => self.mark(),
            "ip" => match self.word()? {
                "saddr" => self.compared(Key::Field(Field::Src)),
                "daddr" => self.compared(Key::Field(Field::Dst)),
                "protocol" => self.compared(Key::Field(Field::Proto)),
                _ => None,
            },
            "ip6" | "icmpv6" => {
                self.skip_unknown();
                Some(Condition::Holds(vec![Match::Never]))
            }
            "tcp" | "udp" | "sctp" | "dccp" | "udplite" | "th" | "icmp" => {
                let field = match (word, self.word()?) {
                    ("icmp", "type") => Field::Dport,
                    ("icmp", _) => return None,
                    (_, "sport") => Field::Sport,
                    (_, "dport") => Field::Dport,
                    _ => return None,
                };
                let mut known: Vec<Match> = words::protocol(word)
                    .map(|proto| Match::In(Field::Proto, vec![Span::one(proto)]))
                    .into_iter()
                    .collect();
                match self.compared(Key::Field(field))? {
                    Condition::Holds(ports) => known.extend(ports),
                    // Entries of a map ask for one thing, and these would ask for the protocol too.
                    Condition::Chooses(_) => return None,
                }
                Some(Condition::Holds(known))
            }
            "ct" => match self.word()? {
                "state" => self.compared(Key::State),
                "status" => {
                    let wanted = self.wanted()?;
                    (self.word()? == "dnat").then_some(Condition::Holds(vec![Match::Dnat(wanted)]))
                }
                _ => None,
            },
            "fib" => {
                let field = match self.word()? {
                    "daddr" => Field::Dst,
                    "saddr" => Field::Src,
                    _ => return None,
                };
                if self.word()? != "type" {
                    return None;
                }
                let wanted = self.wanted()?;
                (self.word()? == "local")
                    .then(|| Condition::Holds(vec![Match::Local(field, wanted)]))
            }
            _ => None,
        }
    }

    /// `==`, `!=`, or nothing, which is the same as the first.
    fn wanted(&mut self) -> Option<Wanted> {
        match self.peek()? {
            "<" | ">" | "<=" | ">=" | "&" | "and" | "|" | "or" | "^" | "xor" | "." => None,
            _ if self.take("!=") => Some(Wanted::No),
            _ => {
                self.take("==");
                Some(Wanted::Yes)
            }
        }
    }

    /// `meta mark 0x1`, `meta mark & 0xff == 0x1`
    fn mark(&mut self) -> Option<Condition> {
        let mask = if self.take("&") || self.take("and") {
            words::number(self.word()?)?
        } else {
            u32::MAX
        };
        let wanted = self.wanted()?;
        let value = words::number(self.word()?)?;
        Some(Condition::Holds(vec![Match::Mark { value, mask, wanted }]))
    }

    fn compared(&mut self, key: Key) -> Option<Condition> {
        if self.take("vmap") {
            return self.verdicts(key).map(Condition::Chooses);
        }
        if self.tokens.get(self.next)?.is_sign('{') {
            return self.values(key, Wanted::Yes);
        }
        let wanted = self.wanted()?;
        self.values(key, wanted)
    }

    /// A value, several, or a set.
    fn values(&mut self, key: Key, wanted: Wanted) -> Option<Condition> {
        let elements = self.elements()?;
        let words: Option<Vec<&str>> = elements.iter().map(|element| value(element)).collect();
        matched(key, &words?, wanted).map(|known| Condition::Holds(vec![known]))
    }

    /// The entries of a verdict map.
    fn verdicts(&mut self, key: Key) -> Option<Vec<(Match, Action)>> {
        let mut entries = Vec::new();
        for element in self.elements()? {
            let colon = element.iter().position(|token| token.is_word(":"))?;
            let words: Vec<&str> = vec![value(&element[..colon])?];
            let mut verdict = Reader { tokens: &element[colon + 1..], next: 0, sets: self.sets };
            while verdict.tokens.get(verdict.next)?.kind == Kind::End {
                verdict.next += 1;
            }
            entries.push((matched(key, &words, Wanted::Yes)?, verdict.action()?));
        }
        Some(entries)
    }

    /// `{ ... }`, `@name`, `a,b` or `a`, element by element.
    fn elements(&mut self) -> Option<Vec<&'a [Token]>> {
        let rest = self.tokens.get(self.next..)?;
        if rest.first()?.is_sign('{') {
            let close = rest.iter().position(|token| token.is_sign('}'))?;
            self.next += close + 1;
            return Some(split(rest.get(1..close)?, ','));
        }
        if let Some(name) = rest.first()?.text()?.strip_prefix('@') {
            self.next += 1;
            return self.sets.get(name).cloned();
        }
        let mut elements = Vec::new();
        loop {
            elements.push(self.tokens.get(self.next..=self.next)?);
            self.next += 1;
            if !self.tokens.get(self.next).is_some_and(|token| token.is_sign(',')) {
                return Some(elements);
            }
            self.next += 1;
        }
    }

    /// Goes on to a word that we know how to go on from.
    fn skip_unknown(&mut self) {
        const BEGINNINGS: [&str; 20] = [
            "accept",
            "drop",
            "return",
            "continue",
            "jump",
            "goto",
            "reject",
            "masquerade",
            "redirect",
            "snat",
            "dnat",
            "counter",
            "comment",
            "log",
            "iifname",
            "oifname",
            "meta",
            "ct",
            "ip",
            "tcp",
        ];
        while let Some(token) = self.tokens.get(self.next) {
            if matches!(&token.kind, Kind::Word(word) if BEGINNINGS.contains(&word.as_str())) {
                return;
            }
            self.next += 1;
        }
    }
}
