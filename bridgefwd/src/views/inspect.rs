//! A container, from inside out.

use super::{Align, counted, pairs, sheet, text as lines, wrapped};
use crate::inspect::report::{Interface, Port, Report, Route};

/// All of it.
#[must_use]
pub fn text(report: &Report, width: Option<u16>) -> String {
    let width = width.map_or(usize::MAX, usize::from);
    let mut text = head(report, width);
    for interface in &report.interfaces {
        text.push_str(&of_interface(interface));
    }
    text.push_str("\nroutes\n");
    if report.routes.is_empty() {
        text.push_str("  none: it reaches nobody\n");
    }
    for route in &report.routes {
        text.push_str(&format!("  {}\n", of_route(route)));
    }
    text.push_str("\nsettings\n");
    let rows = report.sysctls.iter().map(|(name, value)| [format!("  {name}"), value.clone()]);
    let settings = lines(&sheet(&[("", Align::Left), ("", Align::Left)], rows, None));
    text.extend(settings.lines().filter(|line| !line.is_empty()).flat_map(|line| [line, "\n"]));
    if report.interfaces.iter().any(|interface| interface.port.is_some()) {
        text.push_str("\npairs\n");
        if report.pairs.is_empty() {
            text.push_str("  none is listed\n");
        }
        for pair in &report.pairs {
            text.push_str(&format!("  {}\n", pairs::sentence(pair)));
        }
    }
    text
}

fn head(report: &Report, width: usize) -> String {
    let mut said = format!("{} {}", report.kind, report.name);
    if let Some(id) = &report.id {
        said.push_str(&format!(" ({})", id.get(..12).unwrap_or(id)));
    }
    if let Some(pid) = report.pid {
        said.push_str(&format!(", pid {pid}"));
    }
    said.push_str(&format!(", network namespace {}", report.namespace));
    let others = report.pids.iter().filter(|pid| report.pid != Some(**pid)).count() as u64;
    if report.is_host {
        said.push_str(", which is the host's own");
    } else if others > 0 {
        let with = if report.pid.is_some() { "more in it" } else { "in it" };
        said.push_str(&format!(", {} {with}", counted(others, "process", "processes")));
    }
    wrapped("", &said, width) + "\n"
}

fn of_interface(interface: &Interface) -> String {
    let Interface { name, ifindex, mtu, .. } = interface;
    let state = if interface.up { "up" } else { "down" };
    let mac = interface.mac.as_ref().map(|mac| format!(", {mac}")).unwrap_or_default();
    let mut text = format!("{name} ({ifindex}) {state}{mac}, mtu {mtu}\n");
    for address in &interface.addresses {
        text.push_str(&format!("  {address}\n"));
    }
    if let Some(port) = &interface.port {
        text.push_str(&of_port(port));
    }
    text
}

fn of_port(port: &Port) -> String {
    let attached = |by: &str| match by {
        "no" => "bridgefwd is not attached".to_owned(),
        by => format!("bridgefwd by {by}"),
    };
    let Port { name, ifindex, .. } = port;
    let mut text = format!("  -> {name} ({ifindex}) on the host: {}\n", attached(&port.attached));
    match (&port.bridge, &port.bridge_interface) {
        (Some(bridge), Some(interface)) => {
            let interface =
                if interface == bridge { String::new() } else { format!(" ({interface})") };
            let by = attached(&port.bridge_attached);
            text.push_str(&format!("     a port of {bridge}{interface}: {by}\n"));
        }
        _ => text.push_str("     in no bridge\n"),
    }
    text
}

fn of_route(route: &Route) -> String {
    let mut text = route.to.clone();
    for (word, value) in [("via", &route.via), ("dev", &route.interface), ("src", &route.source)] {
        if let Some(value) = value {
            text.push_str(&format!(" {word} {value}"));
        }
    }
    if route.metric > 0 {
        text.push_str(&format!(" metric {}", route.metric));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::{Pair, PairState};

    fn report() -> Report {
        Report {
            kind: "container".into(),
            name: "web".into(),
            id: Some("3fa9c12345abdeadbeef".into()),
            pid: Some(4242),
            namespace: 4_026_532_345,
            is_host: false,
            pids: vec![4242, 4250],
            interfaces: vec![Interface {
                name: "eth0".into(),
                ifindex: 2,
                mac: Some("02:42:ac:12:00:02".into()),
                mtu: 1500,
                up: true,
                addresses: vec!["172.18.0.2/16".into()],
                port: Some(Port {
                    name: "veth1a2b3c4".into(),
                    ifindex: 7,
                    bridge: Some("shop_front".into()),
                    bridge_interface: Some("br-cbd0f56841ce".into()),
                    attached: "tcx".into(),
                    bridge_attached: "tcx".into(),
                }),
            }],
            routes: vec![Route {
                to: "default".into(),
                via: Some("172.18.0.1".into()),
                interface: Some("eth0".into()),
                source: None,
                metric: 0,
            }],
            sysctls: [("net.ipv4.ip_forward".into(), "1".into())].into(),
            pairs: vec![Pair {
                from: "shop_front".into(),
                to: "shop_db".into(),
                state: PairState::Denied,
                nat: "masquerade".into(),
                nat6: "none".into(),
                mapping: "per-destination".into(),
                drain: false,
                present: true,
            }],
        }
    }

    #[test]
    fn from_inside_out() {
        let expected = "\
container web (3fa9c12345ab), pid 4242, network namespace 4026532345, 1 process more in it

eth0 (2) up, 02:42:ac:12:00:02, mtu 1500
  172.18.0.2/16
  -> veth1a2b3c4 (7) on the host: bridgefwd by tcx
     a port of shop_front (br-cbd0f56841ce): bridgefwd by tcx

routes
  default via 172.18.0.1 dev eth0

settings
  net.ipv4.ip_forward  1

pairs
  shop_front -> shop_db: denied
";
        assert_eq!(text(&report(), None), expected);
        assert!(text(&report(), Some(80)).lines().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn what_is_not_there_is_said() {
        let mut report = report();
        let port = report.interfaces[0].port.as_mut().unwrap();
        (port.bridge, port.bridge_interface, port.attached) = (None, None, "no".into());
        report.routes.clear();
        report.pairs.clear();
        let said = text(&report, None);
        for part in
            ["in no bridge", "bridgefwd is not attached", "none is listed", "reaches nobody"]
        {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
}
