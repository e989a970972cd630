//! The bridges and networks of the host.
//!
//! Where it is wide enough each is one line; in a narrow terminal it has a line of its own for what
//! there can be much of.

use super::{Align, fitted, sheet, text};
use crate::api::bridges::Bridge;

/// Every end, and what is none, with its ports and containers.
#[must_use]
pub fn table(bridges: &[Bridge], width: Option<u16>) -> String {
    if bridges.is_empty() {
        return "there are no bridges here\n".into();
    }
    let wide = wide(bridges);
    match width {
        Some(width) if wide.lines().any(|line| line.chars().count() > usize::from(width)) => {
            folded(bridges, width)
        }
        _ => wide,
    }
}

fn wide(bridges: &[Bridge]) -> String {
    const COLUMNS: [(&str, Align); 8] = [
        ("NAME", Align::Left),
        ("KIND", Align::Left),
        ("BRIDGE", Align::Left),
        ("MANAGED", Align::Left),
        ("SUBNETS", Align::Left),
        ("GATEWAYS", Align::Left),
        ("PORTS", Align::Left),
        ("CONTAINERS", Align::Left),
    ];
    let rows = bridges.iter().map(|bridge| {
        [
            bridge.name.clone(),
            kind(bridge),
            bridge.interface.clone().unwrap_or_else(|| "-".into()),
            managed(bridge),
            listed(&subnets(bridge)),
            listed(&bridge.gateways),
            listed(&ports(bridge)),
            listed(&containers(bridge)),
        ]
    });
    text(&sheet(&COLUMNS, rows, None))
}

/// What identifies it in one line, the rest under it.
fn folded(bridges: &[Bridge], width: u16) -> String {
    const COLUMNS: [(&str, Align); 4] = [
        ("NAME", Align::Name),
        ("KIND", Align::Left),
        ("BRIDGE", Align::Left),
        ("MANAGED", Align::Left),
    ];
    let rows = bridges.iter().map(|bridge| {
        [
            bridge.name.clone(),
            kind(bridge),
            bridge.interface.clone().unwrap_or_else(|| "-".into()),
            managed(bridge),
        ]
    });
    let heads = text(&sheet(&COLUMNS, rows, Some(width)));
    let mut heads = heads.lines();
    let mut folded = String::new();
    folded.extend(heads.next().into_iter().flat_map(|header| [header, "\n"]));
    for (head, bridge) in heads.zip(bridges) {
        folded.push_str(&format!("{head}\n"));
        for (what, words) in [
            ("subnets", subnets(bridge)),
            ("gateways", bridge.gateways.clone()),
            ("ports", ports(bridge)),
            ("containers", containers(bridge)),
        ] {
            if !words.is_empty() {
                let line = format!("{what} {}", words.join(" "));
                folded.push_str(&fitted("  ", &line, usize::from(width)));
            }
        }
    }
    folded
}

fn kind(bridge: &Bridge) -> String {
    match &bridge.driver {
        Some(driver) => format!("docker {driver}"),
        None => bridge.kind.clone(),
    }
}

fn managed(bridge: &Bridge) -> String {
    match (&bridge.problem, bridge.managed) {
        (_, true) => bridge.attached.clone(),
        (Some(_), false) => "cannot".into(),
        (None, false) => "no".into(),
    }
}

/// Docker's, or those of the interface's own addresses.
fn subnets(bridge: &Bridge) -> Vec<String> {
    if bridge.subnets.is_empty() { bridge.addresses.clone() } else { bridge.subnets.clone() }
}

fn ports(bridge: &Bridge) -> Vec<String> {
    let mut ports = bridge.ports.clone();
    match bridge.ports_not_attached.len() {
        0 => {}
        _ if !bridge.managed => ports.clone_from(&bridge.ports_not_attached),
        left => ports.push(format!("({left} not attached)")),
    }
    ports
}

fn containers(bridge: &Bridge) -> Vec<String> {
    bridge.containers.iter().map(|container| container.name.clone()).collect()
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "-".into() } else { names.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::bridges::Container;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.into()).collect()
    }

    fn network(name: &str, ports: &[&str], containers: &[&str]) -> Bridge {
        let containers =
            containers.iter().map(|&name| Container { name: name.into(), addresses: Vec::new() });
        Bridge {
            name: name.into(),
            ifindex: 7,
            addresses: vec!["172.18.0.1/16".into()],
            mtu: 1_500,
            ports: texts(ports),
            attached: "tcx".into(),
            kind: "bridge".into(),
            managed: true,
            interface: Some("br-3fa9c12345ab".into()),
            driver: Some("bridge".into()),
            subnets: vec!["172.18.0.0/16".into()],
            gateways: vec!["172.18.0.1".into()],
            containers: containers.collect(),
            ..Bridge::default()
        }
    }

    #[test]
    fn a_bridge_is_one_line_where_there_is_room() {
        let plain = Bridge {
            name: "virbr0".into(),
            interface: Some("virbr0".into()),
            addresses: texts(&["10.1.0.1/24"]),
            ports_not_attached: texts(&["vnet0"]),
            kind: "bridge".into(),
            ..Bridge::default()
        };
        let lan = Bridge {
            name: "lan".into(),
            kind: "network".into(),
            driver: Some("macvlan".into()),
            problem: Some("why not".into()),
            ..Bridge::default()
        };
        let expected = "\
NAME        KIND            BRIDGE           MANAGED  SUBNETS        GATEWAYS    PORTS        CONTAINERS
shop_front  docker bridge   br-3fa9c12345ab  tcx      172.18.0.0/16  172.18.0.1  veth1 veth2  web api
virbr0      bridge          virbr0           no       10.1.0.1/24    -           vnet0        -
lan         docker macvlan  -                cannot   -              -           -            -
";
        let bridges = [network("shop_front", &["veth1", "veth2"], &["web", "api"]), plain, lan];
        assert_eq!(table(&bridges, None), expected);
        let left = |ports| Bridge {
            ports_not_attached: texts(&["veth3"]),
            ..network("b", ports, &["web"])
        };
        assert!(table(&[left(&[])], None).contains("  (1 not attached)  web\n"));
        assert!(table(&[left(&["veth1"])], None).contains("  veth1 (1 not attached)  web\n"));
        assert_eq!(table(&[], Some(80)), "there are no bridges here\n");
    }

    #[test]
    fn a_narrow_terminal_is_not_exceeded() {
        let expected = "\
NAME               KIND           BRIDGE           MANAGED
shopping_frontend  docker bridge  br-3fa9c12345ab  tcx
  subnets 172.18.0.0/16
  gateways 172.18.0.1
  ports veth0 veth1 veth2 veth3 veth4 veth5 veth6 veth7 veth8 veth9 veth10
    veth11 veth12 veth13
";
        let many: Vec<String> = (0..14).map(|number| format!("veth{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(table(&[network("shopping_frontend", &many, &[])], Some(78)), expected);
    }
}
