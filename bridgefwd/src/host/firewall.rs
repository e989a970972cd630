//! The host's rule sets, as its own programs list them: those of iptables, by nf_tables and by the
//! older kernel interface, and those of nftables.

use std::io;
use std::process::{Command, Stdio};

use crate::explain::model::{Origin, Table};
use crate::explain::{parse_iptables, parse_nft, together};
use crate::failure::{Failure, Result};

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// The tables.
    pub tables: Vec<Table>,
    /// What could not be read, in words.
    pub notes: Vec<String>,
}

/// Asks for the rules of the calling thread's network namespace.
///
/// # Errors
///
/// There is no program to ask, or what it says is not understood.
pub fn read() -> Result<Rules> {
    let mut rules = Rules::default();
    let mut asked = false;
    let mut ask = |program: &str, args: &[&str], origin: Option<Origin>| -> Result<bool> {
        let output = match Command::new(program).args(args).stdin(Stdio::null()).output() {
            Ok(output) => output,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => {
                return Err(Failure::failed(format!("{program} cannot be started: {error}")));
            }
        };
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.lines().next().unwrap_or("without a word").trim();
            rules.notes.push(format!("{program} failed, its rules are not in this: {said}"));
            return Ok(true);
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let tables = match origin {
            Some(origin) => parse_iptables::parse(&text, origin),
            None => parse_nft::parse(&text),
        };
        let tables = tables.map_err(|error| {
            Failure::failed(format!("what {program} prints is not understood: {error}"))
        })?;
        rules.tables.extend(tables);
        Ok(true)
    };
    let by_nft = ask("iptables-nft-save", &[], Some(Origin::Iptables))?;
    let legacy = ask("iptables-legacy-save", &[], Some(Origin::Legacy))?;
    asked |= by_nft || legacy;
    if !asked {
        asked = ask("iptables-save", &[], Some(Origin::Iptables))?;
    }
    asked |= ask("nft", &["list", "ruleset"], None)?;
    if !asked {
        return Err(Failure::failed(
            "there is neither iptables-save nor nft here; give a listing with --rules FILE",
        ));
    }
    rules.tables = together(rules.tables);
    Ok(rules)
}

/// The interface of the IPv4 default route with the least metric.
#[must_use]
pub fn default_route() -> Option<String> {
    // /proc/net is the namespace of the process; only thread-self follows the thread.
    default_route_in(&std::fs::read_to_string("/proc/thread-self/net/route").ok()?)
}

/// Of `Iface Destination Gateway Flags RefCnt Use Metric Mask ...`, numbers in hexadecimal but the
/// metric.
fn default_route_in(table: &str) -> Option<String> {
    let routes = table.lines().skip(1).filter_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [interface, "00000000", _, _, _, _, metric, "00000000", ..] = words[..] else {
            return None;
        };
        Some((metric.parse::<u64>().ok()?, interface))
    });
    routes.min().map(|(_, interface)| interface.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_metric_is_taken() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\n\
            wlan0\t00000000\t0100A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n\
            eth0\t00000000\t0100A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
            eth0\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        assert_eq!(default_route_in(table).as_deref(), Some("eth0"));
        assert_eq!(default_route_in("Iface\n"), None);
    }
}
