//! Packets through chains, rule by rule, in three-valued logic: a condition holds, does not hold,
//! or is unknown. Where it is unknown packets go both ways, and keep in mind which rule it was.

use super::conditions::{Place, Truth};
use super::model::{Action, Base, Hook, Match, State, Table};
use super::part::{Part, RuleAt, Verdict, merged};

/// Sets of packets that are told apart at a time; past this nobody would read the answer.
const MOST_PARTS: usize = 20_000;
/// As deep as the kernel lets chains be called from chains.
const DEEPEST: usize = 64;

/// What was found when a rule was asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tested {
    /// All packets match.
    Yes,
    /// None does.
    No,
    /// Some do.
    Depends,
    /// We cannot know.
    Unknown,
}

/// What happened on the way, in order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// A chain is asked, called from as many others.
    Chain(RuleAt, usize),
    /// A rule is.
    Rule(RuleAt, usize, Tested),
    /// No rule decided: the policy does. Does it accept?
    Policy(RuleAt, bool),
}

/// Packets on their way through the chains of one hook.
#[derive(Debug)]
pub struct Walk<'a> {
    tables: &'a [Table],
    place: &'a Place<'a>,
    /// Do the chains decide who may go where?
    decides: bool,
    /// Those that came to an end, how, and by which rule or policy.
    pub ended: Vec<(Part, Verdict, RuleAt)>,
    /// What happened.
    pub events: Vec<Event>,
}

/// Those that a chain let go for good, and those for the next rule of the caller.
#[derive(Default)]
struct Left {
    accepted: Vec<Part>,
    returned: Vec<Part>,
}

impl<'a> Walk<'a> {
    /// Nobody has gone yet.
    #[must_use]
    pub const fn new(tables: &'a [Table], place: &'a Place<'a>) -> Self {
        Self { tables, place, decides: false, ended: Vec::new(), events: Vec::new() }
    }

    /// Through a chain that the kernel calls. Returns those that go on.
    pub fn through(&mut self, at: RuleAt, base: Base, parts: Vec<Part>) -> Vec<Part> {
        if parts.is_empty() {
            return parts;
        }
        // Chains that translate decide nothing. What lets answers go is not the reason that they
        // were asked for.
        self.decides = matches!(self.place.hook, Hook::Forward | Hook::Input | Hook::Output)
            && self.place.state == State::New
            && !base.nat;
        let mut left = self.chain(at, parts, 0);
        if !left.returned.is_empty() {
            self.events.push(Event::Policy(at, !base.drops));
        }
        for mut part in left.returned {
            if base.drops {
                self.ended.push((part, Verdict::Dropped, at));
            } else {
                if self.decides && part.by.is_none_or(|by| by.rule.is_none()) {
                    part.by = Some(at);
                }
                left.accepted.push(part);
            }
        }
        merged(left.accepted)
    }

    fn chain(&mut self, at: RuleAt, mut parts: Vec<Part>, depth: usize) -> Left {
        let mut left = Left::default();
        let Some(chain) = self.tables.get(at.table).and_then(|table| table.chains.get(at.chain))
        else {
            return left;
        };
        self.events.push(Event::Chain(at, depth));
        for (number, rule) in chain.rules.iter().enumerate() {
            let at = RuleAt { rule: Some(number), ..at };
            if parts.len() > MOST_PARTS {
                let unclear = |part| (part, Verdict::Unclear, at);
                self.ended.extend(std::mem::take(&mut parts).into_iter().map(unclear));
            }
            if parts.is_empty() {
                break;
            }
            let (mut hit, mut rest) = (Vec::new(), Vec::new());
            let (mut yes, mut no, mut unknown) = (false, false, false);
            for part in parts {
                for (piece, truth) in self.place.cut(part, &rule.matches) {
                    match truth {
                        Truth::Yes => {
                            yes = true;
                            hit.push(piece);
                        }
                        Truth::No => {
                            no = true;
                            rest.push(piece);
                        }
                        Truth::Unknown => {
                            unknown = true;
                            let piece = piece.doubtful(at);
                            hit.push(piece.clone());
                            rest.push(piece);
                        }
                    }
                }
            }
            if let Action::Map(entries) = &rule.action {
                // Whether a map has an entry for them is what its rule asks.
                let (chosen, left) = self.place.chosen(&hit, entries);
                (yes, no) = (yes && chosen, no || left);
            }
            self.events.push(Event::Rule(
                at,
                depth,
                match (yes, no, unknown) {
                    (_, _, true) => Tested::Unknown,
                    (true, false, _) => Tested::Yes,
                    (true, true, _) => Tested::Depends,
                    (false, ..) => Tested::No,
                },
            ));
            rest.extend(self.act(at, &rule.action, hit, depth, &mut left));
            parts = merged(rest);
        }
        left.returned.extend(parts);
        left
    }

    /// Does what a rule does. Returns those that go on to the next rule.
    fn act(
        &mut self,
        at: RuleAt,
        action: &Action,
        parts: Vec<Part>,
        depth: usize,
        left: &mut Left,
    ) -> Vec<Part> {
        if parts.is_empty() {
            return parts;
        }
        let mut end = |verdict| {
            self.ended.extend(parts.iter().map(|part| (part.clone(), verdict, at)));
            Vec::new()
        };
        match action {
            Action::Continue => parts,
            Action::Drop => end(Verdict::Dropped),
            Action::Reject => end(Verdict::Rejected),
            Action::Unknown(_) => end(Verdict::Unclear),
            Action::Accept => {
                let by = self.decides.then_some(at);
                left.accepted.extend(parts.into_iter().map(|mut part| {
                    part.by = by.or(part.by);
                    part
                }));
                Vec::new()
            }
            Action::Return => {
                left.returned.extend(parts);
                Vec::new()
            }
            Action::Jump(name) | Action::Goto(name) => {
                let called = self.tables.get(at.table).and_then(|table| table.chain(name));
                let Some(called) = called.filter(|_| depth < DEEPEST) else {
                    return end(Verdict::Unclear);
                };
                let called = RuleAt { chain: called, rule: None, ..at };
                let inner = self.chain(called, parts, depth + 1);
                left.accepted.extend(inner.accepted);
                if matches!(action, Action::Goto(_)) {
                    left.returned.extend(inner.returned);
                    return Vec::new();
                }
                inner.returned
            }
            Action::Snat(to) => {
                let to = to.or(self.place.masquerade);
                left.accepted.extend(parts.into_iter().map(|part| part.with_snat(at, to)));
                Vec::new()
            }
            Action::Dnat(to, port) => {
                left.accepted.extend(parts.into_iter().map(|part| part.with_dnat(at, *to, *port)));
                Vec::new()
            }
            Action::Mark { value, mask } => {
                let marked = |mut part: Part| {
                    part.mark = part.mark & !mask ^ value;
                    part
                };
                parts.into_iter().map(marked).collect()
            }
            Action::Map(entries) => self.choose(at, entries, parts, depth, left),
        }
    }

    fn choose(
        &mut self,
        at: RuleAt,
        entries: &[(Match, Action)],
        mut parts: Vec<Part>,
        depth: usize,
        left: &mut Left,
    ) -> Vec<Part> {
        let mut on = Vec::new();
        for (entry, action) in entries {
            let (mut hit, mut rest) = (Vec::new(), Vec::new());
            for part in parts {
                for (piece, truth) in self.place.cut(part, std::slice::from_ref(entry)) {
                    match truth {
                        Truth::Yes => hit.push(piece),
                        Truth::No => rest.push(piece),
                        Truth::Unknown => {
                            let piece = piece.doubtful(at);
                            hit.push(piece.clone());
                            rest.push(piece);
                        }
                    }
                }
            }
            on.extend(self.act(at, action, hit, depth, left));
            parts = rest;
        }
        on.extend(parts);
        on
    }
}
