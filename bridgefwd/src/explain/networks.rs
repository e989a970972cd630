//! Networks out of documents: what `docker network inspect` prints, or, where there is nothing
//! else, what Docker's own rules tell of them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::Deserialize;

use super::ParseError;
use super::docker::{self, Generation};
use super::ends::{Container, Network};
use super::model::{Action, Match, Name, Rule, Table, Wanted};
use super::space::{Field, Span};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    name: String,
    id: String,
    #[serde(default)]
    driver: String,
    #[serde(rename = "IPAM", default)]
    ipam: Ipam,
    #[serde(default)]
    options: Option<BTreeMap<String, String>>,
    #[serde(default)]
    containers: Option<BTreeMap<String, Inside>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Ipam {
    #[serde(default)]
    config: Option<Vec<Subnet>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Subnet {
    #[serde(default)]
    subnet: String,
    #[serde(default)]
    gateway: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inside {
    #[serde(default)]
    name: String,
    #[serde(rename = "IPv4Address", default)]
    address: String,
}

/// The bridge networks of what `docker network inspect` prints.
///
/// # Errors
///
/// What is no such document.
pub fn inspected(text: &str) -> Result<Vec<Network>, ParseError> {
    let all: Vec<Inspected> = serde_json::from_str(text)
        .map_err(|error| ParseError { line: error.line(), what: error.to_string() })?;
    Ok(all.into_iter().filter(|one| one.driver == "bridge").map(network).collect())
}

fn network(one: Inspected) -> Network {
    let options = one.options.unwrap_or_default();
    let bridge = options.get("com.docker.network.bridge.name").cloned().unwrap_or_else(|| {
        let short: String = one.id.chars().take(12).collect();
        format!("br-{short}")
    });
    let v4 = one.ipam.config.unwrap_or_default().into_iter().find_map(|config| {
        let subnet = prefix(&config.subnet)?;
        let gateway = config.gateway.and_then(|gateway| gateway.parse().ok());
        Some((subnet, gateway.unwrap_or_else(|| first(subnet))))
    });
    let containers = one.containers.unwrap_or_default().into_values().filter_map(|inside| {
        let (address, _) = prefix(&inside.address)?;
        Some(Container { name: inside.name, address })
    });
    let mut containers: Vec<Container> = containers.collect();
    containers.sort_by_key(|container| container.address);
    let (subnet, gateway) = v4.unzip();
    Network { name: one.name, bridge, subnet, gateway, containers }
}

fn prefix(text: &str) -> Option<(Ipv4Addr, u8)> {
    let (address, length) = text.split_once('/')?;
    let length = length.parse().ok().filter(|length| *length <= 32)?;
    Some((address.parse().ok()?, length))
}

/// The first address of a subnet, which Docker takes for the gateway unless told otherwise.
fn first((address, length): (Ipv4Addr, u8)) -> Ipv4Addr {
    Ipv4Addr::from_bits(Span::prefix(address, length).first.saturating_add(1))
}

/// What Docker's rules tell: bridges and subnets from what they masquerade, and since 28.2, which
/// has a rule for each container, the containers.
#[must_use]
pub fn from_rules(tables: &[Table]) -> Vec<Network> {
    let rules = || tables.iter().flat_map(|table| &table.chains).flat_map(|chain| &chain.rules);
    let mut networks: Vec<Network> = Vec::new();
    for rule in rules().filter(|rule| matches!(rule.action, Action::Snat(_))) {
        let (Some(span), Some(bridge)) = (address(rule, Field::Src), not_by(rule)) else {
            continue;
        };
        if span.is_one() || networks.iter().any(|known| known.bridge == bridge) {
            continue;
        }
        let length = (span.last - span.first).leading_zeros();
        let subnet = (Ipv4Addr::from_bits(span.first), u8::try_from(length).unwrap_or(32));
        networks.push(Network {
            name: bridge.into(),
            bridge: bridge.into(),
            subnet: Some(subnet),
            gateway: Some(first(subnet)),
            containers: Vec::new(),
        });
    }
    let each_container = docker::generations(tables)
        .iter()
        .all(|it| matches!(it, Generation::V28_2 | Generation::V29 | Generation::V29Nftables));
    if each_container {
        for rule in rules().filter(|rule| rule.action == Action::Drop && rule.matches.len() == 2) {
            let (Some(span), Some(bridge)) = (address(rule, Field::Dst), not_by(rule)) else {
                continue;
            };
            let network = networks.iter_mut().find(|network| network.bridge == bridge);
            if let Some(network) = network.filter(|_| span.is_one()) {
                let address = Ipv4Addr::from_bits(span.first);
                network.containers.push(Container { name: address.to_string(), address });
            }
        }
    }
    networks
}

/// The one span of addresses that a rule asks for.
fn address(rule: &Rule, field: Field) -> Option<Span> {
    rule.matches.iter().find_map(|asked| match asked {
        Match::In(this, spans) if *this == field => match spans[..] {
            [span] => Some(span),
            _ => None,
        },
        _ => None,
    })
}

/// The one interface that a rule is not about.
fn not_by(rule: &Rule) -> Option<&str> {
    rule.matches.iter().find_map(|asked| match asked {
        Match::To(names, Wanted::No) | Match::From(names, Wanted::No) => match &names[..] {
            [Name::Is(name)] => Some(name.as_str()),
            _ => None,
        },
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::model::Origin;
    use crate::explain::parse_iptables;

    #[test]
    fn networks_as_docker_describes_them() {
        let text = r#"[
            {"Name": "bridge", "Id": "aa", "Driver": "bridge",
             "IPAM": {"Config": [{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}]},
             "Options": {"com.docker.network.bridge.name": "docker0"}, "Containers": {}},
            {"Name": "shop", "Id": "cbd0f56841ce0123456789", "Driver": "bridge",
             "IPAM": {"Config": [{"Subnet": "fd00::/64"}, {"Subnet": "172.18.0.0/16"}]}, "Options": null,
             "Containers": {"x": {"Name": "web", "IPv4Address": "172.18.0.2/16"}}},
            {"Name": "host", "Id": "bb", "Driver": "host", "IPAM": {"Config": null}}]"#;
        let networks = inspected(text).unwrap();
        let [docker0, shop] = &networks[..] else { panic!("{networks:?}") };
        assert_eq!(docker0.to_string(), "bridge (docker0)");
        assert_eq!(shop.bridge, "br-cbd0f56841ce");
        assert_eq!(shop.gateway, Some(Ipv4Addr::new(172, 18, 0, 1)));
        assert_eq!(shop.containers[0].name, "web");
        assert!(inspected("{}").is_err());
    }

    #[test]
    fn networks_out_of_rules() {
        let text = "*nat\n:POSTROUTING ACCEPT [0:0]\n\
            -A POSTROUTING -s 172.18.0.0/16 ! -o br-x -j MASQUERADE\n\
            -A POSTROUTING -s 172.18.0.2/32 -d 172.18.0.2/32 -p tcp -m tcp --dport 80 -j MASQUERADE\n\
            COMMIT\n*raw\n:PREROUTING ACCEPT [0:0]\n\
            -A PREROUTING -d 172.18.0.2/32 ! -i br-x -j DROP\nCOMMIT\n\
            *filter\n:FORWARD DROP [0:0]\n:DOCKER-FORWARD - [0:0]\nCOMMIT\n";
        let networks = from_rules(&parse_iptables::parse(text, Origin::Iptables).unwrap());
        let [network] = &networks[..] else { panic!("{networks:?}") };
        assert_eq!(network.subnet, Some((Ipv4Addr::new(172, 18, 0, 0), 16)));
        assert_eq!(network.gateway, Some(Ipv4Addr::new(172, 18, 0, 1)));
        assert_eq!(network.containers[0].address, Ipv4Addr::new(172, 18, 0, 2));
    }
}
