//! Sets of packets: boxes over addresses, protocol and ports, cut exactly by what rules ask for.
//!
//! A matrix asks about whole networks at once. A rule that matches some of a network's packets
//! splits their box; the pieces then go different ways, and nothing has to be guessed.

use std::net::Ipv4Addr;

/// TCP's protocol number.
pub const TCP: u32 = 6;
/// UDP's protocol number.
pub const UDP: u32 = 17;
/// ICMP's protocol number.
pub const ICMP: u32 = 1;

/// Numbers from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Span {
    /// The least.
    pub first: u32,
    /// The greatest.
    pub last: u32,
}

impl Span {
    /// One number.
    #[must_use]
    pub const fn one(value: u32) -> Self {
        Self { first: value, last: value }
    }

    /// From `first` to `last`.
    #[must_use]
    pub const fn new(first: u32, last: u32) -> Self {
        Self { first, last }
    }

    /// One address.
    #[must_use]
    pub fn address(address: Ipv4Addr) -> Self {
        Self::one(address.to_bits())
    }

    /// Addresses that share the first `length` bits with `address`.
    #[must_use]
    pub fn prefix(address: Ipv4Addr, length: u8) -> Self {
        let host = u32::MAX.checked_shr(length.into()).unwrap_or(0);
        let first = address.to_bits() & !host;
        Self { first, last: first | host }
    }

    /// Is it one number?
    #[must_use]
    pub const fn is_one(self) -> bool {
        self.first == self.last
    }

    /// Is that number in it?
    #[must_use]
    pub const fn contains(self, value: u32) -> bool {
        self.first <= value && value <= self.last
    }

    /// What both have.
    #[must_use]
    pub fn and(self, other: Self) -> Option<Self> {
        let both = Self { first: self.first.max(other.first), last: self.last.min(other.last) };
        (both.first <= both.last).then_some(both)
    }
}

/// Spans in order, apart from each other.
#[must_use]
pub fn union(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut merged: Vec<Span> = Vec::new();
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.first <= last.last.saturating_add(1) => {
                last.last = last.last.max(span.last);
            }
            _ => merged.push(span),
        }
    }
    merged
}

/// What of `whole` is in none of `spans`.
#[must_use]
pub fn without(whole: Span, spans: &[Span]) -> Vec<Span> {
    let mut rest = Vec::new();
    let mut next = Some(whole.first);
    for span in union(spans.to_vec()) {
        let Some(first) = next else { break };
        if span.last < first {
            continue;
        }
        if span.first > whole.last {
            break;
        }
        if span.first > first {
            rest.push(Span::new(first, span.first - 1));
        }
        next = span.last.checked_add(1).filter(|next| *next <= whole.last);
    }
    rest.extend(next.map(|first| Span::new(first, whole.last)));
    rest
}

/// What of a packet rules look at.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Field {
    /// Source address.
    Src = 0,
    /// Destination address.
    Dst = 1,
    /// Protocol number.
    Proto = 2,
    /// Source port.
    Sport = 3,
    /// Destination port; of ICMP the type.
    Dport = 4,
}

impl Field {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Src, Self::Dst, Self::Proto, Self::Sport, Self::Dport];

    /// Every value that it can have.
    #[must_use]
    pub const fn whole(self) -> Span {
        match self {
            Self::Src | Self::Dst => Span::new(0, u32::MAX),
            Self::Proto => Span::new(0, u8::MAX as u32),
            Self::Sport | Self::Dport => Span::new(0, u16::MAX as u32),
        }
    }
}

/// A set of packets: any value of each span, in any combination.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Packets([Span; 5]);

impl Packets {
    /// Every packet.
    pub const ALL: Self = Self([
        Field::Src.whole(),
        Field::Dst.whole(),
        Field::Proto.whole(),
        Field::Sport.whole(),
        Field::Dport.whole(),
    ]);

    /// What a field can be.
    #[must_use]
    pub const fn get(&self, field: Field) -> Span {
        self.0[field as usize]
    }

    /// With another span for a field.
    #[must_use]
    pub const fn with(mut self, field: Field, span: Span) -> Self {
        self.0[field as usize] = span;
        self
    }

    /// With source and destination changed places, and the ports of protocols that have them.
    #[must_use]
    pub const fn turned(self) -> Self {
        let [src, dst, proto, sport, dport] = self.0;
        Self([dst, src, proto, dport, sport])
    }

    /// What both have.
    #[must_use]
    pub fn and(&self, other: &Self) -> Option<Self> {
        let mut both = *self;
        for field in Field::ALL {
            both = both.with(field, self.get(field).and(other.get(field))?);
        }
        Some(both)
    }

    /// What of this is not in `other`, in pieces apart from each other.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Vec<Self> {
        let Some(common) = self.and(other) else { return vec![*self] };
        let (mut rest, mut left) = (Vec::new(), *self);
        for field in Field::ALL {
            let inner = common.get(field);
            let outer = without(left.get(field), &[inner]);
            rest.extend(outer.into_iter().map(|span| left.with(field, span)));
            left = left.with(field, inner);
        }
        rest
    }

    /// Both as one, where they differ in one field alone and leave no gap.
    fn joined(&self, other: &Self) -> Option<Self> {
        let mut differing = Field::ALL.into_iter().filter(|at| self.get(*at) != other.get(*at));
        let field = differing.next()?;
        if differing.next().is_some() {
            return None;
        }
        match union(vec![self.get(field), other.get(field)])[..] {
            [span] => Some(self.with(field, span)),
            _ => None,
        }
    }

    /// How many packets these are, as a power of two: to tell much from little.
    #[must_use]
    pub fn size(&self) -> f64 {
        let width = |span: Span| f64::from(span.last - span.first) + 1.0;
        self.0.iter().map(|span| width(*span).log2()).sum()
    }
}

/// The same packets in fewer sets: those that differ in one field alone are put together where that
/// leaves no gap.
#[must_use]
pub fn joined(mut sets: Vec<Packets>) -> Vec<Packets> {
    let mut at = 0;
    while at < sets.len() {
        let partner = (0..sets.len()).filter(|other| *other != at).find_map(|other| {
            let both = sets[at].joined(&sets[other])?;
            Some((other, both))
        });
        match partner {
            Some((other, both)) => {
                sets[at] = both;
                sets.remove(other);
                at = 0;
            }
            None => at += 1,
        }
    }
    sets
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spans() -> impl Strategy<Value = Vec<Span>> {
        let span = (0u32..40, 0u32..10).prop_map(|(first, more)| Span::new(first, first + more));
        proptest::collection::vec(span, 0..6)
    }

    fn boxes() -> impl Strategy<Value = Packets> {
        let span = || (0u32..6, 0u32..6).prop_map(|(a, b)| Span::new(a.min(b), a.max(b)));
        [span(), span(), span(), span(), span()].prop_map(Packets)
    }

    #[test]
    fn prefixes() {
        let span = Span::prefix(Ipv4Addr::new(172, 18, 3, 4), 16);
        assert_eq!(span, Span::new(0xac12_0000, 0xac12_ffff));
        assert_eq!(Span::prefix(Ipv4Addr::UNSPECIFIED, 0), Field::Src.whole());
        assert!(Span::prefix(Ipv4Addr::new(1, 2, 3, 4), 32).is_one());
    }

    #[test]
    fn pieces_that_fit_are_joined() {
        let whole = Packets::ALL.with(Field::Dst, Span::new(1, 9));
        let hole = Packets::ALL.with(Field::Dst, Span::one(4)).with(Field::Proto, Span::one(6));
        let mut pieces = whole.minus(&hole);
        pieces.push(hole);
        assert_eq!(joined(pieces), [whole]);
    }

    proptest! {
        #[test]
        fn what_is_without_is_the_complement(spans in spans(), first in 0u32..30, more in 0u32..20) {
            let whole = Span::new(first, first + more);
            let rest = without(whole, &spans);
            for value in 0..64 {
                let is_in = spans.iter().any(|span| span.contains(value));
                let is_rest = rest.iter().filter(|span| span.contains(value)).count();
                prop_assert_eq!(is_rest, usize::from(whole.contains(value) && !is_in));
            }
        }

        #[test]
        fn a_box_is_what_is_common_and_what_is_not(a in boxes(), b in boxes(), point in boxes()) {
            // One packet out of `point`.
            let mut packet = point;
            for field in Field::ALL {
                packet = packet.with(field, Span::one(point.get(field).first));
            }
            let has = |packets: &Packets| packets.and(&packet).is_some();
            let common = a.and(&b).iter().filter(|common| has(common)).count();
            let rest = a.minus(&b).iter().filter(|rest| has(rest)).count();
            prop_assert_eq!(common + rest, usize::from(has(&a)));
            prop_assert_eq!(common == 1, has(&a) && has(&b));
        }
    }
}
