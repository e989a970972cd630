//! Sysctls that decide whether packets get through.

use bridgefwd_common::contract::Family;

use super::report::Finding;
use super::surroundings::Surroundings;
use crate::host::sysctl;

/// Fewer ports than that for translation are soon used up.
const FEW_PORTS: u32 = 8192;
/// Ports below are not what clients are translated to, unless they are there already.
const FIRST_UNPRIVILEGED: u16 = 1024;

/// Does the kernel forward what its ends have addresses of?
pub fn forwarding(here: &Surroundings) -> Vec<Finding> {
    let ends = here.ends();
    let judged = sysctl::FORWARDING.map(|(family, name, setting)| {
        if let Some(why) = here.no_ends() {
            return Finding::unchecked(forwarding_of(family), why);
        }
        let has_any = ends.iter().any(|end| match family {
            Family::V4 => !end.addresses.is_empty(),
            Family::V6 => !end.addresses_v6.is_empty(),
        });
        judge_forwarding(family, name, setting, sysctl::forwards(family), has_any)
    });
    judged.into()
}

const fn forwarding_of(family: Family) -> &'static str {
    match family {
        Family::V4 => "forwarding",
        Family::V6 => "forwarding6",
    }
}

fn judge_forwarding(
    family: Family,
    name: &str,
    setting: &str,
    forwards: Option<bool>,
    is_needed: bool,
) -> Finding {
    let check = forwarding_of(family);
    match forwards {
        Some(true) => Finding::ok(check, format!("{setting} is 1")),
        Some(false) if is_needed => Finding::broken(
            check,
            format!("{setting} is 0, so this host forwards no {name}, nor does bridgefwd"),
            format!("sysctl -w {setting}=1"),
        ),
        Some(false) => {
            Finding::ok(check, format!("{setting} is 0, and no end has an address of {name}"))
        }
        None if is_needed => Finding::unchecked(check, format!("{setting} cannot be read")),
        None => Finding::ok(check, format!("there is no {name} here")),
    }
}

/// Does the kernel drop what comes by another way than it would answer by?
pub fn reverse_path(here: &Surroundings) -> Finding {
    if let Some(why) = here.no_ends() {
        return Finding::unchecked("rp_filter", why);
    }
    let value = |name: &str| sysctl::number(&format!("net/ipv4/conf/{name}/rp_filter"));
    let ends = here.ends();
    let all = value("all");
    judge_reverse_path(
        all,
        &ends.iter().map(|end| (&*end.name, value(&end.name))).collect::<Vec<_>>(),
    )
}

/// The larger of an interface's own value and that of all interfaces holds.
fn judge_reverse_path(all: Option<u32>, ends: &[(&str, Option<u32>)]) -> Finding {
    const CHECK: &str = "rp_filter";
    let Some(all) = all else {
        return Finding::unchecked(CHECK, "net.ipv4.conf.all.rp_filter cannot be read");
    };
    if let Some((name, _)) = ends.iter().find(|(_, own)| own.is_none()) {
        return Finding::unchecked(CHECK, format!("net.ipv4.conf.{name}.rp_filter cannot be read"));
    }
    let strict = |own: &Option<u32>| own.unwrap_or_default().max(all) == 1;
    let names: Vec<_> = ends.iter().filter(|(_, own)| strict(own)).map(|(name, _)| *name).collect();
    if names.is_empty() {
        return Finding::ok(CHECK, "not strict on any end");
    }
    let mends = names.iter().map(|name| format!("net.ipv4.conf.{name}.rp_filter=2"));
    Finding::attention(
        CHECK,
        format!(
            "strict on {}: of what the kernel forwards or answers for us it drops packets that came \
             by another interface than it would answer by",
            names.join(", ")
        ),
        format!("sysctl -w {}", mends.collect::<Vec<_>>().join(" ")),
    )
}

/// Do the host's filters see packets on the ports of bridges?
pub fn bridge_filters(here: &Surroundings) -> Finding {
    let read = |name: &str| sysctl::number(&format!("net/bridge/{name}"));
    let unattached = here.status().map_or(0, |status| status.ports_not_attached);
    let values =
        ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables"].map(|name| (name, read(name)));
    judge_bridge_filters(&values, unattached)
}

fn judge_bridge_filters(values: &[(&str, Option<u32>)], unattached: u64) -> Finding {
    const CHECK: &str = "br_netfilter";
    let on: Vec<_> =
        values.iter().filter(|(_, value)| value.unwrap_or(0) != 0).map(|(name, _)| *name).collect();
    if on.is_empty() {
        return Finding::ok(CHECK, "iptables does not see what is within bridges");
    }
    let on = on.join(", ");
    if unattached == 0 {
        return Finding::ok(CHECK, format!("{on} on; packets are taken on the ports, before that"));
    }
    Finding::attention(
        CHECK,
        format!(
            "{on} on, and {unattached} ports are not attached: what iptables drops there never gets \
             to bridgefwd"
        ),
        "run without --ports no",
    )
}

/// Are ports left for translation beside those of the host?
pub fn local_ports() -> Finding {
    match sysctl::local_port_range() {
        Ok(range) => judge_local_ports(range),
        Err(error) => Finding::unchecked("local_ports", error.to_string()),
    }
}

fn judge_local_ports((first, last): (u16, u16)) -> Finding {
    const CHECK: &str = "local_ports";
    let all = u32::from(u16::MAX - FIRST_UNPRIVILEGED) + 1;
    let first_taken = first.max(FIRST_UNPRIVILEGED);
    let taken = if last < first_taken { 0 } else { u32::from(last - first_taken) + 1 };
    let left = all - taken;
    if left >= FEW_PORTS {
        return Finding::ok(
            CHECK,
            format!("the host's own are {first}-{last}, {left} are left for clients"),
        );
    }
    let shared =
        if left == 0 { "clients share them with the host" } else { "only so many are left" };
    Finding::attention(
        CHECK,
        format!(
            "the host's own are {first}-{last}: of those for clients whose port is taken {left} are \
             left to each server; {shared}"
        ),
        "sysctl -w net.ipv4.ip_local_port_range=\"32768 60999\"",
    )
}

/// Are ports reserved that clients may be translated to?
pub fn reserved_ports() -> Finding {
    const CHECK: &str = "reserved_ports";
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_reserved_ports");
    match (text, sysctl::local_port_range()) {
        (Ok(text), Ok(range)) => judge_reserved_ports(text.trim(), range),
        (Err(error), _) => {
            Finding::unchecked(CHECK, format!("net.ipv4.ip_local_reserved_ports: {error}"))
        }
        (_, Err(error)) => Finding::unchecked(CHECK, error.to_string()),
    }
}

fn judge_reserved_ports(reserved: &str, (first, last): (u16, u16)) -> Finding {
    const CHECK: &str = "reserved_ports";
    if reserved.is_empty() {
        return Finding::ok(CHECK, "none");
    }
    let outside = |part: &&str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (Ok(from), Ok(to)) = (from.trim().parse::<u16>(), to.trim().parse::<u16>()) else {
            return true;
        };
        to >= FIRST_UNPRIVILEGED && (from < first || to > last)
    };
    let ports: Vec<_> = reserved.split(',').filter(outside).collect();
    if ports.is_empty() {
        return Finding::ok(CHECK, format!("{reserved}, none of which clients are moved to"));
    }
    Finding::attention(
        CHECK,
        format!(
            "{} are reserved, and a client whose port is taken may be translated to them: what the \
             host sends to the same server from there gives way then",
            ports.join(",")
        ),
        "reserve ports of the host's own range, or make pairs with --nat none or addresses of their own",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn forwarding_is_broken_where_it_is_needed() {
        let level = |forwards, needed| {
            judge_forwarding(Family::V4, "IPv4", "net.ipv4.ip_forward", forwards, needed).level
        };
        assert_eq!(level(Some(true), true), Level::Ok);
        assert_eq!(level(Some(false), true), Level::Broken);
        assert_eq!(level(Some(false), false), Level::Ok);
        assert_eq!(level(None, true), Level::Unchecked);
    }

    #[test]
    fn the_stricter_of_both_values_is_the_larger() {
        let level = |all, own| judge_reverse_path(all, &[("a", own)]).level;
        assert_eq!(level(Some(0), Some(0)), Level::Ok);
        assert_eq!(level(Some(0), Some(1)), Level::Attention);
        assert_eq!(level(Some(1), Some(0)), Level::Attention);
        // Loose wins over strict.
        assert_eq!(level(Some(1), Some(2)), Level::Ok);
        assert_eq!(level(None, Some(0)), Level::Unchecked);
        assert_eq!(level(Some(0), None), Level::Unchecked);
    }

    #[test]
    fn filters_in_bridges_matter_where_ports_are_left_alone() {
        let values = |value| [("bridge-nf-call-iptables", value)];
        assert_eq!(judge_bridge_filters(&values(None), 3).level, Level::Ok);
        assert_eq!(judge_bridge_filters(&values(Some(0)), 3).level, Level::Ok);
        assert_eq!(judge_bridge_filters(&values(Some(1)), 0).level, Level::Ok);
        assert_eq!(judge_bridge_filters(&values(Some(1)), 3).level, Level::Attention);
    }

    #[test]
    fn ports_are_counted() {
        assert_eq!(judge_local_ports((32768, 60999)).level, Level::Ok);
        assert_eq!(judge_local_ports((1, 1000)).level, Level::Ok);
        assert_eq!(judge_local_ports((1024, 65535)).level, Level::Attention);
        assert_eq!(judge_local_ports((1024, 60999)).level, Level::Attention);
        assert_eq!(judge_local_ports((9216, 65535)).level, Level::Ok);
    }

    #[test]
    fn reserved_ports_outside_of_the_hosts_own_matter() {
        let level = |reserved: &str| judge_reserved_ports(reserved, (32768, 60999)).level;
        assert_eq!(level(""), Level::Ok);
        assert_eq!(level("40000,50000-50010"), Level::Ok);
        assert_eq!(level("30000-32767"), Level::Attention);
        assert_eq!(level("32000-33000"), Level::Attention);
        assert_eq!(level("80,443"), Level::Ok);
    }
}
