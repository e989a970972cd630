//! Random rule sets in the notations of iptables and nft, of whatever `explain` knows.

use super::random::Random;

/// How rules are written, loaded and listed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Notation {
    /// iptables by nf_tables.
    Iptables,
    /// iptables by the kernel's older interface.
    Legacy,
    /// nft's own.
    Nft,
}

impl Notation {
    /// What must be there.
    pub fn programs(self) -> [&'static str; 1] {
        match self {
            Self::Iptables => ["iptables-nft-save"],
            Self::Legacy => ["iptables-legacy-save"],
            Self::Nft => ["nft"],
        }
    }

    /// Loads what is on its standard input.
    pub fn load(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Iptables => ("iptables-nft-restore", &[]),
            Self::Legacy => ("iptables-legacy-restore", &[]),
            Self::Nft => ("nft", &["-f", "-"]),
        }
    }

    /// Lists what is loaded.
    pub fn list(self, random: &mut Random) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Iptables => ("iptables-nft-save", &[]),
            Self::Legacy => ("iptables-legacy-save", &[]),
            Self::Nft if random.one_in(2) => ("nft", &["-j", "list", "ruleset"]),
            Self::Nft => ("nft", &["list", "ruleset"]),
        }
    }

    /// Takes everything away.
    pub fn clear(self) -> (&'static str, &'static [&'static str], &'static str) {
        let (program, args) = self.load();
        let input = if self == Self::Nft { "flush ruleset\n" } else { EMPTY };
        (program, args, input)
    }
}

const EMPTY: &str = "*raw\nCOMMIT\n*mangle\nCOMMIT\n*nat\nCOMMIT\n\
    *filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n";

const BRIDGES: [&str; 4] = ["br-a", "br-b", "br-c", "up0"];
const ADDRESSES: [&str; 9] = [
    "10.1.0.0/24",
    "10.2.0.0/24",
    "10.3.0.0/24",
    "10.1.0.2",
    "10.1.0.3",
    "10.2.0.2",
    "10.0.0.0/8",
    "192.0.2.2",
    "10.2.0.1",
];

/// Which interfaces a chain's packets have.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Hook {
    In,
    Out,
    Both,
}

/// One condition in both notations.
fn condition(random: &mut Random, hook: Hook, at: Notation) -> String {
    let ipt = at != Notation::Nft;
    let no = random.one_in(3);
    let (bang, equals) = if no { ("! ", "!= ") } else { ("", "") };
    match random.below(12) {
        0 | 1 if hook != Hook::Out => {
            let name = random.pick(&BRIDGES);
            if ipt { format!("{bang}-i {name}") } else { format!("iifname {equals}\"{name}\"") }
        }
        2 | 3 if hook != Hook::In => {
            let name = random.pick(&BRIDGES);
            if ipt { format!("{bang}-o {name}") } else { format!("oifname {equals}\"{name}\"") }
        }
        4 if hook == Hook::Both => {
            if ipt {
                format!("{bang}-o br-+")
            } else {
                format!("oifname {equals}\"br-*\"")
            }
        }
        5 => {
            let address = random.pick(&ADDRESSES);
            if ipt { format!("{bang}-s {address}") } else { format!("ip saddr {equals}{address}") }
        }
        6 => {
            let address = random.pick(&ADDRESSES);
            if ipt { format!("{bang}-d {address}") } else { format!("ip daddr {equals}{address}") }
        }
        7 => {
            let proto = random.pick(&["tcp", "udp", "icmp"]);
            if ipt { format!("{bang}-p {proto}") } else { format!("meta l4proto {equals}{proto}") }
        }
        8 => match (random.below(5), ipt) {
            (0, true) => "-p tcp -m multiport --dports 80,443:445".into(),
            (0, false) => "tcp dport { 80, 443-445 }".into(),
            (1, true) => format!("-p tcp -m tcp {bang}--dport 80"),
            (1, false) => format!("tcp dport {equals}80"),
            (2, true) => "-p icmp -m icmp --icmp-type 8".into(),
            (2, false) => "icmp type echo-request".into(),
            (3, true) => format!("-p tcp -m tcp {bang}--tcp-flags FIN,SYN,RST,ACK SYN"),
            (3, false) => "icmp type { echo-reply, echo-request }".into(),
            (_, true) => "-p tcp -m tcp --sport 443".into(),
            (_, false) => "tcp sport 443".into(),
        },
        9 => {
            let state = random.pick(&[
                "NEW",
                "RELATED,ESTABLISHED",
                "ESTABLISHED",
                "INVALID",
                "NEW,ESTABLISHED",
            ]);
            if ipt {
                format!("-m conntrack {bang}--ctstate {state}")
            } else if no {
                "ct state != new".into()
            } else {
                format!("ct state {}", state.to_lowercase())
            }
        }
        10 => {
            let side = if random.one_in(2) { "src" } else { "dst" };
            if ipt {
                format!("-m addrtype {bang}--{side}-type LOCAL")
            } else {
                format!("fib {}addr type {equals}local", &side[..1])
            }
        }
        11 => {
            if ipt {
                format!("-m mark {bang}--mark 0x1/0x3")
            } else {
                format!("meta mark & 0x3 {}0x1", if no { "!= " } else { "== " })
            }
        }
        _ => if ipt { "-m comment --comment \"just so\"" } else { "counter" }.into(),
    }
}

/// At most one condition of a kind: iptables takes no second one.
fn conditions(random: &mut Random, hook: Hook, at: Notation) -> String {
    let mut all: Vec<String> = Vec::new();
    for _ in 0..random.below(4) {
        let next = condition(random, hook, at);
        let kind = |text: &str| -> Vec<String> {
            let of_protocol = ["tcp", "icmp", "meta l4proto"];
            let protocol = of_protocol.iter().any(|start| text.starts_with(start));
            let options = text.split(' ').filter(|word| word.starts_with('-') && *word != "-m");
            options.map(Into::into).chain(protocol.then(|| "-p".to_owned())).collect()
        };
        let twice = |other: &String| kind(other).iter().any(|word| kind(&next).contains(word));
        if !all.iter().any(twice) {
            all.push(next);
        }
    }
    // Extensions of a protocol want it said before them, and once.
    all.sort_by_key(|text| !text.starts_with("-p"));
    all.join(" ")
}

/// Chains of the filter table: the kernel's own, and those that are called.
const CALLED: [&str; 3] = ["one", "two", "three"];

fn filter_action(random: &mut Random, level: usize, at: Notation) -> String {
    let ipt = at != Notation::Nft;
    let called = CALLED.get(level).filter(|_| random.one_in(2));
    if let Some(name) = called {
        let goes = random.one_in(4);
        return match (ipt, goes) {
            (true, false) => format!("-j {name}"),
            (true, true) => format!("-g {name}"),
            (false, false) => format!("jump {name}"),
            (false, true) => format!("goto {name}"),
        };
    }
    let (by_iptables, by_nft) = random.pick(&[
        ("-j ACCEPT", "accept"),
        ("-j ACCEPT", "counter accept"),
        ("-j DROP", "drop"),
        ("-j REJECT", "reject"),
        ("-j RETURN", "return"),
        ("-j LOG --log-level 7", "log level debug"),
        ("", "continue"),
    ]);
    if ipt { by_iptables } else { by_nft }.into()
}

/// A table with its chains: name, hook for nft, interfaces, kind of its rules.
struct Plan {
    chain: &'static str,
    nft: &'static str,
    hook: Hook,
}

const fn plan(chain: &'static str, nft: &'static str, hook: Hook) -> Plan {
    Plan { chain, nft, hook }
}

const FILTER: [Plan; 3] = [
    plan("INPUT", "type filter hook input priority filter;", Hook::In),
    plan("FORWARD", "type filter hook forward priority filter;", Hook::Both),
    plan("OUTPUT", "type filter hook output priority filter;", Hook::Out),
];

/// A whole rule set.
pub fn rule_set(random: &mut Random, at: Notation) -> String {
    let ipt = at != Notation::Nft;
    let mut text = String::new();
    let mut table = |name: &str, chains: Vec<(String, String, Vec<String>)>| {
        if ipt {
            text.push_str(&format!("*{name}\n"));
            for (chain, policy, _) in &chains {
                text.push_str(&format!(":{chain} {policy} [0:0]\n"));
            }
            for (chain, _, rules) in &chains {
                rules.iter().for_each(|rule| text.push_str(&format!("-A {chain} {rule}\n")));
            }
            text.push_str("COMMIT\n");
        } else {
            text.push_str(&format!(
                "table {} {name} {{\n",
                if name == "filter" { "inet" } else { "ip" }
            ));
            for (chain, base, rules) in &chains {
                text.push_str(&format!("chain {chain} {{\n{base}\n{}\n}}\n", rules.join("\n")));
            }
            text.push_str("}\n");
        }
    };
    let early = |random: &mut Random, hook| {
        let (by_iptables, by_nft) = random.pick(&[
            ("-j ACCEPT", "accept"),
            ("-j DROP", "drop"),
            ("-j MARK --set-xmark 0x1/0x3", "meta mark set 0x1"),
        ]);
        let action = if ipt { by_iptables } else { by_nft };
        format!("{} {action}", conditions(random, hook, at))
    };
    // Little of it, or nothing would get through.
    if random.one_in(3) {
        let rules = (0..1 + random.below(2)).map(|_| early(random, Hook::In)).collect();
        let base = if ipt { "ACCEPT" } else { "type filter hook prerouting priority mangle;" };
        table("mangle", vec![("PREROUTING".into(), base.into(), rules)]);
    }
    if random.one_in(3) {
        let raw = |random: &mut Random| {
            let (host, bridge) =
                random.pick(&[("10.1.0.2", "br-a"), ("10.2.0.2", "br-b"), ("10.3.0.2", "br-c")]);
            if ipt {
                format!("-d {host}/32 ! -i {bridge} -j DROP")
            } else {
                format!("ip daddr {host} iifname != \"{bridge}\" drop")
            }
        };
        let rules = (0..1 + random.below(2)).map(|_| raw(random)).collect();
        let base = if ipt { "ACCEPT" } else { "type filter hook prerouting priority raw;" };
        table("raw", vec![("PREROUTING".into(), base.into(), rules)]);
    }
    let dnat = random.one_in(2).then(|| {
        let to = random.pick(&["10.1.0.2", "10.2.0.2", "10.3.0.2"]);
        let port = random.pick(&["", ":443"]);
        if ipt {
            format!("-p tcp -m tcp --dport 80 -m addrtype --dst-type LOCAL -j DNAT --to-destination {to}{port}")
        } else {
            format!("tcp dport 80 fib daddr type local dnat to {to}{port}")
        }
    });
    let snat: Vec<String> = (0..random.below(3))
        .map(|_| {
            let which = conditions(random, Hook::Out, at);
            format!("{which} {}", if ipt { "-j MASQUERADE" } else { "masquerade" })
        })
        .collect();
    let base = |nft: &str| if ipt { "ACCEPT".to_owned() } else { nft.to_owned() };
    let pre = base("type nat hook prerouting priority dstnat;");
    let post = base("type nat hook postrouting priority srcnat;");
    table(
        "nat",
        vec![
            ("PREROUTING".into(), pre, dnat.into_iter().collect()),
            ("POSTROUTING".into(), post, snat),
        ],
    );
    let mut chains = Vec::new();
    // nft wants chains that are jumped to before those that jump; iptables does not mind.
    for (level, name) in CALLED.iter().enumerate().rev() {
        let rules = (0..random.below(4)).map(|_| {
            let which = conditions(random, Hook::In, at);
            format!("{which} {}", filter_action(random, level + 1, at))
        });
        let rules: Vec<String> = rules.collect();
        chains.push(((*name).to_owned(), base("").replace("ACCEPT", "-"), rules));
    }
    for Plan { chain, nft, hook } in FILTER {
        let drops = random.one_in(3);
        let policy = match (ipt, drops) {
            (true, true) => "DROP".into(),
            (true, false) => "ACCEPT".into(),
            (false, true) => format!("{nft} policy drop;"),
            (false, false) => format!("{nft} policy accept;"),
        };
        let count = random.below(6);
        let mut rules: Vec<String> = (0..count)
            .map(|_| {
                let which = conditions(random, hook, at);
                format!("{which} {}", filter_action(random, 0, at))
            })
            .collect();
        if random.one_in(2) {
            let answers = if ipt {
                "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
            } else {
                "ct state related,established accept"
            };
            rules.insert(0, answers.into());
        }
        if !ipt && chain == "FORWARD" && random.one_in(2) {
            rules.push(
                "iifname vmap { \"br-a\" : jump one, \"br-b\" : accept, \"br-c\" : drop }".into(),
            );
        }
        chains.push((chain.into(), policy, rules));
    }
    table("filter", chains);
    text
}
