//! Packets on their way: what they are now, what they were when they were sent, and what happened
//! to them in between.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use super::space::{Field, ICMP, Packets, Span};

/// A rule, or with no rule the chain's policy, by its place in the rule sets.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RuleAt {
    /// Which table.
    pub table: usize,
    /// Which chain of it.
    pub chain: usize,
    /// Which rule of that, from 0 on.
    pub rule: Option<usize>,
}

/// How a packet ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Verdict {
    /// It arrived.
    Accepted,
    /// It was dropped.
    Dropped,
    /// It was dropped and the sender told.
    Rejected,
    /// A rule does something with it that we do not know.
    Unclear,
}

/// A translation, and the rule that made it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Translated {
    /// The rule.
    pub by: RuleAt,
    /// The new address; `None` where it is one of the host's that we do not know.
    pub to: Option<Ipv4Addr>,
    /// The new port, where it has one.
    pub port: Option<u16>,
}

/// Packets that have met the same rules so far.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Part {
    /// As they are now.
    pub now: Packets,
    /// As the conversation's first packet was when it was sent.
    pub sent: Packets,
    /// Which field of `sent` each field of `now` still is.
    tied: [Option<Field>; 5],
    /// What we do not know of `now`: an address of the host.
    pub unsure: Option<Field>,
    /// Their mark.
    pub mark: u32,
    /// The destination's translation.
    pub dnat: Option<Translated>,
    /// The source's translation.
    pub snat: Option<Translated>,
    /// The rule or policy that let them go on.
    pub by: Option<RuleAt>,
    /// Rules that may or may not have matched on the way here.
    pub doubts: Vec<RuleAt>,
}

impl Part {
    /// Packets as they are sent, without a mark.
    #[must_use]
    pub fn sent(packets: Packets) -> Self {
        Self {
            now: packets,
            sent: packets,
            tied: Field::ALL.map(Some),
            unsure: None,
            mark: 0,
            dnat: None,
            snat: None,
            by: None,
            doubts: Vec::new(),
        }
    }

    /// Those of them whose field is in the span, which must be a part of what it can be.
    #[must_use]
    pub fn with(&self, field: Field, span: Span) -> Self {
        let mut part = self.clone();
        part.now = part.now.with(field, span);
        if let Some(sent) = part.tied[field as usize] {
            part.sent = part.sent.with(sent, span);
        }
        part
    }

    /// As they are once a field was rewritten.
    #[must_use]
    pub fn rewritten(mut self, field: Field, span: Span) -> Self {
        self.now = self.now.with(field, span);
        self.tied[field as usize] = None;
        if self.unsure == Some(field) {
            self.unsure = None;
        }
        self
    }

    /// Their destination was translated.
    #[must_use]
    pub fn with_dnat(self, by: RuleAt, to: Option<Ipv4Addr>, port: Option<u16>) -> Self {
        let mut part = match to {
            Some(to) => self.rewritten(Field::Dst, Span::address(to)),
            None => self,
        };
        if let Some(port) = port {
            part = part.rewritten(Field::Dport, Span::one(port.into()));
        }
        part.dnat = Some(Translated { by, to, port });
        part
    }

    /// Their source was translated.
    #[must_use]
    pub fn with_snat(self, by: RuleAt, to: Option<Ipv4Addr>) -> Self {
        let mut part = match to {
            Some(to) => self.rewritten(Field::Src, Span::address(to)),
            None => {
                let mut part = self.rewritten(Field::Src, Field::Src.whole());
                part.unsure = Some(Field::Src);
                part
            }
        };
        part.snat = Some(Translated { by, to, port: None });
        part
    }

    /// The answers to them, as those who got them send these. (To ICMP: an echo reply.)
    #[must_use]
    pub fn answers(&self) -> Vec<Self> {
        let turned = |part: &Self| {
            let [src, dst, proto, sport, dport] = part.tied;
            let mut answer = Self {
                now: part.now.turned(),
                tied: [dst, src, proto, dport, sport],
                unsure: match part.unsure {
                    Some(Field::Src) => Some(Field::Dst),
                    Some(Field::Dst) => Some(Field::Src),
                    other => other,
                },
                mark: 0,
                ..part.clone()
            };
            if part.now.get(Field::Proto) == Span::one(ICMP) {
                answer.tied[Field::Sport as usize] = None;
                answer = answer.rewritten(Field::Dport, Span::one(0));
            }
            answer
        };
        let echoes = self.now.with(Field::Proto, Span::one(ICMP));
        let Some(_) = self.now.and(&echoes) else { return vec![turned(self)] };
        let icmp = std::iter::once(self.with(Field::Proto, Span::one(ICMP)));
        let proto = self.now.get(Field::Proto);
        let others = super::space::without(proto, &[Span::one(ICMP)]);
        let others = others.into_iter().map(|span| self.with(Field::Proto, span));
        icmp.chain(others).map(|part| turned(&part)).collect()
    }

    /// Answers whose destination, the translated source of the first packet, is its own again.
    #[must_use]
    pub fn destination_restored(mut self) -> Self {
        if self.snat.is_some() {
            self = self.restored(Field::Dst, Field::Src);
        }
        self
    }

    /// Answers whose source is again whom the first packet was sent to.
    #[must_use]
    pub fn source_restored(mut self) -> Self {
        if let Some(dnat) = self.dnat {
            self = self.restored(Field::Src, Field::Dst);
            if dnat.port.is_some() {
                self = self.restored(Field::Sport, Field::Dport);
            }
        }
        self
    }

    fn restored(mut self, field: Field, sent: Field) -> Self {
        self.now = self.now.with(field, self.sent.get(sent));
        self.tied[field as usize] = Some(sent);
        if self.unsure == Some(field) {
            self.unsure = None;
        }
        self
    }

    /// With a rule that may have matched, or not.
    #[must_use]
    pub fn doubtful(mut self, rule: RuleAt) -> Self {
        if let Err(place) = self.doubts.binary_search(&rule) {
            self.doubts.insert(place, rule);
        }
        self
    }
}

/// Takes those together that differ in their doubts alone.
#[must_use]
pub fn merged(parts: Vec<Part>) -> Vec<Part> {
    if parts.iter().all(|part| part.doubts.is_empty()) {
        return parts;
    }
    let mut places: HashMap<Part, usize> = HashMap::new();
    let mut merged: Vec<Part> = Vec::new();
    for mut part in parts {
        let doubts = std::mem::take(&mut part.doubts);
        let place = *places.entry(part.clone()).or_insert(merged.len());
        match merged.get_mut(place) {
            Some(same) => {
                same.doubts.extend(doubts);
                same.doubts.sort_unstable();
                same.doubts.dedup();
            }
            None => merged.push(Part { doubts, ..part }),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: RuleAt = RuleAt { table: 0, chain: 0, rule: Some(0) };

    fn packet() -> Part {
        let packets = Packets::ALL
            .with(Field::Src, Span::one(1))
            .with(Field::Dst, Span::new(20, 29))
            .with(Field::Proto, Span::one(6))
            .with(Field::Dport, Span::one(80));
        Part::sent(packets)
    }

    #[test]
    fn what_a_rule_cuts_was_sent_so_until_it_is_rewritten() {
        let part = packet().with(Field::Dst, Span::one(22));
        assert_eq!(part.sent.get(Field::Dst), Span::one(22));
        let moved = part.with_dnat(RULE, Some(Ipv4Addr::from_bits(40)), Some(8080));
        assert_eq!(moved.now.get(Field::Dst), Span::one(40));
        let cut = moved.with(Field::Sport, Span::one(5));
        assert_eq!(cut.sent.get(Field::Dst), Span::one(22));
        assert_eq!(cut.sent.get(Field::Dport), Span::one(80));
        assert_eq!(cut.sent.get(Field::Sport), Span::one(5));
    }

    #[test]
    fn answers_come_from_where_the_packet_arrived() {
        let arrived = packet()
            .with_dnat(RULE, Some(Ipv4Addr::from_bits(40)), Some(8080))
            .with_snat(RULE, Some(Ipv4Addr::from_bits(39)));
        let answers = arrived.answers();
        let [answer] = &answers[..] else { panic!("{answers:?}") };
        assert_eq!(answer.now.get(Field::Src), Span::one(40));
        assert_eq!(answer.now.get(Field::Dst), Span::one(39));
        assert_eq!(answer.now.get(Field::Sport), Span::one(8080));
        let answer = answer.clone().destination_restored();
        assert_eq!(answer.now.get(Field::Dst), Span::one(1));
        assert_eq!(answer.now.get(Field::Src), Span::one(40));
        let answer = answer.source_restored();
        assert_eq!(answer.now.get(Field::Src), Span::new(20, 29));
        assert_eq!(answer.now.get(Field::Sport), Span::one(80));
    }

    #[test]
    fn an_echo_is_answered_with_a_reply() {
        let part = Part::sent(Packets::ALL);
        let answers = part.answers();
        let echo =
            answers.iter().find(|part| part.now.get(Field::Proto) == Span::one(ICMP)).unwrap();
        assert_eq!(echo.now.get(Field::Dport), Span::one(0));
        assert_eq!(answers.len(), 3, "protocol 0, ICMP, 2 to 255");
    }

    #[test]
    fn parts_that_differ_in_doubts_are_one() {
        let other = RuleAt { rule: Some(9), ..RULE };
        let parts = merged(vec![packet().doubtful(RULE), packet(), packet().doubtful(other)]);
        assert_eq!(parts, [packet().doubtful(RULE).doubtful(other)]);
    }
}
