//! Does a condition hold of packets where they are? Yes, no, or unknown; and where it holds of some
//! of them, of which.

use super::model::{Hook, Match, Name, State, Wanted};
use super::part::Part;
use super::space::{Field, Span, TCP, union, without};

/// An interface, as far as we know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Interface {
    /// There is none at this hook.
    None,
    /// This one.
    Named(String),
    /// One that is none of those we know.
    Unnamed,
}

/// What holds for all packets at a hook.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    /// The hook.
    pub hook: Hook,
    /// Where they came in.
    pub input: Interface,
    /// Where they go out.
    pub output: Interface,
    /// Are they switched within a bridge?
    pub bridged: bool,
    /// Do they open conversations, or answer?
    pub state: State,
    /// The host's addresses.
    pub local: &'a [Span],
    /// Where an address of the host that is not known can be.
    pub elsewhere: &'a [Span],
    /// The names of the interfaces that are known to be none that is [`Interface::Unnamed`].
    pub names: &'a [String],
    /// The address that a masquerade takes here.
    pub masquerade: Option<std::net::Ipv4Addr>,
}

/// Does a condition hold?
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Truth {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// We cannot know.
    Unknown,
}

impl Truth {
    const fn of(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, Self::Yes) => Self::Yes,
            _ => Self::Unknown,
        }
    }
}

impl Place<'_> {
    /// Cuts a part by what must all hold.
    #[must_use]
    pub fn cut(&self, part: Part, matches: &[Match]) -> Vec<(Part, Truth)> {
        let mut pieces = vec![(part, Truth::Yes)];
        let mut failed = Vec::new();
        for asked in matches {
            let mut next = Vec::new();
            for (piece, so_far) in pieces {
                for (piece, truth) in self.test(piece, asked) {
                    match so_far.and(truth) {
                        Truth::No => failed.push((piece, Truth::No)),
                        truth => next.push((piece, truth)),
                    }
                }
            }
            pieces = next;
        }
        pieces.extend(failed);
        pieces
    }

    /// Cuts a part by one condition.
    fn test(&self, part: Part, asked: &Match) -> Vec<(Part, Truth)> {
        let place = self;
        let whole = match asked {
            Match::In(field, spans) if part.unsure == Some(*field) => {
                // An address that is not known, but is none of the networks'.
                let outside = place.elsewhere.iter().flat_map(|span| without(*span, spans));
                let outside: Vec<Span> = outside.collect();
                match &outside[..] {
                    [] => Truth::Yes,
                    rest if union(rest.to_vec()) == union(place.elsewhere.to_vec()) => Truth::No,
                    _ => Truth::Unknown,
                }
            }
            Match::In(field, spans) => return within(&part, *field, spans),
            Match::Local(field, wanted) if part.unsure == Some(*field) => {
                Truth::of(wanted.holds(true))
            }
            Match::Local(field, Wanted::Yes) => return within(&part, *field, place.local),
            Match::Local(field, Wanted::No) => {
                return within(&part, *field, &without(field.whole(), place.local));
            }
            Match::TcpFlags { mask, set, wanted } => {
                // What opens a connection has SYN, what answers that SYN and ACK.
                let flags = if place.state == State::New { 0x02 } else { 0x12 };
                let holds = wanted.holds(flags & mask == *set);
                let tcp: &[Span] = if holds { &[Span::one(TCP)] } else { &[] };
                return within(&part, Field::Proto, tcp);
            }
            Match::From(names, wanted) => self.by_name(&place.input, names, *wanted),
            Match::To(names, wanted) => self.by_name(&place.output, names, *wanted),
            Match::State(states, wanted) => Truth::of(wanted.holds(states.contains(&place.state))),
            Match::Dnat(wanted) => Truth::of(wanted.holds(part.dnat.is_some())),
            Match::Mark { value, mask, wanted } => {
                Truth::of(wanted.holds(part.mark & mask == *value))
            }
            Match::Bridged(wanted) => Truth::of(wanted.holds(place.bridged)),
            Match::Never => Truth::No,
            Match::Unknown(_) => Truth::Unknown,
        };
        vec![(part, whole)]
    }

    fn by_name(&self, interface: &Interface, names: &[Name], wanted: Wanted) -> Truth {
        let is = |name: &str| Truth::of(wanted.holds(names.iter().any(|asked| asked.is(name))));
        match interface {
            Interface::None => is(""),
            Interface::Named(name) => is(name),
            Interface::Unnamed => {
                let known = |asked: &Name| match asked {
                    Name::Is(name) => self.names.contains(name),
                    Name::Begins(_) => false,
                };
                let every = |asked: &Name| matches!(asked, Name::Begins(start) if start.is_empty());
                if names.iter().any(every) {
                    Truth::of(wanted.holds(true))
                } else if names.iter().all(known) {
                    Truth::of(wanted.holds(false))
                } else {
                    Truth::Unknown
                }
            }
        }
    }

    /// Does a map have an entry for any of these parts, and has it none for any?
    #[must_use]
    pub fn chosen<T>(&self, parts: &[Part], entries: &[(Match, T)]) -> (bool, bool) {
        let (mut chosen, mut left) = (false, parts.to_vec());
        for (entry, _) in entries {
            let cut = |part: Part| self.cut(part, std::slice::from_ref(entry));
            let (rest, hit): (Vec<_>, Vec<_>) =
                left.into_iter().flat_map(cut).partition(|(_, truth)| *truth == Truth::No);
            chosen |= !hit.is_empty();
            left = rest.into_iter().map(|(part, _)| part).collect();
        }
        (chosen, !left.is_empty())
    }
}

/// Those whose field is in one of the spans, and those whose is not.
fn within(part: &Part, field: Field, spans: &[Span]) -> Vec<(Part, Truth)> {
    let now = part.now.get(field);
    let outside = without(now, spans);
    let inside = without(now, &outside);
    let piece = |truth| move |span| (part.with(field, span), truth);
    let inside = inside.into_iter().map(piece(Truth::Yes));
    inside.chain(outside.into_iter().map(piece(Truth::No))).collect()
}
