//! Docker's rule sets of every generation, and what they come to.
//!
//! Those of 20.10 are a real engine's, of a host with four bridges, a container or two on each, and
//! `-p 8080:80` on the second. Those of 28.5 and 29 are of the same host, in the form that Docker's
//! own documentation of its rules has.

use super::ends::{Facts, World};
use super::matrix::{self, Answer, Cell};
use super::model::{Action, Table};
use super::{describe, docker, networks, parse, together, walk};

macro_rules! testdata {
    ($name:literal) => {
        include_str!(concat!("testdata/", $name))
    };
}

fn world(rules: &str, bridge_nf: Option<bool>) -> World {
    let networks = networks::inspected(testdata!("networks.json")).unwrap();
    World::new(parse(rules).unwrap(), Facts { networks, bridge_nf, ..Facts::default() })
}

/// The matrix by letters: yes, no, some, unknown, and `-` where there is no cell.
fn letters(world: &World) -> String {
    let cells = matrix::cells(world);
    let letter = |cell: Option<&Cell>| match cell.map(|cell| cell.answer) {
        Some(Answer::Yes) => 'y',
        Some(Answer::No) => 'n',
        Some(Answer::Some) => 's',
        Some(Answer::Unknown) => '?',
        None => '-',
    };
    let ends = world.ends();
    let row = |from| {
        let cell = |to| letter(cells.iter().find(|cell| cell.from == from && cell.to == to));
        ends.iter().map(|to| cell(*to)).collect::<String>()
    };
    ends.iter().map(|from| row(*from)).collect::<Vec<_>>().join(" ")
}

/// Why the one cell is as it is, part by part, the largest first.
fn why(world: &World, from: &str, to: &str) -> Vec<String> {
    let from = walk::party(world, from).unwrap().end;
    let to = walk::party(world, to).unwrap().end;
    let cell = matrix::cell(world, from, to);
    let parts = describe::parts(world, &cell);
    parts
        .into_iter()
        .map(|part| format!("{} {}: {}", part.packets.join(", "), part.answer, part.why))
        .collect()
}

const ISOLATED: &str = "ynnnyy nynnyy nnynyy nnnyyy nsnn-y yyyyy-";

#[test]
fn docker_20_10_keeps_bridges_apart() {
    let world = world(testdata!("docker-20.10.iptables"), Some(true));
    assert_eq!(letters(&world), ISOLATED);
    assert_eq!(docker::generations(&world.tables), [docker::Generation::UpTo27]);
    let stage_2 = "filter DOCKER-ISOLATION-STAGE-2 rule 2: -o br-9559b3f84d38 -j DROP";
    assert_eq!(why(&world, "shop_front", "shop_db"), [format!(" no: {stage_2}")]);
    let published = why(&world, "outside", "shop_front");
    assert_eq!(published[0], "everything else no: filter FORWARD: policy DROP");
    assert!(published[1].starts_with("tcp/80 yes: filter DOCKER rule 1: -d 172.18.0.2/32"));
}

#[test]
fn both_accepts_of_the_recipe_open_two_cells_and_no_other() {
    let world = world(testdata!("docker-20.10-recipe.iptables"), Some(true));
    assert_eq!(letters(&world), "ynnnyy nyynyy nyynyy nnnyyy nsnn-y yyyyy-");
    let line =
        "filter DOCKER-ISOLATION-STAGE-1 rule 2: -i br-cbd0f56841ce -o br-9559b3f84d38 -j ACCEPT";
    assert_eq!(why(&world, "shop_front", "shop_db"), [format!(" yes: {line}")]);
    let report = describe::report(&world, &matrix::cells(&world));
    let commands: Vec<&str> = report.recipes.iter().map(|recipe| &*recipe.command).collect();
    let expected = [
        "bridgefwd pair allow br-9559b3f84d38 br-cbd0f56841ce",
        "bridgefwd pair allow br-cbd0f56841ce br-9559b3f84d38",
    ];
    assert_eq!(commands, expected);
}

#[test]
fn one_accept_of_the_recipe_is_not_enough_for_20_10() {
    let one = testdata!("docker-20.10-recipe.iptables").replace(
        "-A DOCKER-ISOLATION-STAGE-1 -i br-9559b3f84d38 -o br-cbd0f56841ce -j ACCEPT\n",
        "",
    );
    let world = world(&one, Some(true));
    assert_eq!(letters(&world), ISOLATED);
    let why = why(&world, "shop_front", "shop_db");
    let isolated = "it arrives, its answer does not: filter DOCKER-ISOLATION-STAGE-2 rule 3";
    assert!(why[0].contains(isolated), "{why:?}");
}

#[test]
fn docker_28_drops_in_raw_whatever_the_recipe_says() {
    for rules in [testdata!("docker-28.5.iptables"), testdata!("docker-28.5-recipe.iptables")] {
        let world = world(rules, Some(true));
        assert_eq!(docker::generations(&world.tables), [docker::Generation::V28_2]);
        assert_eq!(letters(&world), "ynnnyy nynnyy nnynyy nnnyyy nnnn-y yyyyy-");
        let why = why(&world, "shop_front", "shop_db");
        let raw = "raw PREROUTING rule 3: -d 172.19.0.2/32 ! -i br-9559b3f84d38 -j DROP";
        assert!(why.iter().any(|line| line.contains(raw)), "{why:?}");
    }
}

#[test]
fn without_its_raw_rules_28_lets_the_recipe_through_one_way() {
    let text = testdata!("docker-28.5-recipe.iptables");
    let rule = "-A DOCKER-ISOLATION-STAGE-1 -i br-9559b3f84d38 -o br-cbd0f56841ce -j ACCEPT\n";
    let kept = text.replace(rule, "");
    let without: Vec<&str> =
        kept.lines().filter(|line| !line.starts_with("-A PREROUTING -d")).collect();
    let world = world(&(without.join("\n") + "\n"), Some(true));
    // Answers are let through before isolation, so one line is one direction.
    assert_eq!(letters(&world), "ynnnyy nyynyy nnynyy nnnyyy nsnn-y yyyyy-");
}

#[test]
fn docker_29_has_no_isolation_chains_and_isolates_all_the_same() {
    let world = world(testdata!("docker-29.iptables"), Some(true));
    assert_eq!(docker::generations(&world.tables), [docker::Generation::V29]);
    assert_eq!(letters(&world), "ynnnyy nynnyy nnynyy nnnyyy nnnn-y yyyyy-");
}

#[test]
fn docker_29_by_nftables() {
    let world = world(testdata!("docker-29.nft"), Some(true));
    assert_eq!(docker::generations(&world.tables), [docker::Generation::V29Nftables]);
    assert_eq!(letters(&world), "ynnnyy nynnyy nnynyy nnnyyy nnnn-y yyyyy-");
    let why = why(&world, "outside", "backoffice");
    let raw = " no: ip docker-bridges raw-PREROUTING rule 5: ip daddr 172.21.0.2 iifname != \
               \"br-cfcd23a5f04c\" counter drop comment \"DROP DIRECT ACCESS\"";
    assert_eq!(why, [raw]);
}

/// The entries of a map have no order: the text lists them as they were added, the JSON as the
/// kernel finds them.
fn in_order(action: &Action) -> Action {
    let mut action = action.clone();
    if let Action::Map(entries) = &mut action {
        entries.sort_by_key(|entry| format!("{entry:?}"));
    }
    action
}

#[test]
fn one_rule_set_in_several_notations() {
    let text = world(testdata!("docker-20.10.nft"), Some(true));
    assert_eq!(letters(&text), ISOLATED);
    // nft's JSON does not say what iptables' extensions ask, so this one is nft's own.
    let text = parse(testdata!("docker-29.nft")).unwrap();
    let json = parse(testdata!("docker-29.json")).unwrap();
    let parsed = |tables: &[Table]| -> Vec<_> {
        let chains = tables.iter().flat_map(|table| &table.chains);
        chains
            .map(|chain| {
                let rules = chain.rules.iter();
                let rules: Vec<_> =
                    rules.map(|rule| (rule.matches.clone(), in_order(&rule.action))).collect();
                (chain.name.clone(), chain.base, rules)
            })
            .collect()
    };
    assert_eq!(parsed(&text), parsed(&json));
}

#[test]
fn tables_of_iptables_are_not_taken_twice() {
    let tables: Vec<Table> = [
        testdata!("docker-20.10.iptables"),
        testdata!("docker-20.10.nft"),
        testdata!("docker-29.nft"),
    ]
    .iter()
    .flat_map(|text| parse(text).unwrap())
    .collect();
    let names: Vec<String> = together(tables).into_iter().map(|table| table.name).collect();
    assert_eq!(names, ["filter", "nat", "ip docker-bridges"]);
}

#[test]
fn a_published_port_is_reached_by_the_host() {
    let world = world(testdata!("docker-29.iptables"), Some(true));
    let from = walk::party(&world, "outside").unwrap();
    let to = walk::party(&world, "172.18.0.1").unwrap();
    let walk =
        walk::walk(&world, &from, &to, Some(("tcp/8080", walk::service("tcp/8080").unwrap())));
    let walk = walk.unwrap();
    assert_eq!(walk.answer, "yes");
    assert_eq!(walk.parts[0].dnat.as_ref().unwrap().to, "172.18.0.2:80");
    assert!(walk.parts[0].why.starts_with("filter DOCKER rule 1: "), "{:?}", walk.parts);
}

#[test]
fn what_depends_on_an_unknown_rule_is_unknown() {
    let text = testdata!("docker-20.10.iptables").replace(
        "-A DOCKER-USER -j RETURN\n",
        "-A DOCKER-USER -i br-cbd0f56841ce -o br-9559b3f84d38 -m time --timestart 08:00 -j ACCEPT\n\
         -A DOCKER-USER -i docker0 -o br-cfcd23a5f04c -m owner --uid-owner 3 -j DROP\n",
    );
    let world = world(&text, Some(true));
    // The first might open what isolation closes, though answers stay isolated; the second could
    // only drop what is dropped anyway.
    assert_eq!(letters(&world), ISOLATED);
    let open = text.replace("-j DOCKER-ISOLATION-STAGE-1", "-j DOCKER-USER");
    let world = self::world(&open, Some(true));
    let cells = letters(&world);
    assert_eq!(&cells[..6], "yyy?yy", "{cells}");
    let why = why(&world, "bridge", "backoffice");
    assert!(why[0].starts_with(" unknown: unknown: filter DOCKER-USER rule 2: "), "{why:?}");
}

#[test]
fn within_a_bridge_it_may_depend_on_br_netfilter() {
    let drop = "*filter\n:FORWARD DROP [0:0]\nCOMMIT\n";
    assert!(letters(&world(drop, None)).starts_with("?nnn"));
    assert!(letters(&world(drop, Some(true))).starts_with("nnnn"));
    assert!(letters(&world(drop, Some(false))).starts_with("ynnn"));
}
