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
            match bridge.ports_attached {
                Some(false) => "not attached".into(),
                _ => listed(&bridge.ports),
            },
        ]
    });
    text(&sheet(&COLUMNS, rows, width))
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
            ports_attached: Some(true),
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
        let alone = Bridge { ports_attached: Some(false), ..bridge("shop_db", &[]) };
        assert!(table(&[alone], None).trim_end().ends_with("not attached"));
        assert_eq!(table(&[], Some(80)), "no bridges are managed\n");
        let many: Vec<String> = (0..40).map(|number| format!("veth{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let wrapped = table(&[bridge("shop_front", &many)], Some(80));
        assert!(wrapped.lines().all(|line| line.len() <= 80), "{wrapped}");
    }
}
