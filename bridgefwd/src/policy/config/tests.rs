//! Good files and bad ones.

use bridgefwd_common::contract::DEFAULT_MAX_FLOWS;

use super::*;
use crate::failure::Failure;
use crate::policy::setup::Setup;
use crate::policy::{Mapping, Nat, PairNat};

fn parse(text: &str) -> Result<Config> {
    Config::parse(text, Path::new("f.toml"), &Overrides::default())
}

/// Of a file that is wrong, all that is said about it.
#[track_caller]
fn why(text: &str) -> String {
    match parse(text) {
        Err(Failure::Usage(why)) => why,
        other => panic!("{text:?}: {other:?}"),
    }
}

fn ends(from: &str, to: &str) -> Ends {
    (from.into(), to.into())
}

#[test]
fn everything() {
    let config = parse(
        "bridges = ['a', 'b']\nuplinks = ['u']\ndocker = '/run/d.sock'\nunlisted = 'deny'\nports = false\n\
         max_flows = 4096\nflows_per_source = 9\n\
         [timers]\nicmp = 61\nestablished = '3h'\n[api]\nsocket = '/run/s.sock'\nmetrics = 9477\nmetrics_hosts = ['r.example']\n\
         [[pair]]\nfrom = 'a'\nto = 'b'\n\
         [[pair]]\nfrom = 'b'\nto = 'a'\nstate = 'denied'\nnat = '10.0.0.1-10.0.0.3'\n\
         nat6 = 'masquerade'\nmapping = 'endpoint-independent'\ndrain = true\n",
    )
    .unwrap();
    assert_eq!(config.bridges, ["a", "b"]);
    assert_eq!(config.uplinks, ["u"]);
    assert_eq!(config.docker, Some(DockerChoice::Socket("/run/d.sock".into())));
    assert_eq!(config.unlisted, Some(Unlisted::Deny));
    assert_eq!((config.ports, config.max_flows), (Some(false), Some(4096)));
    assert_eq!(config.flows_per_source, NonZero::new(9));
    let mut expected = TimerChanges::default();
    expected.add("icmp=61").unwrap();
    expected.add("established=10800").unwrap();
    assert_eq!(config.timers, expected);
    assert_eq!(config.socket, Some("/run/s.sock".into()));
    assert_eq!(config.metrics, Some("127.0.0.1:9477".parse().unwrap()));
    assert_eq!(config.metrics_hosts, ["r.example"]);
    let allowed = PairSetup { allow: true, ..PairSetup::default() };
    assert_eq!(config.pairs[&ends("a", "b")], allowed);
    let denied = &config.pairs[&ends("b", "a")];
    assert_eq!((denied.allow, denied.drain), (false, true));
    let PairNat { v4, v6, mapping } = &denied.nat;
    assert_eq!(v4.to_string(), "10.0.0.1-10.0.0.3");
    assert_eq!((v6, mapping), (&Nat::Masquerade, &Mapping::EndpointIndependent));
    assert_eq!(parse("").unwrap(), Config::default());
}

#[test]
fn the_same_in_other_words() {
    let one = "bridges = ['a']\nuplinks = ['u']\ntimers.icmp = 90\n[[pair]]\nfrom='a'\nto='u'\n";
    let other = "uplinks = [\n  \"u\", # up\n]\nbridges = [\"a\"]\n\
                 pair = [{ to = \"u\", from = \"a\", nat = 'masquerade' }]\n\
                 timers = { icmp = \"1m 30s\" }\n";
    let bom = format!("\u{feff}{one}").replace('\n', "\r\n");
    assert_eq!(parse(one).unwrap(), parse(other).unwrap());
    assert_eq!(parse(one).unwrap(), parse(&bom).unwrap());
}

#[test]
fn the_example_is_good_and_says_the_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/bridgefwd.toml");
    let text = file::read(&path).unwrap();
    let none = Overrides::default();
    let shipped = Config::parse(&text, &path, &none).unwrap();
    assert_eq!(Setup::of(&shipped, &none, DEFAULT_MAX_FLOWS), Setup::default());
    // What is said there is not merely absent.
    assert!(shipped.docker.is_some());
    assert!(
        shipped.unlisted.is_some()
            && shipped.ports.is_some()
            && shipped.direct.is_some()
            && shipped.max_flows.is_some()
    );
    assert!(shipped.flows_per_source.is_some());
    assert_eq!(shipped.timers, TimerChanges::all(&Setup::default().timeouts_s));
    // With its examples, too: every key is there, under the name that it has.
    let examples: String = text
        .lines()
        .map(|line| line.strip_prefix("#~ ").unwrap_or(line))
        .map(|line| format!("{line}\n"))
        .collect();
    let examples = Config::parse(&examples, &path, &none).unwrap();
    assert!(examples.socket.is_some() && examples.metrics.is_some() && examples.pairs.len() >= 3);
    assert_eq!(examples.audit.map(|audit| audit.size_mb()), Some(128), "which is the default");
    assert!(examples.pairs.values().any(|pair| !pair.allow));
    for key in ["drain", "nat6", "mapping"] {
        assert!(text.contains(&format!("\n#~ {key} = ")), "{key}");
    }
}

#[test]
fn an_engine_is_named_switched_off_or_looked_for() {
    for (text, choice) in [
        ("'auto'", DockerChoice::Auto),
        ("true", DockerChoice::Auto),
        ("'no'", DockerChoice::No),
        ("false", DockerChoice::No),
        ("'unix:///run/d.sock'", DockerChoice::Socket("/run/d.sock".into())),
    ] {
        assert_eq!(parse(&format!("docker = {text}")).unwrap().docker, Some(choice), "{text}");
    }
    for wrong in ["'d.sock'", "''", "7", "['/run/d.sock']", "'tcp://192.0.2.1:2375'"] {
        let why = why(&format!("docker = {wrong}"));
        assert!(why.contains("line 1: docker: write \"auto\", \"no\", or the absolute"), "{why}");
    }
}

/// Files that are wrong, and all that is said about them.
const WRONG: &[(&str, &str)] = &[
    ("bridge = 'b'", "f.toml, line 1: bridge: there is no such key; did you mean `bridges`?"),
    (
        "\n\nunlisetd = 'deny'",
        "f.toml, line 3: unlisetd: there is no such key; did you mean `unlisted`?",
    ),
    (
        "colour = 'red'",
        "f.toml, line 1: colour: there is no such key; there are: bridges, uplinks, docker, unlisted, ports, direct, max_flows, flows_per_source, timers, api, audit, pair",
    ),
    (
        "bridges = 7",
        "f.toml, line 1: bridges: write a list as [\"shop_front\", \"shop_db\"], not 7",
    ),
    (
        "bridges = 'a'",
        "f.toml, line 1: bridges: write a list as [\"shop_front\", \"shop_db\"], not \"a\"",
    ),
    ("bridges = ['a', 7]", "f.toml, line 1: bridges: write names in quotes, not 7"),
    (
        "bridges = [\n 'a',\n 'b',\n 'a',\n]",
        "f.toml, line 4: bridges: a is named twice, first in line 2",
    ),
    ("bridges = ['a']\nuplinks = ['a']", "f.toml, line 2: uplinks: a is in bridges already"),
    ("bridges = ['']", "f.toml, line 1: bridges: \"\" is no name"),
    ("bridges = ['a b']", "f.toml, line 1: bridges: \"a b\" is no name"),
    ("bridges = ['a/b']", "f.toml, line 1: bridges: \"a/b\" is no name"),
    ("bridges = [\"a\\u0000\"]", "f.toml, line 1: bridges: \"a\\0\" is no name"),
    ("bridges = ['a']\nbridges = ['b']", "f.toml, line 2: this is no TOML: duplicate key"),
    ("bridges = [", "f.toml, line 1: this is no TOML: unclosed array, expected `]`"),
    ("bridges = ['a'", "f.toml, line 1: this is no TOML: unclosed array, expected `]`"),
    ("unlisted = 'drop'", "f.toml, line 1: unlisted: write \"kernel\" or \"deny\", not \"drop\""),
    ("unlisted = true", "f.toml, line 1: unlisted: write \"kernel\" or \"deny\", not true"),
    ("ports = 'no'", "f.toml, line 1: ports: write true or false, not \"no\""),
    ("ports = 1", "f.toml, line 1: ports: write true or false, not 1"),
    ("max_flows = 15", "f.toml, line 1: max_flows: 15 is out of range: from 16 to 16777216"),
    (
        "max_flows = 16777217",
        "f.toml, line 1: max_flows: 16777217 is out of range: from 16 to 16777216",
    ),
    ("max_flows = -1", "f.toml, line 1: max_flows: -1 is out of range: from 16 to 16777216"),
    ("max_flows = 1.5", "f.toml, line 1: max_flows: write a number, not 1.5"),
    (
        "flows_per_source = 0",
        "f.toml, line 1: flows_per_source: 0 is out of range: from 1 to 4294967295",
    ),
    (
        "flows_per_source = 99999999999",
        "f.toml, line 1: flows_per_source: 99999999999 is out of range: from 1 to 4294967295",
    ),
    ("flows_per_source = 'all'", "f.toml, line 1: flows_per_source: write a number, not \"all\""),
    ("timers = 7", "f.toml, line 1: timers: write a table: [timers], not 7"),
    (
        "[timers]\nidle = 9",
        "f.toml, line 2: timers.idle: there is no such key; there are: opening, established, closing, udp_one_way, udp_two_way, icmp",
    ),
    (
        "[timers]\nestablihsed = 9",
        "f.toml, line 2: timers.establihsed: there is no such key; did you mean `established`?",
    ),
    (
        "[timers]\nicmp = 0",
        "f.toml, line 2: timers.icmp: \"0\" is out of range: from 1 to 4294967295 seconds",
    ),
    (
        "[timers]\nicmp = -1",
        "f.toml, line 2: timers.icmp: \"-1\" is out of range: from 1 to 4294967295 seconds",
    ),
    (
        "[timers]\nicmp = 4294967296",
        "f.toml, line 2: timers.icmp: \"4294967296\" is out of range: from 1 to 4294967295 seconds",
    ),
    (
        "[timers]\nicmp = 1.5",
        "f.toml, line 2: timers.icmp: write seconds, or a duration as \"2h4m\", not 1.5",
    ),
    (
        "[timers]\nicmp = 'soon'",
        "f.toml, line 2: timers.icmp: \"soon\" is neither seconds nor a duration as 2h4m",
    ),
    (
        "[timers]\nicmp = '0s'",
        "f.toml, line 2: timers.icmp: \"0s\" is out of range: from 1 to 4294967295 seconds",
    ),
    (
        "[timers]\nicmp = '1500ms'",
        "f.toml, line 2: timers.icmp: \"1500ms\" is not a whole number of seconds",
    ),
    (
        "[timers]\nicmp = true",
        "f.toml, line 2: timers.icmp: write seconds, or a duration as \"2h4m\", not true",
    ),
    ("[timers]\nicmp = 1\nicmp = 2", "f.toml, line 3: this is no TOML: duplicate key"),
    ("api = '/run/s'", "f.toml, line 1: api: write a table: [api], not \"/run/s\""),
    (
        "[api]\nsocket = 's.sock'",
        "f.toml, line 2: api.socket: write an absolute path in quotes, not \"s.sock\"",
    ),
    ("[api]\nsocket = 7", "f.toml, line 2: api.socket: write an absolute path in quotes, not 7"),
    ("[api]\nmetrics = 0", "f.toml, line 2: api.metrics: write a port, or \"ADDRESS:PORT\", not 0"),
    (
        "[api]\nmetrics = 'localhost:9477'",
        "f.toml, line 2: api.metrics: write a port, or \"ADDRESS:PORT\", not \"localhost:9477\"",
    ),
    (
        "[api]\nmetrics_hosts = 'r.example'",
        "f.toml, line 2: api.metrics_hosts: write a list as [\"shop_front\", \"shop_db\"], not \"r.example\"",
    ),
    (
        "[api]\nsokcet = '/run/s'",
        "f.toml, line 2: api.sokcet: there is no such key; did you mean `socket`?",
    ),
    ("pair = 7", "f.toml, line 1: pair: begin each pair with [[pair]]"),
    ("pair = ['a', 'b']", "f.toml, line 1: pair: begin each pair with [[pair]]"),
    ("[pair]\nfrom = 'a'", "f.toml, line 1: pair: begin each pair with [[pair]]"),
    (
        "[[pair]]",
        "f.toml has 2 mistakes:\n  line 1: pair.from: is missing: say `from = \"NAME\"`\n  line 1: pair.to: is missing: say `to = \"NAME\"`",
    ),
    ("[[pair]]\nfrom = 'a'", "f.toml, line 1: pair.to: is missing: say `to = \"NAME\"`"),
    (
        "bridges = ['a', 'b']\n[[pair]]\nfrom = 'a'\nto = 7",
        "f.toml, line 4: pair.to: write a name in quotes, not 7",
    ),
    (
        "bridges = ['shop_front', 'shop_db']\n[[pair]]\nfrom = 'shop_front'\nto = 'shop_bd'",
        "f.toml, line 4: pair.to: shop_bd is neither in bridges nor in uplinks; did you mean shop_db?",
    ),
    (
        "bridges = ['a', 'b']\n[[pair]]\nfrom = 'a'\nto = 'nowhere'",
        "f.toml, line 4: pair.to: nowhere is neither in bridges nor in uplinks; there are: a, b",
    ),
    (
        "bridges = ['a']\n[[pair]]\nfrom = 'a'\nto = 'a'",
        "f.toml, line 4: pair.to: a -> a is no pair: a pair leads from one end to another",
    ),
    (
        "bridges = ['a', 'b']\n[[pair]]\nfrom = 'a'\nto = 'b'\n[[pair]]\nfrom = 'a'\nto = 'b'",
        "f.toml, line 5: pair: a -> b is listed twice, first in line 2",
    ),
    (
        "bridges = ['a', 'b']\n[[pair]]\nfrom = 'a'\nto = 'b'\n[[pair]]\nfrom = 'a'\nto = 'b'\nstate = 'denied'",
        "f.toml, line 5: pair: a -> b is denied here and allowed in line 2",
    ),
    (
        "bridges = ['a', 'b']\n[[pair]]\nfrom = 'a'\nto = 'b'\nstate = 'on'",
        "f.toml, line 5: pair.state: write \"allowed\" or \"denied\", not \"on\"",
    ),
    (
        "bridges = ['a', 'b']\n[[pair]]\nfrom = 'a'\nto = 'b'\nnat = 'x'",
        "f.toml, line 5: pair.nat: \"x\" is no kind of NAT: use masquerade, none, or IPv4 addresses of the target and ranges FIRST-LAST of them, with commas between",
    ),
    (
        "bridges = ['a', 'b']\n[[pair]]\nfrom = 'a'\nto = 'b'\nnat = '::1'",
        "f.toml, line 5: pair.nat: ::1 is no IPv4 address; what IPv6 is translated to is said with --nat6, or nat6 in the configuration",
    ),
    (
        "bridges = ['a', 'b']\n[[pair]]\nfrom = 'a'\nto = 'b'\nnat6 = '10.0.0.1'",
        "f.toml, line 5: pair.nat6: 10.0.0.1 is no IPv6 address; what IPv4 is translated to is said with --nat, or nat in the configuration",
    ),
    (
        "bridges = ['a', 'b']\n[[pair]]\nfrom = 'a'\nto = 'b'\nnat = '10.0.0.0-10.0.0.16'",
        "f.toml, line 5: pair.nat: 10.0.0.0-10.0.0.16 are too many addresses: a pair has at most 16 of IPv4",
    ),
    (
        "bridges = ['a', 'b']\n[[pair]]\nfrom = 'a'\nto = 'b'\nnat = '10.0.0.2-10.0.0.1'",
        "f.toml, line 5: pair.nat: the range 10.0.0.2-10.0.0.1 ends before it begins",
    ),
    (
        "bridges = ['a', 'b']\n[[pair]]\nfrom = 'a'\nto = 'b'\nnat = '10.0.0.1,10.0.0.1'",
        "f.toml, line 5: pair.nat: 10.0.0.1 is named twice in 10.0.0.1,10.0.0.1",
    ),
    (
        "bridges = ['a', 'b']\n[[pair]]\nfrom = 'a'\nto = 'b'\nnat = false",
        "f.toml, line 5: pair.nat: write text in quotes, not false",
    ),
    (
        "bridges = ['a', 'b']\n[[pair]]\nfrom = 'a'\nto = 'b'\nmapping = 'cone'",
        "f.toml, line 5: pair.mapping: \"cone\" is no mapping: use per-destination or endpoint-independent",
    ),
    (
        "bridges = ['a', 'b']\n[[pair]]\nfrom = 'a'\nto = 'b'\ndrain = 'yes'",
        "f.toml, line 5: pair.drain: write true or false, not \"yes\"",
    ),
    (
        "bridges = ['a', 'b']\n[[pair]]\nfrom = 'a'\nto = 'b'\nnta = 'none'",
        "f.toml, line 5: pair.nta: there is no such key; did you mean `nat`?",
    ),
    (
        "x = 2030-01-01",
        "f.toml, line 1: x: there is no such key; there are: bridges, uplinks, docker, unlisted, ports, direct, max_flows, flows_per_source, timers, api, audit, pair",
    ),
    (
        "bridges = {a = 1}",
        "f.toml, line 1: bridges: write a list as [\"shop_front\", \"shop_db\"], not { a = 1 }",
    ),
    (
        "unlisted = 'a very long text that nobody would ever write in there'",
        "f.toml, line 1: unlisted: write \"kernel\" or \"deny\", not \"a very long text that nobody would ever...",
    ),
    (
        "a.b.c = 1",
        "f.toml, line 1: a: there is no such key; there are: bridges, uplinks, docker, unlisted, ports, direct, max_flows, flows_per_source, timers, api, audit, pair",
    ),
    ("ports = tru", "f.toml, line 1: this is no TOML: invalid boolean, expected `true`"),
    ("\u{1b}[31m = 1", "f.toml, line 1: this is no TOML: key with no value, expected `=`"),
    (
        "\"\\u001b[31m\" = 1",
        "f.toml, line 1: \\u{1b}[31m: there is no such key; there are: bridges, uplinks, docker, unlisted, ports, direct, max_flows, flows_per_source, timers, api, audit, pair",
    ),
];

#[test]
fn mistakes_are_told_by_line_and_key() {
    for (text, said) in WRONG {
        assert_eq!(why(text), *said, "{text:?}");
    }
}

#[test]
fn all_mistakes_are_told_in_their_order() {
    let text = "unlisted = 'drop'\nbridges = ['a', 'b']\n[[pair]]\nfrom = 'a'\nto = 'c'\n\
                [[pair]]\nfrom = 'a'\nto = 'b'\nnat = 'x'\n[timers]\nicmp = 0\n";
    let lines: Vec<_> = why(text).lines().map(str::to_owned).collect();
    assert_eq!(
        lines,
        [
            "f.toml has 4 mistakes:",
            "  line 1: unlisted: write \"kernel\" or \"deny\", not \"drop\"",
            "  line 5: pair.to: c is neither in bridges nor in uplinks; there are: a, b",
            "  line 9: pair.nat: \"x\" is no kind of NAT: use masquerade, none, or IPv4 addresses of \
             the target and ranges FIRST-LAST of them, with commas between",
            "  line 11: timers.icmp: \"0\" is out of range: from 1 to 4294967295 seconds",
        ]
    );
}

#[test]
fn ends_are_not_missed_in_a_list_that_is_wrong() {
    let text = "brigdes = ['a', 'b']\n[[pair]]\nfrom = 'a'\nto = 'b'\n";
    assert_eq!(why(text), "f.toml, line 1: brigdes: there is no such key; did you mean `bridges`?");
}

#[test]
fn options_bring_ends_of_pairs() {
    let text = "[[pair]]\nfrom = 'a'\nto = 'b'\n";
    // Where no bridge is named all are ends that there are.
    assert!(parse(text).is_ok());
    let overrides =
        Overrides { bridges: vec!["a".into()], uplinks: vec!["b".into()], ..Overrides::default() };
    assert!(Config::parse(text, Path::new("f"), &overrides).is_ok());
}

/// Whatever a file is, it is read or refused: soon, and in words that a terminal can show.
#[test]
fn hostile_texts_are_refused() {
    let deep = format!("x = {}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_tables = format!("[{}]", vec!["x"; 100_000].join("."));
    let inline = format!("x = {}", "{ x = ".repeat(100_000));
    let many = "[[pair]]\nfrom = 'a'\nto = 'b'\n".repeat(20_000);
    let long_name = format!("bridges = ['{}']\nports = 1\n", "x".repeat(1 << 20));
    let odd = "unlisted = \"\\u001b[2J\\u0007\"\n";
    for text in [&deep, &deep_tables, &inline, &many, &long_name, odd, "\0", "a = '\0'"] {
        let why = why(text);
        let plain = why.chars().all(|letter| letter == '\n' || !letter.is_control());
        assert!(plain, "{:?}", why.chars().take(200).collect::<String>());
    }
}
