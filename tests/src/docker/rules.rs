//! The firewall beside us: as the engine has made it, and as newer engines would.

use std::net::Ipv4Addr;

use crate::namespaces::Namespace;

/// All rules of the namespace in both forms of iptables that there are, and without counters: the
/// same before and after means that nobody has changed any.
#[must_use]
#[track_caller]
pub fn rules(ns: &Namespace) -> String {
    let mut all = String::new();
    for program in ["iptables-nft-save", "iptables-legacy-save", "ip6tables-nft-save"] {
        if super::find(program).is_none() {
            continue;
        }
        for line in ns.command(program, &[]).lines().filter(|line| !line.starts_with('#')) {
            // `:INPUT ACCEPT [12:960]`
            let line =
                if line.starts_with(':') { line.split(" [").next().unwrap_or(line) } else { line };
            all.push_str(&format!("{program}: {line}\n"));
        }
    }
    all
}

/// The rule that engines from 28 on make for each container, as they write it: whoever addresses it
/// comes by its own bridge.
#[track_caller]
pub fn block_as_newer_engines(ns: &Namespace, container: Ipv4Addr, bridge: &str) {
    let address = format!("{container}/32");
    let rule = ["PREROUTING", "-d", &address, "!", "-i", bridge, "-j", "DROP"];
    ns.command("iptables", &[&["-t", "raw", "-A"], &rule[..]].concat());
}
