//! `explain` against the kernel: random rule sets, loaded by iptables (of nf_tables and the older
//! one) and by nft, real SYNs and echoes between all ends, and each cell of the matrix as it says.
//!
//! `BRIDGEFWD_SEED` and `BRIDGEFWD_RUNS` in the environment choose where it begins and how many rule
//! sets it tries.

mod command;
mod probes;
#[path = "../../bytecode/random.rs"]
mod random;
mod rules;

use bridgefwd::explain::ends::{Container, Facts, Network, World};
use bridgefwd::explain::{parse, together};
use bridgefwd_tests::command::run_with_input;
use bridgefwd_tests::topology::{Options, Router};
use bridgefwd_tests::uplink::{OUTSIDE, UPLINK};
use bridgefwd_tests::{needs_root, skip};

use probes::Probes;
use random::Random;
use rules::Notation;

/// Rule sets tried where nobody asks for more.
const RUNS: u64 = 40;

/// Bridges with two hosts, one and one, and somebody outside who knows the way in.
fn network() -> Router {
    let options = Options { uplink: true, ..Options::default() };
    let router = Router::new(options, &["br-a", "br-a", "br-b", "br-c"]);
    let uplink = router.uplink.as_ref().expect("an uplink");
    uplink.ns.ip(&format!("route add 10.0.0.0/8 via {UPLINK}\n"));
    router.learn_neighbours();
    router
}

/// What the user of the router would be told of it.
fn facts(router: &Router, bridge_nf: bool) -> Facts {
    let network = |name: &'static str| {
        let bridge = router.bridge(name);
        let hosts = router.hosts.iter().filter(|host| host.bridge == name);
        let containers =
            hosts.map(|host| Container { name: host.port.clone(), address: host.address });
        Network {
            name: name.into(),
            bridge: name.into(),
            subnet: Some((bridge.address, 24)),
            gateway: Some(bridge.address),
            containers: containers.collect(),
        }
    };
    Facts {
        networks: ["br-a", "br-b", "br-c"].map(network).into(),
        addresses: vec![UPLINK],
        outside: Some("up0".into()),
        bridge_nf: Some(bridge_nf),
        forwarding: Some(true),
    }
}

/// Is there this program, and does the kernel have what it needs?
fn works(router: &Router, program: &str) -> bool {
    let tried = router.ns.run(|| std::process::Command::new(program).output());
    tried.is_ok_and(|output| output.status.success())
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn compare(notation: Notation, runs: u64, seed: u64) {
    let router = network();
    for program in notation.programs() {
        // `nft` without a question is an error.
        if program != "nft" && !works(&router, program) {
            skip::skipped(&format!("{program} does not work here"));
            return;
        }
    }
    println!("{notation:?}: BRIDGEFWD_SEED={seed} BRIDGEFWD_RUNS={runs}");
    let probes = Probes::new(&router);
    let mut random = Random(seed);
    let (mut asked, mut unknown) = (0, 0);
    for _ in 0..runs {
        let bridge_nf = random.one_in(2);
        let switch = if bridge_nf { "1" } else { "0" };
        router.ns.sysctl("net/bridge/bridge-nf-call-iptables", switch);
        let set = rules::rule_set(&mut random, notation);
        router.ns.run(|| run_with_input(notation.load().0, notation.load().1, &set));
        let (program, args) = notation.list(&mut random);
        let listing = router.ns.command(program, args);
        let tables = parse(&listing).unwrap_or_else(|error| panic!("{error}\n{listing}"));
        let world = World::new(together(tables), facts(&router, bridge_nf));
        let told = format!("bridge-nf {switch}, {program} {}:\n{listing}", args.join(" "));
        let result = probes.compare(&router, &world, OUTSIDE, &told);
        (asked, unknown) = (asked + result.0, unknown + result.1);
        let (program, args, input) = notation.clear();
        router.ns.run(|| run_with_input(program, args, input));
    }
    assert!(asked > 0);
    // A destination that is translated back into the bridge it came from is all that is not known.
    assert!(unknown * 20 <= asked, "{unknown} of {asked} are unknown");
}

#[test]
fn says_what_the_kernel_does_with_rules_of_iptables() {
    needs_root!();
    let seed = from_environment("BRIDGEFWD_SEED", 1);
    compare(Notation::Iptables, from_environment("BRIDGEFWD_RUNS", RUNS), seed);
}

#[test]
fn says_what_the_kernel_does_with_rules_of_legacy_iptables() {
    needs_root!();
    let seed = from_environment("BRIDGEFWD_SEED", 2);
    compare(Notation::Legacy, from_environment("BRIDGEFWD_RUNS", RUNS), seed);
}

#[test]
fn says_what_the_kernel_does_with_rules_of_nftables() {
    needs_root!();
    let seed = from_environment("BRIDGEFWD_SEED", 3);
    compare(Notation::Nft, from_environment("BRIDGEFWD_RUNS", RUNS), seed);
}
