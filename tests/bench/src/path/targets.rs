//! What bridgefwd is measured against, and whether it gets there.

use serde::Serialize;

use super::statistics::Case;
use super::ways::Kind;
use super::{Metric, Rounds};
use crate::statistics::Spread;

/// One target.
#[derive(Clone, Debug, Serialize)]
pub struct Target {
    /// What has to be in some relation to what.
    pub what: String,
    /// The ratio, with its spread; `None` where it could not be measured.
    pub ratio: Option<Spread>,
    /// The bound.
    pub bound: f64,
    /// Is the bound a lower one?
    pub at_least: bool,
}

impl Target {
    /// Is its median on the right side?
    pub fn reached(&self) -> Option<bool> {
        let median = self.ratio?.median;
        Some(if self.at_least { median >= self.bound } else { median <= self.bound })
    }

    /// The bound, as one writes it.
    pub fn bound(&self) -> String {
        format!("{} {:.2}", if self.at_least { ">=" } else { "<=" }, self.bound)
    }

    /// In one word.
    pub fn verdict(&self) -> &'static str {
        match self.reached() {
            Some(true) => "reached",
            Some(false) => "MISSED",
            None => "not measured",
        }
    }
}

/// All of them.
pub fn all(rounds: &Rounds, cases: &[Case]) -> Vec<Target> {
    let of = |kind, metric| rounds.of(kind, metric);
    let above_direct = |kind| -> Vec<f64> {
        let direct = of(Kind::Direct, Metric::Latency);
        of(kind, Metric::Latency).iter().zip(direct).map(|(way, direct)| way - direct).collect()
    };
    let mut targets = Vec::new();
    let mut add = |what: &str, ratio: Option<Spread>, at_least: bool, bound: f64| {
        targets.push(Target { what: what.into(), ratio, bound, at_least });
    };
    let ours = above_direct(Kind::Ports);
    let above = |kind| Spread::of_ratios(&ours, &above_direct(kind));
    add("ping-pong above direct: ours / iptables", above(Kind::Iptables), false, 0.25);
    add("ping-pong above direct: ours / same bridge", above(Kind::SameBridge), false, 1.0);
    let ratio = |metric, to| Spread::of_ratios(of(Kind::Ports, metric), of(to, metric));
    add("ping-pong: ours / direct", ratio(Metric::Latency, Kind::Direct), false, 1.08);
    add("connections: ours / direct", ratio(Metric::Connections, Kind::Direct), true, 0.9);
    add("connections: ours / iptables", ratio(Metric::Connections, Kind::Iptables), true, 1.0);
    add("UDP: ours / direct", ratio(Metric::Datagrams, Kind::Direct), true, 0.95);
    add("UDP: ours / iptables", ratio(Metric::Datagrams, Kind::Iptables), true, 1.2);
    add("bulk TCP: ours / direct", ratio(Metric::Bulk, Kind::Direct), true, 0.97);
    let others =
        Spread::of_ratios(of(Kind::PortsOthers, Metric::Latency), of(Kind::Ports, Metric::Latency));
    add("ping-pong: ours with 100 more networks / without", others, false, 1.02);
    let case = |name: &str| cases.iter().find(|case| case.name == name);
    let one = case("1 flow");
    add(
        "program, by the kernel's statistics: ours / empty",
        one.map(|case| case.over_empty),
        false,
        4.0,
    );
    let crowded = case("flows by the million").zip(one).map(|(many, one)| {
        let by = one.ingress_ns.median;
        let of = many.ingress_ns;
        Spread { median: of.median / by, low: of.low / by, high: of.high / by }
    });
    add("program: 1M flows alive / 1 flow", crowded, false, 1.5);
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_reached_on_its_side_of_the_bound() {
        let ratio = Some(Spread { median: 1.0, low: 0.9, high: 1.1 });
        let target = |at_least, bound| Target { what: String::new(), ratio, bound, at_least };
        assert_eq!(target(true, 0.95).reached(), Some(true));
        assert_eq!(target(true, 1.05).reached(), Some(false));
        assert_eq!(target(false, 1.05).reached(), Some(true));
        assert_eq!(target(false, 0.95).verdict(), "MISSED");
        assert_eq!(target(false, 0.95).bound(), "<= 0.95");
        let unknown = Target { ratio: None, ..target(true, 1.0) };
        assert_eq!((unknown.reached(), unknown.verdict()), (None, "not measured"));
    }

    #[test]
    fn ours_is_compared_with_others_round_by_round() {
        let mut rounds = Rounds::default();
        for slow in [1.0, 2.0] {
            rounds.add(Kind::Direct, Metric::Latency, 10.0 * slow);
            rounds.add(Kind::SameBridge, Metric::Latency, 12.0 * slow);
            rounds.add(Kind::Iptables, Metric::Latency, 20.0 * slow);
            rounds.add(Kind::Ports, Metric::Latency, 11.0 * slow);
        }
        let targets = all(&rounds, &[]);
        let median = |place: usize| targets[place].ratio.map(|ratio| ratio.median);
        assert_eq!([median(0), median(1), median(2)], [Some(0.1), Some(0.5), Some(1.1)]);
        assert_eq!(targets[3].verdict(), "not measured");
    }
}
