//! Docker's hand in a rule set: which of its generations made it, and what people add to get around
//! it.
//!
//! As its sources have it, by release: to 27 `FORWARD` asks `DOCKER-ISOLATION-STAGE-1` first, before
//! answers are let through. 28.0.0 names bridges in an ipset; 28.0.1 moves everything into
//! `DOCKER-FORWARD`, with `DOCKER-CT` for answers first. 28.0 and 28.1 drop in `raw PREROUTING` what
//! comes to a container's published port by another bridge, 28.2 and later whatever comes to the
//! container. 29 deletes the isolation chains, or uses nftables: `table ip docker-bridges`.

use super::model::{Action, Match, Name, Table, Wanted};
use super::part::RuleAt;

/// The chain that the well-known recipe writes to.
pub const STAGE_1: &str = "DOCKER-ISOLATION-STAGE-1";
/// The chain that Docker leaves to its users.
pub const USER: &str = "DOCKER-USER";

/// Docker's releases, as far as their rules differ.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Generation {
    /// Isolation before anything else.
    UpTo27,
    /// Bridges in an ipset.
    V28_0_0,
    /// `DOCKER-FORWARD`, and isolation in it; what `raw` has does not tell more.
    V28,
    /// The same, and `raw` rules for published ports.
    V28_0And1,
    /// The same, and `raw` rules for containers.
    V28_2,
    /// No isolation chains.
    V29,
    /// nftables.
    V29Nftables,
}

impl Generation {
    /// In words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::UpTo27 => "up to 27: DOCKER-ISOLATION-STAGE-1 comes first, also for answers",
            Self::V28_0_0 => "28.0.0: its bridges are in an ipset, which no listing of rules shows",
            Self::V28 => "28: isolation in DOCKER-FORWARD, after DOCKER-CT has let answers through",
            Self::V28_0And1 => {
                "28.0 or 28.1: as later ones, but raw PREROUTING drops only what is for published ports"
            }
            Self::V28_2 => {
                "28.2 to 28.5: raw PREROUTING drops what comes to a container by another bridge"
            }
            Self::V29 => "29: no isolation chains; DOCKER and raw PREROUTING keep bridges apart",
            Self::V29Nftables => "29, by nftables: table ip docker-bridges",
        }
    }

    /// Could an engine of this major version have made it, with iptables or with nftables?
    #[must_use]
    pub const fn fits(self, major: u32, by_nftables: bool) -> bool {
        match self {
            Self::UpTo27 => major <= 27,
            Self::V28_0_0 | Self::V28 | Self::V28_0And1 | Self::V28_2 => major == 28,
            Self::V29 => major >= 29 && !by_nftables,
            Self::V29Nftables => major >= 29 && by_nftables,
        }
    }

    /// Does it drop what is for a container before its bridge is asked, where bridges ask netfilter?
    #[must_use]
    pub const fn drops_on_ports(self) -> bool {
        matches!(self, Self::V28_2 | Self::V29 | Self::V29Nftables)
    }
}

/// Is any packet shown to Docker's rules? Their chains stay where `iptables -F` took what leads to them.
#[must_use]
pub fn are_asked(tables: &[Table]) -> bool {
    let leads = |action: &Action| matches!(action, Action::Jump(chain) | Action::Goto(chain) if chain.starts_with("DOCKER"));
    let chains = tables.iter().filter(|table| is(table, "filter")).flat_map(|table| &table.chains);
    let mut forward = chains.filter(|chain| chain.name == "FORWARD").flat_map(|chain| &chain.rules);
    // Docker's own table hooks itself.
    tables.iter().any(|table| table.name == "ip docker-bridges")
        || forward.any(|rule| leads(&rule.action))
}

/// The generations that have left rules: more than one where an upgrade or another backend did.
#[must_use]
pub fn generations(tables: &[Table]) -> Vec<Generation> {
    let mut found = Vec::new();
    if tables.iter().any(|table| table.name == "ip docker-bridges") {
        found.push(Generation::V29Nftables);
    }
    let filter = tables.iter().filter(|table| is(table, "filter"));
    for table in filter {
        let has = |name| table.chain(name).is_some();
        let by_set = table.chains.iter().flat_map(|chain| &chain.rules);
        let generation = match (has("DOCKER-FORWARD"), has(STAGE_1)) {
            (true, false) => Generation::V29,
            (true, true) => raw_drops(tables),
            (false, true)
                if by_set.into_iter().any(|rule| rule.text.contains("docker-ext-bridges")) =>
            {
                Generation::V28_0_0
            }
            (false, true) => Generation::UpTo27,
            (false, false) => continue,
        };
        if !found.contains(&generation) {
            found.push(generation);
        }
    }
    found
}

/// Is it iptables' table of that name, however it was read?
fn is(table: &Table, name: &str) -> bool {
    table.name == name || table.name == format!("ip {name}")
}

/// Which of 28's generations drop in `raw PREROUTING` what these rules do.
fn raw_drops(tables: &[Table]) -> Generation {
    let raw = tables.iter().filter(|table| is(table, "raw")).flat_map(|table| &table.chains);
    let drops = raw.flat_map(|chain| &chain.rules).filter(|rule| {
        rule.action == Action::Drop
            && rule.matches.iter().any(|asked| matches!(asked, Match::From(_, Wanted::No)))
    });
    // A published port on loopback has a rule of its own kind in all of them.
    let to_containers = drops.filter(|rule| !rule.text.contains("127.0.0.1"));
    let conditions: Vec<usize> = to_containers.map(|rule| rule.matches.len()).collect();
    match conditions[..] {
        [] => Generation::V28,
        _ if conditions.contains(&2) => Generation::V28_2,
        _ => Generation::V28_0And1,
    }
}

/// A line that somebody added to let one bridge reach another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recipe {
    /// The line.
    pub at: RuleAt,
    /// The chain that it was added to.
    pub chain: String,
    /// The bridge that may.
    pub from: String,
    /// The bridge that it may reach.
    pub to: String,
    /// Does it ask for more than the two bridges? Then a pair allows more than it does.
    pub narrower: bool,
}

impl Recipe {
    /// With which Docker it does what it is for.
    #[must_use]
    pub fn works(&self) -> &'static [&'static str] {
        if self.chain == STAGE_1 {
            &[
                "up to 27: yes, with a line for each direction: answers are isolated, too",
                "28.0, 28.1: yes, but not to ports that a container publishes",
                "28.2 to 28.5: no, raw PREROUTING drops what is for containers before it",
                "29: no, the chain is gone",
            ]
        } else {
            &[
                "up to 27: yes, with a line for each direction: answers are isolated, too",
                "28.0, 28.1: yes, but not to ports that a container publishes",
                "28.2 and later: no, raw PREROUTING drops what is for containers before it",
            ]
        }
    }
}

/// The lines of that kind in the chains that people add them to.
#[must_use]
pub fn recipes(tables: &[Table]) -> Vec<Recipe> {
    let mut found: Vec<Recipe> = Vec::new();
    for (number, table) in tables.iter().enumerate().filter(|(_, table)| is(table, "filter")) {
        for (index, chain) in table.chains.iter().enumerate() {
            if chain.name != STAGE_1 && chain.name != USER {
                continue;
            }
            for (rule_number, rule) in chain.rules.iter().enumerate() {
                let from = only(rule.matches.iter().filter_map(|asked| match asked {
                    Match::From(names, Wanted::Yes) => Some(names),
                    _ => None,
                }));
                let to = only(rule.matches.iter().filter_map(|asked| match asked {
                    Match::To(names, Wanted::Yes) => Some(names),
                    _ => None,
                }));
                let (Some(from), Some(to), Action::Accept) = (from, to, &rule.action) else {
                    continue;
                };
                let narrower = rule.matches.len() > 2;
                let at = RuleAt { table: number, chain: index, rule: Some(rule_number) };
                if from != to && !found.iter().any(|other| other.from == from && other.to == to) {
                    found.push(Recipe { at, chain: chain.name.clone(), from, to, narrower });
                }
            }
        }
    }
    found
}

/// The one name there is, if it is one.
fn only<'a>(mut names: impl Iterator<Item = &'a Vec<Name>>) -> Option<String> {
    match (names.next().map(Vec::as_slice), names.next()) {
        (Some([Name::Is(name)]), None) => Some(name.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::model::Origin;
    use crate::explain::{parse_iptables, parse_nft};

    fn iptables(text: &str) -> Vec<Table> {
        parse_iptables::parse(text, Origin::Iptables).unwrap()
    }

    #[test]
    fn generations_by_their_chains() {
        let cases = [
            (":DOCKER-ISOLATION-STAGE-1 - [0:0]\n", "", Some(Generation::UpTo27)),
            (
                ":DOCKER-ISOLATION-STAGE-1 - [0:0]\n:DOCKER - [0:0]\n\
                 -A FORWARD -m set --match-set docker-ext-bridges-v4 dst -j DOCKER\n",
                "",
                Some(Generation::V28_0_0),
            ),
            (
                ":DOCKER-FORWARD - [0:0]\n:DOCKER-ISOLATION-STAGE-1 - [0:0]\n",
                "-A PREROUTING -d 172.17.0.2/32 ! -i docker0 -p tcp -m tcp --dport 80 -j DROP\n",
                Some(Generation::V28_0And1),
            ),
            (
                ":DOCKER-FORWARD - [0:0]\n:DOCKER-ISOLATION-STAGE-1 - [0:0]\n",
                "-A PREROUTING -d 172.17.0.2/32 ! -i docker0 -j DROP\n",
                Some(Generation::V28_2),
            ),
            (
                ":DOCKER-FORWARD - [0:0]\n:DOCKER-ISOLATION-STAGE-1 - [0:0]\n",
                "-A PREROUTING -d 127.0.0.1/32 ! -i lo -p tcp -m tcp --dport 80 -j DROP\n",
                Some(Generation::V28),
            ),
            (":DOCKER-FORWARD - [0:0]\n:DOCKER-INTERNAL - [0:0]\n", "", Some(Generation::V29)),
            ("", "", None),
        ];
        for (filter, raw, expected) in cases {
            let text = format!(
                "*raw\n:PREROUTING ACCEPT [0:0]\n{raw}COMMIT\n*filter\n:FORWARD DROP [0:0]\n{filter}COMMIT\n"
            );
            let expected: Vec<_> = expected.into_iter().collect();
            assert_eq!(generations(&iptables(&text)), expected, "{text}");
            assert_eq!(are_asked(&iptables(&text)), filter.contains("-A FORWARD"), "{text}");
        }
        let nft = parse_nft::parse("table ip docker-bridges {\n}\n").unwrap();
        assert_eq!(generations(&nft), [Generation::V29Nftables]);
        assert!(are_asked(&nft));
        let asked = "*filter\n:FORWARD DROP [0:0]\n:DOCKER-FORWARD - [0:0]\n\
            -A FORWARD -j DOCKER-FORWARD\nCOMMIT\n";
        assert!(are_asked(&iptables(asked)));
    }

    #[test]
    fn which_engine_makes_which() {
        use Generation::{UpTo27, V28, V28_2, V29, V29Nftables};
        for (generation, major, nftables, fits) in [
            (UpTo27, 20, false, true),
            (UpTo27, 27, false, true),
            (UpTo27, 28, false, false),
            (V28, 28, false, true),
            (V28_2, 28, false, true),
            (V28_2, 29, false, false),
            (V29, 29, false, true),
            (V29, 29, true, false),
            (V29Nftables, 29, true, true),
        ] {
            assert_eq!(generation.fits(major, nftables), fits, "{generation:?} {major}");
        }
        assert!(V28_2.drops_on_ports() && !UpTo27.drops_on_ports());
    }

    #[test]
    fn recipes_are_lines_between_two_bridges() {
        let text = "*filter\n:FORWARD DROP [0:0]\n:DOCKER-ISOLATION-STAGE-1 - [0:0]\n\
            :DOCKER-USER - [0:0]\n:X - [0:0]\n\
            -A DOCKER-ISOLATION-STAGE-1 -i br-b -o br-a -j ACCEPT\n\
            -A DOCKER-ISOLATION-STAGE-1 -i br-a -o br-b -j ACCEPT\n\
            -A DOCKER-ISOLATION-STAGE-1 -i br-a ! -o br-a -j X\n\
            -A DOCKER-USER -i br-c -o br-b -p tcp -m tcp --dport 80 -j ACCEPT\n\
            -A DOCKER-USER -i br-c -o br-c -j ACCEPT\n-A X -i br-a -o br-c -j ACCEPT\nCOMMIT\n";
        let recipes = recipes(&iptables(text));
        let found: Vec<_> =
            recipes.iter().map(|it| (it.from.as_str(), it.to.as_str(), it.narrower)).collect();
        assert_eq!(
            found,
            [("br-b", "br-a", false), ("br-a", "br-b", false), ("br-c", "br-b", true)]
        );
    }
}
