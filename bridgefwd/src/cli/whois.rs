//! What `bridgefwd whois` can be asked.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::Args;

use super::{At, Clock, Output};

/// `bridgefwd whois`
#[derive(Args, Debug)]
#[command(after_help = "\
Looks first among the flows that are alive, then in the audit log, where the
configuration has one ([audit] path = \"/var/log/bridgefwd/audit.jsonl\"). With
--log it is the log of another host, or another time, that is looked through,
with FILE.1, FILE.2 and so on where they are beside it; that takes no daemon.
TIME is by the clock of this host, as \"2026-11-25 16:03:08\", or says its zone, as
2026-11-25T16:03:08Z, or is a duration, as 15m, that long ago. Exit status 1
where nobody is found.

Examples:
  bridgefwd whois 172.19.0.1:21344
  bridgefwd whois 172.19.0.1:21344 --proto udp --at '2026-11-25 16:03:08'
  bridgefwd whois '[fd00:2::1]:21344' --at 15m --json
  bridgefwd whois 172.19.0.1:21344 --log ./audit.jsonl --utc")]
pub struct WhoisOptions {
    /// The address as others saw it, with its port, or the identifier of a ping
    #[arg(value_name = "ADDRESS[:PORT]", value_parser = end)]
    pub end: (IpAddr, Option<u16>),
    /// Only flows of this protocol
    #[arg(long, value_name = "PROTO", value_parser = ["tcp", "udp", "icmp", "icmpv6", "sctp"])]
    pub proto: Option<String>,
    /// When; without it now, else the last time
    #[arg(long, value_name = "TIME", value_parser = At::parse)]
    pub at: Option<At>,
    /// Look through this audit log alone, as copied from another host
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// By which clock.
    #[command(flatten)]
    pub clock: Clock,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_people_write_them() {
        assert_eq!(end("172.19.0.1:80"), Ok(([172, 19, 0, 1].into(), Some(80))));
        assert_eq!(end("172.19.0.1"), Ok(([172, 19, 0, 1].into(), None)));
        assert_eq!(end("[fd00::1]:80").unwrap().1, Some(80));
        assert_eq!(end("fd00::1").unwrap().1, None);
        for wrong in ["172.19.0.1:99999", "db:80", "", "172.19.0:80"] {
            assert!(end(wrong).is_err(), "{wrong}");
        }
    }
}
