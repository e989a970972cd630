//! Other people's programs where ours are.

use std::io;

use bridgefwd_common::contract::{EGRESS_PROGRAM, PROGRAM};

use super::report::Finding;
use super::surroundings::Surroundings;
use crate::host::bpf;
use crate::host::netlink::Link;
use crate::host::qdisc::{self, Hook};

/// Is somebody else's program at a hook of an end, or of a port of one?
pub fn others(here: &Surroundings) -> Finding {
    const CHECK: &str = "hooks";
    if let Some(why) = here.no_ends() {
        return Finding::unchecked(CHECK, why);
    }
    let all = here.ends_and_ports();
    let mut found = Vec::new();
    for link in &all {
        for hook in [Hook::Ingress, Hook::Egress] {
            match at(link, hook) {
                Ok(names) => {
                    let names = names.into_iter().filter(|name| !is_ours(name));
                    found.extend(names.map(|name| describe(link, hook, &name)));
                }
                Err(error) => {
                    return Finding::unchecked(
                        CHECK,
                        format!("{}: not listed: {error}", link.name),
                    );
                }
            }
        }
    }
    judge(all.len(), &found)
}

fn judge(count: usize, found: &[String]) -> Finding {
    const CHECK: &str = "hooks";
    if found.is_empty() {
        return Finding::ok(CHECK, format!("nobody else has a program on {count} interfaces"));
    }
    Finding::attention(
        CHECK,
        format!(
            "others are there: {}; what bridgefwd forwards or drops does not meet them where they \
             come after it, and where they come before it does not meet what they take",
            found.join(", ")
        ),
        "see whether both are meant to be there (bpftool net show)",
    )
}

fn describe(link: &Link, hook: Hook, name: &str) -> String {
    let way = match hook {
        Hook::Ingress => "ingress",
        Hook::Egress => "egress",
    };
    format!("{name} at {way} of {}", link.name)
}

/// Names of the programs at a hook, by either way of attaching.
fn at(link: &Link, hook: Hook) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    match bpf::tcx_programs(link.ifindex, hook) {
        Ok(ids) => {
            for id in ids {
                names.push(bpf::program_name(id)?);
            }
        }
        // No TCX here; an interface that has just gone has nothing either.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {}
        Err(error) => return Err(error),
    }
    for filter in qdisc::filters(link.ifindex, hook).or_else(gone)? {
        // A filter without a program is a rule of tc's own.
        names
            .push(filter.program.unwrap_or_else(|| format!("a filter (pref {})", filter.priority)));
    }
    Ok(names)
}

/// Where there is no qdisc there are no filters.
fn gone(error: io::Error) -> io::Result<Vec<qdisc::Filter>> {
    match error.raw_os_error() {
        Some(libc::ENODEV | libc::ENOENT | libc::EINVAL) => Ok(Vec::new()),
        _ => Err(error),
    }
}

/// The kernel keeps the first 15 bytes of a name.
fn is_ours(name: &str) -> bool {
    [PROGRAM, EGRESS_PROGRAM]
        .iter()
        .any(|ours| *ours == name || (name.len() == 15 && ours.starts_with(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn ours_are_known_by_name() {
        assert!(is_ours(PROGRAM) && is_ours(EGRESS_PROGRAM));
        assert!(is_ours(&EGRESS_PROGRAM[..15]));
        assert!(!is_ours("bridge") && !is_ours("cil_from_netdev"));
    }

    #[test]
    fn others_are_named() {
        assert_eq!(judge(3, &[]).level, Level::Ok);
        let link = Link { name: "br0".into(), ..Link::default() };
        let finding = judge(3, &[describe(&link, Hook::Egress, "cil_to_netdev")]);
        assert_eq!(finding.level, Level::Attention);
        assert!(finding.text.contains("cil_to_netdev at egress of br0"), "{finding:?}");
    }
}
