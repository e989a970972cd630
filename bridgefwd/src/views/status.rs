//! How the daemon is.

use super::{counted, units};
use crate::api::config::ConfigState;
use crate::api::types::{Status, Timers};

/// One line a fact, warnings last.
#[must_use]
pub fn report(status: &Status) -> String {
    let mut state = status.state.clone();
    if let Some(pid) = status.pid {
        state.push_str(&format!(", pid {pid}"));
    }
    if let Some(uptime) = status.uptime_s {
        state.push_str(&format!(", up {}", units::duration(uptime)));
    }
    let pairs = format!("{} allowed, {} denied", status.pairs_allowed, status.pairs_denied);
    let unlisted = match status.unlisted.as_str() {
        "kernel" => "kernel (what is not listed is left to the kernel)".into(),
        "deny" => "deny (what is not listed is dropped)".into(),
        other => other.to_owned(),
    };
    let ends = if status.bridges.is_empty() { "none".into() } else { status.bridges.join(" ") };
    let mut ports = counted(status.ports, "port", "ports");
    if status.ports_not_attached > 0 {
        ports.push_str(&format!(", {} not attached", status.ports_not_attached));
    }
    if status.ports_direct > 0 {
        ports.push_str(&format!(", {} direct", status.ports_direct));
    }
    let uplinks = if status.uplinks.is_empty() { "none".into() } else { status.uplinks.join(" ") };
    let docker = match &status.docker {
        None => "none".into(),
        Some(docker) => {
            let networks = counted(docker.networks, "network", "networks");
            let away = if docker.problem.is_some() { ", does not answer" } else { "" };
            format!("{}, {networks}{away}", docker.socket)
        }
    };
    let Timers { opening, established, closing, udp_one_way, udp_two_way, icmp } = status.timers;
    let timers = format!(
        "opening {opening}s, established {established}s, closing {closing}s, udp_one_way \
         {udp_one_way}s, udp_two_way {udp_two_way}s, icmp {icmp}s"
    );
    let flows = format!(
        "{} of {}, at most {} for one source",
        status.flows.live, status.flows.limit, status.flows_per_source
    );
    let facts = [
        ("state", state),
        ("version", format!("{} (map layout {})", status.version, status.abi)),
        ("namespace", status.netns.clone().unwrap_or_else(|| "the caller's own".into())),
        ("socket", status.socket.clone()),
        ("pins", status.pin_dir.clone()),
        ("bridges", format!("{ends}, {ports}")),
        ("uplinks", uplinks),
        ("docker", docker),
        ("pairs", pairs),
        ("unlisted", unlisted),
        ("timers", timers),
        ("flows", flows),
    ];
    let mut report: String =
        facts.iter().map(|(name, fact)| format!("{name:<11}{fact}\n")).collect();
    if let Some(config) = &status.config {
        report.push_str(&format!("{:<11}{}\n", "config", stands(config)));
    }
    for warning in &status.warnings {
        report.push_str(&format!("warning: {warning}\n"));
    }
    report
}

/// How what runs stands to the file.
fn stands(config: &ConfigState) -> String {
    let file = &config.file;
    match (config.differences, &config.error) {
        (Some(0), _) => format!("{file}, and what runs is as it says"),
        (Some(count), _) => format!(
            "{file}, from which what runs differs in {count}: see `bridgefwd plan`; `reload` takes the \
             file, `save` what runs"
        ),
        (None, error) => {
            let error = error.as_deref().unwrap_or("it cannot be read");
            format!("wrong, so it could not be loaded again: {error}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::bridges::DockerStatus;
    use crate::api::types::FlowTable;

    #[test]
    fn facts_and_warnings_are_told() {
        let status = Status {
            state: "running".into(),
            version: "0.1.0".into(),
            abi: 1,
            pid: Some(412),
            uptime_s: Some(725),
            unlisted: "deny".into(),
            pin_dir: "/sys/fs/bpf/bridgefwd-lab".into(),
            socket: "/run/bridgefwd/bridgefwd-lab.sock".into(),
            netns: Some("lab".into()),
            bridges: vec!["shop_front".into(), "shop_db".into()],
            uplinks: vec!["eth0".into()],
            docker: Some(DockerStatus {
                socket: "/var/run/docker.sock".into(),
                networks: 5,
                problem: None,
            }),
            timers: Timers {
                opening: 240,
                established: 7440,
                closing: 240,
                udp_one_way: 120,
                udp_two_way: 300,
                icmp: 60,
            },
            ports: 1,
            ports_not_attached: 0,
            ports_direct: 1,
            flows_per_source: 16_384,
            pairs_allowed: 1,
            pairs_denied: 0,
            flows: FlowTable { live: 2, limit: 65_536 },
            config: Some(ConfigState { file: "/f".into(), differences: Some(0), error: None }),
            warnings: vec!["veth3 is not attached".into()],
        };
        let expected = "\
state      running, pid 412, up 12m05s
version    0.1.0 (map layout 1)
namespace  lab
socket     /run/bridgefwd/bridgefwd-lab.sock
pins       /sys/fs/bpf/bridgefwd-lab
bridges    shop_front shop_db, 1 port, 1 direct
uplinks    eth0
docker     /var/run/docker.sock, 5 networks
pairs      1 allowed, 0 denied
unlisted   deny (what is not listed is dropped)
timers     opening 240s, established 7440s, closing 240s, udp_one_way 120s, udp_two_way 300s, icmp 60s
flows      2 of 65536, at most 16384 for one source
config     /f, and what runs is as it says
warning: veth3 is not attached
";
        assert_eq!(report(&status), expected);
        let alone = Status { ports_not_attached: 2, ports: 0, ports_direct: 0, ..status };
        assert!(report(&alone).contains("shop_front shop_db, 0 ports, 2 not attached\n"));
    }
}
