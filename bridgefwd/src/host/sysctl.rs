//! Sysctls of the calling thread's network namespace.

use std::fs;

use bridgefwd_common::contract::Family;

use crate::failure::{Failure, Result};

const IPV4: &str = "/proc/sys/net/ipv4";

/// First and last port of the range that the host takes its own ports from.
///
/// # Errors
///
/// Where /proc is not mounted or says something unheard of.
pub fn local_port_range() -> Result<(u16, u16)> {
    let path = format!("{IPV4}/ip_local_port_range");
    let text = fs::read_to_string(&path)
        .map_err(|error| Failure::failed(format!("cannot read {path}: {error}")))?;
    parse_port_range(&text).ok_or_else(|| {
        Failure::failed(format!("{path} says {:?}, which are not two ports", text.trim()))
    })
}

/// The families, with their names and the settings that say whether the kernel forwards them.
pub const FORWARDING: [(Family, &str, &str); 2] = [
    (Family::V4, "IPv4", "net.ipv4.ip_forward"),
    (Family::V6, "IPv6", "net.ipv6.conf.all.forwarding"),
];

/// Does the kernel forward packets of that family? `None` where it cannot be known.
#[must_use]
pub fn forwards(family: Family) -> Option<bool> {
    let (_, _, setting) = FORWARDING.iter().find(|(of, ..)| *of == family)?;
    let text = fs::read_to_string(format!("/proc/sys/{}", setting.replace('.', "/"))).ok()?;
    Some(text.trim() != "0")
}

/// A number below `/proc/sys`, as `net/ipv4/ip_forward`. `None` where it is not there or none.
#[must_use]
pub fn number(path: &str) -> Option<u32> {
    fs::read_to_string(format!("/proc/sys/{path}")).ok()?.trim().parse().ok()
}

/// Are iptables' rules asked about IPv4 packets within bridges? `None` where it cannot be known.
#[must_use]
pub fn bridge_nf() -> Option<bool> {
    match fs::read_to_string("/proc/sys/net/bridge/bridge-nf-call-iptables") {
        Ok(text) => Some(text.trim() != "0"),
        // Without br_netfilter there is no such setting, and nobody asks.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(false),
        Err(_) => None,
    }
}

fn parse_port_range(text: &str) -> Option<(u16, u16)> {
    let mut words = text.split_ascii_whitespace().map(str::parse);
    match (words.next(), words.next(), words.next()) {
        (Some(Ok(first)), Some(Ok(last)), None) if first <= last => Some((first, last)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whether_a_family_is_forwarded_can_be_read() {
        assert!(forwards(Family::V4).is_some());
    }

    #[test]
    fn port_ranges() {
        assert_eq!(parse_port_range("32768\t60999\n"), Some((32768, 60999)));
        assert_eq!(parse_port_range("1 1"), Some((1, 1)));
        assert_eq!(parse_port_range("2 1"), None);
        assert_eq!(parse_port_range("1"), None);
        assert_eq!(parse_port_range("1 70000"), None);
    }
}
