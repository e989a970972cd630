//! What `bridgefwd trace` can be asked.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

/// `bridgefwd trace`
#[derive(Args, Debug)]
#[command(after_help = "\
Shows each packet between the two, both ways, wherever it comes by: interface of
the container, bridge port, bridge, what bridgefwd did, bridge, port, container;
with the addresses that it has there. One that does not get through ends with
where that was and why: bridgefwd's reason, or the kernel's, with the rule where
netfilter dropped it. Runs until Ctrl-C, or until it has what was asked for;
with --probe until that has been answered, or has not.

Who can be an address, a container, a namespace of `ip netns`, or the number of
a process. It takes root. It changes nothing, but packets do not go straight
into a container while its bridge and port are watched. What the kernel drops it
says from Linux 5.17 on.

Exit status with --probe: 0 where a packet got there, 1 where none did.

Examples:
  bridgefwd trace web db
  bridgefwd trace web 172.19.0.2 --probe --port 5432
  bridgefwd trace 172.18.0.2 172.19.0.2 --proto tcp --port 80 --count 10
  bridgefwd trace web db --seconds 30 --pcap web-db.pcapng
  bridgefwd trace web db --json | jq 'select(.end.state == \"dropped\") | .end'")]
pub struct TraceOptions {
    /// Who
    #[arg(value_name = "FROM")]
    pub from: String,
    /// With whom
    #[arg(value_name = "TO")]
    pub to: String,
    /// Only packets of this protocol
    #[arg(long, value_name = "tcp|udp|icmp", value_parser = ["tcp", "udp", "icmp"])]
    #[arg(hide_possible_values = true)]
    pub proto: Option<String>,
    /// Only packets with this port on either side
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// Send something from FROM to TO: a ping; with --port a connection that is closed at once, or with
    /// --proto udp a datagram
    #[arg(long)]
    pub probe: bool,
    /// Write what is seen to a file for Wireshark (pcapng)
    #[arg(long, value_name = "FILE")]
    pub pcap: Option<PathBuf>,
    /// End after so many packets
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// End after so many seconds
    #[arg(long, value_name = "N", value_parser = seconds)]
    pub seconds: Option<Duration>,
    /// Print JSON, a line each: what is watched, then the packets
    #[arg(long)]
    pub json: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().and_then(|it| Duration::try_from_secs_f64(it).ok());
    seconds.filter(|it| !it.is_zero()).ok_or_else(|| "write seconds, as 30 or 0.5".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_a_time() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(seconds("30"), Ok(Duration::from_secs(30)));
        for wrong in ["0", "-1", "inf", "1e300", "soon", ""] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
