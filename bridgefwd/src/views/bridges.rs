//! The managed ends.

use super::{Align, sheet, text};
use crate::api::types::Bridge;

/// Every managed end, with its ports.
#[must_use]
pub fn table(bridges: &[Bridge], width: Option<u16>) -> String {
    const COLUMNS: [(&str, Align); 7] = [
        ("NAME", Align::Left),
        ("KIND", Align::Left),
        ("IFINDEX", Align::Right),
        ("MTU", Align::Right),
        ("ATTACHED", Align::Left),
        ("ADDRESSES", Align::Left),
        ("PORTS", Align::Left),
    ];
    if bridges.is_empty() {
        return "no bridges are managed\n".into();
    }
    let rows = bridges.iter().map(|bridge| {
        [
            bridge.name.clone(),
            bridge.kind.clone(),
            bridge.ifindex.to_string(),
            bridge.mtu.to_string(),
            bridge.attached.clone(),
            listed(&bridge.addresses),
            ports(bridge),
        ]
    });
    text(&sheet(&COLUMNS, rows, width))
}

fn ports(bridge: &Bridge) -> String {
    let attached = listed(&bridge.ports);
    match bridge.ports_not_attached.len() {
        0 => attached,
        left => format!("{attached} ({left} not attached)"),
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".into() } else { names.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bridges_are_a_table() {
        let bridge = |name: &str, ports: &[&str]| Bridge {
            name: name.into(),
            ifindex: 7,
            addresses: vec!["172.18.0.1/16".into()],
            mtu: 1_500,
            ports: ports.iter().map(|&port| port.into()).collect(),
            ports_not_attached: Vec::new(),
            attached: "tcx".into(),
            kind: "bridge".into(),
        };
        let expected = "\
NAME        KIND    IFINDEX   MTU  ATTACHED  ADDRESSES      PORTS
shop_front  bridge        7  1500  tcx       172.18.0.1/16  veth1 veth2
shop_db     bridge        7  1500  tcx       172.18.0.1/16  none
";
        let bridges = [bridge("shop_front", &["veth1", "veth2"]), bridge("shop_db", &[])];
        assert_eq!(table(&bridges, None), expected);
        let left =
            |ports| Bridge { ports_not_attached: vec!["veth3".into()], ..bridge("b", ports) };
        assert!(table(&[left(&[])], None).ends_with("  none (1 not attached)\n"));
        assert!(table(&[left(&["veth1"])], None).ends_with("  veth1 (1 not attached)\n"));
        assert_eq!(table(&[], Some(80)), "no bridges are managed\n");
        let many: Vec<String> = (0..40).map(|number| format!("veth{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let wrapped = table(&[bridge("shop_front", &many)], Some(80));
        assert!(wrapped.lines().all(|line| line.len() <= 80), "{wrapped}");
    }
}
