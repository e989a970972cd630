//! What was found, in words and documents.

use std::net::Ipv4Addr;

use super::docker::{self, Recipe};
use super::ends::{End, World};
use super::evaluate::{Event, Tested};
use super::matrix::{Answer, Cell, Fate};
use super::model::{Family, Origin};
use super::part::{RuleAt, Translated, Verdict};
use super::path::{Step, Why};
use super::report::{CellDoc, EndDoc, NatDoc, PartDoc, RecipeDoc, Report, RuleDoc, StepDoc};
use super::space::{Field, ICMP, Packets, Span, joined};
use super::words::PROTOCOLS;

/// Sets of packets that are named one by one; more are counted.
const MOST_NAMED: usize = 6;
/// More are not looked through for such as fit together.
const MOST_JOINED: usize = 200;

/// The matrix with everything that belongs to it.
#[must_use]
pub fn report(world: &World, cells: &[Cell]) -> Report {
    Report {
        docker: docker::generations(&world.tables).iter().map(|it| it.text().into()).collect(),
        bridge_nf: world.facts.bridge_nf,
        ends: world.ends().iter().map(|end| end_doc(world, *end)).collect(),
        cells: cells.iter().map(|cell| cell_doc(world, cell)).collect(),
        recipes: docker::recipes(&world.tables)
            .iter()
            .map(|recipe| recipe_doc(world, cells, recipe))
            .collect(),
        notes: notes(world, cells),
    }
}

/// What else is worth knowing about these cells.
#[must_use]
pub fn notes(world: &World, cells: &[Cell]) -> Vec<String> {
    let mut notes = Vec::new();
    if cells.iter().any(|cell| cell.by_bridge_nf) {
        notes.push(
            "within a bridge it depends on net.bridge.bridge-nf-call-iptables: with 0 no rule is asked; \
             say which with --bridge-nf"
                .into(),
        );
    }
    let raw = |fate: &Fate| match fate.why {
        Why::Rule(at) => {
            let base = world.tables.get(at.table).and_then(|table| table.chains.get(at.chain));
            let early = base.and_then(|chain| chain.base).is_some_and(|base| base.priority <= -300);
            early && fate.answer == Answer::No && !fate.answers_lost
        }
        _ => false,
    };
    if cells.iter().filter(|cell| cell.from != cell.to).flat_map(|cell| &cell.fates).any(raw) {
        notes.push(match world.facts.bridge_nf {
            Some(true) => "bridge-nf-call-iptables is 1: what raw PREROUTING drops is dropped on the bridge's \
                           port already, where bridgefwd sees it unless it runs with --ports no"
                .into(),
            Some(false) => "bridge-nf-call-iptables is 0: what raw PREROUTING drops is dropped after the bridge, \
                            where bridgefwd has seen it, also with --ports no"
                .into(),
            None => "what raw PREROUTING drops is dropped on the bridge's port already where \
                     bridge-nf-call-iptables is 1: there bridgefwd must not run with --ports no"
                .into(),
        });
    }
    for table in &world.tables {
        let hooked = table.chains.iter().any(|chain| chain.base.is_some());
        if table.family == Family::Other && hooked && table.name.starts_with("netdev ") {
            notes.push(format!(
                "table {} is not followed: it sees frames of single devices",
                table.name
            ));
        }
    }
    notes
}

fn end_doc(world: &World, end: End) -> EndDoc {
    let network = match end {
        End::Network(index) => world.network(index),
        End::Outside | End::Host => None,
    };
    let interface = match end {
        End::Outside => world.facts.outside.clone(),
        _ => network.map(|network| network.bridge.clone()),
    };
    let subnet = network.and_then(|network| network.subnet);
    let subnet = subnet.map(|(address, length)| format!("{address}/{length}"));
    EndDoc { name: world.name(end).into(), interface, subnet }
}

fn cell_doc(world: &World, cell: &Cell) -> CellDoc {
    CellDoc {
        from: world.name(cell.from).into(),
        to: world.name(cell.to).into(),
        answer: answer(cell.answer).into(),
        bridgefwd: None,
        parts: parts(world, cell),
    }
}

/// A cell's parts in words.
#[must_use]
pub fn parts(world: &World, cell: &Cell) -> Vec<PartDoc> {
    let several = cell.fates.len() > 1;
    let parts = cell.fates.iter().enumerate().map(|(index, fate)| {
        let all = super::matrix::packets(world, cell.from, cell.to);
        let packets = match (several, index) {
            (false, _) => Vec::new(),
            (true, 0) => vec!["everything else".into()],
            (true, _) => described(&fate.packets, &all),
        };
        part(world, fate, packets)
    });
    parts.collect()
}

/// One part.
#[must_use]
pub fn part(world: &World, fate: &Fate, packets: Vec<String>) -> PartDoc {
    let by = match fate.why {
        Why::Rule(at) => rule(world, at),
        _ => None,
    };
    let unknown: Vec<RuleDoc> = fate.doubts.iter().filter_map(|at| rule(world, *at)).collect();
    let decides = by.as_ref().map(said).unwrap_or_default();
    let why = match (fate.answer, fate.why) {
        (Answer::Unknown, _) => {
            let rules: Vec<String> = unknown.iter().map(said).collect();
            format!("unknown: {}", rules.join("; "))
        }
        (_, Why::Switched) => "switched within the bridge, no rule is asked".into(),
        (_, Why::Unfiltered) => "no chain is asked".into(),
        (_, Why::Direct) => {
            "it arrives, its answer goes straight back within the bridge, untranslated".into()
        }
        (_, Why::NotForwarding) => "net.ipv4.ip_forward is 0".into(),
        _ if fate.answers_lost => format!("it arrives, its answer does not: {decides}"),
        _ if fate.verdict == Verdict::Rejected => format!("rejected: {decides}"),
        _ => decides,
    };
    PartDoc {
        answer: answer(fate.answer).into(),
        packets,
        why,
        rule: by.filter(|_| fate.answer != Answer::Unknown),
        answers_lost: fate.answers_lost,
        unknown,
        snat: fate.snat.and_then(|nat| nat_doc(world, nat)),
        dnat: fate.dnat.and_then(|nat| nat_doc(world, nat)),
    }
}

fn nat_doc(world: &World, nat: Translated) -> Option<NatDoc> {
    let address = nat.to.map_or_else(|| "an address of the host".into(), |to| to.to_string());
    let to = nat.port.map_or_else(|| address.clone(), |port| format!("{address}:{port}"));
    Some(NatDoc { to, rule: rule(world, nat.by)? })
}

/// A rule or a policy.
#[must_use]
pub fn rule(world: &World, at: RuleAt) -> Option<RuleDoc> {
    let table = world.tables.get(at.table)?;
    let chain = table.chains.get(at.chain)?;
    let text = match at.rule {
        Some(number) => chain.rules.get(number)?.text.clone(),
        None if chain.base?.drops => "policy DROP".into(),
        None => "policy ACCEPT".into(),
    };
    let legacy = if table.origin == Origin::Legacy { "legacy " } else { "" };
    Some(RuleDoc {
        table: format!("{legacy}{}", table.name),
        chain: chain.name.clone(),
        number: at.rule.map(|number| number + 1),
        text,
    })
}

/// `filter FORWARD rule 3: -i docker0 -j ACCEPT`, `filter FORWARD: policy DROP`
#[must_use]
pub fn said(rule: &RuleDoc) -> String {
    let RuleDoc { table, chain, number, text } = rule;
    match number {
        Some(number) => format!("{table} {chain} rule {number}: {text}"),
        None => format!("{table} {chain}: {text}"),
    }
}

/// An answer in a word.
#[must_use]
pub const fn answer(answer: Answer) -> &'static str {
    match answer {
        Answer::Yes => "yes",
        Answer::No => "no",
        Answer::Some => "some",
        Answer::Unknown => "unknown",
    }
}

fn recipe_doc(world: &World, cells: &[Cell], recipe: &Recipe) -> RecipeDoc {
    let called = |bridge: &str| {
        world.facts.networks.iter().position(|network| network.bridge == bridge).map(End::Network)
    };
    let cell = cells.iter().find(|cell| {
        Some(cell.from) == called(&recipe.from) && Some(cell.to) == called(&recipe.to)
    });
    // As the kernel does it where packets arrive at all; else as Docker does unless told otherwise.
    let plain = cell.is_some_and(|cell| {
        let mut arriving = cell.fates.iter().filter(|fate| fate.answer == Answer::Yes);
        arriving.next().is_some_and(|fate| fate.snat.is_none())
    });
    let nat = if plain { "none" } else { "masquerade" };
    let option = if plain { " --nat none" } else { "" };
    RecipeDoc {
        rule: rule(world, recipe.at).unwrap_or_default(),
        from: recipe.from.clone(),
        to: recipe.to.clone(),
        command: format!("bridgefwd pair allow {} {}{option}", recipe.from, recipe.to),
        narrower: recipe.narrower,
        works: recipe.works().iter().map(|&line| line.into()).collect(),
        nat: nat.into(),
    }
}

/// Packets in words, as far as they are not all of `all`.
#[must_use]
pub fn described(packets: &[Packets], all: &[Packets]) -> Vec<String> {
    let packets =
        if packets.len() > MOST_JOINED { packets.to_vec() } else { joined(packets.to_vec()) };
    let mut words: Vec<String> = packets.iter().map(|packets| sentence(packets, all)).collect();
    words.sort();
    words.dedup();
    if words.len() > MOST_NAMED {
        let more = words.len() - MOST_NAMED + 1;
        words.truncate(MOST_NAMED - 1);
        words.push(format!("{more} more kinds of packets"));
    }
    words
}

fn sentence(packets: &Packets, all: &[Packets]) -> String {
    let proto = packets.get(Field::Proto);
    let port = packets.get(Field::Dport);
    let mut words = Vec::new();
    let protocol = protocol(proto);
    match (protocol, port == Field::Dport.whole()) {
        (Some(protocol), true) => words.push(protocol),
        (Some(protocol), false) if proto == Span::one(ICMP) => {
            words.push(format!("{protocol} type {}", numbers(port)));
        }
        (Some(protocol), false) => words.push(format!("{protocol}/{}", numbers(port))),
        (None, true) => {}
        (None, false) => words.push(format!("port {}", numbers(port))),
    }
    let sport = packets.get(Field::Sport);
    if sport != Field::Sport.whole() && !all.iter().any(|all| all.get(Field::Sport) == sport) {
        words.push(format!("from port {}", numbers(sport)));
    }
    for (field, word) in [(Field::Src, "from"), (Field::Dst, "to")] {
        let span = packets.get(field);
        if !all.iter().any(|all| all.get(field) == span) {
            words.push(format!("{word} {}", addresses(span)));
        }
    }
    if words.is_empty() { "everything".into() } else { words.join(" ") }
}

fn protocol(span: Span) -> Option<String> {
    if span == Field::Proto.whole() {
        return None;
    }
    let name = PROTOCOLS.iter().find(|(_, number)| Span::one(*number) == span);
    Some(name.map_or_else(|| format!("protocol {}", numbers(span)), |(name, _)| (*name).into()))
}

fn numbers(span: Span) -> String {
    if span.is_one() { span.first.to_string() } else { format!("{}-{}", span.first, span.last) }
}

/// An address, or the first and last of several.
#[must_use]
pub fn addresses(span: Span) -> String {
    let (first, last) = (Ipv4Addr::from_bits(span.first), Ipv4Addr::from_bits(span.last));
    if span.is_one() { first.to_string() } else { format!("{first}-{last}") }
}

/// A step of a way.
#[must_use]
pub fn step(world: &World, step: &Step) -> Option<StepDoc> {
    Some(match step {
        Step::Hook(hook, input, output) => {
            let name = |end: &Option<End>| end.map(|end| world.name(end).to_owned());
            StepDoc::Hook { hook: hook.to_string(), input: name(input), output: name(output) }
        }
        Step::Event(Event::Chain(at, depth)) => {
            let rule = rule(world, *at).or_else(|| chain(world, *at))?;
            StepDoc::Chain { depth: *depth, table: rule.table, chain: rule.chain }
        }
        Step::Event(Event::Rule(at, depth, tested)) => {
            let matches = match tested {
                Tested::Yes => "yes",
                Tested::No => "no",
                Tested::Depends => "depends",
                Tested::Unknown => "unknown",
            };
            StepDoc::Rule { depth: *depth, rule: rule(world, *at)?, matches: matches.into() }
        }
        Step::Event(Event::Policy(at, _)) => StepDoc::Policy { rule: rule(world, *at)? },
        Step::Translated(nat, field) => {
            let of = if *field == Field::Src { "source" } else { "destination" };
            StepDoc::Nat { of: of.into(), nat: nat_doc(world, *nat)? }
        }
        Step::Routed(end) => StepDoc::Routed { to: world.name(*end).into() },
        Step::Answer => StepDoc::Answer,
    })
}

/// A chain that the kernel does not call.
fn chain(world: &World, at: RuleAt) -> Option<RuleDoc> {
    let table = world.tables.get(at.table)?;
    let legacy = if table.origin == Origin::Legacy { "legacy " } else { "" };
    let chain = table.chains.get(at.chain)?.name.clone();
    Some(RuleDoc { table: format!("{legacy}{}", table.name), chain, ..RuleDoc::default() })
}
