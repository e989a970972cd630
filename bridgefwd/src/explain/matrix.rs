//! Who may reach whom: for each end and each other the packets that arrive, those that do not, and
//! the rule that decides.

use std::collections::HashMap;

use super::ends::{End, World};
use super::part::{RuleAt, Translated, Verdict};
use super::path::{Outcome, Path, Why};
use super::space::{Field, Packets, Span, without};

/// Outcomes in doubt that are held against each other; more of them stay unknown.
const MOST_DOUBTS: usize = 400;

/// Does it arrive, and is it answered?
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    /// Whatever it is.
    Yes,
    /// None of it.
    No,
    /// Some of it.
    Some,
    /// It depends on what we do not know.
    Unknown,
}

/// Packets of a cell that fare alike.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fate {
    /// The packets, as they were sent.
    pub packets: Vec<Packets>,
    /// Do they arrive? Yes, no or unknown.
    pub answer: Answer,
    /// How they end.
    pub verdict: Verdict,
    /// Why.
    pub why: Why,
    /// Was it the answer that did not arrive?
    pub answers_lost: bool,
    /// The rules that it depends on, where it is unknown.
    pub doubts: Vec<RuleAt>,
    /// Where they arrive.
    pub at: End,
    /// The destination's translation.
    pub dnat: Option<Translated>,
    /// The source's translation.
    pub snat: Option<Translated>,
}

/// One end and another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cell {
    /// Who opens conversations.
    pub from: End,
    /// Who answers.
    pub to: End,
    /// All in all.
    pub answer: Answer,
    /// In parts, the largest first.
    pub fates: Vec<Fate>,
    /// It depends on `bridge-nf-call-iptables`, which is not known.
    pub by_bridge_nf: bool,
}

/// Every cell, row by row. The host with itself and the outside with itself are nobody's question.
#[must_use]
pub fn cells(world: &World) -> Vec<Cell> {
    let ends = world.ends();
    let pairs = ends.iter().flat_map(|from| ends.iter().map(move |to| (*from, *to)));
    pairs
        .filter(|(from, to)| from != to || matches!(from, End::Network(_)))
        .map(|(from, to)| cell(world, from, to))
        .collect()
}

/// One cell.
#[must_use]
pub fn cell(world: &World, from: End, to: End) -> Cell {
    let fates = |bridge_nf| {
        let path = Path::follow(world, from, packets(world, from, to), bridge_nf);
        fates(path.outcomes)
    };
    let (fates, by_bridge_nf) = match world.facts.bridge_nf {
        Some(bridge_nf) => (fates(bridge_nf), false),
        None if from != to => (fates(true), false),
        None => {
            let (with, without) = (fates(true), fates(false));
            let differ = overall(&with) != overall(&without);
            (with, differ)
        }
    };
    let answer = if by_bridge_nf { Answer::Unknown } else { overall(&fates) };
    Cell { from, to, answer, fates, by_bridge_nf }
}

/// Everything that one end could send to another.
#[must_use]
pub fn packets(world: &World, from: End, to: End) -> Vec<Packets> {
    let sources = match (from, world.address_towards(to)) {
        (End::Host, Some(address)) => vec![Span::address(address)],
        (End::Host, None) => {
            // The address on the interface to the outside, which may be none that we know.
            let gateways = world.facts.networks.iter().filter_map(|network| network.gateway);
            let gateways: Vec<Span> = gateways.map(Span::address).collect();
            let others = world.members(from).into_iter().flat_map(|span| without(span, &gateways));
            let others: Vec<Span> = others.collect();
            if others.is_empty() { vec![Field::Src.whole()] } else { others }
        }
        _ => world.members(from),
    };
    let mut packets = Vec::new();
    for src in sources {
        for dst in world.members(to) {
            packets.push(Packets::ALL.with(Field::Src, src).with(Field::Dst, dst));
        }
    }
    packets
}

/// What parts come to, all in all.
#[must_use]
pub fn overall(fates: &[Fate]) -> Answer {
    let mut answers = fates.iter().map(|fate| fate.answer);
    let Some(first) = answers.next() else { return Answer::Unknown };
    answers.fold(first, |all, next| match (all, next) {
        (Answer::Unknown, _) | (_, Answer::Unknown) => Answer::Unknown,
        (all, next) if all == next => all,
        _ => Answer::Some,
    })
}

/// Outcomes that are alike, together.
#[must_use]
pub fn fates(outcomes: Vec<Outcome>) -> Vec<Fate> {
    let (doubtful, mut certain): (Vec<Outcome>, Vec<Outcome>) =
        outcomes.into_iter().partition(|outcome| !outcome.doubts.is_empty());
    let mut fates: Vec<Fate> = Vec::new();
    if !doubtful.is_empty() {
        // What is certain for some packets may be one of two ways for others.
        certain.extend(doubtful);
        return together(atoms(certain));
    }
    fates.extend(together(certain.into_iter().map(|outcome| fate(outcome.sent, vec![outcome]))));
    fates
}

/// Puts packets of the same fate together, the largest first.
fn together(all: impl IntoIterator<Item = Fate>) -> Vec<Fate> {
    let mut places = HashMap::new();
    let mut fates: Vec<Fate> = Vec::new();
    for fate in all {
        let key = (
            fate.verdict,
            fate.why,
            fate.answers_lost,
            fate.doubts.clone(),
            fate.at,
            fate.dnat,
            fate.snat,
        );
        let place = *places.entry(key).or_insert(fates.len());
        match fates.get_mut(place) {
            Some(same) if same.answer == fate.answer => same.packets.extend(fate.packets),
            _ => fates.push(fate),
        }
    }
    let size = |fate: &Fate| fate.packets.iter().map(|packets| packets.size().exp2()).sum::<f64>();
    fates.sort_by(|a, b| size(b).total_cmp(&size(a)));
    fates
}

/// One fate of packets for which these are the outcomes that are possible.
fn fate(packets: Packets, outcomes: Vec<Outcome>) -> Fate {
    let arrives = |outcome: &Outcome| match outcome.verdict {
        Verdict::Accepted => Answer::Yes,
        Verdict::Dropped | Verdict::Rejected => Answer::No,
        Verdict::Unclear => Answer::Unknown,
    };
    let first = outcomes.first().map_or(Answer::Unknown, arrives);
    let agreed = outcomes.iter().all(|outcome| arrives(outcome) == first);
    let mut doubts: Vec<RuleAt> = if agreed && first != Answer::Unknown {
        Vec::new()
    } else {
        let unclear = outcomes.iter().filter(|outcome| outcome.verdict == Verdict::Unclear);
        let rules = unclear.filter_map(|outcome| match outcome.why {
            Why::Rule(rule) => Some(rule),
            _ => None,
        });
        rules.chain(outcomes.iter().flat_map(|outcome| outcome.doubts.clone())).collect()
    };
    doubts.sort_unstable();
    doubts.dedup();
    let answer = if agreed { first } else { Answer::Unknown };
    let (verdict, why, answers_lost, at, dnat, snat) = match outcomes.into_iter().next() {
        Some(it) => (it.verdict, it.why, it.answer, it.at, it.dnat, it.snat),
        None => (Verdict::Unclear, Why::Unfiltered, false, End::Host, None, None),
    };
    Fate { packets: vec![packets], answer, verdict, why, answers_lost, doubts, at, dnat, snat }
}

/// Packets in sets that share every outcome that is possible for them.
fn atoms(outcomes: Vec<Outcome>) -> Vec<Fate> {
    if outcomes.len() > MOST_DOUBTS {
        let unclear = |outcome: Outcome| Outcome { verdict: Verdict::Unclear, ..outcome };
        return outcomes.into_iter().map(|it| fate(it.sent, vec![unclear(it)])).collect();
    }
    let mut atoms: Vec<(Packets, Vec<usize>)> = Vec::new();
    for (index, outcome) in outcomes.iter().enumerate() {
        let mut left = vec![outcome.sent];
        let mut next = Vec::new();
        for (packets, possible) in atoms {
            let Some(_) = packets.and(&outcome.sent) else {
                next.push((packets, possible));
                continue;
            };
            for rest in packets.minus(&outcome.sent) {
                next.push((rest, possible.clone()));
            }
            if let Some(common) = packets.and(&outcome.sent) {
                left = left.iter().flat_map(|piece| piece.minus(&common)).collect();
                next.push((common, [&possible[..], &[index]].concat()));
            }
        }
        next.extend(left.into_iter().map(|piece| (piece, vec![index])));
        atoms = next;
    }
    let all = |possible: Vec<usize>| {
        possible.into_iter().filter_map(|at| outcomes.get(at).cloned()).collect()
    };
    atoms.into_iter().map(|(packets, possible)| fate(packets, all(possible))).collect()
}
