//! What is saved is what runs, whatever the file was, and comments stay.

use std::path::Path;

use bridgefwd_common::contract::{DEFAULT_MAX_FLOWS, Settings, Unlisted};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::audit::Place;
use crate::policy::timers::TimerChanges;

const ENDS: [&str; 5] = ["shop_front", "shop_db", "br-1", "eth0", "ü#\"'"];

fn put_into(setup: &Setup, text: &str) -> String {
    put(setup, text, Path::new("f.toml")).unwrap()
}

fn read(text: &str) -> Setup {
    let none = Overrides::default();
    let config = Config::parse(text, Path::new("f.toml"), &none).unwrap();
    Setup::of(&config, &none, DEFAULT_MAX_FLOWS)
}

fn nat(family: Family) -> impl Strategy<Value = Nat> {
    let addresses = match family {
        Family::V4 => ["10.0.0.1", "10.0.0.7,10.0.0.1", "10.0.0.1-10.0.0.16"],
        Family::V6 => ["fd00::1", "fd00::7,fd00::1", "fd00::1-fd00::10"],
    };
    let words = ["masquerade", "none"].into_iter().chain(addresses).collect::<Vec<_>>();
    select(words).prop_map(move |word| Nat::parse(word, family).unwrap())
}

fn pair() -> impl Strategy<Value = PairSetup> {
    let mapping = select(vec![Mapping::PerDestination, Mapping::EndpointIndependent]);
    (any::<[bool; 2]>(), nat(Family::V4), nat(Family::V6), mapping).prop_map(
        |([allow, drain], v4, v6, mapping)| PairSetup {
            allow,
            drain,
            nat: PairNat { v4, v6, mapping },
        },
    )
}

/// Anything that can run.
fn setup() -> impl Strategy<Value = Setup> {
    let ends = (subsequence(ENDS.to_vec(), 0..=ENDS.len()).prop_shuffle(), 0..=ENDS.len());
    let pairs = btree_map((select(ENDS.to_vec()), select(ENDS.to_vec())), pair(), 0..8);
    let flows =
        (prop_oneof![Just(DEFAULT_MAX_FLOWS), 16..1_u32 << 24], proptest::option::of(1..u32::MAX));
    let timers = vec(proptest::option::of(1..=u32::MAX), 6);
    (
        ends,
        pairs,
        flows,
        timers,
        any::<[bool; 6]>(),
        select(vec!["auto", "no", "/run/docker #1.sock"]),
    )
        .prop_map(
            |(
                (ends, split),
                pairs,
                (max_flows, share),
                timers,
                [deny, ports, direct, metrics, host, audit],
                docker,
            )| {
                let names: Vec<String> = ends.into_iter().map(str::to_owned).collect();
                let (bridges, uplinks) = names.split_at(split.min(names.len()));
                let mut changes = TimerChanges::default();
                for (name, seconds) in timers::names().zip(timers) {
                    seconds.map_or(Ok(()), |seconds| changes.set(name, seconds)).unwrap();
                }
                let mut timeouts_s = Settings::DEFAULT_TIMEOUTS_S;
                changes.apply(&mut timeouts_s);
                let listed = |name: &str| names.iter().any(|end| end == name);
                let pairs = pairs
                    .into_iter()
                    .filter(|((from, to), _)| from != to && listed(from) && listed(to))
                    .map(|((from, to), pair)| ((from.to_owned(), to.to_owned()), pair));
                Setup {
                    bridges: bridges.to_vec(),
                    uplinks: uplinks.to_vec(),
                    docker: docker.parse().unwrap(),
                    unlisted: if deny { Unlisted::Deny } else { Unlisted::Kernel },
                    ports,
                    direct,
                    max_flows,
                    flows_per_source: share.unwrap_or_else(|| default_flows_per_source(max_flows)),
                    timeouts_s,
                    socket: None,
                    metrics: metrics.then(|| ([192, 0, 2, 1], 9477).into()),
                    metrics_hosts: host.then(|| "router.example".into()).into_iter().collect(),
                    audit: audit
                        .then(|| Place::new("/var/log/a.jsonl".into(), max_flows % 500 + 8)),
                    pairs: pairs.collect(),
                }
            },
        )
}

proptest! {
    #[test]
    fn what_is_saved_is_read_back(setup in setup()) {
        prop_assert_eq!(differences(&setup, &read(&put_into(&setup, ""))), []);
    }

    #[test]
    fn whatever_the_file_said_before(before in setup(), after in setup()) {
        let text = put_into(&before, "");
        let changed = put_into(&after, &text);
        prop_assert_eq!(differences(&after, &read(&changed)), []);
        // What it says already it is not told again.
        prop_assert_eq!(put_into(&after, &changed), changed);
    }

    #[test]
    fn comments_of_what_stays_stay(before in setup(), after in setup()) {
        let mut text = String::from("# first\n\n");
        for (number, line) in put_into(&before, "").lines().enumerate() {
            let comment = if line.is_empty() { String::new() } else { format!(" # {number}.") };
            text.push_str(&format!("{line}{comment}\n"));
        }
        text.push_str("# last\n");
        let kept = put_into(&before, &text);
        prop_assert_eq!(&kept, &text, "nothing to change, nothing changed");
        let changed = put_into(&after, &text);
        prop_assert_eq!(differences(&after, &read(&changed)), []);
        prop_assert!(changed.contains("# last\n"), "{changed}");
        for (line, key) in text.lines().filter_map(|line| Some((line, line.split_once(" = ")?.0))) {
            // Values of the top may change; their comments are about the key.
            if ["bridges", "uplinks", "unlisted", "ports", "direct", "max_flows"].contains(&key) {
                let comment = line.rsplit_once(" # ").unwrap().1;
                prop_assert!(changed.contains(&format!(" # {comment}")), "{line}: {changed}");
            }
        }
    }
}

#[test]
fn an_edited_file_is_as_somebody_would_have_edited_it() {
    let text = "\
# The shop's.
bridges = [
    \"shop_front\", # the front
    \"old\",        # to go
]
unlisted = 'deny' # else nothing works
timers = { icmp = '1m 30s', opening = 300 }

# General words about pairs.

# The front asks the database.
[[pair]]
from = 'shop_front' # opens
to = 'old'          # answers
nat = '10.0.0.1-10.0.0.2'

[[pair]]
from = 'old'
to = 'shop_front'
state = 'denied'
# The end.
";
    let mut setup = read(text);
    assert_eq!(put_into(&setup, text), text);
    let denied = setup.pairs.remove(&("old".into(), "shop_front".into())).unwrap();
    setup.pairs.clear();
    setup.bridges = vec!["shop_front".into(), "shop_db".into()];
    setup.pairs.insert(("shop_front".into(), "shop_db".into()), denied);
    setup.ports = false;
    setup.unlisted = Unlisted::Kernel;
    let expected = "\
# The shop's.
bridges = [
    \"shop_front\", # the front
    \"shop_db\",
]
unlisted = \"kernel\" # else nothing works
timers = { icmp = '1m 30s', opening = 300 }
ports = false

# General words about pairs.

[[pair]]
from = \"shop_front\"
to = \"shop_db\"
state = \"denied\"
# The end.
";
    assert_eq!(put_into(&setup, text), expected);
}

#[test]
fn comments_alone_stay_on_top() {
    let setup = Setup { bridges: vec!["a".into()], ..Setup::default() };
    assert_eq!(put_into(&setup, "# mine\n"), "# mine\nbridges = [\"a\"]\n");
    let mut timers = TimerChanges::default();
    timers.add("icmp=9").unwrap();
    let mut setup = Setup::default();
    timers.apply(&mut setup.timeouts_s);
    assert_eq!(put_into(&setup, "# mine\n"), "# mine\n\n[timers]\nicmp = 9\n");
    assert_eq!(put_into(&Setup::default(), "# mine\n"), "# mine\n");
    assert_eq!(put_into(&Setup::default(), ""), "");
}

#[test]
fn a_file_that_is_wrong_is_not_written() {
    let why =
        |text: &str| put(&Setup::default(), text, Path::new("f.toml")).unwrap_err().to_string();
    assert!(
        why("bridges = [").starts_with("f.toml, line 1: this is no TOML"),
        "{}",
        why("bridges = [")
    );
    assert_eq!(
        why("\nbrigdes = []"),
        "f.toml, line 2: brigdes: there is no such key; did you mean `bridges`?"
    );
}
