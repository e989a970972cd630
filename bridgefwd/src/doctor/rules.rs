//! netfilter's ways past or beside us: its connection tracking, and its own fast path.

use std::io;

use super::report::Finding;
use super::surroundings::Surroundings;
use crate::host::flowtables::{self, Flowtable};
use crate::host::sysctl;

/// Part of the table, in percent, from which on it is nearly full.
const NEARLY_FULL: u64 = 90;

/// Is the table of connections that the kernel tracks nearly full? What it forwards for us goes
/// through it.
pub fn connections() -> Finding {
    let read = |name: &str| sysctl::number(&format!("net/netfilter/{name}"));
    judge_connections(read("nf_conntrack_count"), read("nf_conntrack_max"))
}

fn judge_connections(count: Option<u32>, most: Option<u32>) -> Finding {
    const CHECK: &str = "conntrack";
    match (count, most) {
        (Some(count), Some(most)) if most > 0 => {
            let text = format!("{count} of {most} connections tracked");
            if u64::from(count) * 100 >= u64::from(most) * NEARLY_FULL {
                return Finding::attention(
                    CHECK,
                    format!("{text}: nearly full, and the kernel drops what opens more"),
                    format!("sysctl -w net.netfilter.nf_conntrack_max={}", u64::from(most) * 2),
                );
            }
            Finding::ok(CHECK, text)
        }
        _ => Finding::ok(CHECK, "the kernel tracks no connections here"),
    }
}

/// Does a flowtable of nftables take packets of our ends?
pub fn flowtables(here: &Surroundings) -> Finding {
    if let Some(why) = here.no_ends() {
        return Finding::unchecked("flowtables", why);
    }
    let names: Vec<_> = here.ends_and_ports().iter().map(|link| link.name.clone()).collect();
    judge_flowtables(flowtables::list(), &names)
}

fn judge_flowtables(listed: io::Result<Vec<Flowtable>>, ours: &[String]) -> Finding {
    const CHECK: &str = "flowtables";
    let tables = match listed {
        Ok(tables) => tables,
        Err(error) => return Finding::unchecked(CHECK, format!("not listed: {error}")),
    };
    let mut found = Vec::new();
    for Flowtable { name, devices } in tables {
        let taken: Vec<_> = devices.into_iter().filter(|device| ours.contains(device)).collect();
        if !taken.is_empty() {
            found.push(format!("{name} on {}", taken.join(" ")));
        }
    }
    if found.is_empty() {
        return Finding::ok(CHECK, "none has an interface of ours");
    }
    Finding::attention(
        CHECK,
        format!(
            "a flowtable of nftables is on interfaces of ours: {}; connections that it has taken \
             over are its own, whatever pairs say",
            found.join(", ")
        ),
        "take the interface out of the flowtable (nft list flowtables)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn a_table_that_is_nearly_full_is_told() {
        assert_eq!(judge_connections(Some(10), Some(100)).level, Level::Ok);
        assert_eq!(judge_connections(Some(90), Some(100)).level, Level::Attention);
        assert_eq!(judge_connections(None, None).level, Level::Ok);
    }

    #[test]
    fn flowtables_on_our_interfaces_are_told() {
        let table = |devices: &[&str]| Flowtable {
            name: "fast".into(),
            devices: devices.iter().map(|device| (*device).into()).collect(),
        };
        let level = |tables| judge_flowtables(tables, &["br0".into()]).level;
        assert_eq!(level(Ok(vec![])), Level::Ok);
        assert_eq!(level(Ok(vec![table(&["eth0", "eth1"])])), Level::Ok);
        assert_eq!(level(Ok(vec![table(&["eth0"]), table(&["br0"])])), Level::Attention);
        assert_eq!(level(Err(io::ErrorKind::PermissionDenied.into())), Level::Unchecked);
    }
}
