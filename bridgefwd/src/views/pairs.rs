//! The listed pairs.

use super::{Align, sheet, text};
use crate::api::types::{Pair, PairState};

/// Every listed pair.
#[must_use]
pub fn table(pairs: &[Pair], width: Option<u16>) -> String {
    const COLUMNS: [(&str, Align); 5] = [
        ("FROM", Align::Name),
        ("TO", Align::Name),
        ("STATE", Align::Left),
        ("NAT", Align::Wrap),
        ("WHEN TURNED OFF", Align::Left),
    ];
    if pairs.is_empty() {
        return "no pairs are listed\n".into();
    }
    let rows = pairs.iter().map(|pair| {
        let (nat, off) = match pair.state {
            PairState::Allowed if pair.drain => (translation(pair), "flows finish"),
            PairState::Allowed => (translation(pair), "flows are cut"),
            PairState::Denied => ("-".into(), if pair.drain { "flows finish" } else { "-" }),
        };
        let state = match (pair.state, pair.present) {
            (state, true) => self::state(state),
            (PairState::Allowed, false) => "allowed, end away",
            (PairState::Denied, false) => "denied, end away",
        };
        [pair.from.clone(), pair.to.clone(), state.to_owned(), nat, off.to_owned()]
    });
    text(&sheet(&COLUMNS, rows, width))
}

/// What holds for one pair, in a line without a newline.
#[must_use]
pub fn sentence(pair: &Pair) -> String {
    let Pair { from, to, .. } = pair;
    let mut sentence = format!("{from} -> {to}: {}", state(pair.state));
    if pair.state == PairState::Allowed {
        sentence.push_str(&format!(", nat {}", translation(pair)));
    }
    if pair.drain {
        sentence.push_str(match pair.state {
            PairState::Allowed => ", flows finish when it is turned off",
            PairState::Denied => ", flows that exist may finish",
        });
    }
    sentence
}

/// What holds for a pair after it was taken off the list, in a line without a newline.
#[must_use]
pub fn cleared(from: &str, to: &str, was_listed: bool) -> String {
    let before = if was_listed { "" } else { ", nor was it before" };
    format!("{from} -> {to}: not listed{before}")
}

/// Its NAT, as short as it can be told: of IPv6 and of mappings only what is not the default.
fn translation(pair: &Pair) -> String {
    let mut text = pair.nat.clone();
    if pair.nat6 != "none" {
        text.push_str(&format!(", IPv6 {}", pair.nat6));
    }
    if pair.mapping != "per-destination" {
        text.push_str(&format!(", {}", pair.mapping));
    }
    text
}

const fn state(state: PairState) -> &'static str {
    match state {
        PairState::Allowed => "allowed",
        PairState::Denied => "denied",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(state: PairState, drain: bool) -> Pair {
        let (from, to) = ("shop_front".into(), "shop_db".into());
        Pair {
            from,
            to,
            state,
            nat: "masquerade".into(),
            nat6: "none".into(),
            mapping: "per-destination".into(),
            drain,
            present: true,
        }
    }

    #[test]
    fn a_line_tells_what_holds() {
        let cases = [
            (PairState::Allowed, false, "allowed, nat masquerade"),
            (
                PairState::Allowed,
                true,
                "allowed, nat masquerade, flows finish when it is turned off",
            ),
            (PairState::Denied, false, "denied"),
            (PairState::Denied, true, "denied, flows that exist may finish"),
        ];
        for (state, drain, text) in cases {
            assert_eq!(sentence(&pair(state, drain)), format!("shop_front -> shop_db: {text}"));
        }
        assert_eq!(cleared("a", "b", true), "a -> b: not listed");
        assert_eq!(cleared("a", "b", false), "a -> b: not listed, nor was it before");
    }

    #[test]
    fn translation_is_told_where_it_is_not_the_default() {
        let mut pair = pair(PairState::Allowed, false);
        pair.nat6 = "masquerade".into();
        assert!(sentence(&pair).ends_with("allowed, nat masquerade, IPv6 masquerade"));
        pair.mapping = "endpoint-independent".into();
        assert!(sentence(&pair).ends_with("IPv6 masquerade, endpoint-independent"));
        pair.nat = "10.0.0.1,10.0.0.8-10.0.0.11".into();
        pair.nat6 = "fd00:1::1,fd00:1::8-fd00:1::11".into();
        let narrow = table(&[pair], Some(80));
        assert!(narrow.lines().all(|line| line.len() <= 80), "{narrow}");
    }

    #[test]
    fn pairs_are_a_table() {
        let expected = "\
FROM        TO       STATE    NAT         WHEN TURNED OFF
shop_front  shop_db  allowed  masquerade  flows are cut
shop_front  shop_db  denied   -           -
";
        let pairs = [pair(PairState::Allowed, false), pair(PairState::Denied, false)];
        assert_eq!(table(&pairs, None), expected);
        let away = Pair { present: false, ..pair(PairState::Allowed, false) };
        assert!(table(&[away], None).contains("allowed, end away"));
        assert_eq!(table(&[], None), "no pairs are listed\n");
    }
}
