//! Addresses that get in each other's way.

use super::report::Finding;
use super::surroundings::Surroundings;
use crate::host::addresses::{Address, same_prefix};
use crate::host::netlink::Link;

/// Do the subnets of two interfaces overlap, one of which is an end?
pub fn subnets(here: &Surroundings) -> Finding {
    match &here.interfaces {
        Ok(interfaces) => {
            if let Some(why) = here.no_ends() {
                return Finding::unchecked("subnets", why);
            }
            let all: Vec<_> = interfaces.all().collect();
            judge_subnets(&here.ends(), &all, |link| here.called(link))
        }
        Err(error) => Finding::unchecked("subnets", format!("interfaces are not listed: {error}")),
    }
}

fn judge_subnets<'a>(
    ends: &[&'a Link],
    all: &[&'a Link],
    called: impl Fn(&'a Link) -> &'a str,
) -> Finding {
    const CHECK: &str = "subnets";
    let mut overlaps = Vec::new();
    for end in ends {
        for other in all {
            let is_end = ends.iter().any(|end| end.ifindex == other.ifindex);
            // Two ends meet twice, once from each side.
            if other.ifindex == end.ifindex || (is_end && other.ifindex < end.ifindex) {
                continue;
            }
            overlaps.extend(overlap(end, other).map(|(own, others)| {
                format!("{own} of {} and {others} of {}", called(end), called(other))
            }));
        }
    }
    if overlaps.is_empty() {
        return Finding::ok(CHECK, "none of an end overlaps with another");
    }
    Finding::broken(
        CHECK,
        format!(
            "overlap: {}; each address is reached by one of them alone, and what comes from it by \
             the other is refused",
            overlaps.join(", ")
        ),
        "give one of them another subnet",
    )
}

/// The first subnets of both that overlap.
fn overlap(one: &Link, other: &Link) -> Option<(String, String)> {
    let addresses = |link: &'_ Link| -> Vec<Address> {
        link.addresses.iter().chain(&link.addresses_v6).copied().collect()
    };
    for own in addresses(one) {
        for others in addresses(other) {
            // A single address is no subnet.
            let bits = own.prefix_len.min(others.prefix_len);
            if !is_single(own)
                && !is_single(others)
                && same_prefix(own.address, others.address, bits)
            {
                let shown = |a: Address| format!("{}/{}", a.address, a.prefix_len);
                return Some((shown(own), shown(others)));
            }
        }
    }
    None
}

fn is_single(address: Address) -> bool {
    address.prefix_len == if address.address.is_ipv4() { 32 } else { 128 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    fn link(ifindex: u32, name: &str, address: &str) -> Link {
        let (address, prefix_len) = address.split_once('/').unwrap();
        let address = Address {
            address: address.parse().unwrap(),
            prefix_len: prefix_len.parse().unwrap(),
            deprecated: false,
        };
        let (addresses, addresses_v6) = if address.address.is_ipv4() {
            (vec![address], vec![])
        } else {
            (vec![], vec![address])
        };
        Link { ifindex, name: name.into(), addresses, addresses_v6, ..Link::default() }
    }

    #[test]
    fn overlapping_subnets_are_found() {
        let check = |one: &str, other: &str, level| {
            let (a, b) = (link(1, "a", one), link(2, "b", other));
            let judge_subnets = |ends: &[_]| judge_subnets(ends, &[&a, &b], |link| &link.name);
            let finding = judge_subnets(&[&a, &b]);
            assert_eq!(finding.level, level, "{one} {other}: {finding:?}");
            // Also where only one of them is an end.
            assert_eq!(judge_subnets(&[&b]).level, level, "{one} {other}");
        };
        check("10.1.0.1/16", "10.2.0.1/16", Level::Ok);
        check("10.1.0.1/16", "10.1.7.1/24", Level::Broken);
        check("10.0.0.1/8", "10.1.7.1/24", Level::Broken);
        check("10.1.0.1/16", "10.1.0.9/32", Level::Ok);
        check("fd00:1::1/64", "fd00:1::2/64", Level::Broken);
        check("fd00:1::1/64", "fd00:2::1/64", Level::Ok);
        check("10.1.0.1/16", "fd00::1/8", Level::Ok);
    }
}
