//! The counters.

use super::style::Style;
use super::{Align, WRAPPED, counted, fitted, sheet, text, wrapped};
use crate::api::types::{ReasonCount, Stats};

/// Totals, the reasons that happened (with `all` every one), and the pairs.
#[must_use]
pub fn report(stats: &Stats, all: bool, style: &Style) -> String {
    let totals = format!(
        "{}, {} seen; {} of {} flows live",
        counted(stats.packets, "packet", "packets"),
        style.volume(stats.bytes),
        stats.flows.live,
        stats.flows.limit
    );
    let mut report = wrapped("", &totals, style.width.map_or(usize::MAX, usize::from));
    let reasons = reasons(stats, all, style);
    let (pairs, sources) = (pairs(stats, style), sources(stats, style.width));
    for part in [reasons, pairs, sources].into_iter().flatten() {
        report.push('\n');
        report.push_str(&part);
    }
    report
}

/// By verdict, and within it the most frequent first. What a reason means is under it where there is
/// no room beside it.
fn reasons(stats: &Stats, all: bool, style: &Style) -> Option<String> {
    const COLUMNS: [(&str, Align); 4] = [
        ("REASON", Align::Left),
        ("VERDICT", Align::Left),
        ("PACKETS", Align::Right),
        ("BYTES", Align::Right),
    ];
    const MEANING: (&str, Align) = ("MEANING", Align::Wrap);
    let mut shown: Vec<(&String, &ReasonCount)> =
        stats.reasons.iter().filter(|(_, count)| all || count.packets > 0).collect();
    if shown.is_empty() {
        return None;
    }
    shown.sort_by_key(|(_, count)| (rank(&count.verdict), std::cmp::Reverse(count.packets)));
    let counters = |(name, count): &(&String, &ReasonCount)| {
        let packets = count.packets.to_string();
        [(*name).clone(), count.verdict.clone(), packets, style.bytes(count.bytes)]
    };
    let alone = text(&sheet(&COLUMNS, shown.iter().map(counters), style.width));
    let taken = alone.lines().map(|line| line.chars().count()).max().unwrap_or_default();
    match style.width.map(usize::from) {
        Some(width) if taken + WRAPPED > width => {
            let mut lines = alone.lines();
            let mut reasons = lines.next().unwrap_or_default().to_owned() + "\n";
            for (line, (_, count)) in lines.zip(&shown) {
                reasons.push_str(&format!("{line}\n{}", fitted("  ", &count.explanation, width)));
            }
            Some(reasons)
        }
        _ => {
            let [a, b, c, d] = COLUMNS;
            let rows = shown.iter().map(|reason| {
                let [a, b, c, d] = counters(reason);
                [a, b, c, d, reason.1.explanation.clone()]
            });
            Some(text(&sheet(&[a, b, c, d, MEANING], rows, style.width)))
        }
    }
}

fn pairs(stats: &Stats, style: &Style) -> Option<String> {
    const COLUMNS: [(&str, Align); 6] = [
        ("FROM", Align::Name),
        ("TO", Align::Name),
        ("PACKETS", Align::Right),
        ("BYTES", Align::Right),
        ("FLOWS", Align::Right),
        ("REFUSED", Align::Right),
    ];
    if stats.pairs.is_empty() {
        return None;
    }
    let rows = stats.pairs.iter().map(|pair| {
        [
            pair.from.clone(),
            pair.to.clone(),
            pair.packets.to_string(),
            style.bytes(pair.bytes),
            pair.flows.to_string(),
            pair.refused.to_string(),
        ]
    });
    Some(text(&sheet(&COLUMNS, rows, style.width)))
}

/// Those with the most flows, and those that were refused some.
fn sources(stats: &Stats, width: Option<u16>) -> Option<String> {
    const COLUMNS: [(&str, Align); 5] = [
        ("SOURCE", Align::Name),
        ("BRIDGE", Align::Name),
        ("FLOWS", Align::Right),
        ("LIMIT", Align::Right),
        ("REFUSED", Align::Right),
    ];
    if stats.sources.is_empty() {
        return None;
    }
    let rows = stats.sources.iter().map(|source| {
        [
            source.source.clone(),
            source.bridge.clone().unwrap_or_else(|| "-".into()),
            source.flows.to_string(),
            source.limit.to_string(),
            source.refused.to_string(),
        ]
    });
    Some(text(&sheet(&COLUMNS, rows, width)))
}

fn rank(verdict: &str) -> u8 {
    match verdict {
        "redirect" => 0,
        "pass" => 1,
        "hold" => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::{BothWays, FlowTable, PairCount, Source};

    fn source(name: &str, bridge: Option<&str>, refused: u64) -> Source {
        Source {
            source: name.into(),
            bridge: bridge.map(Into::into),
            flows: 1,
            limit: 16_384,
            refused,
        }
    }

    fn stats() -> Stats {
        let reason = |packets, verdict: &str, explanation: &str| ReasonCount {
            packets,
            bytes: packets * 100,
            verdict: verdict.into(),
            explanation: explanation.into(),
        };
        Stats {
            packets: 48,
            bytes: 4_800,
            reasons: [
                ("fragment_held", reason(2, "hold", "Kept until the other pieces are there.")),
                ("pair_denied", reason(3, "drop", "The pair is denied.")),
                ("forwarded", reason(12, "redirect", "Forwarded in the original direction.")),
                ("forwarded_reply", reason(31, "redirect", "Forwarded in the reply direction.")),
                ("not_ip", reason(0, "pass", "Neither IPv4 nor IPv6.")),
            ]
            .into_iter()
            .map(|(name, reason)| (name.to_owned(), reason))
            .collect(),
            pairs: vec![PairCount {
                from: "shop_front".into(),
                to: "shop_db".into(),
                packets: 43,
                bytes: 4_300,
                flows: 1,
                refused: 3,
                packets_by_direction: BothWays { original: 12, reply: 31 },
                bytes_by_direction: BothWays { original: 1_200, reply: 3_100 },
                flows_created: 1,
            }],
            flows: FlowTable { live: 1, limit: 65_536 },
            sources: vec![source("veth1", Some("shop_front"), 3), source("192.0.2.7", None, 0)],
        }
    }

    #[test]
    fn reasons_that_never_happened_are_left_out() {
        let expected = "\
48 packets, 4.8kB seen; 1 of 65536 flows live

REASON           VERDICT   PACKETS  BYTES  MEANING
forwarded_reply  redirect       31  3.1kB  Forwarded in the reply direction.
forwarded        redirect       12  1.2kB  Forwarded in the original direction.
fragment_held    hold            2   200B  Kept until the other pieces are there.
pair_denied      drop            3   300B  The pair is denied.

FROM        TO       PACKETS  BYTES  FLOWS  REFUSED
shop_front  shop_db       43  4.3kB      1        3

SOURCE     BRIDGE      FLOWS  LIMIT  REFUSED
veth1      shop_front      1  16384        3
192.0.2.7  -               1  16384        0
";
        assert_eq!(report(&stats(), false, &Style::new(None)), expected);
        assert!(report(&stats(), true, &Style::new(None)).contains("not_ip           pass"));
        let exact = Style { exact: true, ..Style::new(None) };
        let exact = report(&stats(), false, &exact);
        assert!(exact.starts_with("48 packets, 4800 bytes seen;"), "{exact}");
        assert!(exact.contains("shop_db       43   4300      1        3"), "{exact}");
    }

    #[test]
    fn meanings_are_wrapped_to_the_terminal() {
        for width in [60, 80] {
            let report = report(&stats(), false, &Style::new(Some(width)));
            assert!(report.lines().all(|line| line.len() <= usize::from(width)), "{report}");
            assert!(report.contains("forwarded_reply"), "{report}");
            assert_eq!(report.contains("MEANING"), width == 80, "{report}");
        }
    }

    #[test]
    fn nothing_seen_is_one_line() {
        let mut stats = stats();
        stats.reasons.clear();
        stats.pairs.clear();
        stats.sources.clear();
        (stats.packets, stats.bytes) = (1, 60);
        assert_eq!(
            report(&stats, false, &Style::new(None)),
            "1 packet, 60B seen; 1 of 65536 flows live\n"
        );
    }
}
