//! Which chains the kernel asks at a hook, and in which order.

use super::ends::{End, World};
use super::model::{Base, Family, Hook};
use super::part::RuleAt;

/// The chains that the kernel calls at a hook, in order.
#[must_use]
pub fn called(
    world: &World,
    hook: Hook,
    (input, output): (Option<End>, Option<End>),
    bridged: bool,
    bridge_nf: bool,
) -> Vec<(RuleAt, Family, Base)> {
    let networks = |end| matches!(end, Some(End::Network(_)));
    // Frames to and from the router pass a bridge's own hooks on their way, too.
    let of_bridges: &[Hook] = match hook {
        _ if bridged => &[hook],
        Hook::Prerouting if networks(input) => &[Hook::Prerouting, Hook::Input],
        Hook::Postrouting if networks(output) => &[Hook::Output, Hook::Postrouting],
        _ => &[],
    };
    let of_ip: &[Hook] = if bridged && !bridge_nf { &[] } else { &[hook] };
    let mut chains = Vec::new();
    for (number, table) in world.tables.iter().enumerate() {
        let asked = match table.family {
            Family::Ip | Family::Inet => of_ip,
            Family::Bridge => of_bridges,
            Family::Other => &[],
        };
        for (index, chain) in table.chains.iter().enumerate() {
            if let Some(base) = chain.base.filter(|base| asked.contains(&base.hook)) {
                let at = RuleAt { table: number, chain: index, rule: None };
                chains.push((at, table.family, base));
            }
        }
    }
    // What is dropped is dropped in any order, so those of bridges may all come first.
    chains.sort_by_key(|(_, family, base)| {
        (*family != Family::Bridge, base.hook != Hook::Prerouting, base.priority)
    });
    chains
}
