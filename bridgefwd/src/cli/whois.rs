//! What `bridgefwd whois` can be asked.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use clap::Args;

use super::Output;

/// `bridgefwd whois`
#[derive(Args, Debug)]
#[command(after_help = "\
Looks first among the flows that are alive, then in the audit log, where the
configuration has one ([audit] path = \"/var/log/bridgefwd/audit.jsonl\"). TIME is
in UTC, as 2026-11-25T16:03:08Z or \"2026-11-25 16:03:08\", or a duration, as
15m, that long ago. Exit status 1 where nobody is found.

Examples:
  bridgefwd whois 172.19.0.1:21344
  bridgefwd whois 172.19.0.1:21344 --proto udp --at '2026-11-25 16:03:08'
  bridgefwd whois '[fd00:2::1]:21344' --at 15m --json")]
pub struct WhoisOptions {
    /// The address as others saw it, with its port, or the identifier of a ping
    #[arg(value_name = "ADDRESS[:PORT]", value_parser = end)]
    pub end: (IpAddr, Option<u16>),
    /// Only flows of this protocol
    #[arg(long, value_name = "PROTO", value_parser = ["tcp", "udp", "icmp", "icmpv6", "sctp"])]
    pub proto: Option<String>,
    /// When; without it now, else the last time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub at: Option<SystemTime>,
    /// How to show it.
    #[command(flatten)]
    pub output: Output,
}

fn end(text: &str) -> Result<(IpAddr, Option<u16>), String> {
    if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse() {
        return Ok((address, None));
    }
    text.parse::<SocketAddr>()
        .map(|end| (end.ip(), Some(end.port())))
        .map_err(|_| "write ADDRESS:PORT, as 172.19.0.1:21344 or [fd00:2::1]:21344".into())
}

fn time(text: &str) -> Result<SystemTime, String> {
    let ago = |ago: Duration| SystemTime::now().checked_sub(ago);
    if let Ok(duration) = humantime::parse_duration(text) {
        return ago(duration).ok_or_else(|| "that is before all times".into());
    }
    humantime::parse_rfc3339_weak(text)
        .map_err(|_| "write a time in UTC, as 2026-11-25T16:03:08Z, or how long ago, as 15m".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_times_as_people_write_them() {
        assert_eq!(end("172.19.0.1:80"), Ok(([172, 19, 0, 1].into(), Some(80))));
        assert_eq!(end("172.19.0.1"), Ok(([172, 19, 0, 1].into(), None)));
        assert_eq!(end("[fd00::1]:80").unwrap().1, Some(80));
        assert_eq!(end("fd00::1").unwrap().1, None);
        for wrong in ["172.19.0.1:99999", "db:80", "", "172.19.0:80"] {
            assert!(end(wrong).is_err(), "{wrong}");
        }
        let at =
            |text| time(text).unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        assert_eq!(at("2026-11-25T16:03:08Z"), 1_795_622_588);
        assert_eq!(at("2026-11-25 16:03:08"), 1_795_622_588);
        let ago = SystemTime::now().duration_since(time("15m").unwrap()).unwrap().as_secs();
        assert!((899..=901).contains(&ago), "{ago}");
        assert!(time("yesterday").is_err());
    }
}
