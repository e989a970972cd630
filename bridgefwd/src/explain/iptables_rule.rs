//! One rule of `iptables-save`: the words after `-A CHAIN`, made into conditions and an action.

use super::model::{Action, Match, Name, State, Wanted};
use super::space::{Field, ICMP, Span, union, without};
use super::words;

/// Extensions whose options are read here, or that ask for nothing.
const KNOWN_EXTENSIONS: [&str; 14] = [
    "addrtype",
    "comment",
    "conntrack",
    "dccp",
    "icmp",
    "mark",
    "multiport",
    "physdev",
    "sctp",
    "set",
    "state",
    "tcp",
    "udp",
    "udplite",
];

/// Targets after which the next rule is asked, and that change nothing that rules look at here.
const PASSING_TARGETS: [&str; 19] = [
    "AUDIT",
    "CHECKSUM",
    "CLASSIFY",
    "CONNSECMARK",
    "DSCP",
    "ECN",
    "HL",
    "IDLETIMER",
    "LED",
    "LOG",
    "NFLOG",
    "RATEEST",
    "SECMARK",
    "SET",
    "TCPMSS",
    "TEE",
    "TOS",
    "TRACE",
    "TTL",
];

/// What the words ask for and do. Those that are not known are kept as such.
#[must_use]
pub fn read(words: &[String]) -> (Vec<Match>, Action) {
    let mut reader = Reader { words, next: 0 };
    let mut matches = Vec::new();
    while let Some(word) = reader.word() {
        let start = reader.next - 1;
        let negated = word == "!";
        let option = if negated { reader.word().unwrap_or_default() } else { word };
        match option {
            "-j" | "--jump" | "-g" | "--goto" => {
                let target = reader.word().unwrap_or_default();
                let rest = &words[reader.next..];
                let goes = option == "-g" || option == "--goto";
                return (matches, action(target, rest, goes));
            }
            "-m" | "--match" => {
                let extension = reader.word().unwrap_or_default();
                if !KNOWN_EXTENSIONS.contains(&extension) {
                    reader.skip_arguments();
                    matches.push(Match::Unknown(words[start..reader.next].join(" ")));
                }
            }
            // `-p tcp -m tcp` and the like ask for nothing.
            "--comment" => {
                reader.word();
            }
            option => match condition(option, negated, &mut reader) {
                Some(known) => matches.push(known),
                None => {
                    reader.next = (start + 1 + usize::from(negated)).min(words.len());
                    reader.skip_arguments();
                    matches.push(Match::Unknown(words[start..reader.next].join(" ")));
                }
            },
        }
    }
    (matches, Action::Continue)
}

struct Reader<'a> {
    words: &'a [String],
    next: usize,
}

impl<'a> Reader<'a> {
    fn word(&mut self) -> Option<&'a str> {
        let word = self.words.get(self.next)?;
        self.next += 1;
        Some(word)
    }

    /// Goes on to the next option.
    fn skip_arguments(&mut self) {
        while self.words.get(self.next).is_some_and(|word| !word.starts_with('-') && word != "!") {
            self.next += 1;
        }
    }
}

/// One option with its arguments; `None` where it is not known, or is not as we know it.
fn condition(option: &str, negated: bool, reader: &mut Reader) -> Option<Match> {
    let wanted = Wanted::unless(negated);
    let spans = |field: Field, inside: Vec<Span>| {
        let inside = union(inside);
        Match::In(field, if negated { without(field.whole(), &inside) } else { inside })
    };
    Some(match option {
        "-s" | "--source" | "--src" => spans(Field::Src, words::addresses(reader.word()?)?),
        "-d" | "--destination" | "--dst" => spans(Field::Dst, words::addresses(reader.word()?)?),
        "-i" | "--in-interface" => Match::From(vec![Name::read(reader.word()?, '+')], wanted),
        "-o" | "--out-interface" => Match::To(vec![Name::read(reader.word()?, '+')], wanted),
        "-p" | "--protocol" => match reader.word()? {
            "all" | "0" => Match::In(Field::Proto, vec![Field::Proto.whole()]),
            name => spans(Field::Proto, vec![Span::one(words::protocol(name)?)]),
        },
        "--sport" | "--source-port" | "--sports" | "--source-ports" => {
            spans(Field::Sport, words::ports(reader.word()?, ':')?)
        }
        "--dport" | "--destination-port" | "--dports" | "--destination-ports" => {
            spans(Field::Dport, words::ports(reader.word()?, ':')?)
        }
        "--icmp-type" => match reader.word()? {
            "any" | "255" => Match::In(Field::Proto, vec![Span::one(ICMP)]),
            kind => spans(Field::Dport, vec![Span::one(words::icmp_type(kind)?)]),
        },
        "--ctstate" | "--state" => states(reader.word()?, wanted)?,
        "--ctstatus" if reader.word()? == "DNAT" => Match::Dnat(wanted),
        "--dst-type" => address_type(Field::Dst, reader.word()?, negated)?,
        "--src-type" => address_type(Field::Src, reader.word()?, negated)?,
        "--mark" => {
            let (value, mask) = words::masked(reader.word()?)?;
            Match::Mark { value, mask, wanted }
        }
        "--tcp-flags" => {
            let mask = words::tcp_flags(reader.word()?)?;
            Match::TcpFlags { mask, set: words::tcp_flags(reader.word()?)?, wanted }
        }
        "--syn" => Match::TcpFlags { mask: 0x17, set: 0x02, wanted },
        "--physdev-is-bridged" => Match::Bridged(wanted),
        _ => return None,
    })
}

fn states(list: &str, wanted: Wanted) -> Option<Match> {
    if list == "DNAT" {
        return Some(Match::Dnat(wanted));
    }
    let state = |name| match name {
        "NEW" => Some(State::New),
        "ESTABLISHED" => Some(State::Established),
        "RELATED" | "INVALID" | "UNTRACKED" => Some(State::Other),
        _ => None,
    };
    Some(Match::State(list.split(',').map(state).collect::<Option<_>>()?, wanted))
}

fn address_type(field: Field, name: &str, negated: bool) -> Option<Match> {
    match name {
        "LOCAL" => Some(Match::Local(field, Wanted::unless(negated))),
        "MULTICAST" => {
            let multicast = [Span::prefix(std::net::Ipv4Addr::new(224, 0, 0, 0), 4)];
            let spans =
                if negated { without(field.whole(), &multicast) } else { multicast.to_vec() };
            Some(Match::In(field, spans))
        }
        _ => None,
    }
}

fn action(target: &str, options: &[String], goes: bool) -> Action {
    let unknown = || Action::Unknown([&["-j".into(), target.into()], options].concat().join(" "));
    let given = |option: &str| {
        let at = options.iter().position(|word| word == option)?;
        options.get(at + 1).map(String::as_str)
    };
    match target {
        _ if goes => Action::Goto(target.into()),
        "ACCEPT" => Action::Accept,
        "DROP" => Action::Drop,
        "REJECT" => Action::Reject,
        "RETURN" => Action::Return,
        "MASQUERADE" => Action::Snat(None),
        "SNAT" => match given("--to-source").and_then(words::target) {
            Some((address, _)) => Action::Snat(Some(address)),
            None => unknown(),
        },
        "DNAT" => match given("--to-destination").and_then(words::target) {
            Some((address, port)) => Action::Dnat(Some(address), port),
            None => unknown(),
        },
        "REDIRECT" => match given("--to-ports") {
            None => Action::Dnat(None, None),
            Some(port) => port.parse().map_or_else(|_| unknown(), |p| Action::Dnat(None, Some(p))),
        },
        "MARK" => match given("--set-xmark").and_then(words::masked) {
            Some((value, mask)) => Action::Mark { value, mask },
            None => unknown(),
        },
        // Restoring would set the packet's mark, to what we cannot know.
        "CONNMARK" if !options.iter().any(|word| word == "--restore-mark") => Action::Continue,
        _ if PASSING_TARGETS.contains(&target) => Action::Continue,
        // Chains have names of letters as targets do: `parse_iptables` knows which there are.
        _ if options.is_empty() => Action::Jump(target.into()),
        _ => unknown(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> (Vec<Match>, Action) {
        let words: Vec<String> = text.split(' ').map(Into::into).collect();
        read(&words)
    }

    #[test]
    fn conditions_that_are_known() {
        let (matches, action) = rule(
            "-p tcp -m multiport ! --dports 80,443:445 -m conntrack --ctstate NEW,ESTABLISHED -m mark \
             ! --mark 0x1/0xff -m addrtype --dst-type LOCAL -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j RETURN",
        );
        let expected = [
            Match::In(Field::Proto, vec![Span::one(6)]),
            Match::In(
                Field::Dport,
                vec![Span::new(0, 79), Span::new(81, 442), Span::new(446, 65_535)],
            ),
            Match::State(vec![State::New, State::Established], Wanted::Yes),
            Match::Mark { value: 1, mask: 0xff, wanted: Wanted::No },
            Match::Local(Field::Dst, Wanted::Yes),
            Match::TcpFlags { mask: 0x17, set: 0x02, wanted: Wanted::Yes },
        ];
        assert_eq!(matches, expected);
        assert_eq!(action, Action::Return);
    }

    #[test]
    fn what_is_not_known_is_kept_in_its_words() {
        let (matches, action) = rule(
            "-i a -m set --match-set docker-ext-bridges-v4 dst -m owner --uid-owner 3 -m time ! --strange x y -j NFQUEUE --queue-num 3",
        );
        let unknown = |text: &str| Match::Unknown(text.into());
        let expected = [
            Match::From(vec![Name::Is("a".into())], Wanted::Yes),
            unknown("--match-set docker-ext-bridges-v4 dst"),
            unknown("-m owner"),
            unknown("--uid-owner 3"),
            unknown("-m time"),
            unknown("! --strange x y"),
        ];
        assert_eq!(matches, expected);
        assert_eq!(action, Action::Unknown("-j NFQUEUE --queue-num 3".into()));
        assert_eq!(rule("-d 300.1.1.1 -j DROP").0, [unknown("-d 300.1.1.1")]);
        assert_eq!(rule("-p tcp --dport http -j DROP").0[1], unknown("--dport http"));
    }

    #[test]
    fn nat_is_read() {
        let at = std::net::Ipv4Addr::new(172, 17, 0, 2);
        let dnat = rule("-j DNAT --to-destination 172.17.0.2:80").1;
        assert_eq!(dnat, Action::Dnat(Some(at), Some(80)));
        assert_eq!(rule("-j SNAT --to-source 172.17.0.2").1, Action::Snat(Some(at)));
        assert_eq!(rule("-j MASQUERADE --random").1, Action::Snat(None));
        assert_eq!(rule("-j REDIRECT --to-ports 3").1, Action::Dnat(None, Some(3)));
        assert!(matches!(rule("-j SNAT --to-source 1.1.1.1-1.1.1.9").1, Action::Unknown(_)));
        assert!(matches!(rule("-j CONNMARK --restore-mark").1, Action::Unknown(_)));
    }
}
