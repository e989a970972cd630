//! The kernel's own forwarding counter in the router, to hold bridgefwd's against.

use std::fs;

use super::topology;
use crate::failure::{Failure, Result};
use crate::host::netns;

/// Of the calling thread's namespace; `/proc/net` would be that of the process.
const SNMP: &str = "/proc/thread-self/net/snmp";

/// How many IPv4 packets the kernel forwarded in the router since it was made.
///
/// # Errors
/// The counter cannot be read.
pub fn forwarded() -> Result<u64> {
    let text = netns::run_in(&topology::router_path(), || fs::read_to_string(SNMP))?
        .map_err(|error| Failure::failed(format!("cannot read {SNMP}: {error}")))?;
    field(&text, "Ip", "ForwDatagrams")
        .ok_or_else(|| Failure::failed(format!("{SNMP} has no Ip ForwDatagrams")))
}

/// A counter of `/proc/net/snmp`: of each protocol a line of names, then one of numbers.
fn field(text: &str, protocol: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(protocol)?.strip_prefix(':'));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let (_, number) = names
        .split_ascii_whitespace()
        .zip(numbers.split_ascii_whitespace())
        .find(|(candidate, _)| *candidate == name)?;
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Ip: Forwarding DefaultTTL InReceives ForwDatagrams\n\
        Ip: 1 64 1072 38\n\
        Icmp: InMsgs InErrors\n\
        Icmp: 3 -1\n\
        IpExt: InNoRoutes\n";

    #[test]
    fn fields_are_found_by_name() {
        assert_eq!(field(TEXT, "Ip", "ForwDatagrams"), Some(38));
        assert_eq!(field(TEXT, "Icmp", "InMsgs"), Some(3));
    }

    #[test]
    fn what_is_not_there_is_none() {
        assert_eq!(field(TEXT, "Ip", "OutForwDatagrams"), None);
        assert_eq!(field(TEXT, "Icmp", "InErrors"), None);
        assert_eq!(field(TEXT, "IpExt", "InNoRoutes"), None);
        assert_eq!(field("", "Ip", "ForwDatagrams"), None);
    }
}
