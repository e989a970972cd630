//! The way of a conversation's first packet through the kernel's hooks, from one end to another,
//! and that of its answer back.

use super::conditions::{Interface, Place};
use super::ends::{End, World};
use super::evaluate::{Event, Walk};
use super::hooks::called;
use super::model::{Family, Hook, State};
use super::part::{Part, RuleAt, Translated, Verdict};
use super::space::{Field, Packets, Span, without};

/// Before this priority answers still have the translated destination (`NF_IP_PRI_NAT_DST`).
const NAT_DST: i32 = -100;
/// Up to this priority they still have the source that really answered (`NF_IP_PRI_NAT_SRC`).
const NAT_SRC: i32 = 100;

/// Why packets ended as they did.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Why {
    /// By this rule, or this policy.
    Rule(RuleAt),
    /// They are switched within their bridge, and no rule is asked.
    Switched,
    /// There is no chain that would be asked.
    Unfiltered,
    /// The answer goes straight back within the bridge, and nobody translates it.
    Direct,
    /// The host forwards nothing.
    NotForwarding,
}

/// How some packets ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// Those packets, as they were sent.
    pub sent: Packets,
    /// How they ended.
    pub verdict: Verdict,
    /// Why.
    pub why: Why,
    /// Was it the answer that ended so?
    pub answer: bool,
    /// Rules that may or may not have matched before.
    pub doubts: Vec<RuleAt>,
    /// Where they arrived, or would have.
    pub at: End,
    /// The destination's translation.
    pub dnat: Option<Translated>,
    /// The source's translation.
    pub snat: Option<Translated>,
}

/// What happened on the way.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// A hook, with the ends where packets come in and go out.
    Hook(Hook, Option<End>, Option<End>),
    /// Something in a chain of it.
    Event(Event),
    /// A translation.
    Translated(Translated, Field),
    /// The way is found: to there.
    Routed(End),
    /// The answer starts.
    Answer,
}

/// Follows packets from one end.
#[derive(Debug)]
pub struct Path<'a> {
    world: &'a World,
    from: End,
    bridge_nf: bool,
    /// How they ended.
    pub outcomes: Vec<Outcome>,
    /// What happened.
    pub steps: Vec<Step>,
}

impl<'a> Path<'a> {
    /// Sends packets from one end, whose addresses say where to, through all hooks and back.
    /// `bridge_nf` says whether rules are asked about packets within a bridge.
    #[must_use]
    pub fn follow(world: &'a World, from: End, packets: Vec<Packets>, bridge_nf: bool) -> Self {
        let mut path = Self { world, from, bridge_nf, outcomes: Vec::new(), steps: Vec::new() };
        let parts = packets.into_iter().map(|packets| {
            let mut part = Part::sent(packets);
            // An address of the host that is not known can be any.
            let unsure = from == End::Host && packets.get(Field::Src) == Field::Src.whole();
            part.unsure = unsure.then_some(Field::Src);
            part
        });
        let parts = parts.collect();
        for (to, parts) in path.routed(parts) {
            match from {
                End::Network(_) if to == from => path.within(parts),
                End::Host => path.sent_by_host(to, parts),
                End::Network(_) | End::Outside => path.arriving(to, parts),
            }
        }
        path
    }

    /// Parts by where they are sent.
    fn routed(&self, parts: Vec<Part>) -> Vec<(End, Vec<Part>)> {
        let mut ways: Vec<(End, Vec<Part>)> = Vec::new();
        for part in parts {
            let dst = part.now.get(Field::Dst);
            let mut pieces = vec![dst];
            for way in self.world.ways() {
                let cut = |span: Span| {
                    span.and(way).into_iter().chain(without(span, &[way])).collect::<Vec<_>>()
                };
                pieces = pieces.into_iter().flat_map(cut).collect();
            }
            for piece in pieces {
                // A redirection is to the host, whatever address that is.
                let redirected = part.dnat.is_some_and(|dnat| dnat.to.is_none());
                let to = if redirected { End::Host } else { self.world.route(piece.first) };
                let part = part.with(Field::Dst, piece);
                match ways.iter_mut().find(|(end, _)| *end == to) {
                    Some((_, parts)) => parts.push(part),
                    None => ways.push((to, vec![part])),
                }
            }
        }
        ways
    }

    /// Within a bridge: rules are asked where br_netfilter hands packets to them.
    fn within(&mut self, parts: Vec<Part>) {
        let there = Some(self.from);
        let parts = self.hook(Hook::Prerouting, there, there, State::New, parts, true);
        // What is translated to somebody elsewhere goes up to the host, and is routed from there.
        for (now, mut parts) in self.routed(parts) {
            if now != self.from {
                self.steps.push(Step::Routed(now));
                self.deliver(now, parts);
                continue;
            }
            for hook in [Hook::Forward, Hook::Postrouting] {
                parts = self.hook(hook, there, there, State::New, parts, true);
            }
            // Answers to an address of the host go to the host, and from there back.
            let (routed, parts) = parts.into_iter().partition(|part| part.snat.is_some());
            self.answer_from(self.from, routed);
            let mut answers = self.answers(parts);
            for hook in [Hook::Prerouting, Hook::Forward, Hook::Postrouting] {
                answers = self.hook(hook, there, there, State::Established, answers, true);
            }
            let way = if self.bridge_nf { Why::Unfiltered } else { Why::Switched };
            self.arrive(answers, self.from, way);
        }
    }

    fn arriving(&mut self, to: End, parts: Vec<Part>) {
        let parts = self.hook(Hook::Prerouting, Some(self.from), None, State::New, parts, false);
        for (now, parts) in self.routed(parts) {
            if now != to {
                self.steps.push(Step::Routed(now));
            }
            self.deliver(now, parts);
        }
    }

    fn sent_by_host(&mut self, to: End, parts: Vec<Part>) {
        let parts = self.hook(Hook::Output, None, Some(to), State::New, parts, false);
        for (now, parts) in self.routed(parts) {
            if now != to {
                self.steps.push(Step::Routed(now));
            }
            let parts = self.hook(Hook::Postrouting, None, Some(now), State::New, parts, false);
            self.answer_from(now, parts);
        }
    }

    /// From the route on.
    fn deliver(&mut self, to: End, parts: Vec<Part>) {
        let from = Some(self.from);
        if to == End::Host {
            let parts = self.hook(Hook::Input, from, None, State::New, parts, false);
            self.answer_from(to, parts);
            return;
        }
        if self.world.facts.forwarding == Some(false) {
            for part in parts {
                self.end(part, Verdict::Dropped, Why::NotForwarding, to, false);
            }
            return;
        }
        // Back into the bridge that they came in by, where br_netfilter has translated them on the
        // port: they are switched from there on.
        let switched = to == self.from && self.bridge_nf;
        let mut parts = if switched { self.for_others(to, parts) } else { parts };
        for hook in [Hook::Forward, Hook::Postrouting] {
            parts = self.hook(hook, from, Some(to), State::New, parts, switched);
        }
        self.answer_from(to, parts);
    }

    /// Those that are not for who has sent them. The others would leave by the port that they came
    /// in by: whether it lets them (`hairpin_mode`), no rule says.
    fn for_others(&mut self, to: End, parts: Vec<Part>) -> Vec<Part> {
        let mut others = Vec::new();
        for part in parts {
            let (src, dst) = (part.now.get(Field::Src), part.now.get(Field::Dst));
            let own = part.dnat.and_then(|dnat| Some((dnat.by, src.and(dst)?)));
            let Some((by, own)) = own else {
                others.push(part);
                continue;
            };
            self.end(part.with(Field::Src, own), Verdict::Unclear, Why::Rule(by), to, false);
            let rest = without(src, &[own]).into_iter();
            others.extend(rest.map(|span| part.with(Field::Src, span)));
        }
        others
    }

    /// The answers of those that arrived.
    fn answer_from(&mut self, to: End, parts: Vec<Part>) {
        if parts.is_empty() {
            return;
        }
        let mut parts = parts;
        if to == self.from {
            // Who answers has the other on its own bridge, and answers straight to it: untranslated
            // where no rule is asked there, and we do not know how where rules are.
            let direct = |part: &Part| part.dnat.is_some() && part.snat.is_none();
            let (straight, others) = parts.into_iter().partition::<Vec<_>, _>(direct);
            parts = others;
            for part in straight {
                let by = part.dnat.map_or(Why::Direct, |dnat| Why::Rule(dnat.by));
                if self.bridge_nf {
                    self.end(part, Verdict::Unclear, by, to, true);
                } else {
                    self.end(part, Verdict::Dropped, Why::Direct, to, true);
                }
            }
        }
        let (there, back) = (Some(to), Some(self.from));
        let mut answers = self.answers(parts);
        let state = State::Established;
        if to == End::Host {
            answers = self.hook(Hook::Output, None, back, state, answers, false);
        } else {
            answers = self.hook(Hook::Prerouting, there, None, state, answers, false);
            if self.from == End::Host {
                answers = self.hook(Hook::Input, there, None, state, answers, false);
                self.arrive(answers, to, Why::Unfiltered);
                return;
            }
            answers = self.hook(Hook::Forward, there, back, state, answers, false);
        }
        let input = there.filter(|end| *end != End::Host);
        answers = self.hook(Hook::Postrouting, input, back, state, answers, false);
        self.arrive(answers, to, Why::Unfiltered);
    }

    fn answers(&mut self, parts: Vec<Part>) -> Vec<Part> {
        if !parts.is_empty() {
            self.steps.push(Step::Answer);
        }
        parts.iter().flat_map(Part::answers).collect()
    }

    fn arrive(&mut self, parts: Vec<Part>, at: End, otherwise: Why) {
        for part in parts {
            let why = part.by.map_or(otherwise, Why::Rule);
            self.end(part, Verdict::Accepted, why, at, false);
        }
    }

    fn end(&mut self, part: Part, verdict: Verdict, why: Why, at: End, answer: bool) {
        let Part { sent, doubts, dnat, snat, .. } = part;
        self.outcomes.push(Outcome { sent, verdict, why, answer, doubts, at, dnat, snat });
    }

    /// Through all chains of a hook, in their order. Returns those that go on.
    fn hook(
        &mut self,
        hook: Hook,
        input: Option<End>,
        output: Option<End>,
        state: State,
        mut parts: Vec<Part>,
        bridged: bool,
    ) -> Vec<Part> {
        let is_answer = state == State::Established;
        if parts.is_empty() {
            return parts;
        }
        let chains = called(self.world, hook, (input, output), bridged, self.bridge_nf);
        self.steps.push(Step::Hook(hook, input, output));
        let at = output.or(input).unwrap_or(End::Host);
        let (mut dst_restored, mut src_restored) = (false, false);
        for (chain, family, base) in chains {
            let after_dst = is_answer && hook == Hook::Prerouting && base.priority >= NAT_DST;
            if after_dst && !dst_restored {
                parts = parts.into_iter().map(Part::destination_restored).collect();
                dst_restored = true;
            }
            let after_src = is_answer && hook == Hook::Postrouting && base.priority > NAT_SRC;
            if after_src && !src_restored {
                parts = parts.into_iter().map(Part::source_restored).collect();
                src_restored = true;
            }
            let (waiting, asked) = if base.nat {
                if is_answer {
                    continue;
                }
                // One translation each: the first chain that makes one has the last word.
                let source = matches!(hook, Hook::Postrouting | Hook::Input);
                let has = |part: &Part| if source { part.snat } else { part.dnat }.is_some();
                parts.into_iter().partition(has)
            } else {
                (Vec::new(), parts)
            };
            let before = asked.len();
            let place = self.place(family, hook, input, output, state, bridged);
            let mut walk = Walk::new(&self.world.tables, &place);
            let mut on = walk.through(chain, base, asked);
            let (ended, events) = (walk.ended, walk.events);
            self.steps.extend(events.into_iter().map(Step::Event));
            for (part, verdict, by) in ended {
                self.end(part, verdict, Why::Rule(by), at, is_answer);
            }
            if base.nat && before > 0 {
                self.translations(hook, &on);
            }
            on.extend(waiting);
            parts = on;
            if parts.is_empty() {
                return parts;
            }
        }
        if is_answer && hook == Hook::Prerouting && !dst_restored {
            parts = parts.into_iter().map(Part::destination_restored).collect();
        }
        parts
    }

    fn translations(&mut self, hook: Hook, parts: &[Part]) {
        let source = matches!(hook, Hook::Postrouting | Hook::Input);
        let field = if source { Field::Src } else { Field::Dst };
        let mut seen = Vec::new();
        for part in parts {
            let translated = if source { part.snat } else { part.dnat };
            if let Some(translated) = translated.filter(|it| !seen.contains(it)) {
                seen.push(translated);
                self.steps.push(Step::Translated(translated, field));
            }
        }
    }

    fn place(
        &self,
        family: Family,
        hook: Hook,
        input: Option<End>,
        output: Option<End>,
        state: State,
        bridged: bool,
    ) -> Place<'a> {
        let interface = |end: Option<End>| match end {
            // In a bridge's own chains interfaces are ports, of which we know no names.
            Some(_) if family == Family::Bridge => Interface::Unnamed,
            Some(End::Network(index)) => {
                let network = self.world.network(index);
                Interface::Named(network.map(|network| network.bridge.clone()).unwrap_or_default())
            }
            Some(End::Host) => Interface::Named("lo".into()),
            Some(End::Outside) => match &self.world.facts.outside {
                Some(name) => Interface::Named(name.clone()),
                None => Interface::Unnamed,
            },
            None => Interface::None,
        };
        Place {
            hook,
            input: interface(input),
            output: interface(output),
            bridged,
            state,
            local: &self.world.local,
            elsewhere: &self.world.elsewhere,
            names: &self.world.names,
            masquerade: output.and_then(|end| self.world.address_towards(end)),
        }
    }
}
