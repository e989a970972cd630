//! What rules of nft compare packets with: values, several of them, and the elements of sets.

use super::model::{Match, Name, State, Wanted};
use super::nft_tokens::{Kind, Token};
use super::space::{Field, Span, union, without};
use super::words;

/// What is compared.
#[derive(Clone, Copy)]
pub(super) enum Key {
    In,
    Out,
    Field(Field),
    State,
}

/// The value of an element, without its counter, timeout and comment; `None` where it is several
/// values in one (`a . b`).
pub(super) fn value(element: &[Token]) -> Option<&str> {
    let mut words = element.iter().filter(|token| token.kind != Kind::End);
    let value = words.next()?.text()?;
    match words.next().and_then(Token::text) {
        None | Some("counter" | "timeout" | "expires" | "comment") => Some(value),
        Some(_) => None,
    }
}

/// Is the key one of the words?
pub(super) fn matched(key: Key, words: &[&str], wanted: Wanted) -> Option<Match> {
    let names = || words.iter().map(|word| Name::read(word, '*')).collect();
    Some(match key {
        Key::In => Match::From(names(), wanted),
        Key::Out => Match::To(names(), wanted),
        Key::State => {
            let state = |word: &&str| match *word {
                "new" => Some(State::New),
                "established" => Some(State::Established),
                "related" | "invalid" | "untracked" => Some(State::Other),
                _ => None,
            };
            Match::State(words.iter().map(state).collect::<Option<_>>()?, wanted)
        }
        Key::Field(field) => {
            let spans = words.iter().map(|word| match field {
                Field::Src | Field::Dst => words::addresses(word),
                Field::Proto => words::protocol(word).map(|proto| vec![Span::one(proto)]),
                Field::Sport | Field::Dport => words::ports(word, '-')
                    .or_else(|| words::icmp_type(word).map(|kind| vec![Span::one(kind)])),
            });
            let inside = union(spans.collect::<Option<Vec<_>>>()?.concat());
            let spans = if wanted == Wanted::No { without(field.whole(), &inside) } else { inside };
            Match::In(field, spans)
        }
    })
}
